"""What a simulated street and its sensor are like."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ssl_equiv.errors import UserError

Interval = tuple[float, float]


@dataclass(frozen=True)
class LidarRecipe:
    """A sensor and the distribution of scenes; intervals are ``(low, high)``, drawn uniformly.

    Args:
        beams: Lasers, one above the other.
        azimuths: Shots of each in a turn.
        elevation: Angles of the lowest and the highest beam, degrees.
        ranges: Nearest and farthest return, metres.
        range_noise: Standard deviation along the ray, metres.
        dropout: Share of returns that are lost, in [0, 1).
        sensor_height: Above the ground, metres.
        period: Seconds between sweeps.
        ego_speed: Metres a second.
        curvature: Of the road, 1/metres; its sign is the side.
        cars: How many drive on the road.
        parked: How many cars stand beside it.
        vans: How many, driving or parked.
        pedestrians: How many walk or stand.
        cyclists: How many ride.
        buildings: Walls along the road.
        poles: Posts and lamps beside it.
        trees: Trunks with crowns.
        extent: Objects lie so far along the road before and behind the sensor, metres.
        roughness: Amplitude of the ground's waves, metres.
        min_points: Objects with fewer returns are not annotated.
        surround: Annotate all around, and not only what the camera in front sees.

    Raises:
        UserError: a value is out of range.
    """

    beams: int = 32
    azimuths: int = 720
    elevation: Interval = (-24.8, 2.0)
    ranges: Interval = (1.5, 80.0)
    range_noise: float = 0.02
    dropout: float = 0.05
    sensor_height: float = 1.73
    period: float = 0.1
    ego_speed: Interval = (0.0, 14.0)
    curvature: Interval = (-0.012, 0.012)
    cars: Interval = (4, 10)
    parked: Interval = (4, 12)
    vans: Interval = (1, 4)
    pedestrians: Interval = (4, 12)
    cyclists: Interval = (2, 6)
    buildings: Interval = (4, 10)
    poles: Interval = (6, 14)
    trees: Interval = (4, 12)
    extent: float = 60.0
    roughness: float = 0.08
    min_points: int = 5
    surround: bool = True

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, (list, tuple)):
                if len(value) != 2 or not all(map(_finite, value)) or value[0] > value[1]:
                    raise UserError(f"recipe.{field.name} is {value}: give two numbers, low, high")
                object.__setattr__(self, field.name, (value[0], value[1]))
            elif not _finite(value):
                raise UserError(f"recipe.{field.name} is {value}: give a finite number")
        if self.beams < 1 or self.azimuths < 8:
            raise UserError("recipe.beams must be at least 1 and recipe.azimuths at least 8")
        if not -90 < self.elevation[0] <= self.elevation[1] < 90:
            raise UserError(f"recipe.elevation is {self.elevation}: choose degrees in (-90, 90)")
        if not 0 <= self.dropout < 1:
            raise UserError(f"recipe.dropout is {self.dropout}: choose a share in [0, 1)")
        if max(map(abs, self.curvature)) > 0.02:
            raise UserError(f"recipe.curvature is {self.curvature}: choose within [-0.02, 0.02]")
        for name in ("sensor_height", "period", "extent"):
            if getattr(self, name) <= 0:
                raise UserError(f"recipe.{name} is {getattr(self, name)}: choose more than 0")
        for name in ("range_noise", "roughness", "min_points"):
            if getattr(self, name) < 0:
                raise UserError(f"recipe.{name} is {getattr(self, name)}: choose 0 or more")
        for name in ("ranges", "ego_speed", *COUNTS):
            if getattr(self, name)[0] < 0:
                raise UserError(f"recipe.{name} is {getattr(self, name)}: choose 0 or more")
        if self.roughness > self.sensor_height / 2:
            raise UserError(f"recipe.roughness is {self.roughness}: waves reach to the sensor")

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> LidarRecipe:
        """A recipe from some of its entries.

        Raises:
            UserError: an unknown entry, or a value out of range.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        for key in given:
            if key not in names:
                close = difflib.get_close_matches(key, names, 1)
                hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(names)}"
                raise UserError(f"unknown entry recipe.{key}: {hint}")
        return cls(**given)

    def to_dict(self) -> dict[str, Any]:
        """All entries, as plain data."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in dataclasses.asdict(self).items()
        }


COUNTS = ("cars", "parked", "vans", "pedestrians", "cyclists", "buildings", "poles", "trees")


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)

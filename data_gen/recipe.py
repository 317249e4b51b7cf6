"""What is rendered: everything that shapes a picture apart from the object.

The scene is that of 3DIEBench (Garrido et al. 2023, arXiv 2302.10283): an object above a diffuse
floor, lit by a large sun overhead and by one coloured spot that moves, seen by a fixed camera.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from data_gen.distributions import Distribution, Range, Uniform, is_number, parse
from data_gen.orbits import checked_grid, checked_trajectory
from data_gen.rotations import Angles, RotationDistribution, parse_rotation
from ssl_equiv.errors import UserError

if TYPE_CHECKING:
    from ssl_equiv.data.record import LatentSchema

_SINGLE = ("floor_hue", "light_theta", "light_phi", "light_hue")
_HALF_PI = math.pi / 2
_TRAINING = Angles((Uniform(((-_HALF_PI, _HALF_PI),)),) * 3)
_HUE, _AZIMUTH = Uniform(((0.0, 1.0),)), Uniform(((0.0, 2 * math.pi),))
_OVERHEAD = Uniform(((0.0, math.pi / 4),))
_AXES = ("x", "y", "z")


@dataclass(frozen=True)
class Recipe:
    """Distributions of the factors, and the fixed part of the scene. Angles in radians, lengths in
    the unit in which a normalised object's bounding box has diagonal 1. What a factor's
    distribution can be is told in ``data_gen.distributions`` and ``data_gen.rotations``; given as
    plain data, such as (low, high), it is read on construction.

    Attributes:
        num_views: Views rendered of each object.
        image_size: Width and height of the pictures in pixels.
        rotation: Extrinsic xyz Euler angles of the object.
        floor_hue: The floor's hue, a circle of length 1.
        light_theta: The spot's polar angle, from overhead.
        light_phi: The spot's azimuth.
        light_hue: The spot's hue.
        translation: The object's translation t along its own axes (its centre shows at R t), or
            ``None`` for an object that stays at the origin (no such latent columns).
        grid: Columns that take evenly spaced values, with their number, such as
            ``{rotation_z: 36}`` for an orbit; the views are their combinations, the last column
            fastest. All other columns are drawn once an object.
        trajectory: Views along a smooth path: ``{keyframes: K}`` points are drawn and the views
            are evenly spaced from the first to the last; ``columns`` names the columns that move
            (by default all), the others are drawn once an object.
        camera_r, camera_theta, camera_phi: Where the camera stands; it looks at the origin.
        lens_mm, sensor_mm: Focal length and sensor width; a longer lens shows the object larger.
        floor_z: Height of the floor.
        floor_saturation, floor_value: The rest of the floor's HSV colour.
        light_r: Distance of the spot from the origin, at which it is aimed.
        light_radius: Radius of the spot: what makes its shadows and its rim soft.
        light_energy: Power of the spot in watts.
        light_cone: Full opening angle of the spot.
        light_blend: Share of the cone's edge (in its cosine) over which the light fades.
        light_saturation, light_value: The rest of the spot's HSV colour.
        sun_energy: Irradiance of the sun on the floor, in watts per square metre.
        sun_angle: Apparent diameter of the sun.
        sky: Radiance of the sky, the same from everywhere.
        view: Display transform: ``standard`` is plain sRGB, ``filmic`` Blender's film-like curve.
        background: What the camera sees behind the object: ``None`` for the floor with its shadows,
            an sRGB colour (r, g, b) in [0, 1], an image file, or a folder of images of which each
            view takes one, or each object where a grid or a trajectory leaves columns that do not
            move. The floor lights the object all the same, and hides what of it is
            below; ``view`` shows the background as it shows light (``standard``: unchanged).
    """

    num_views: int = 50
    image_size: int = 256
    rotation: RotationDistribution = _TRAINING
    floor_hue: Distribution = _HUE
    light_theta: Distribution = _OVERHEAD
    light_phi: Distribution = _AZIMUTH
    light_hue: Distribution = _HUE
    translation: tuple[Distribution, ...] | None = None
    grid: Mapping[str, int] | None = None
    trajectory: Mapping[str, Any] | None = None
    camera_r: float = 2.5
    camera_theta: float = math.pi / 4
    camera_phi: float = math.pi / 2
    lens_mm: float = 50.0
    sensor_mm: float = 36.0
    floor_z: float = -1.0
    floor_saturation: float = 0.6
    floor_value: float = 0.6
    light_r: float = 4.0
    light_radius: float = 0.25
    light_energy: float = 500.0
    light_cone: float = math.pi / 8
    light_blend: float = 0.15
    light_saturation: float = 1.0
    light_value: float = 0.8
    sun_energy: float = 1.5
    sun_angle: float = math.pi / 2
    sky: float = 0.05
    view: str = "standard"
    background: tuple[float, float, float] | str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "rotation", parse_rotation("rotation", self.rotation))
        for name in _SINGLE:
            object.__setattr__(self, name, parse(name, getattr(self, name)))
        if self.translation is not None:
            object.__setattr__(self, "translation", _three("translation", self.translation))
        for name, (least, most) in (("num_views", (1, 10_000)), ("image_size", (8, 8192))):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise UserError(
                    f"recipe: {name} is {value!r}: give a whole number from {least} to {most}"
                )
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if not is_number(value) or not low <= value <= high:
                raise UserError(
                    f"recipe: {name} is {value!r}: give a number from {low:g} to {high:g}"
                )
            object.__setattr__(self, name, float(value))
        if self.camera_r * math.cos(self.camera_theta) <= self.floor_z:
            raise UserError("recipe: the camera stands below the floor: lower camera_theta")
        furthest = max(map(abs, self.light_theta.bounds))
        if furthest > math.pi or self.light_r * math.cos(furthest) <= self.floor_z:
            raise UserError(
                "recipe: the spot goes below the floor: keep light_theta nearer to 0 (a normal "
                "distribution by its 'within')"
            )
        if self.view not in ("standard", "filmic"):
            raise UserError(f"recipe: view is {self.view!r}: choose 'standard' or 'filmic'")
        if not (self.background is None or isinstance(self.background, str)):
            object.__setattr__(self, "background", _color("background", self.background))
        if self.grid is not None:
            object.__setattr__(self, "grid", checked_grid(self.grid, self.columns, self.num_views))
        if self.trajectory is not None:
            path = checked_trajectory(self.trajectory, self.columns)
            object.__setattr__(self, "trajectory", path)
        if self.grid is not None and self.trajectory is not None:
            raise UserError("recipe: grid and trajectory exclude each other: give one of them")

    @classmethod
    def diebench(cls, **changes: Any) -> Recipe:
        """3DIEBench as published; keyword arguments replace single entries."""
        return cls.from_dict(changes)

    @classmethod
    def diebench_t(cls, **changes: Any) -> Recipe:
        """3DIEBench-T as published: the same with a translation in [-0.5, 0.5] along each axis."""
        return cls.from_dict({"translation": ((-0.5, 0.5),) * 3, **changes})

    @property
    def columns(self) -> dict[str, Distribution | None]:
        """The distribution of every column of the latent vector, in its order; ``None`` for the
        angles of a rotation that are not independent.
        """
        angles = self.rotation.columns or (None,) * 3
        moved = self.translation or ()
        return {
            **{f"rotation_{axis}": angle for axis, angle in zip(_AXES, angles, strict=True)},
            **{name: getattr(self, name) for name in _SINGLE},
            **{f"translation_{axis}": t for axis, t in zip(_AXES, moved, strict=False)},
        }

    @property
    def ranges(self) -> tuple[Range, ...]:
        """Least and greatest value of every column of the latent vector, in its order."""
        single = tuple(getattr(self, name).bounds for name in _SINGLE)
        return (*self.rotation.bounds, *single, *(t.bounds for t in self.translation or ()))

    @property
    def schema(self) -> LatentSchema:
        """What the columns of the latent vector mean."""
        # imported late: the record format stands on torch, which a renderer does not need
        from ssl_equiv.data.record import DIEBENCH, DIEBENCH_T

        return DIEBENCH if self.translation is None else DIEBENCH_T

    def to_dict(self) -> dict[str, Any]:
        """Plain data (lists, numbers, strings, None) that :meth:`from_dict` reads back."""
        return {name: _plain(value) for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Make a recipe from plain data; missing entries keep 3DIEBench's values.

        Raises:
            UserError: an entry is unknown (the nearest known name is offered) or out of place.
        """
        if not isinstance(values, Mapping):
            raise UserError(f"recipe is {values!r}: give entries such as image_size: 64")
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)
                raise UserError(f"recipe: unknown entry {key!r}: did you mean {near[0]!r}?")
        values = dict(values)
        grid = values.get("grid")
        if isinstance(grid, Mapping) and "num_views" not in values:
            values["num_views"] = max(1, math.prod(n for n in grid.values() if isinstance(n, int)))
        return cls(**values)

    @property
    def path_columns(self) -> list[str]:
        """The columns that move along a trajectory."""
        return list((self.trajectory or {}).get("columns") or self.columns)


_LIMITS: dict[str, Range] = {
    "camera_r": (0.6, 1000.0),
    "camera_theta": (0.0, math.pi),
    "camera_phi": (-100.0, 100.0),
    "lens_mm": (1.0, 10000.0),
    "sensor_mm": (1.0, 1000.0),
    "floor_z": (-1000.0, 0.0),
    "floor_saturation": (0.0, 1.0),
    "floor_value": (0.0, 1.0),
    "light_r": (0.6, 1000.0),
    "light_radius": (0.0, 2.0),
    "light_energy": (0.0, 1e6),
    "light_cone": (0.01, 3.1),
    "light_blend": (0.0, 1.0),
    "light_saturation": (0.0, 1.0),
    "light_value": (0.0, 1.0),
    "sun_energy": (0.0, 1000.0),
    "sun_angle": (0.01, 3.1),
    "sky": (0.0, 1000.0),
}


def _color(name: str, value: Any) -> tuple[float, float, float]:
    """Check an sRGB colour."""
    if (
        not isinstance(value, Sequence)
        or len(value) != 3
        or not all(is_number(v) and 0 <= v <= 1 for v in value)
    ):
        raise UserError(
            f"recipe: {name} is {value!r}: give (r, g, b) in [0, 1], or the path of an image or "
            "of a folder of images"
        )
    return (float(value[0]), float(value[1]), float(value[2]))


def _three(name: str, value: Any) -> tuple[Distribution, ...]:
    """Check the distributions of a factor with three axes."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 3:
        raise UserError(f"recipe: {name} is {value!r}: give three distributions [low, high]")
    return tuple(parse(f"{name}[{i}]", item) for i, item in enumerate(value))


def _plain(value: Any) -> Any:
    if isinstance(value, (Distribution, RotationDistribution)):
        return value.to_plain()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value

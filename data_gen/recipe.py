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
from data_gen.rotations import Angles, RotationDistribution, parse_rotation
from ssl_equiv.errors import UserError

if TYPE_CHECKING:
    from ssl_equiv.data.record import LatentSchema

_SINGLE = ("floor_hue", "light_theta", "light_phi", "light_hue")
_HALF_PI = math.pi / 2
_TRAINING = Angles((Uniform(((-_HALF_PI, _HALF_PI),)),) * 3)
_HUE, _AZIMUTH = Uniform(((0.0, 1.0),)), Uniform(((0.0, 2 * math.pi),))
_OVERHEAD = Uniform(((0.0, math.pi / 4),))
_TURN = {"floor_hue": 1.0, "light_hue": 1.0, "light_phi": 2 * math.pi}
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
            view takes one. The floor lights the object all the same, and hides what of it is
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
        for name, at_least in (("num_views", 1), ("image_size", 8)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
                raise UserError(f"recipe: {name} is {value!r}: give a whole number >= {at_least}")
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if not is_number(value) or not low <= value <= high:
                bound = f"between {low:g} and {high:g}" if high < math.inf else f">= {low:g}"
                raise UserError(f"recipe: {name} is {value!r}: give a number {bound}")
            object.__setattr__(self, name, float(value))
        if self.camera_r * math.cos(self.camera_theta) <= self.floor_z:
            raise UserError("recipe: the camera stands below the floor: lower camera_theta")
        if self.light_r * math.cos(self.light_theta.bounds[1]) <= self.floor_z:
            raise UserError("recipe: the spot goes below the floor: lower light_theta")
        if self.view not in ("standard", "filmic"):
            raise UserError(f"recipe: view is {self.view!r}: choose 'standard' or 'filmic'")
        if not (self.background is None or isinstance(self.background, str)):
            object.__setattr__(self, "background", _color("background", self.background))
        self._check_grid()
        self._check_trajectory()

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

    def grid_values(self, column: str) -> list[float]:
        """The evenly spaced values of a column of the grid: both ends of its range, or, on a full
        circle, one end.
        """
        assert self.grid is not None
        distribution, number = self.columns[column], self.grid[column]
        assert distribution is not None
        low, high = distribution.bounds
        turn = 2 * math.pi if column.startswith("rotation") else _TURN.get(column, math.inf)
        if number == 1:
            return [(low + high) / 2]
        circle = high - low >= turn - 1e-6
        step = (high - low) / (number if circle else number - 1)
        return [low + step * i for i in range(number)]

    @property
    def path_columns(self) -> list[str]:
        """The columns that move along a trajectory."""
        return list((self.trajectory or {}).get("columns") or self.columns)

    def _check_grid(self) -> None:
        if self.grid is None:
            return
        if not isinstance(self.grid, Mapping) or not self.grid:
            raise UserError(f"recipe: grid is {self.grid!r}: give columns, as {{rotation_z: 36}}")
        object.__setattr__(self, "grid", dict(self.grid))
        for column, number in self.grid.items():
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise UserError(f"recipe: grid.{column} is {number!r}: give a whole number >= 1")
            self._check_column("grid", column)
        if self.num_views != math.prod(self.grid.values()):
            raise UserError(
                f"recipe: num_views is {self.num_views}, but the grid has "
                f"{math.prod(self.grid.values())} points: leave num_views out"
            )
        if self.trajectory is not None:
            raise UserError("recipe: grid and trajectory exclude each other: give one of them")

    def _check_trajectory(self) -> None:
        if self.trajectory is None:
            return
        path = dict(self.trajectory) if isinstance(self.trajectory, Mapping) else {}
        keyframes, columns = path.get("keyframes"), path.get("columns")
        if (
            not path.keys() <= {"keyframes", "columns"}
            or isinstance(keyframes, bool)
            or not isinstance(keyframes, int)
            or keyframes < 2
            or not (columns is None or (isinstance(columns, Sequence) and columns))
        ):
            raise UserError(
                f"recipe: trajectory is {self.trajectory!r}: give {{keyframes: K}} with K >= 2, "
                "and the list of columns that move where not all do"
            )
        path = {"keyframes": keyframes, **({} if columns is None else {"columns": list(columns)})}
        object.__setattr__(self, "trajectory", path)
        for column in self.path_columns:
            self._check_column("trajectory", column)

    def _check_column(self, what: str, column: str) -> None:
        """A grid and a path need a column that has a connected distribution of its own."""
        columns = self.columns
        if column not in columns:
            near = difflib.get_close_matches(str(column), columns, n=1, cutoff=0.0)
            raise UserError(f"recipe: {what}: no column {column!r}: did you mean {near[0]!r}?")
        distribution = columns[column]
        if distribution is None or not distribution.connected:
            raise UserError(
                f"recipe: {what}: {column} has no single range to move in: give its factor one"
            )


_LIMITS: dict[str, Range] = {
    "camera_r": (0.6, math.inf),
    "camera_theta": (0.0, math.pi),
    "camera_phi": (-math.inf, math.inf),
    "lens_mm": (1.0, math.inf),
    "sensor_mm": (1.0, math.inf),
    "floor_z": (-math.inf, 0.0),
    "floor_saturation": (0.0, 1.0),
    "floor_value": (0.0, 1.0),
    "light_r": (0.6, math.inf),
    "light_radius": (0.0, 2.0),
    "light_energy": (0.0, math.inf),
    "light_cone": (0.01, 3.1),
    "light_blend": (0.0, 1.0),
    "light_saturation": (0.0, 1.0),
    "light_value": (0.0, 1.0),
    "sun_energy": (0.0, math.inf),
    "sun_angle": (0.01, 3.1),
    "sky": (0.0, math.inf),
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

"""What is rendered: everything that shapes a picture apart from the object.

The scene is that
of 3DIEBench (Garrido et al. 2023, arXiv 2302.10283): an object above a diffuse floor, lit by a
large sun overhead and by one coloured spot that moves, seen by a fixed camera.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from ssl_equiv.errors import UserError

if TYPE_CHECKING:
    from ssl_equiv.data.record import LatentSchema

Range = tuple[float, float]

_FACTORS = ("rotation", "floor_hue", "light_theta", "light_phi", "light_hue", "translation")
_HALF_PI = math.pi / 2


@dataclass(frozen=True)
class Recipe:
    """Ranges of the factors, and the fixed part of the scene. Angles in radians, lengths in the
    unit in which a normalised object's bounding box has diagonal 1; every range is (low, high).

    Attributes:
        num_views: Views rendered of each object.
        image_size: Width and height of the pictures in pixels.
        rotation: Ranges of the extrinsic xyz Euler angles of the object.
        floor_hue: Range of the floor's hue, a circle of length 1.
        light_theta: Range of the spot's polar angle, from overhead.
        light_phi: Range of the spot's azimuth.
        light_hue: Range of the spot's hue.
        translation: Ranges of the object's translation t along its own axes (its centre shows at
            R t), or ``None`` for an object that stays at the origin (no such latent columns).
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
            view takes one. The floor lights the object all the same.
    """

    num_views: int = 50
    image_size: int = 256
    rotation: tuple[Range, Range, Range] = ((-_HALF_PI, _HALF_PI),) * 3
    floor_hue: Range = (0.0, 1.0)
    light_theta: Range = (0.0, math.pi / 4)
    light_phi: Range = (0.0, 2 * math.pi)
    light_hue: Range = (0.0, 1.0)
    translation: tuple[Range, Range, Range] | None = None
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
        for name in _FACTORS:
            value = getattr(self, name)
            if value is None and name == "translation":
                continue
            axes = 3 if name in ("rotation", "translation") else 1
            object.__setattr__(self, name, _ranges(name, value, axes))
        for name, at_least in (("num_views", 1), ("image_size", 8)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
                raise UserError(f"recipe: {name} is {value!r}: give a whole number >= {at_least}")
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if not _is_number(value) or not low <= value <= high:
                bound = f"between {low:g} and {high:g}" if high < math.inf else f">= {low:g}"
                raise UserError(f"recipe: {name} is {value!r}: give a number {bound}")
            object.__setattr__(self, name, float(value))
        if self.camera_r * math.cos(self.camera_theta) <= self.floor_z:
            raise UserError("recipe: the camera stands below the floor: lower camera_theta")
        if self.light_r * math.cos(self.light_theta[1]) <= self.floor_z:
            raise UserError("recipe: the spot goes below the floor: lower light_theta")
        if self.view not in ("standard", "filmic"):
            raise UserError(f"recipe: view is {self.view!r}: choose 'standard' or 'filmic'")
        if not (self.background is None or isinstance(self.background, str)):
            object.__setattr__(self, "background", _color("background", self.background))

    @classmethod
    def diebench(cls, **changes: Any) -> Recipe:
        """3DIEBench as published; keyword arguments replace single entries."""
        return cls.from_dict(changes)

    @classmethod
    def diebench_t(cls, **changes: Any) -> Recipe:
        """3DIEBench-T as published: the same with a translation in [-0.5, 0.5] along each axis."""
        return cls.from_dict({"translation": ((-0.5, 0.5),) * 3, **changes})

    @property
    def ranges(self) -> tuple[Range, ...]:
        """(low, high) of every column of the latent vector, in its order."""
        return (
            *self.rotation,
            self.floor_hue,
            self.light_theta,
            self.light_phi,
            self.light_hue,
            *(self.translation or ()),
        )

    @property
    def schema(self) -> LatentSchema:
        """What the columns of the latent vector mean."""
        # imported late: the record format stands on torch, which a renderer does not need
        from ssl_equiv.data.record import DIEBENCH, DIEBENCH_T

        return DIEBENCH if self.translation is None else DIEBENCH_T

    def to_dict(self) -> dict[str, Any]:
        """Plain data (lists, numbers, strings, None) that :meth:`from_dict` reads back."""
        return {name: _plain(value) for name, value in asdict(self).items()}

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
        return cls(**values)


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


def _is_number(value: object) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(float(value))
    )


def _color(name: str, value: Any) -> tuple[float, float, float]:
    """Check an sRGB colour."""
    if (
        not isinstance(value, Sequence)
        or len(value) != 3
        or not all(_is_number(v) and 0 <= v <= 1 for v in value)
    ):
        raise UserError(
            f"recipe: {name} is {value!r}: give (r, g, b) in [0, 1], or the path of an image or "
            "of a folder of images"
        )
    return (float(value[0]), float(value[1]), float(value[2]))


def _ranges(name: str, value: Any, axes: int) -> Range | tuple[Range, ...]:
    """Check the range, or the three ranges, of a factor."""
    if axes > 1:
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != axes:
            raise UserError(f"recipe: {name} is {value!r}: give {axes} ranges (low, high)")
        return tuple(_ranges(f"{name}[{i}]", item, 1) for i, item in enumerate(value))  # type: ignore[misc]
    if (
        not isinstance(value, Sequence)
        or isinstance(value, str)
        or len(value) != 2
        or not all(map(_is_number, value))
        or value[0] > value[1]
    ):
        raise UserError(f"recipe: {name} is {value!r}: give (low, high), numbers with low <= high")
    return (float(value[0]), float(value[1]))


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value

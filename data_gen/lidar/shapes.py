"""Street furniture made of convex pieces, in frames of their own: x ahead, y left, z up, metres.

The ground is z = 0 and the middle of the footprint the origin, so that a shape's bounds are its
annotated box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

PLANES, CYLINDER, ELLIPSOID = 0, 1, 2
"""Kinds of pieces; their 24 parameters are six rows of a half-space's normal and offset
(n·p <= d), or x, y, radius, bottom, top, or centre and radii."""


class Label(NamedTuple):
    """SemanticKITTI's class of a piece: standing, and on an object that moves."""

    still: int
    moving: int


CAR, VAN, PERSON, BICYCLIST = Label(10, 252), Label(20, 259), Label(30, 254), Label(31, 253)
ROAD, SIDEWALK, TERRAIN = 40, 48, 72
BUILDING, POLE, TRUNK, VEGETATION = (Label(i, i) for i in (50, 80, 71, 70))


@dataclass(frozen=True)
class Piece:
    """One convex solid: its ``kind``, 24 parameters, bounds ``(low, high)`` and brightness."""

    kind: int
    parameters: np.ndarray
    low: np.ndarray
    high: np.ndarray
    brightness: float
    label: Label


@dataclass(frozen=True)
class Shape:
    """An object's pieces.

    Args:
        class_name: KITTI's class, or empty for what is not annotated.
        pieces: At least one.
    """

    class_name: str
    pieces: tuple[Piece, ...]

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and the highest corner, ``(3,)`` each."""
        low = np.min([piece.low for piece in self.pieces], axis=0)
        return low, np.max([piece.high for piece in self.pieces], axis=0)


def frustum(
    x: Sequence[float],
    y: Sequence[float],
    z: Sequence[float],
    brightness: float,
    label: Label,
    top_x: Sequence[float] | None = None,
    top_y: Sequence[float] | None = None,
) -> Piece:
    """A box from low to high in each axis, whose top face may be another rectangle."""
    (z0, z1), bottom, top = z, (x, y), (top_x or x, top_y or y)
    planes = [[0.0, 0.0, -1.0, -z0], [0.0, 0.0, 1.0, z1]]
    for axis in (0, 1):
        for side, sign in ((0, -1.0), (1, 1.0)):
            slope = (top[axis][side] - bottom[axis][side]) / (z1 - z0)
            normal = np.zeros(3)
            normal[axis], normal[2] = sign, -sign * slope
            offset = sign * (bottom[axis][side] - slope * z0)
            length = float(np.linalg.norm(normal))
            planes.append([*(normal / length).tolist(), offset / length])
    low = np.array([*(min(bottom[i][0], top[i][0]) for i in (0, 1)), z0])
    high = np.array([*(max(bottom[i][1], top[i][1]) for i in (0, 1)), z1])
    return Piece(PLANES, np.array(planes, np.float64).ravel(), low, high, brightness, label)


def cylinder(
    x: float, y: float, radius: float, z: Sequence[float], brightness: float, label: Label
) -> Piece:
    """An upright cylinder."""
    low, high = np.array([x - radius, y - radius, z[0]]), np.array([x + radius, y + radius, z[1]])
    return Piece(CYLINDER, _padded(x, y, radius, *z), low, high, brightness, label)


def ellipsoid(
    centre: Sequence[float], radii: Sequence[float], brightness: float, label: Label
) -> Piece:
    """An ellipsoid along the axes."""
    middle, reach = np.array(centre, np.float64), np.array(radii, np.float64)
    return Piece(
        ELLIPSOID, _padded(*centre, *radii), middle - reach, middle + reach, brightness, label
    )


def _padded(*numbers: float) -> np.ndarray:
    row = np.zeros(24)
    row[: len(numbers)] = numbers
    return row


def _around(middle: float, half: float) -> tuple[float, float]:
    return middle - half, middle + half


def car(rng: np.random.Generator) -> Shape:
    """A car: body, cabin that narrows towards the roof, wheels."""
    length, width, height = rng.uniform((3.5, 1.55, 1.38), (4.8, 1.85, 1.68))
    paint, half, side = rng.uniform(0.15, 0.7), length / 2, width / 2
    waist, belly = height * rng.uniform(0.54, 0.62), 0.25
    front, rear = rng.uniform(0.12, 0.24) * length, rng.uniform(-0.45, -0.34) * length
    pieces = [
        frustum((-half, half), (-side, side), (belly, waist), paint, CAR),
        frustum(
            (rear, front),
            (-0.95 * side, 0.95 * side),
            (waist, height),
            0.2,  # mostly glass
            CAR,
            (rear + 0.09 * length, front - 0.15 * length),
            (-0.75 * side, 0.75 * side),
        ),
    ]
    for x in (-0.31 * length, 0.31 * length):
        for y in (-side + 0.11, side - 0.11):
            pieces.append(frustum(_around(x, 0.28), _around(y, 0.1), (0, 0.6), 0.08, CAR))
    return Shape("Car", tuple(pieces))


def van(rng: np.random.Generator) -> Shape:
    """A van: a high body behind a short bonnet."""
    length, width, height = rng.uniform((4.6, 1.8, 1.95), (5.8, 2.1, 2.5))
    paint, half, side = rng.uniform(0.3, 0.8), length / 2, width / 2
    nose = half - rng.uniform(0.6, 1.0)
    pieces = [
        frustum(
            (-half, nose),
            (-side, side),
            (0.3, height),
            paint,
            VAN,
            (-half, nose - 0.25),
            (-0.9 * side, 0.9 * side),
        ),
        frustum((nose - 0.3, half), (-side, side), (0.3, 1.15), paint, VAN),
    ]
    for x in (-0.32 * length, 0.32 * length):
        for y in (-side + 0.12, side - 0.12):
            pieces.append(frustum(_around(x, 0.32), _around(y, 0.11), (0, 0.65), 0.08, VAN))
    return Shape("Van", tuple(pieces))


def pedestrian(rng: np.random.Generator) -> Shape:
    """A person in the middle of a stride."""
    height, stride = rng.uniform(1.55, 1.92), rng.uniform(0.05, 0.28)
    cloth, hip = rng.uniform(0.1, 0.6), 0.5 * height
    leg, torso = rng.uniform(0.07, 0.1), rng.uniform((0.13, 0.2), (0.18, 0.26))
    pieces = (
        cylinder(stride, 0.1, leg, (0, hip), cloth, PERSON),
        cylinder(-stride, -0.1, leg, (0, hip), cloth, PERSON),
        ellipsoid((0, 0, 0.66 * height), (*torso, 0.21 * height), cloth, PERSON),
        ellipsoid((0, 0, 0.925 * height), (0.1, 0.08, 0.075 * height), 0.5, PERSON),
        cylinder(-0.6 * stride, torso[1], 0.05, (0.42 * height, 0.78 * height), cloth, PERSON),
        cylinder(0.6 * stride, -torso[1], 0.05, (0.42 * height, 0.78 * height), cloth, PERSON),
    )
    return Shape("Pedestrian", pieces)


def cyclist(rng: np.random.Generator) -> Shape:
    """A bicycle with a rider who leans forward."""
    half, height = rng.uniform(0.8, 0.92), rng.uniform(1.6, 1.85)
    cloth, lean = rng.uniform(0.1, 0.6), rng.uniform(0.1, 0.3)
    seat, shoulder = 0.95, height - 0.27
    pieces = (
        frustum((-half, -half + 0.66), (-0.03, 0.03), (0, 0.66), 0.1, BICYCLIST),
        frustum((half - 0.66, half), (-0.03, 0.03), (0, 0.66), 0.1, BICYCLIST),
        frustum((-half + 0.4, half - 0.3), (-0.04, 0.04), (0.5, 0.85), 0.3, BICYCLIST),
        frustum(_around(half - 0.4, 0.04), (-0.28, 0.28), (0.85, 1.05), 0.3, BICYCLIST),
        frustum(
            _around(-0.25, 0.14),
            (-0.17, 0.17),
            (seat, shoulder),
            cloth,
            BICYCLIST,
            _around(-0.25 + lean, 0.12),
            (-0.22, 0.22),
        ),
        cylinder(-0.05, 0.12, 0.08, (0.3, seat), cloth, BICYCLIST),
        cylinder(-0.05, -0.12, 0.08, (0.3, seat), cloth, BICYCLIST),
        ellipsoid((lean - 0.2, 0, height - 0.14), (0.11, 0.09, 0.14), 0.5, BICYCLIST),
    )
    return Shape("Cyclist", pieces)


def building(rng: np.random.Generator) -> Shape:
    """A block whose walls are taller than the sensor sees; it is founded below the waves."""
    x, y, height = rng.uniform((4, 2, 3), (14, 5, 9))
    return Shape("", (frustum((-x, x), (-y, y), (-1, height), rng.uniform(0.2, 0.5), BUILDING),))


def pole(rng: np.random.Generator) -> Shape:
    """A post."""
    top = rng.uniform(2.5, 7)
    return Shape("", (cylinder(0, 0, rng.uniform(0.05, 0.15), (-1, top), 0.6, POLE),))


def tree(rng: np.random.Generator) -> Shape:
    """A trunk with a crown."""
    trunk, crown = rng.uniform(1.5, 3), rng.uniform(1, 2.2)
    pieces = (
        cylinder(0, 0, rng.uniform(0.1, 0.25), (-1, trunk + 0.3), 0.3, TRUNK),
        ellipsoid((0, 0, trunk + 0.8 * crown), (crown, crown, 0.9 * crown), 0.4, VEGETATION),
    )
    return Shape("", pieces)

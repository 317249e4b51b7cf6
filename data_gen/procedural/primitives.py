"""The few solids that every object family is built from.

Every solid is closed and its faces turn outwards. Coordinates are x to the right, y to the
back, z up; the front faces -y. Angles are in degrees.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Vector = Sequence[float]

FRONT = (90.0, 0.0, 0.0)  # turns an outline (x, y) up to stand as (x, z), extruded to the front
SIDE = (90.0, 0.0, 90.0)  # turns an outline (x, y) into a side view (y, z), extruded along x
ALONG_X = (0.0, 90.0, 0.0)  # turns the z axis of a lathed solid to x (wheels)
ALONG_Y = (-90.0, 0.0, 0.0)  # turns the z axis of a lathed solid to y


@dataclass(frozen=True, eq=False)
class Part:
    """A closed surface of quads.

    Attributes:
        points: ``(N, 3)``.
        quads: ``(Q, 4)`` indices of ``points``; a triangle has two corners at one place.
        around: ``(Q, 4, 4)`` the quads that meet at each corner, for smooth normals.
    """

    points: Array
    quads: NDArray[np.int64]
    around: NDArray[np.int64]

    def placed(self, at: Vector = (0, 0, 0), turn: Vector = (0, 0, 0)) -> Part:
        """Turn by extrinsic xyz angles, then move."""
        points = self.points @ rotation(*turn).T if any(turn) else self.points
        return Part(points + np.asarray(at, np.float64), self.quads, self.around)

    def scaled(self, x: float, y: float, z: float) -> Part:
        """Stretch along the axes; negative factors mirror, and the faces stay outward."""
        points = self.points * np.array([x, y, z], np.float64)
        if x * y * z > 0:
            return Part(points, self.quads, self.around)
        return Part(points, self.quads[:, ::-1], self.around[:, ::-1])


@lru_cache(maxsize=512)
def rotation(x: float, y: float, z: float) -> Array:
    """Return the matrix of extrinsic xyz angles."""
    (cx, sx), (cy, sy), (cz, sz) = (
        (math.cos(math.radians(a)), math.sin(math.radians(a))) for a in (x, y, z)
    )
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


@lru_cache(maxsize=512)
def _topology(rows: int, columns: int, closed: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Quads of a grid of rings and, for each corner, the quads around it."""
    bands = rows if closed else rows - 1
    row, column = np.divmod(np.arange(bands * columns), columns)
    quads, around = [], []
    for down, right in ((0, 0), (0, 1), (1, 1), (1, 0)):
        quads.append((row + down) % rows * columns + (column + right) % columns)
        meeting = []
        for i in (down - 1, down):
            for j in (right - 1, right):
                band = (row + i) % bands if closed else np.clip(row + i, 0, bands - 1)
                meeting.append(band * columns + (column + j) % columns)
        around.append(np.stack(meeting, axis=-1))
    return np.stack(quads, axis=-1), np.stack(around, axis=1)


def cross(a: Array, b: Array) -> Array:
    """Return the cross product of ``(..., 3)`` arrays; ``np.cross`` is slow on small ones."""
    return a[..., _NEXT] * b[..., _LAST] - a[..., _LAST] * b[..., _NEXT]


_NEXT, _LAST = np.array([1, 2, 0]), np.array([2, 0, 1])


def grid(points: Array, closed: bool = False) -> Part:
    """Join rings ``(R, C, 3)`` to a surface; ``closed`` joins the last ring to the first."""
    rows, columns, _ = points.shape
    quads, around = _topology(rows, columns, closed)
    flat = points.reshape(-1, 3)
    a, b, c, d = (flat - flat[0])[quads.T]
    # six times the volume, or nearly: its sign says whether the rings were given inside out
    if np.einsum("ij,ij->", a + b + c + d, cross(c - a, d - b)) < 0:
        quads, around = quads[:, ::-1], around[:, ::-1]
    return Part(flat, quads, around)


def loft(rings: ArrayLike, folded: bool = False) -> Part:
    """Join rings ``(R, C, 3)`` and close both ends.

    The ends are closed by fans around the rings' centres; where the rings are ``folded``, the
    second half of each running back along the first (thin sheets), by strips between the halves.
    """
    points = np.asarray(rings, np.float64)
    ends = points[[0, -1]]
    if folded:
        ends = (ends + ends[:, ::-1]) / 2
    else:
        ends = ends.mean(axis=1, keepdims=True).repeat(points.shape[1], axis=1)
    return grid(np.concatenate([ends[:1], points, ends[1:]]))


@lru_cache(maxsize=64)
def circle(sides: int, start: float = 0.0, sweep: float = 360.0) -> Array:
    """``(sides, 2)`` points of the unit circle; an arc includes both of its ends."""
    whole = sweep == 360.0
    angles = np.radians(start + sweep * np.arange(sides) / (sides if whole else sides - 1))
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def oval(width: float, height: float, sides: int = 16, power: float = 2.0) -> Array:
    """``(sides, 2)`` superellipse of full width and height; 2 is an ellipse, 4+ a rounded box."""
    # half a step of offset puts no point on the axes, which keeps rounded boxes flat there
    unit = circle(sides, 180.0 / sides)
    unit = np.sign(unit) * np.abs(unit) ** (2.0 / power)
    unit = unit / unit.max(axis=0)
    return np.asarray(unit * (width / 2, height / 2))


def lathe(profile: ArrayLike, sides: int = 16, hollow: bool = False) -> Part:
    """Turn a profile ``(P, 2)`` of (radius, z) about the z axis.

    Open ends are closed by discs; ``hollow`` joins the profile's last point to its first
    instead (a ring, or the thick wall of a cup).
    """
    line = np.asarray(profile, np.float64)
    if not hollow:
        ends = line[[0, -1]] * (0.0, 1.0)
        line = np.concatenate([ends[:1], line, ends[1:]])
        line = line[np.append(True, np.abs(np.diff(line, axis=0)).sum(axis=1) > 1e-9)]
    points = np.empty((len(line), sides, 3))
    points[..., :2] = line[:, None, :1] * circle(sides)
    points[..., 2] = line[:, None, 1]
    return grid(points, closed=hollow)


def arc(loop: ArrayLike, start: float, sweep: float, steps: int = 8) -> Part:
    """Sweep a folded loop ``(P, 2)`` of (radius, z) about z through an angle (labels, bands)."""
    loop = np.asarray(loop, np.float64)
    points = np.empty((steps, len(loop), 3))
    points[..., :2] = loop[:, :1] * circle(steps, start, sweep)[:, None, :]
    points[..., 2] = loop[:, 1]
    return loft(points, folded=True)


def cylinder(radius: float, height: float, top: float | None = None, sides: int = 16) -> Part:
    """Stand a cylinder, or a cone frustum of radius ``top`` above, on z = 0."""
    return lathe([(radius, 0), (radius if top is None else top, height)], sides)


def disc(radius: float, height: float, sides: int = 16) -> Part:
    """Stand a disc with rounded rims on z = 0."""
    r = min(radius, height) * 0.3
    return lathe([(radius - r, 0), (radius, r), (radius, height - r), (radius - r, height)], sides)


def ellipsoid(x: float, y: float, z: float, sides: int = 16, rows: int = 9) -> Part:
    """Make an ellipsoid of these radii."""
    return lathe(circle(rows, -90.0, 180.0), sides).scaled(x, y, z)


def dome(x: float, y: float, z: float, sides: int = 16, rows: int = 6) -> Part:
    """Stand the upper half of an ellipsoid on z = 0."""
    return lathe(circle(rows, 0.0, 90.0), sides).scaled(x, y, z)


def torus(radius: float, thickness: float, sides: int = 20, tube_sides: int = 8) -> Part:
    """Lay a ring of mean radius and tube radius around the z axis."""
    return lathe(circle(tube_sides) * thickness + (radius, 0.0), sides, hollow=True)


_CUBE = np.array([(x, y, z) for z in (-0.5, 0.5) for y in (-0.5, 0.5) for x in (-0.5, 0.5)])
_CUBE_QUADS = np.array(
    [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
)
_CUBE_AROUND = np.arange(6).reshape(6, 1, 1).repeat(4, axis=1).repeat(4, axis=2)


def box(x: float, y: float, z: float) -> Part:
    """Make a box of these sizes, centred."""
    return Part(_CUBE * (x, y, z), _CUBE_QUADS, _CUBE_AROUND)


def cushion(x: float, y: float, z: float, radius: float) -> Part:
    """Make a box of these sizes, centred, with edges rounded by ``radius``."""
    radius = min(radius, 0.49 * x, 0.49 * y, 0.49 * z)
    around = np.concatenate([circle(3, start, 90.0) for start in (0.0, 90.0, 180.0, 270.0)])
    corners = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)]).repeat(3, axis=0)
    corners = corners * (x / 2 - radius, y / 2 - radius)
    slope = np.concatenate([circle(3, -90.0, 90.0), circle(3, 0.0, 90.0)]) * radius
    points = np.empty((6, 12, 3))
    points[..., :2] = corners + around * slope[:, None, :1]
    points[..., 2] = slope[:, None, 1] + np.repeat((radius - z / 2, z / 2 - radius), 3)[:, None]
    return loft(points)


def extrude(outline: ArrayLike, depth: float, bevel: float = 0.0) -> Part:
    """Extrude an outline ``(P, 2)`` in x, y from z = 0 to ``depth``.

    The outline must be star-shaped about the mean of its points. ``bevel`` shrinks both ends
    towards that mean by this share, over the same share of the depth.
    """
    outline = np.asarray(outline, np.float64)
    centre = outline.mean(axis=0)
    small = centre + (outline - centre) * (1 - bevel)
    rings = [(small, 0.0), (outline, bevel), (outline, 1 - bevel), (small, 1.0)]
    rings = rings if bevel else [(outline, 0.0), (outline, 1.0)]
    return loft([np.insert(ring, 2, share * depth, axis=1) for ring, share in rings])


def curve(points: ArrayLike, count: int) -> Array:
    """Return ``(count, D)`` points of a smooth curve through the points (Catmull-Rom)."""
    knots = np.asarray(points, np.float64)
    knots = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    place = np.linspace(0, len(knots) - 3, count)
    first = np.minimum(place.astype(np.int64), len(knots) - 4)
    t = (place - first)[:, None]
    a, b, c, d = (knots[first + i] for i in range(4))
    return np.asarray(
        b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    )


def tube(path: ArrayLike, radius: ArrayLike, sides: int = 8) -> Part:
    """Sweep a circle, of one radius or one a point, along a path ``(P, 3)``."""
    path = np.asarray(path, np.float64)
    along = np.concatenate([path[1:2] - path[:1], path[2:] - path[:-2], path[-1:] - path[-2:-1]])
    along /= np.sqrt(np.einsum("ij,ij->i", along, along))[:, None]
    across = np.array(_carried(along.tolist()))
    frames = np.stack([across, cross(along, across)], axis=1)
    size = np.asarray(radius, np.float64).reshape(-1, 1, 1)
    return loft(path[:, None] + size * (circle(sides) @ frames))


def _carried(along: list[list[float]]) -> list[tuple[float, float, float]]:
    """Carry a vector along unit tangents, always square to them, without twisting."""
    sizes = [abs(part) for part in along[0]]
    x, y, z = (float(axis == sizes.index(min(sizes))) for axis in range(3))
    vectors = []
    for a, b, c in along:
        part = x * a + y * b + z * c
        x, y, z = x - part * a, y - part * b, z - part * c
        length = math.sqrt(x * x + y * y + z * z)
        x, y, z = x / length, y / length, z / length
        vectors.append((x, y, z))
    return vectors


def rod(
    start: Vector, end: Vector, radius: float, tip: float | None = None, sides: int = 8
) -> Part:
    """Make a round bar between two points, its radius going to ``tip``."""
    return tube([start, end], (radius, radius if tip is None else tip), sides)


def hull(sections: ArrayLike, sides: int = 16, power: float = 2.0) -> Part:
    """Loft superellipses along y; a section is (y, z of its centre, width, height)."""
    sections = np.asarray(sections, np.float64)
    unit = oval(1.0, 1.0, sides, power)
    rings = np.empty((len(sections), sides, 3))
    rings[..., 0] = sections[:, 2, None] * unit[:, 0]
    rings[..., 1] = sections[:, 0, None]
    rings[..., 2] = sections[:, 1, None] + sections[:, 3, None] * unit[:, 1]
    return loft(rings)


def wing(root: Vector, tip: Vector, chord: float, taper: float, thickness: float) -> Part:
    """Loft an airfoil, its chord along y, from a root to a tip point of its middle.

    Args:
        root: The middle of the root's chord.
        tip: The middle of the tip's chord.
        chord: Length of the root's chord.
        taper: The tip's chord as a share of the root's.
        thickness: Greatest thickness as a share of the chord.
    """
    base, end = np.asarray(root, np.float64), np.asarray(tip, np.float64)
    along = (end - base) / math.sqrt(float((end - base) @ (end - base)))
    up = cross(along, np.array([0.0, 1.0, 0.0]))
    outline = np.array(
        [(-0.5, 0), (-0.4, 0.4), (-0.1, 0.5), (0.5, 0.04), (0.5, -0.04), (-0.1, -0.5), (-0.4, -0.4)]
    )
    flat = outline[:, :1] * (0.0, 1.0, 0.0) + outline[:, 1:] * thickness * up
    return loft([base + chord * flat, end + chord * taper * flat])

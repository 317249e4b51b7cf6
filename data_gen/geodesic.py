"""Geodesic distances between rotations and boxes of Euler angles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from data_gen.distributions import F64, Range

_PI = math.pi
_CELL = 0.15  # radians between points of the fine grid, at most


def distance_to_box(euler: F64, ranges: Sequence[Range]) -> F64:
    """Geodesic distance from rotations to the nearest one whose Euler angles lie in a box.

    The cosine of half the distance is |A cos θ/2 + B sin θ/2| in each of the box's angles θ, so its
    maximum over one of them is known in closed form; the three take turns, from the best points of
    a grid.

    Args:
        euler: ``(n, 3)`` extrinsic xyz.
        ranges: Three ranges.

    Returns:
        ``(n,)`` radians in [0, π].
    """
    quaternions = Rotation.from_euler("xyz", euler).as_quat()
    grid = np.array(list(product(*(np.linspace(low, high, 8) for low, high in ranges))))
    close = np.abs(quaternions @ Rotation.from_euler("xyz", grid).as_quat().T)
    angles = grid[np.argpartition(-close, 12, axis=1)[:, :12]]
    target = tuple(quaternions.T[..., None])
    best = np.zeros(angles.shape[:2])
    for _ in range(25):
        before = best
        for axis, (low, high) in enumerate(ranges):
            rest = target  # what is left to turn about this axis: q = Rz Ry Rx
            for other in (2, 1)[: 2 - axis]:
                rest = _turned(rest, other, -angles[..., other], left=True)
            for other in range(axis):
                rest = _turned(rest, other, -angles[..., other], left=False)
            peak = 2 * np.arctan2(rest[axis], rest[3])
            peak = low + np.mod(peak - low, 2 * _PI)  # the first at or above the lower end
            at = [
                np.abs(rest[3] * math.cos(end / 2) + rest[axis] * math.sin(end / 2))
                for end in (low, high)
            ]
            within, lower = peak <= high, at[0] > at[1]
            angles[..., axis] = np.where(within, peak, np.where(lower, low, high))
            best = np.where(within, np.hypot(rest[3], rest[axis]), np.maximum(*at))
        if (best - before).max(initial=0) < 1e-13:
            break
    distance = 2 * np.arccos(np.clip(best.max(axis=1), 0, 1))
    inside = _in_box(euler, ranges) | _in_box(other_triple(euler), ranges)
    return np.where(inside, 0.0, distance)


def far_from_box(euler: F64, ranges: Sequence[Range], at_least: float) -> NDArray[np.bool_]:
    """Whether rotations are so far from a box: :func:`distance_to_box` ``>= at_least``.

    Grids of the box decide nearly all: the nearest of their points is no nearer than the box, and
    no further than the box and half the diagonal of a cell. Only what lies between is measured.

    Args:
        euler: ``(n, 3)`` extrinsic xyz.
        ranges: Three ranges.
        at_least: Radians.

    Returns:
        ``(n,)`` bool.
    """
    coarse, tree, reach = _grids(tuple((low, high) for low, high in ranges))
    quaternions = Rotation.from_euler("xyz", euler).as_quat()
    closest = np.abs(quaternions @ coarse.T).max(axis=1)
    far: NDArray[np.bool_] = closest <= math.cos(at_least / 2)
    rest = np.flatnonzero(far)
    # q and -q are one rotation; a chord of length c between quaternions spans 2 asin(c/2) there,
    # and so 4 asin(c/2) between the rotations
    chord, _ = tree.query(np.concatenate([quaternions[rest], -quaternions[rest]]))
    nearest = 4 * np.arcsin(np.minimum(chord.reshape(2, -1).min(axis=0) / 2, 1))
    far[rest] = nearest >= at_least
    between = rest[far[rest] & (nearest - reach < at_least)]
    if len(between):
        far[between] = distance_to_box(euler[between], ranges) >= at_least
    return far


@lru_cache(maxsize=8)
def _grids(ranges: tuple[Range, ...]) -> tuple[F64, cKDTree, float]:
    """Quaternions of a coarse and a fine grid of a box, and how far from the fine one a rotation of
    the box can be.
    """
    coarse = list(product(*(np.linspace(low, high, 5) for low, high in ranges)))
    axes = [np.linspace(low, high, 2 + int((high - low) / _CELL)) for low, high in ranges]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    fine = cKDTree(Rotation.from_euler("xyz", points).as_quat())
    a, b, c = (float(axis[1] - axis[0]) / 2 for axis in axes)
    # Euler angles have ds² = da² + db² + dc² - 2 sin b da dc <= (|da| + |dc|)² + db²
    reach = math.hypot(a + c, b) + 1e-9
    return Rotation.from_euler("xyz", np.array(coarse)).as_quat(), fine, reach


def _turned(q: tuple[F64, ...], axis: int, angle: F64, left: bool) -> tuple[F64, ...]:
    """Quaternions (x, y, z, w) times a rotation about a coordinate axis, on their left or right."""
    c, s = np.cos(angle / 2), np.sin(angle / 2)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    sign = 1 if left else -1
    out = list(q)
    out[3] = c * q[3] - s * q[axis]
    out[axis] = c * q[axis] + s * q[3]
    out[i] = c * q[i] - sign * s * q[j]
    out[j] = c * q[j] + sign * s * q[i]
    return tuple(out)


def other_triple(euler: F64) -> F64:
    """The other Euler angles ``(n, 3)`` of the same rotations."""
    return np.stack([euler[:, 0] + _PI, _PI - euler[:, 1], euler[:, 2] + _PI], axis=1)


def _in_box(euler: F64, ranges: Sequence[Range]) -> NDArray[np.bool_]:
    low, high = np.array(ranges).T
    return np.asarray(np.all(np.mod(euler - low, 2 * _PI) <= high - low, axis=1))

"""Geodesic distances between rotations and boxes of Euler angles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from data_gen.distributions import F64, Range

_PI = math.pi


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
    distance = 2 * np.arccos(np.clip(best.max(axis=1), 0, 1))
    inside = _in_box(euler, ranges) | _in_box(other_triple(euler), ranges)
    return np.where(inside, 0.0, distance)


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

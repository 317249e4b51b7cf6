"""Fixed point sets: directions on the sphere, points on the lamp's disc, positions in a pixel.

All are low-discrepancy sets rather than random draws: a picture depends on nothing but its mesh
and latents, and few rays go far.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0

PIXEL_FILTER_WIDTH = 1.5
"""Width in pixels of Cycles' default pixel filter (Blackman-Harris)."""


def cap(num: int, cos_high: float, cos_low: float) -> NDArray[np.float64]:
    """``(num, 3)`` unit vectors spread evenly over the band ``cos_low <= z <= cos_high``."""
    index = np.arange(num) + 0.5
    z = cos_high + (cos_low - cos_high) * index / num
    angle = 2 * math.pi * _GOLDEN * index
    radius = np.sqrt(1 - z * z)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)


def cosine_band(num: int, sin2_low: float, sin2_high: float) -> NDArray[np.float64]:
    """``(num, 3)`` unit vectors over ``sin2_low <= 1 - z^2 <= sin2_high``, z > 0, with density
    proportional to z: each stands for the same irradiance on a horizontal surface.
    """
    index = np.arange(num) + 0.5
    sin2 = sin2_low + (sin2_high - sin2_low) * index / num
    angle = 2 * math.pi * _GOLDEN * index
    radius = np.sqrt(sin2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), np.sqrt(1 - sin2)], axis=1)


def interleaved_disc(num: int, patterns: int) -> NDArray[np.float32]:
    """``(patterns, num, 2)`` points of the unit disc: each pattern covers the disc evenly, and all
    of them together cover it evenly and finer.
    """
    total = num * patterns
    index = np.arange(total)
    radius = np.sqrt((index + 0.5) / total)
    angle = 2 * math.pi * _GOLDEN * index
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    # consecutive points differ little in radius and much in angle: deal them out in turn
    return np.ascontiguousarray(points.reshape(num, patterns, 2).swapaxes(0, 1), np.float32)


def pixel_offsets(num: int) -> NDArray[np.float32]:
    """``(num, 2)`` offsets from the pixel's centre, with the density of Cycles' pixel filter, so
    that the plain mean of samples there is the filtered value.
    """
    grid = np.linspace(-0.5, 0.5, 4001)
    phase = 2 * math.pi * (grid + 0.5)
    window = (
        0.35875
        - 0.48829 * np.cos(phase)
        + 0.14128 * np.cos(2 * phase)
        - 0.01168 * np.cos(3 * phase)
    )
    share = np.cumsum(window)
    share = (share - share[0]) / (share[-1] - share[0])
    index = np.arange(num)
    # a rank-1 lattice: every row and every column of the filter gets one sample
    along = (index + 0.5) / num
    across = ((index * _lattice_step(num)) % num + 0.5) / num
    x = np.interp(along, share, grid)
    y = np.interp(across, share, grid)
    return (np.stack([x, y], axis=1) * PIXEL_FILTER_WIDTH).astype(np.float32)


def _lattice_step(num: int) -> int:
    """The multiplier that keeps the lattice's points furthest apart on the torus."""

    def separation(step: int) -> float:
        index = np.arange(1, num)
        x, y = index / num, (index * step % num) / num
        return float(np.min(np.minimum(x, 1 - x) ** 2 + np.minimum(y, 1 - y) ** 2))

    steps = [step for step in range(1, max(num, 2)) if math.gcd(step, num) == 1]
    return max(steps, key=separation) if num > 1 else 1

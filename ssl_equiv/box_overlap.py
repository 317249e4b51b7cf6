"""Overlap of upright boxes, exact and batched in torch.

A box is ``x, y, z, length, width, height, yaw``: its centre and its sides in metres, yaw about +z
in radians, counter-clockwise from +x; its length lies along +x at yaw 0. Overlaps are computed in
float64 whatever comes in.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_BLOCK = 1 << 20  # pairs looked at at once: some 100 MiB
_X_SIGNS = (1.0, -1.0, -1.0, 1.0)  # corners counter-clockwise from front left
_Y_SIGNS = (1.0, 1.0, -1.0, -1.0)


def footprint_overlap(a: Tensor, b: Tensor) -> Tensor:
    """Area that footprints share, exact up to rounding, in any position (touching, equal, inside).

    In the frame of b let r clamp a point to b: its part of x to ± half of b's length, that of y to
    ± half of its width. The border ∂a, counter-clockwise, becomes a closed curve that winds once
    around every inner point of a ∩ b and around no other inner point of b, so by Green's theorem

        area(a ∩ b) = ∮_∂a r_x dr_y,

    a sum over the four edges of a. No vertices are sought or sorted, and a rounding error in a
    coordinate changes the area by no more than itself times the size of the box.

    Args:
        a: Boxes ``(..., 7)``.
        b: Boxes of a shape that broadcasts with ``a``.

    Returns:
        ``(...)`` float64 in square metres.
    """
    a, b = a.double(), b.double()
    half_length, half_width = b[..., 3:4] / 2, b[..., 4:5] / 2
    cos, sin = b[..., 6:].cos(), b[..., 6:].sin()
    away = a[..., :2] - b[..., :2]
    centre = away[..., :1] * cos + away[..., 1:] * sin, away[..., 1:] * cos - away[..., :1] * sin
    turn = a[..., 6:] - b[..., 6:]
    x = a.new_tensor(_X_SIGNS) * a[..., 3:4] / 2
    y = a.new_tensor(_Y_SIGNS) * a[..., 4:5] / 2
    x, y = (
        centre[0] + turn.cos() * x - turn.sin() * y,
        centre[1] + turn.sin() * x + turn.cos() * y,
    )
    x_to, y_to = x.roll(-1, -1), y.roll(-1, -1)
    # the part of each edge where r_y moves: y between -w/2 and w/2
    low, high = _clamp(y, half_width), _clamp(y_to, half_width)
    first = x + _share(low - y, y_to - y) * (x_to - x)
    last = x + _share(high - y, y_to - y) * (x_to - x)
    area = ((high - low) * _mean_of_clamped(first, last, half_length)).sum(dim=-1)
    return area.clamp_min(0.0)


def _clamp(value: Tensor, limit: Tensor) -> Tensor:
    return torch.minimum(torch.maximum(value, -limit), limit)


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """``part / whole`` in [0, 1]; 0 of nothing."""
    return (part / torch.where(whole == 0, math.inf, whole)).clamp(0.0, 1.0)


def _mean_of_clamped(first: Tensor, last: Tensor, limit: Tensor) -> Tensor:
    """Mean of ``clamp(x, -limit, limit)`` for x from ``first`` to ``last``: three trapezia."""
    way = last - first
    bend = torch.where(way < 0, -limit, limit)
    enter, leave = _share(-bend - first, way), _share(bend - first, way)
    heights = [_clamp(first + share * way, limit) for share in (enter, leave)]
    heights = [_clamp(first, limit), *heights, _clamp(last, limit)]
    return (
        enter * (heights[0] + heights[1])
        + (leave - enter) * (heights[1] + heights[2])
        + (1 - leave) * (heights[2] + heights[3])
    ) / 2


def overlaps(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection over union of boxes one by one.

    Args:
        a: Boxes ``(..., 7)``.
        b: Boxes of a shape that broadcasts with ``a``.

    Returns:
        Of the footprints (bird's eye view) and of the volumes, ``(...)`` float64 in [0, 1] each; 0
        for boxes without area or volume.
    """
    a, b = a.double(), b.double()
    area_a, area_b = a[..., 3] * a[..., 4], b[..., 3] * b[..., 4]
    shared = footprint_overlap(a, b)
    top = torch.minimum(a[..., 2] + a[..., 5] / 2, b[..., 2] + b[..., 5] / 2)
    bottom = torch.maximum(a[..., 2] - a[..., 5] / 2, b[..., 2] - b[..., 5] / 2)
    volume = shared * (top - bottom).clamp_min(0.0)
    return (
        _ratio(shared, area_a + area_b - shared),
        _ratio(volume, area_a * a[..., 5] + area_b * b[..., 5] - volume),
    )


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole > 0, part / torch.where(whole > 0, whole, 1.0), 0.0).clamp(0.0, 1.0)


def overlaps_of_pairs(a: Tensor, b: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`overlaps` of ``a[first]`` and ``b[second]``, in blocks, where they may touch at all.

    Args:
        a: Boxes ``(N, 7)``.
        b: Boxes ``(M, 7)``.
        first: Numbers ``(K,)`` into ``a``.
        second: Numbers ``(K,)`` into ``b``.

    Returns:
        Of footprints and of volumes, ``(K,)`` float64 each.
    """
    flat, solid = (torch.zeros(len(first), dtype=torch.float64, device=a.device) for _ in range(2))
    a, b = a.double(), b.double()
    for start in range(0, len(first), _BLOCK):
        some_a, some_b = a[first[start : start + _BLOCK]], b[second[start : start + _BLOCK]]
        away = (some_a[:, :2] - some_b[:, :2]).square().sum(dim=-1)
        reach = (some_a[:, 3:5].norm(dim=-1) + some_b[:, 3:5].norm(dim=-1)) / 2
        near = (away < reach.square()).nonzero()[:, 0]
        flat[start + near], solid[start + near] = overlaps(some_a[near], some_b[near])
    return flat, solid


def pairwise_overlaps(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`overlaps` of all boxes of ``a (N, 7)`` with all of ``b (M, 7)``, ``(N, M)`` each."""
    first = torch.arange(len(a), device=a.device).repeat_interleave(len(b))
    second = torch.arange(len(b), device=a.device).repeat(len(a))
    flat, solid = overlaps_of_pairs(a, b, first, second)
    return flat.view(len(a), len(b)), solid.view(len(a), len(b))

"""Reflections along the axes."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_equiv.groups.base import Group


class Flip(Group):
    """Flips of n axes: a sign +1 or -1 each, ``(..., n)``. Discrete: no ``log``, no ``exp``.

    ``sample`` flips an axis where a uniform number of its range is negative: never for (1, 1),
    with probability p for (-p, 1 - p), always for (-1, -1); one number for all axes or one each.
    Without a range, p = 1/2. ``distance`` counts the axes that differ.
    """

    log_dim = 0
    default_range = (-0.5, 0.5)

    def __init__(self, n: int) -> None:
        if n < 1:
            raise ValueError(f"Flip: need n >= 1, got {n}")
        self.name = f"Flip({n})"
        self.dim = self.point_dim = self.range_dim = n
        self.identity_element = (1.0,) * n

    def _compose(self, g: Tensor, h: Tensor) -> Tensor:
        return g * h

    def _inverse(self, g: Tensor) -> Tensor:
        return g

    def _matrix(self, g: Tensor) -> Tensor:
        return torch.diag_embed(g)

    def _act(self, g: Tensor, points: Tensor) -> Tensor:
        return points * g.unsqueeze(-2)

    def _distance(self, g: Tensor, h: Tensor) -> Tensor:
        return (g - h).abs().sum(-1) / 2

    def _from_range(self, drawn: Tensor) -> Tensor:
        return 1 - 2 * (drawn < 0).to(drawn)

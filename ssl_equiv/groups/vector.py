"""Translations and positive scalings of R^n."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_equiv.groups.base import Group, Range, homogeneous


class Translation(Group):
    """R^n under addition, ``(..., n)``, in the unit of the points.

    ``sample`` is uniform in the box, n numbers an end, [-1, 1] without one. ``distance`` is
    Euclidean; ``matrix`` is homogeneous, ``(..., n+1, n+1)``.
    """

    default_range = (-1.0, 1.0)

    def __init__(self, n: int) -> None:
        if n < 1:
            raise ValueError(f"Translation: need n >= 1, got {n}")
        self.name = f"Translation({n})"
        self.dim = self.log_dim = self.point_dim = self.range_dim = n
        self.identity_element = (0.0,) * n

    def _compose(self, g: Tensor, h: Tensor) -> Tensor:
        return g + h

    def _inverse(self, g: Tensor) -> Tensor:
        return -g

    def _matrix(self, g: Tensor) -> Tensor:
        eye = torch.eye(self.dim, dtype=g.dtype, device=g.device)
        return homogeneous(eye.expand(*g.shape, self.dim), g)

    def _act(self, g: Tensor, points: Tensor) -> Tensor:
        return points + g.unsqueeze(-2)

    def _log(self, g: Tensor) -> Tensor:
        return g

    def _exp(self, v: Tensor) -> Tensor:
        return v


class Scale(Group):
    """Positive scaling of R^n about the origin; an element is the factor, ``(..., 1)``.

    ``sample`` is log-uniform between two positive factors, [1/2, 2] without a range, so that a
    scaling and its inverse are equally likely. ``log`` is the natural logarithm and ``distance``
    its absolute difference; ``matrix`` is diagonal, ``(..., n, n)``.
    """

    dim = 1
    log_dim = 1
    range_dim = 1
    default_range = (0.5, 2.0)
    identity_element = (1.0,)

    def __init__(self, n: int = 3) -> None:
        if n < 1:
            raise ValueError(f"Scale: need n >= 1, got {n}")
        self.name = f"Scale({n})"
        self.point_dim = n

    def _compose(self, g: Tensor, h: Tensor) -> Tensor:
        return g * h

    def _inverse(self, g: Tensor) -> Tensor:
        return g.reciprocal()

    def _matrix(self, g: Tensor) -> Tensor:
        return torch.diag_embed(g.expand(*g.shape[:-1], self.point_dim))

    def _act(self, g: Tensor, points: Tensor) -> Tensor:
        return points * g.unsqueeze(-2)

    def _log(self, g: Tensor) -> Tensor:
        return g.log()

    def _exp(self, v: Tensor) -> Tensor:
        return v.exp()

    def _bounds(self, low: Range, high: Range) -> Tensor:
        box = super()._bounds(low, high)
        if not (box > 0).all():
            raise ValueError(f"{self.name}: factors must be positive, got {low}, {high}")
        return box.log()

    def _from_range(self, drawn: Tensor) -> Tensor:
        return drawn.exp()

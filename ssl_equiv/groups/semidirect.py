"""Linear actions and translations of the same space."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_equiv.groups.base import Group, Range, homogeneous
from ssl_equiv.groups.product import Product
from ssl_equiv.groups.vector import Translation


class Semidirect(Group):
    """R^n acted on by a linear group L: an element (A, t) maps x to A x + t.

    ``compose`` is (A, t)(B, s) = (A B, t + A s), which no list of independent factors gives. An
    element is A's, then t; ``matrix`` is homogeneous, ``(..., n+1, n+1)``. ``sample`` takes ranges
    by name, ``"translation"`` and ``linear_name``.

    Args:
        linear: L; its ``matrix`` must be ``point_dim`` square.
    """

    linear_name = "linear"

    def __init__(self, linear: Group) -> None:
        self.linear = linear
        self._product = Product(
            {self.linear_name: linear, "translation": Translation(linear.point_dim)}
        )
        self.name = f"Semidirect({linear})"
        self.dim, self.log_dim = self._product.dim, self._product.log_dim
        self.point_dim = linear.point_dim
        self.identity_element = self._product.identity_element
        self.invertible = linear.invertible

    def parts(self, g: Tensor) -> tuple[Tensor, Tensor]:
        """The linear element ``A (..., dim - n)`` and the translation ``t (..., n)``."""
        linear, translation = self._product.split(g).values()
        return linear, translation

    def element(self, linear: Tensor, translation: Tensor) -> Tensor:
        """The inverse of ``parts``; leading dimensions broadcast."""
        return self._product.join({self.linear_name: linear, "translation": translation})

    def _compose(self, g: Tensor, h: Tensor) -> Tensor:
        (a, t), (b, s) = self.parts(g), self.parts(h)
        return torch.cat((self.linear.compose(a, b), t + self._turn(a, s)), dim=-1)

    def _inverse(self, g: Tensor) -> Tensor:
        a, t = self.parts(g)
        a = self.linear.inverse(a)
        return torch.cat((a, -self._turn(a, t)), dim=-1)

    def _matrix(self, g: Tensor) -> Tensor:
        a, t = self.parts(g)
        return homogeneous(self.linear.matrix(a), t)

    def _act(self, g: Tensor, points: Tensor) -> Tensor:
        a, t = self.parts(g)
        return self.linear.act(a, points) + t.unsqueeze(-2)

    def _sample(
        self,
        shape: tuple[int, ...],
        low: Range | None,
        high: Range | None,
        generator: torch.Generator | None,
        dtype: torch.dtype | None,
        device: torch.device | str | None,
    ) -> Tensor:
        return self._product._sample(shape, low, high, generator, dtype, device)

    def _turn(self, a: Tensor, vector: Tensor) -> Tensor:
        """``A v`` for one vector an element."""
        return self.linear.act(a, vector.unsqueeze(-2)).squeeze(-2)

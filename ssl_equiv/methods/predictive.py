"""What methods with an action-conditioned predictor offer to those who judge it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ssl_equiv.groups import Group, Product


class Predictive:
    """A method that learnt how embeddings move: mixed into :class:`Method`.

    With ``e = embed(f(x))`` and a relative element g of the views x and y, ``predict(e, g)`` stands
    where the method's loss compares it with ``embed(f(y))``. Both work on features, so that cached
    ones can be judged without an image; the modules should be in evaluation mode.

    Attributes:
        factors: Factors of variation whose relative elements the predictor is told; none where
            it is told nothing.
    """

    factors: tuple[str, ...]

    @property
    def directions(self) -> bool:
        """Whether the loss compares directions (cosines): lengths then mean nothing."""
        return False

    def elements(
        self, actions: Mapping[str, Tensor], groups: Mapping[str, Group]
    ) -> tuple[Group, Tensor]:
        """The group that the predictor acts with, and the views' absolute elements of it.

        Args:
            actions: Absolute elements of every factor, ``{factor: (..., dim)}``.
            groups: Their groups.

        Returns:
            A group, by default the product of the factors', and ``(..., K)``: ``group.relative``
            of two views is what :meth:`predict` takes.
        """
        group = Product({factor: groups[factor] for factor in self.factors})
        return group, group.join({factor: actions[factor] for factor in self.factors})

    def embed(self, features: Tensor) -> Tensor:
        """What the predictor moves, ``(B, E)``, of representations ``(B, D)``."""
        raise NotImplementedError  # as Method.terms

    def predict(self, embedding: Tensor, actions: Tensor) -> Tensor:
        """Each embedding moved by T elements: ``(B, E)`` and ``(B, T, K)`` to ``(B, T, E)``."""
        raise NotImplementedError  # as Method.terms

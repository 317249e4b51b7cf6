"""SIE: split invariant-equivariant representations (Garrido et al. 2023, arXiv 2302.10283)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.data.views import ViewBatch
from ssl_equiv.distributed import global_batch
from ssl_equiv.errors import UserError
from ssl_equiv.heads import action_predictor, projector
from ssl_equiv.losses import covariance, invariance, variance
from ssl_equiv.methods.actions import relative_action
from ssl_equiv.methods.base import Method, OptimizerConfig
from ssl_equiv.methods.predictive import Predictive
from ssl_equiv.representation import Representation


class SIE(Predictive, Method):
    """The first columns are invariant; the last follow the relative action of the two views.

    With x and y the projected views, ``ŷ = W(g) x_equi`` the prediction for relative action g,
    and X = [x_inv, x_equi]::

        loss = w_inv · MSE(x_inv, y_inv) + w_equi · MSE(ŷ, y_equi)
             + w_var · (V(X) + V(Y)) / 2 + w_pred · V(ŷ) / 2 + w_cov · (C(X) + C(Y))

    Args:
        backbone: The network that is pretrained.
        optimizer: Optimiser and schedule.
        equi_dim: Width of the equivariant part; None for half of the representation. The whole
            width leaves out the invariant part and its term (the papers' "only equivariant").
        predictor: ``linear`` in the action, or ``deep``: an MLP whose weights an MLP makes of it.
        projector_widths: Widths of the projector's layers, shared out to the two parts'
            projectors by the parts' widths.
        factors: Factors of variation whose relative elements, concatenated, are the action.
        invariance_weight: Coefficient of the invariance term (lambda).
        equivariance_weight: Coefficient of the equivariance term (0.45 lambda).
        variance_weight: Coefficient of the variance term.
        prediction_variance_weight: Coefficient of the predictions' variance term.
        covariance_weight: Coefficient of the covariance term.
        compile: Compile the backbone with ``torch.compile``.
        channels_last: Keep the backbone in channels-last memory format.
        action_dim: Entries of the action: the factors' element widths, summed (4 for a rotation).
    """

    def __init__(
        self,
        backbone: BackboneConfig = BackboneConfig(),  # noqa: B008 (frozen)
        optimizer: OptimizerConfig = OptimizerConfig(),  # noqa: B008 (frozen)
        equi_dim: int | None = None,
        predictor: Literal["linear", "deep"] = "linear",
        projector_widths: tuple[int, ...] = (2048, 2048, 2048),
        factors: tuple[str, ...] = ("rotation",),
        action_dim: int = 4,
        invariance_weight: float = 10.0,
        equivariance_weight: float = 4.5,
        variance_weight: float = 10.0,
        prediction_variance_weight: float = 10.0,
        covariance_weight: float = 1.0,
        compile: bool = False,
        channels_last: bool = True,
    ) -> None:
        super().__init__(backbone, optimizer, compile, channels_last)
        self.equi_dim = self.dim // 2 if equi_dim is None else equi_dim
        if not 0 < self.equi_dim <= self.dim:
            raise UserError(
                f"model.equi_dim is {equi_dim}, but the backbone has {self.dim} columns: choose 1 "
                f"to {self.dim}, the last for no invariant part"
            )
        self.factors = tuple(factors)
        equi_widths = [width * self.equi_dim // self.dim for width in projector_widths]
        inv_widths = [w - e for w, e in zip(projector_widths, equi_widths, strict=True)]
        split = self.equi_dim < self.dim
        self.projector_inv = projector(self.dim - self.equi_dim, inv_widths) if split else None
        self.projector_equi = projector(self.equi_dim, equi_widths)
        self.predictor = action_predictor(predictor, action_dim, equi_widths[-1])
        self.weights = {
            **({"invariance": invariance_weight} if split else {}),
            "equivariance": equivariance_weight,
            "variance": variance_weight,
            "prediction_variance": prediction_variance_weight,
            "covariance": covariance_weight,
        }

    @property
    def parts(self) -> dict[str, tuple[int, int]]:
        """``inv``, where there is an invariant part, and ``equi``."""
        split = self.dim - self.equi_dim
        return {**({"inv": (0, split)} if split else {}), "equi": (split, self.dim)}

    def terms(self, views: list[Representation], batch: ViewBatch) -> dict[str, Tensor]:
        """The terms of the loss."""
        action = relative_action(batch, self.factors, self.predictor.action_dim)
        return self.terms_of_action(views, action)

    def terms_of_action(self, views: list[Representation], action: Tensor) -> dict[str, Tensor]:
        """The terms for two views and their relative action ``(B, K)``."""
        x_equi, y_equi = self.projector_equi.each([view["equi"] for view in views])
        prediction = self.predictor(x_equi, action)
        x, y, terms = x_equi, y_equi, {}
        if self.projector_inv is not None:
            x_inv, y_inv = self.projector_inv.each([view["inv"] for view in views])
            x, y = torch.cat([x_inv, x_equi], dim=1), torch.cat([y_inv, y_equi], dim=1)
            terms["invariance"] = invariance(x_inv, y_inv)
        x, y = global_batch(x), global_batch(y)
        return terms | {
            "equivariance": invariance(prediction, y_equi),
            "variance": (variance(x) + variance(y)) / 2,
            "prediction_variance": variance(global_batch(prediction)) / 2,
            "covariance": covariance(x) + covariance(y),
        }

    def embed(self, features: Tensor) -> Tensor:
        """The projected equivariant part."""
        embedding: Tensor = self.projector_equi(features[:, -self.equi_dim :])
        return embedding

    def predict(self, embedding: Tensor, actions: Tensor) -> Tensor:
        """Each embedding moved by T elements."""
        return self.predictor.orbit(embedding, actions)

"""EquiMod: an equivariance module beside an invariant one (Devillers & Lefort 2023, 2211.01244)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.data.views import ViewBatch
from ssl_equiv.distributed import global_batch
from ssl_equiv.heads import ActionLinear, projector
from ssl_equiv.losses import check_temperature, covariance, info_nce, invariance, variance
from ssl_equiv.methods.actions import relative_action
from ssl_equiv.methods.base import Method, OptimizerConfig
from ssl_equiv.methods.predictive import Predictive
from ssl_equiv.representation import Representation


class EquiMod(Predictive, Method):
    """Two projectors see the whole representation; through one views agree, through the other they
    are moved by the action: ``loss = L(x_inv, y_inv) + w · L(W(g) x_equi, y_equi)``.

    L is SimCLR's or VICReg's loss. As in SIE's comparisons (arXiv 2302.10283), the predictor is
    the linear hypernetwork, and VICReg's variance and covariance of the equivariant half are those
    of x_equi and y_equi.

    Args:
        backbone: The network that is pretrained.
        optimizer: Optimiser and schedule.
        objective: L, ``simclr`` or ``vicreg``.
        projector_widths: Widths of each projector's layers.
        factors: Factors of variation whose relative elements, concatenated, are the action.
        action_dim: Entries of the action: the factors' element widths, summed (4 for a rotation).
        equivariance_weight: w.
        temperature: Divides the cosines (``simclr``).
        invariance_weight: Coefficient of the mean squared differences (``vicreg``).
        variance_weight: Coefficient of the variance terms (``vicreg``).
        covariance_weight: Coefficient of the covariance terms (``vicreg``).
        compile: Compile the backbone with ``torch.compile``.
        channels_last: Keep the backbone in channels-last memory format.
    """

    def __init__(
        self,
        backbone: BackboneConfig = BackboneConfig(),  # noqa: B008 (frozen)
        optimizer: OptimizerConfig = OptimizerConfig(),  # noqa: B008 (frozen)
        objective: Literal["simclr", "vicreg"] = "simclr",
        projector_widths: tuple[int, ...] = (2048, 2048, 2048),
        factors: tuple[str, ...] = ("rotation",),
        action_dim: int = 4,
        equivariance_weight: float = 0.45,
        temperature: float = 0.1,
        invariance_weight: float = 10.0,
        variance_weight: float = 10.0,
        covariance_weight: float = 1.0,
        compile: bool = False,
        channels_last: bool = True,
    ) -> None:
        check_temperature(temperature)
        super().__init__(backbone, optimizer, compile, channels_last)
        self.objective, self.factors, self.temperature = objective, tuple(factors), temperature
        self.projector_inv = projector(self.dim, projector_widths)
        self.projector_equi = projector(self.dim, projector_widths)
        self.predictor = ActionLinear(action_dim, projector_widths[-1])
        if objective == "simclr":
            self.weights = {"invariance": 1.0, "equivariance": equivariance_weight}
        else:
            each = {
                "invariance": invariance_weight,
                "variance": variance_weight,
                "covariance": covariance_weight,
            }
            self.weights = {
                **each,
                "equivariance": equivariance_weight * each["invariance"],
                "equi_variance": equivariance_weight * each["variance"],
                "equi_covariance": equivariance_weight * each["covariance"],
            }

    def terms(self, views: list[Representation], batch: ViewBatch) -> dict[str, Tensor]:
        """The terms of both modules."""
        action = relative_action(batch, self.factors, self.predictor.action_dim)
        return self.terms_of_action(views, action)

    def terms_of_action(self, views: list[Representation], action: Tensor) -> dict[str, Tensor]:
        """The terms for two views and their relative action ``(B, K)``."""
        features = [view.features for view in views]
        x_inv, y_inv = map(global_batch, self.projector_inv.each(features))
        x_equi, y_equi = self.projector_equi.each(features)
        prediction = global_batch(self.predictor(x_equi, action))
        x_equi, y_equi = global_batch(x_equi), global_batch(y_equi)
        if self.objective == "simclr":
            return {
                "invariance": info_nce(x_inv, y_inv, self.temperature),
                "equivariance": info_nce(prediction, y_equi, self.temperature),
            }
        return {
            "invariance": invariance(x_inv, y_inv),
            "variance": (variance(x_inv) + variance(y_inv)) / 2,
            "covariance": covariance(x_inv) + covariance(y_inv),
            "equivariance": invariance(prediction, y_equi),
            "equi_variance": (variance(x_equi) + variance(y_equi)) / 2,
            "equi_covariance": covariance(x_equi) + covariance(y_equi),
        }

    @property
    def directions(self) -> bool:
        """SimCLR's loss compares cosines, VICReg's differences."""
        return self.objective == "simclr"

    def embed(self, features: Tensor) -> Tensor:
        """The representation through the equivariant projector."""
        embedding: Tensor = self.projector_equi(features)
        return embedding

    def predict(self, embedding: Tensor, actions: Tensor) -> Tensor:
        """Each embedding moved by T elements."""
        return self.predictor.orbit(embedding, actions)

"""SEN: representations that only follow (Park et al. 2022, arXiv 2204.11371)."""

from __future__ import annotations

from torch import Tensor

from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.data.views import ViewBatch
from ssl_equiv.distributed import global_batch
from ssl_equiv.heads import ActionLinear, projector
from ssl_equiv.losses import check_temperature, info_nce
from ssl_equiv.methods.actions import relative_action
from ssl_equiv.methods.base import Method, OptimizerConfig
from ssl_equiv.methods.predictive import Predictive
from ssl_equiv.representation import Representation


class SEN(Predictive, Method):
    """The moved embedding of one view is nearest to that of the other: ``InfoNCE(W(g) x, y)``.

    As in SIE's comparisons (arXiv 2302.10283): a symmetric embedding network's objective with
    InfoNCE for its triplet loss and the linear hypernetwork for its known representation of the
    group. There is no invariant term.

    Args:
        backbone: The network that is pretrained.
        optimizer: Optimiser and schedule.
        projector_widths: Widths of the projector's layers.
        factors: Factors of variation whose relative elements, concatenated, are the action.
        action_dim: Entries of the action: the factors' element widths, summed (4 for a rotation).
        temperature: Divides the cosines of the loss.
        compile: Compile the backbone with ``torch.compile``.
        channels_last: Keep the backbone in channels-last memory format.
    """

    def __init__(
        self,
        backbone: BackboneConfig = BackboneConfig(),  # noqa: B008 (frozen)
        optimizer: OptimizerConfig = OptimizerConfig(),  # noqa: B008 (frozen)
        projector_widths: tuple[int, ...] = (2048, 2048, 2048),
        factors: tuple[str, ...] = ("rotation",),
        action_dim: int = 4,
        temperature: float = 0.1,
        compile: bool = False,
        channels_last: bool = True,
    ) -> None:
        check_temperature(temperature)
        super().__init__(backbone, optimizer, compile, channels_last)
        self.factors, self.temperature = tuple(factors), temperature
        self.projector_equi = projector(self.dim, projector_widths)
        self.predictor = ActionLinear(action_dim, projector_widths[-1])
        self.weights = {"equivariance": 1.0}

    def terms(self, views: list[Representation], batch: ViewBatch) -> dict[str, Tensor]:
        """The contrastive loss of prediction and second view."""
        action = relative_action(batch, self.factors, self.predictor.action_dim)
        return self.terms_of_action(views, action)

    def terms_of_action(self, views: list[Representation], action: Tensor) -> dict[str, Tensor]:
        """The term for two views and their relative action ``(B, K)``."""
        x, y = self.projector_equi.each([view.features for view in views])
        prediction = global_batch(self.predictor(x, action))
        return {"equivariance": info_nce(prediction, global_batch(y), self.temperature)}

    @property
    def directions(self) -> bool:
        """The contrastive loss compares cosines."""
        return True

    def embed(self, features: Tensor) -> Tensor:
        """The projected representation."""
        embedding: Tensor = self.projector_equi(features)
        return embedding

    def predict(self, embedding: Tensor, actions: Tensor) -> Tensor:
        """Each embedding moved by T elements."""
        return self.predictor.orbit(embedding, actions)

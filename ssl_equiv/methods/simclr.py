"""SimCLR: the contrastive invariant baseline (Chen et al. 2020, arXiv 2002.05709)."""

from __future__ import annotations

from torch import Tensor

from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.data.views import ViewBatch
from ssl_equiv.distributed import global_batch
from ssl_equiv.heads import projector
from ssl_equiv.losses import check_temperature, info_nce
from ssl_equiv.methods.base import Method, OptimizerConfig
from ssl_equiv.representation import Representation


class SimCLR(Method):
    """Two views of an object are each other's nearest in the batch.

    Args:
        backbone: The network that is pretrained.
        optimizer: Optimiser and schedule.
        projector_widths: Widths of the projector's layers.
        temperature: Divides the cosines of the loss.
        compile: Compile the backbone with ``torch.compile``.
        channels_last: Keep the backbone in channels-last memory format.
    """

    def __init__(
        self,
        backbone: BackboneConfig = BackboneConfig(),  # noqa: B008 (frozen)
        optimizer: OptimizerConfig = OptimizerConfig(),  # noqa: B008 (frozen)
        projector_widths: tuple[int, ...] = (2048, 2048, 2048),
        temperature: float = 0.1,
        compile: bool = False,
        channels_last: bool = True,
    ) -> None:
        check_temperature(temperature)
        super().__init__(backbone, optimizer, compile, channels_last)
        self.projector = projector(self.dim, projector_widths)
        self.temperature = temperature
        self.weights = {"contrast": 1.0}

    def terms(
        self, views: list[Representation], batch: ViewBatch | None = None
    ) -> dict[str, Tensor]:
        """The contrastive loss of the two projected views."""
        x, y = map(global_batch, self.projector.each([view.features for view in views]))
        return {"contrast": info_nce(x, y, self.temperature)}

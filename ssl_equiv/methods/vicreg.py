"""VICReg: the invariant baseline (Bardes et al. 2022, arXiv 2105.04906)."""

from __future__ import annotations

from torch import Tensor

from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.data.views import ViewBatch
from ssl_equiv.distributed import global_batch
from ssl_equiv.errors import UserError
from ssl_equiv.heads import projector
from ssl_equiv.losses import covariance, invariance, variance
from ssl_equiv.methods.base import Method, OptimizerConfig
from ssl_equiv.representation import Representation


class VICReg(Method):
    """Two views' embeddings agree, vary over the batch, and are decorrelated.

    ``loss = w_inv · MSE(x, y) + w_var · (V(x) + V(y)) / 2 + w_cov · (C(x) + C(y))``.

    Args:
        backbone: The network that is pretrained.
        optimizer: Optimiser and schedule.
        projector_widths: Widths of the projector's layers.
        free_dims: Last columns of the embedding that the invariance term leaves free ("VICReg,
            part invariant" of SIE's comparisons).
        invariance_weight: Coefficient of the invariance term.
        variance_weight: Coefficient of the variance term.
        covariance_weight: Coefficient of the covariance term.
        compile: Compile the backbone with ``torch.compile``.
        channels_last: Keep the backbone in channels-last memory format.
    """

    def __init__(
        self,
        backbone: BackboneConfig = BackboneConfig(),  # noqa: B008 (frozen)
        optimizer: OptimizerConfig = OptimizerConfig(),  # noqa: B008 (frozen)
        projector_widths: tuple[int, ...] = (2048, 2048, 2048),
        free_dims: int = 0,
        invariance_weight: float = 10.0,
        variance_weight: float = 10.0,
        covariance_weight: float = 1.0,
        compile: bool = False,
        channels_last: bool = True,
    ) -> None:
        super().__init__(backbone, optimizer, compile, channels_last)
        self.projector = projector(self.dim, projector_widths)
        if not 0 <= free_dims < projector_widths[-1]:
            raise UserError(
                f"model.free_dims is {free_dims}, but the embedding has {projector_widths[-1]} "
                f"columns: choose 0 to {projector_widths[-1] - 1}"
            )
        self.invariant_dims = projector_widths[-1] - free_dims
        self.weights = {
            "invariance": invariance_weight,
            "variance": variance_weight,
            "covariance": covariance_weight,
        }

    def terms(
        self, views: list[Representation], batch: ViewBatch | None = None
    ) -> dict[str, Tensor]:
        """Invariance, variance and covariance of the two projected views."""
        x, y = self.projector.each([view.features for view in views])
        x_global, y_global = global_batch(x), global_batch(y)
        return {
            "invariance": invariance(x[:, : self.invariant_dims], y[:, : self.invariant_dims]),
            "variance": (variance(x_global) + variance(y_global)) / 2,
            "covariance": covariance(x_global) + covariance(y_global),
        }

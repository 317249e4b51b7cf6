"""AugSelf: SimCLR that also tells the action (Lee et al. 2021, arXiv 2111.09613)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.data.views import ViewBatch
from ssl_equiv.losses import invariance
from ssl_equiv.methods.actions import relative_action
from ssl_equiv.methods.base import OptimizerConfig
from ssl_equiv.methods.simclr import SimCLR
from ssl_equiv.representation import Representation


class AugSelf(SimCLR):
    """SimCLR plus an MLP that regresses the relative action from both views' representations.

    ``loss = InfoNCE(x, y) + w · MSE(MLP([f_x, f_y]), g)``, the MLP of widths 2D-2D-2D-K with ReLU.

    Args:
        backbone: The network that is pretrained.
        optimizer: Optimiser and schedule.
        projector_widths: Widths of the projector's layers.
        factors: Factors of variation whose relative elements, concatenated, are the action.
        action_dim: Entries of the action: the factors' element widths, summed (4 for a rotation).
        temperature: Divides the cosines of the loss.
        action_weight: Coefficient of the regression.
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
        action_weight: float = 1.0,
        compile: bool = False,
        channels_last: bool = True,
    ) -> None:
        super().__init__(backbone, optimizer, projector_widths, temperature, compile, channels_last)
        self.factors, self.action_dim = tuple(factors), action_dim
        width = 2 * self.dim
        self.regressor = nn.Sequential(
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, action_dim),
        )
        self.weights = {"contrast": 1.0, "action": action_weight}

    def terms(
        self, views: list[Representation], batch: ViewBatch | None = None
    ) -> dict[str, Tensor]:
        """The contrastive loss and the regression of the action."""
        assert batch is not None
        action = relative_action(batch, self.factors, self.action_dim)
        return self.terms_of_action(views, action)

    def terms_of_action(self, views: list[Representation], action: Tensor) -> dict[str, Tensor]:
        """The terms for two views and their relative action ``(B, K)``."""
        told = self.regressor(torch.cat([view.features for view in views], dim=1))
        return super().terms(views) | {"action": invariance(told, action)}

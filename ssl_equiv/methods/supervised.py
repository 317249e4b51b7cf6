"""The supervised upper bound: the same backbone told the class and the relative action."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.data.views import ViewBatch
from ssl_equiv.errors import UserError
from ssl_equiv.losses import invariance
from ssl_equiv.methods.actions import relative_action
from ssl_equiv.methods.base import Method, OptimizerConfig
from ssl_equiv.precision import at_least_float32
from ssl_equiv.representation import Representation


class Supervised(Method):
    """``loss = w_class · CE(linear(f), label) + w_action · MSE(MLP([f_x, f_y]), g)``.

    The MLP is that of the rotation probe, 2D-1024-1024-K. With one weight 0 it is the bound for
    the other task alone; with ``action_weight`` 0 the data need no factor.

    Args:
        backbone: The network that is pretrained.
        optimizer: Optimiser and schedule.
        num_classes: Classes of the data.
        factors: Factors of variation whose relative elements, concatenated, are the action.
        action_dim: Entries of the action: the factors' element widths, summed (4 for a rotation).
        class_weight: Coefficient of the classification, both views.
        action_weight: Coefficient of the regression.
        compile: Compile the backbone with ``torch.compile``.
        channels_last: Keep the backbone in channels-last memory format.
    """

    def __init__(
        self,
        backbone: BackboneConfig = BackboneConfig(),  # noqa: B008 (frozen)
        optimizer: OptimizerConfig = OptimizerConfig(),  # noqa: B008 (frozen)
        num_classes: int = 55,
        factors: tuple[str, ...] = ("rotation",),
        action_dim: int = 4,
        class_weight: float = 1.0,
        action_weight: float = 1.0,
        compile: bool = False,
        channels_last: bool = True,
    ) -> None:
        super().__init__(backbone, optimizer, compile, channels_last)
        self.factors, self.action_dim, self.num_classes = tuple(factors), action_dim, num_classes
        self.classifier = nn.Linear(self.dim, num_classes)
        self.regressor: nn.Sequential | None = None
        self.weights = {"classification": class_weight}
        if action_weight != 0:
            self.regressor = nn.Sequential(
                nn.Linear(2 * self.dim, 1024),
                nn.ReLU(),
                nn.Linear(1024, 1024),
                nn.ReLU(),
                nn.Linear(1024, action_dim),
            )
            self.weights["action"] = action_weight

    def terms(self, views: list[Representation], batch: ViewBatch) -> dict[str, Tensor]:
        """Cross-entropy of both views, and the regression of the action."""
        x, y = (view.features for view in views)
        logits = self.classifier(torch.cat([x, y]))
        terms = {"classification": F.cross_entropy(at_least_float32(logits), batch.label.repeat(2))}
        if self.regressor is not None:
            action = relative_action(batch, self.factors, self.action_dim)
            terms["action"] = invariance(self.regressor(torch.cat([x, y], dim=1)), action)
        return terms

    def on_fit_start(self) -> None:
        """Refuse data with more classes than the classifier has, before a step is taken."""
        source = getattr(self.trainer.datamodule, "source", None)  # type: ignore[attr-defined]
        found = len(getattr(source, "classes", ()))
        if found > self.num_classes:
            raise UserError(
                f"model.num_classes is {self.num_classes}, but the data have {found} classes: set "
                "it to that"
            )

"""BYOL (Grill et al. 2020, arXiv 2006.07733), and BYOL whose predictor is told the action."""

from __future__ import annotations

import torch
from lightly.models.modules.heads import BYOLPredictionHead, BYOLProjectionHead
from torch import Tensor, nn

from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.data.views import ViewBatch
from ssl_equiv.losses import cosine_distance
from ssl_equiv.methods.actions import relative_action
from ssl_equiv.methods.base import Method, OptimizerConfig
from ssl_equiv.methods.momentum import MomentumConfig, MomentumTarget
from ssl_equiv.methods.predictive import Predictive
from ssl_equiv.representation import Representation


class BYOL(Predictive, Method):
    """Each view's embedding predicts the other's in a slowly following target network.

    ``loss = 2 · (d(p(x), y') + d(p(y), x'))`` with ``d = 1 - cos`` (Eqs. 2 and 3), where x, y are
    the online network's embeddings, x', y' the target's, and p the predictor.

    With ``factors`` the predictor is told the relative action as well ("conditional BYOL" of
    seq-JEPA's comparisons, arXiv 2505.03176): p takes the embedding beside
    ``Linear(no bias) → BatchNorm (no affine)`` of the action to the view that is predicted.

    Args:
        backbone: The network that is pretrained.
        optimizer: Optimiser and schedule.
        hidden_width: Width of the hidden layer of projector and predictor.
        embedding_width: Width of the embeddings.
        factors: Factors of variation whose relative elements, concatenated, condition the
            predictor; none for BYOL itself.
        action_dim: Entries of the action: the factors' element widths, summed (4 for a rotation).
        action_width: Width of the action's embedding.
        momentum: How slowly the target follows.
        compile: Compile the backbone with ``torch.compile``.
        channels_last: Keep the backbone in channels-last memory format.
    """

    def __init__(
        self,
        backbone: BackboneConfig = BackboneConfig(),  # noqa: B008 (frozen)
        optimizer: OptimizerConfig = OptimizerConfig(),  # noqa: B008 (frozen)
        hidden_width: int = 4096,
        embedding_width: int = 256,
        factors: tuple[str, ...] = (),
        action_dim: int = 4,
        action_width: int = 128,
        momentum: MomentumConfig = MomentumConfig(),  # noqa: B008 (frozen)
        compile: bool = False,
        channels_last: bool = True,
    ) -> None:
        super().__init__(backbone, optimizer, compile, channels_last)
        self.factors, self.action_dim = tuple(factors), action_dim
        self.projector = BYOLProjectionHead(self.dim, hidden_width, embedding_width)
        told = embedding_width
        if factors:
            told += action_width
            self.embed_action = nn.Sequential(
                nn.Linear(action_dim, action_width, bias=False),
                nn.BatchNorm1d(action_width, affine=False),
            )
        self.predictor = BYOLPredictionHead(told, hidden_width, embedding_width)
        self.target = MomentumTarget(nn.Sequential(self.backbone, self.projector), momentum)
        if compile:  # a copy of a compiled network is not compiled
            self.target.network.compile()
        self.weights = {"prediction": 2.0}

    def terms(self, views: list[Representation], batch: ViewBatch) -> dict[str, Tensor]:
        """The distance of predictions and targets, both ways."""
        targets = [
            self.target(batch.images[:, view].contiguous(memory_format=self.memory_format))
            for view in (0, 1)
        ]
        x, y = (self.projector(view.features) for view in views)
        there, back = self._predict(x, batch, 0, 1), self._predict(y, batch, 1, 0)
        return {
            "prediction": cosine_distance(there, targets[1]) + cosine_distance(back, targets[0])
        }

    def _predict(self, x: Tensor, batch: ViewBatch, start: int, end: int) -> Tensor:
        """The prediction of view ``end`` from the embedding of view ``start``."""
        if self.factors:
            action = relative_action(batch, self.factors, self.action_dim, start, end)
            return self._moved(x, action)
        prediction: Tensor = self.predictor(x)
        return prediction

    def _moved(self, x: Tensor, action: Tensor) -> Tensor:
        told = torch.cat([x, self.embed_action(action.to(x.dtype))], dim=1)
        prediction: Tensor = self.predictor(told)
        return prediction

    @property
    def directions(self) -> bool:
        """The loss compares cosines."""
        return True

    def embed(self, features: Tensor) -> Tensor:
        """The online network's embedding; it stands for the target's, which follows it."""
        embedding: Tensor = self.projector(features)
        return embedding

    def predict(self, embedding: Tensor, actions: Tensor) -> Tensor:
        """Each embedding moved by T elements; for BYOL with ``factors``."""
        times = actions.shape[1]
        moved = self._moved(embedding.repeat_interleave(times, dim=0), actions.flatten(0, 1))
        return moved.view(embedding.shape[0], times, -1)

    def on_fit_start(self) -> None:
        """Refuse a run without an end before it starts, where the momentum needs one."""
        self.target.config.at(0, self.trainer.estimated_stepping_batches)

    def after_optimizer_step(self, step: int) -> None:
        """Let the target follow."""
        online = nn.Sequential(self.backbone, self.projector)
        self.target.update(online, step, self.trainer.estimated_stepping_batches)

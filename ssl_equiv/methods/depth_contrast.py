"""DepthContrast on sweeps (Zhang et al. 2021, arXiv 2101.02691): the invariant baseline."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_equiv.backbones.lidar import EncoderConfig
from ssl_equiv.data.lidar.batch import LidarBatch
from ssl_equiv.distributed import global_batch
from ssl_equiv.errors import UserError
from ssl_equiv.heads import projector
from ssl_equiv.losses import check_temperature
from ssl_equiv.methods.base import OptimizerConfig
from ssl_equiv.methods.lidar import LIDAR_OPTIMIZER, BevRepresentation, LidarMethod
from ssl_equiv.methods.momentum import MomentumConfig, MomentumTarget
from ssl_equiv.representation import Representation


class DepthContrast(LidarMethod):
    """Pooled features of two views of a sweep agree, and differ from those of earlier sweeps.

    Momentum contrast as the paper's within one format: the second view goes through the moving
    average, the keys of past steps are the negatives.

    Args:
        backbone: The encoder that is pretrained.
        optimizer: Optimiser and schedule.
        queue: Keys of past steps.
        temperature: Divides the cosines.
        projector_widths: Widths of the projector's layers.
        momentum: How the target follows.
        compile: Compile the two-dimensional part of the encoder.
    """

    queue: Tensor

    def __init__(
        self,
        backbone: EncoderConfig = EncoderConfig(),  # noqa: B008 (frozen)
        optimizer: OptimizerConfig = LIDAR_OPTIMIZER,
        queue: int = 16384,
        temperature: float = 0.1,
        projector_widths: tuple[int, ...] = (512, 128),
        momentum: MomentumConfig = MomentumConfig(start=0.999, schedule="constant"),  # noqa: B008
        compile: bool = False,
    ) -> None:
        check_temperature(temperature)
        if queue < 1:
            raise UserError(f"model.queue is {queue}: keep one key or more")
        super().__init__(backbone, optimizer, compile)
        self.temperature = temperature
        self.projector = projector(self.dim, projector_widths)
        self.target = MomentumTarget(nn.ModuleList([self.backbone, self.projector]), momentum)
        self.register_buffer("queue", F.normalize(torch.randn(queue, projector_widths[-1]), dim=1))
        self.weights = {"contrast": 1.0}

    def encode_batch(self, batch: LidarBatch) -> list[Representation]:
        """The first view: the second is the target's."""
        return [self.encode(batch.views[0])]

    def terms(self, views: list[BevRepresentation], batch: LidarBatch) -> dict[str, Tensor]:
        """InfoNCE of each sweep's key among the queue's."""
        with torch.no_grad():
            encoder, embed = cast(nn.ModuleList, self.target.network)
            keys = F.normalize(embed(encoder(batch.views[1]).pooled()).float(), dim=1)
            keys = global_batch(keys).to(self.queue)
        queries = F.normalize(global_batch(self.projector(views[0].features)).float(), dim=1)
        queries = queries.to(keys)
        right = (queries * keys).sum(dim=1, keepdim=True)
        logits = torch.cat([right, queries @ self.queue.clone().T], dim=1) / self.temperature
        if self.training:
            self.queue.copy_(torch.cat([keys, self.queue])[: len(self.queue)])
        return {"contrast": F.cross_entropy(logits, torch.zeros_like(logits[:, 0]).long())}

    def on_fit_start(self) -> None:
        """Refuse a run without an end before it starts, where the momentum needs one."""
        self.target.config.at(0, self.trainer.estimated_stepping_batches)

    def after_optimizer_step(self, step: int) -> None:
        """Let the target follow."""
        online = nn.ModuleList([self.backbone, self.projector])
        self.target.update(online, step, self.trainer.estimated_stepping_batches)

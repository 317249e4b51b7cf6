"""A joint-embedding predictive method on bird's-eye maps (AD-L-JEPA, arXiv 2501.04969)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_equiv.backbones.lidar import EncoderConfig
from ssl_equiv.data.lidar.batch import LidarBatch
from ssl_equiv.distributed import global_mean, global_variance
from ssl_equiv.heads import MaskPredictor
from ssl_equiv.methods.base import OptimizerConfig
from ssl_equiv.methods.lidar import LIDAR_OPTIMIZER, BevRepresentation, LidarMethod
from ssl_equiv.methods.masked_sweeps import MaskedSweeps, check_ratio, mask_sweeps
from ssl_equiv.methods.momentum import MomentumConfig, MomentumTarget
from ssl_equiv.precision import at_least_float32


class BevJEPA(LidarMethod):
    """From a sweep with cells taken out, predict their features, which a slow target makes.

    As the paper: the target sees the whole sweep, the loss is ``1 - cos`` in masked cells, and a
    hinge on the deviation of the context's features keeps them from collapsing (VICReg's, Eq. 1).

    Args:
        backbone: The encoder that is pretrained.
        optimizer: Optimiser and schedule.
        mask_ratio: Share of occupied cells that are masked.
        predictor_width: Channels of the predictor, a multiple of 4.
        predictor_depth: Residual blocks of the predictor.
        variance_weight: Weight of the hinge.
        momentum: How the target follows the encoder.
        compile: Compile the two-dimensional part of the encoder.
    """

    num_views = 1

    def __init__(
        self,
        backbone: EncoderConfig = EncoderConfig(),  # noqa: B008 (frozen)
        optimizer: OptimizerConfig = LIDAR_OPTIMIZER,
        mask_ratio: float = 0.5,
        predictor_width: int = 128,
        predictor_depth: int = 3,
        variance_weight: float = 1.0,
        momentum: MomentumConfig = MomentumConfig(),  # noqa: B008 (frozen)
        compile: bool = False,
    ) -> None:
        check_ratio(mask_ratio)
        super().__init__(backbone, optimizer, compile)
        self.mask_ratio = mask_ratio
        self.predictor = MaskPredictor(self.dim, predictor_width, predictor_depth)
        self.target = MomentumTarget(self.backbone, momentum)
        self.weights = {"prediction": 1.0, "variance": variance_weight}

    def observe(self, batch: LidarBatch) -> MaskedSweeps:
        """The sweeps without the points of masked cells."""
        return mask_sweeps(batch, self.backbone.plane, self.mask_ratio, self.step_seed)

    def terms(self, views: list[BevRepresentation], batch: MaskedSweeps) -> dict[str, Tensor]:
        """Distance of predictions and targets, and the hinge."""
        bev = views[0].bev
        predicted = self.predictor(bev.map, ~batch.masked, batch.masked).permute(0, 2, 3, 1)
        target = self.target(batch.whole).map.permute(0, 2, 3, 1)
        x, y = (at_least_float32(cells[batch.masked]) for cells in (predicted, target))
        cosines = F.cosine_similarity(x, y, dim=1)
        seen = at_least_float32(bev.map.permute(0, 2, 3, 1)[bev.occupied[:, 0]])
        hinge = F.relu(1 - torch.sqrt(global_variance(seen) + 1e-4)).mean()
        return {"prediction": global_mean(1 - cosines, len(cosines)), "variance": hinge}

    def on_fit_start(self) -> None:
        """Refuse a run without an end before it starts, where the momentum needs one."""
        self.target.config.at(0, self.trainer.estimated_stepping_batches)

    def after_optimizer_step(self, step: int) -> None:
        """Let the target follow."""
        self.target.update(self.backbone, step, self.trainer.estimated_stepping_batches)

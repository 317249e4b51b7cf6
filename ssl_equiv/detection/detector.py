"""An encoder of sweeps with a detection head, trained on annotated boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor

from ssl_equiv.backbones.lidar import EncoderConfig, create_encoder
from ssl_equiv.boxes import Boxes
from ssl_equiv.data.lidar.batch import LidarBatch
from ssl_equiv.distributed import global_count, is_distributed, synchronize_batchnorm
from ssl_equiv.errors import UserError
from ssl_equiv.heads.center_head import CenterHead, Detections, HeadOutput
from ssl_equiv.losses import box_l1, centre_focal
from ssl_equiv.methods.optimizer import OptimizerConfig, schedule_factor
from ssl_equiv.points import PointBatch


@dataclass(frozen=True)
class DetectorConfig:
    """How a detector is built, trained and read.

    Args:
        width: Channels of the head's hidden layers.
        box_weight: Weight of the boxes' loss beside the heat maps'.
        encoder_lr: Learning rate of the encoder over that of the head; 0 freezes it.
        min_score: Detections that are less sure are dropped.
        max_overlap: Footprint IoU of two detections of a class, above which one is dropped.
        max_detections: Detections of a sweep at most.
        min_points: Annotations with fewer points are not taught.
    """

    width: int = 64
    box_weight: float = 1.0
    encoder_lr: float = 1.0
    min_score: float = 0.05
    max_overlap: float = 0.1
    max_detections: int = 100
    min_points: int = 1

    def __post_init__(self) -> None:
        for name in ("box_weight", "encoder_lr"):
            if getattr(self, name) < 0:
                raise UserError(f"detector.{name} is {getattr(self, name)}: it must be >= 0")
        for name in ("width", "max_detections"):
            if getattr(self, name) < 1:
                raise UserError(f"detector.{name} is {getattr(self, name)}: it must be >= 1")


class Detector(pl.LightningModule):
    """Finds upright boxes of some classes in sweeps.

    Args:
        encoder: The encoder; its weights are drawn at random.
        classes: Names of the classes to be found.
        known: Names of all classes of the data set, in the order of its labels.
        optimizer: Optimiser and schedule.
        config: Everything else.

    Raises:
        UserError: the data set has no such class.
    """

    def __init__(
        self,
        encoder: EncoderConfig,
        classes: Sequence[str],
        known: Sequence[str],
        optimizer: OptimizerConfig,
        config: DetectorConfig | None = None,
    ) -> None:
        super().__init__()
        unknown = [name for name in classes if name not in known]
        if unknown or not classes:
            told = f"unknown class {unknown[0]!r}" if unknown else "none is given"
            raise UserError(f"classes: {told}: the data have {', '.join(known)}")
        self.config, self.optimizer_config = config or DetectorConfig(), optimizer
        self.classes, self.labels = tuple(classes), [known.index(name) for name in classes]
        self.encoder = create_encoder(encoder)
        grid, stride = self.encoder.grid, self.encoder.stride
        self.head = CenterHead(
            self.encoder.out_channels,
            len(self.classes),
            low=grid.range[:2],
            cell=(stride * grid.voxel_size[0], stride * grid.voxel_size[1]),
            width=self.config.width,
        )
        self.encoder.requires_grad_(self.config.encoder_lr > 0)

    def forward(self, points: PointBatch) -> HeadOutput:
        """What the head says of sweeps."""
        output: HeadOutput = self.head(self.encoder(points).map)
        return output

    def detect(self, points: PointBatch) -> Detections:
        """Boxes found in sweeps."""
        config = self.config
        return self.head.decode(
            self(points), config.max_detections, config.min_score, config.max_overlap
        )

    def losses(self, points: PointBatch, annotations: Sequence[Boxes]) -> dict[str, Tensor]:
        """Unweighted losses.

        Args:
            points: B sweeps.
            annotations: Of each, labelled as the data set does; those of classes that are not
                looked for and those with too few points are left out.
        """
        output = self(points)
        size, _, height, width = output.heat.shape
        targets = self.head.targets(*self.wanted(annotations), (size, height, width))
        told = output.box.permute(0, 2, 3, 1).flatten(0, 2)[targets.cell]
        count = max(1, global_count(len(targets.cell), self.device))
        share = count / (torch.distributed.get_world_size() if is_distributed() else 1)
        return {
            "heat": centre_focal(output.heat, targets.heat, share),
            "box": box_l1(told, targets.box, share),
        }

    def wanted(self, annotations: Sequence[Boxes]) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes ``(M, 7)``, classes of the head ``(M,)`` and sweeps ``(M,)`` of what is taught."""
        boxes = Boxes.cat(annotations)
        counts = torch.tensor([len(found) for found in annotations], device=boxes.values.device)
        sweep = torch.arange(len(annotations), device=counts.device).repeat_interleave(counts)
        is_class = boxes.labels[:, None] == boxes.labels.new_tensor(self.labels)
        seen = (boxes.num_points < 0) | (boxes.num_points >= self.config.min_points)
        kept = is_class.any(1) & seen
        return boxes.values[kept], is_class[kept].int().argmax(1), sweep[kept]

    def training_step(self, batch: LidarBatch, batch_idx: int) -> Tensor:
        """The weighted loss of the first view of each sweep."""
        assert batch.boxes is not None
        terms = self.losses(batch.views[0], batch.boxes[0])
        loss = terms["heat"] + self.config.box_weight * terms["box"]
        if not torch.isfinite(loss):
            raise UserError(
                f"step {self.global_step}: the loss is {loss.item()} (heat {terms['heat'].item()}, "
                f"box {terms['box'].item()}): lower optimizer.lr"
            )
        logged = {f"train/{name}": term.detach() for name, term in terms.items()}
        self.log_dict({**logged, "train/loss": loss.detach()}, batch_size=len(batch))
        return loss

    def validation_step(  # type: ignore[override]
        self, batch: LidarBatch, batch_idx: int
    ) -> Detections:
        """Boxes found in each sweep, labelled as the data set does."""
        found = self.detect(batch.current)
        return replace(found, labels=found.labels.new_tensor(self.labels)[found.labels])

    def train(self, mode: bool = True) -> Detector:
        """Training mode; a frozen encoder stays as it is, its BatchNorm too."""
        super().train(mode)
        if self.config.encoder_lr == 0:
            self.encoder.eval()
        return self

    def setup(self, stage: str) -> None:
        """Synchronise BatchNorm where there are several processes."""
        if stage == "fit" and is_distributed():
            device = self.trainer.strategy.root_device
            self.encoder = synchronize_batchnorm(self.encoder, device)  # type: ignore[assignment]
            self.head = synchronize_batchnorm(self.head, device)  # type: ignore[assignment]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam or AdamW with the configured schedule per step."""
        config = self.optimizer_config
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.name]
        groups: list[dict[str, Any]] = [{"params": list(self.head.parameters())}]
        if self.config.encoder_lr > 0:
            own = {"params": list(self.encoder.parameters())}
            groups.append({**own, "lr": config.lr * self.config.encoder_lr})
        optimizer = kind(groups, lr=config.lr, weight_decay=config.weight_decay, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, schedule_factor(config, self.trainer.estimated_stepping_batches)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

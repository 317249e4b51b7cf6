"""What methods on LiDAR sweeps share: an encoder to bird's-eye maps in the place of a backbone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ssl_equiv.backbones.lidar import BevFeatures, EncoderConfig, LidarEncoder, create_encoder
from ssl_equiv.data.lidar.batch import LidarBatch
from ssl_equiv.distributed import global_count, global_mean
from ssl_equiv.errors import UserError
from ssl_equiv.losses.lidar import point_info_nce
from ssl_equiv.methods.base import Method, OptimizerConfig
from ssl_equiv.methods.matches import match_points
from ssl_equiv.points import PointBatch
from ssl_equiv.regularizers.base import Regularizer
from ssl_equiv.representation import Representation


@dataclass(frozen=True)
class BevRepresentation(Representation):
    """A sweep's pooled features with the map that they are the mean of, over occupied cells."""

    bev: BevFeatures


class LidarMethod(Method):
    """Base of methods on sweeps: the backbone is a :class:`LidarEncoder`, batches are LidarBatch.

    Args:
        backbone: The encoder that is pretrained.
        optimizer: Optimiser and schedule.
        compile: Compile the two-dimensional part of the encoder; the sizes of the rest change from
            sweep to sweep.
    """

    backbone: LidarEncoder
    projector: nn.Module

    def __init__(
        self, backbone: EncoderConfig, optimizer: OptimizerConfig, compile: bool = False
    ) -> None:
        super().__init__(backbone, optimizer, compile, channels_last=False)

    def make_backbone(self, config: EncoderConfig) -> tuple[nn.Module, int]:
        """The encoder, and the channels of its map."""
        encoder = create_encoder(config)
        return encoder, encoder.out_channels

    def compile_backbone(self) -> None:
        """Compile what has fixed sizes."""
        self.backbone.backbone_2d.compile()

    def encode(self, points: PointBatch) -> BevRepresentation:  # type: ignore[override]
        """Pooled features and map of each sweep."""
        bev = self.backbone(points)
        return BevRepresentation(bev.pooled(), self.parts, bev)

    def encode_batch(self, batch: LidarBatch) -> list[Representation]:
        """The representation of each view."""
        return [self.encode(view) for view in batch.views]

    def contrast(
        self, views: list[BevRepresentation], batch: LidarBatch, points: int, temperature: float
    ) -> Tensor:
        """InfoNCE of ``self.projector``'s embeddings of points that two views share."""
        cells = [
            view.bev.plane.cells(cloud.points, cloud.batch_index)
            for view, cloud in zip(views, batch.views, strict=True)
        ]
        first, second = batch.views
        matches = match_points(
            first, second, (cells[0], cells[1]), batch.index, points, self.step_seed
        )
        embeddings = []
        for view, cloud, rows in zip(
            views, batch.views, (matches.first, matches.second), strict=True
        ):
            chosen = rows[matches.known]
            features = view.bev.at(cloud.points[chosen], cloud.batch_index[chosen])
            embedded = apply_to_rows(self.projector, features)
            padded = embedded.new_zeros(*rows.shape, embedded.shape[1])
            embeddings.append(padded.index_put((matches.known,), embedded))
        losses = point_info_nce(embeddings[0], embeddings[1], matches.known, temperature)
        return global_mean(losses, int(matches.known.sum()))

    def regularize(self, regularizers: Sequence[Regularizer]) -> None:
        """Refuse them: all there are look at images.

        Raises:
            UserError: there are any.
        """
        if regularizers:
            names = ", ".join(type(regularizer).__name__ for regularizer in regularizers)
            raise UserError(f"regularizers: {names} are for images, not for sweeps: leave them out")


LIDAR_OPTIMIZER = OptimizerConfig("adamw", lr=1e-4, weight_decay=0.01, schedule="one_cycle")


def apply_to_rows(head: nn.Module, rows: Tensor) -> Tensor:
    """A head with BatchNorm on rows ``(N, C)``, of which this process may have none.

    Where all processes together have fewer than two there are no statistics: the result is zero,
    with zero gradients for the head's weights, which other processes wait for.
    """
    if global_count(len(rows), rows.device) > 1:
        found: Tensor = head(rows)
        return found
    width = [module for module in head.modules() if isinstance(module, nn.Linear)][-1].out_features
    nothing = torch.stack([p.sum() for p in head.parameters()]).sum() * 0
    return rows.new_zeros(len(rows), width) + nothing + rows.sum() * 0


def flow_of(batch: LidarBatch, who: Any) -> PointBatch:
    """The sweeps before those of a batch, with their flow.

    Raises:
        UserError: the data give none.
    """
    if batch.previous is None or batch.previous.flow is None:
        raise UserError(
            f"{type(who).__name__} learns from the flow between sweeps, but the data give none: "
            "set data.flow, or model.flow_weight 0"
        )
    return batch.previous


def filled(clouds: PointBatch, others: PointBatch) -> PointBatch:
    """``clouds`` with flow, the empty ones replaced by ``others`` with unknown flow.

    The first sweep of a sequence has none before it; that a process has only such ones must not
    keep its network from a step that other processes' BatchNorms wait for.
    """
    assert clouds.flow is not None
    missing = others.select((clouds.counts == 0)[others.batch_index])
    index = torch.cat([clouds.batch_index, missing.batch_index])
    order = index.argsort(stable=True)
    unknown = torch.full_like(missing.points[:, :3], float("nan"))
    return PointBatch(
        torch.cat([clouds.points, missing.points])[order],
        index[order],
        clouds.size,
        torch.cat([clouds.flow, unknown])[order],
    )

"""E-SSL3D: spatial and temporal equivariance of LiDAR features (Hegde et al., arXiv 2404.11737)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from torch import Tensor, nn

from ssl_equiv.backbones.lidar import EncoderConfig
from ssl_equiv.backbones.lidar.warp import cell_flow
from ssl_equiv.data.lidar.batch import LidarBatch
from ssl_equiv.distributed import global_mean
from ssl_equiv.errors import UserError
from ssl_equiv.heads import projector
from ssl_equiv.heads.transform_classifier import Bins, TransformClassifier
from ssl_equiv.losses import check_temperature
from ssl_equiv.losses.lidar import normalized_error
from ssl_equiv.methods.base import OptimizerConfig
from ssl_equiv.methods.lidar import (
    LIDAR_OPTIMIZER,
    BevRepresentation,
    LidarMethod,
    apply_to_rows,
    filled,
    flow_of,
)
from ssl_equiv.methods.momentum import MomentumConfig, MomentumTarget
from ssl_equiv.transforms.points import MOTION, PointMotions, motion, move_points


@dataclass(frozen=True)
class Objective:
    """What is asked of the features about one transformation.

    Args:
        how: ``contrastive``: features of a point are its own wherever the transformation takes it.
            ``classification``: pooled features tell the element. ``off``: nothing.
        low: Lowest entry of an element, for classes: radians, metres, factor, sign.
        high: Highest entry.
        bins: Classes between them, of each entry.
    """

    how: Literal["contrastive", "classification", "off"]
    low: float
    high: float
    bins: int = 10


YAW = Objective("classification", -math.pi / 2, math.pi / 2)
TRANSLATION = Objective("contrastive", -0.2, 0.2)
SCALE = Objective("contrastive", 0.95, 1.05)
FLIP = Objective("contrastive", -1.0, 1.0, 2)


class ESSL3D(LidarMethod):
    """Rotations are classified, points are found again after other motions, maps follow the flow.

    For each sweep two transformed views: f is the encoder, m the projector, q the predictor, f' and
    m' their moving averages.

    * classification: the cross-entropy of the bin of each view's element, from its pooled features;
    * contrast: InfoNCE of m(f(x)) at matched points of the two views;
    * flow: points of the sweep before, moved by the first view's element, take m'(f'(x_before))
      along their scene flow; q(m(f(x))) shall be what arrives, in cells that hold points of both.

    A transformation that is classified, or off, is the same in both views: the contrast does not
    ask for what the classifier must tell apart. ``contrast_weight``, ``classification_weight`` or
    ``flow_weight`` 0 leaves an objective out, with its networks.

    Args:
        backbone: The encoder that is pretrained.
        optimizer: Optimiser and schedule.
        yaw: What is asked about rotations.
        translation: What is asked about translations.
        scale: What is asked about scalings.
        flip: What is asked about reflections.
        points: Matched points of a sweep.
        temperature: Divides the cosines of the contrast.
        projector_widths: Widths of the projector's layers.
        predictor_widths: Widths of the predictor's layers; the last as the projector's.
        contrast_weight: Weight of the contrast.
        classification_weight: Weight of each transformation's classification.
        flow_weight: Weight of the flow loss, a mean over cells and channels.
        momentum: How the target follows.
        compile: Compile the two-dimensional part of the encoder.
    """

    def __init__(
        self,
        backbone: EncoderConfig = EncoderConfig(),  # noqa: B008 (frozen)
        optimizer: OptimizerConfig = LIDAR_OPTIMIZER,
        yaw: Objective = YAW,
        translation: Objective = TRANSLATION,
        scale: Objective = SCALE,
        flip: Objective = FLIP,
        points: int = 2048,
        temperature: float = 0.07,
        projector_widths: tuple[int, ...] = (256, 128),
        predictor_widths: tuple[int, ...] = (256, 128),
        contrast_weight: float = 0.01,
        classification_weight: float = 1.0,
        flow_weight: float = 300.0,
        momentum: MomentumConfig = MomentumConfig(start=0.999),  # noqa: B008 (frozen)
        compile: bool = False,
    ) -> None:
        check_temperature(temperature)
        super().__init__(backbone, optimizer, compile)
        self.objectives = {"yaw": yaw, "translation": translation, "scale": scale, "flip": flip}
        self.points, self.temperature = points, temperature
        by = {
            how: [name for name, told in self.objectives.items() if told.how == how]
            for how in ("contrastive", "classification")
        }
        self.weights = self._weights(by, contrast_weight, classification_weight, flow_weight)
        self.shared = tuple(n for n, told in self.objectives.items() if told.how != "contrastive")
        if {"contrast", "flow"} & self.weights.keys():
            self.projector = projector(self.dim, projector_widths)
        if "flow" in self.weights:
            if predictor_widths[-1:] != projector_widths[-1:]:
                raise UserError(
                    f"model.predictor_widths ends in {predictor_widths[-1:]}, the projector's in "
                    f"{projector_widths[-1:]}: what is predicted is the projector's output"
                )
            self.predictor = projector(projector_widths[-1], predictor_widths)
            self.target = MomentumTarget(nn.ModuleList([self.backbone, self.projector]), momentum)
        groups = PointMotions().groups
        self.classifiers = nn.ModuleDict(
            {
                name: TransformClassifier(self.dim, groups[name].dim, Bins(o.low, o.high, o.bins))
                for name, o in self.objectives.items()
                if f"classify_{name}" in self.weights
            }
        )

    @staticmethod
    def _weights(
        by: Mapping[str, list[str]], contrast: float, classification: float, flow: float
    ) -> dict[str, float]:
        """The weight of each term that is asked for."""
        weights = {"contrast": contrast if by["contrastive"] else 0.0}
        weights |= {f"classify_{name}": classification for name in by["classification"]}
        weights["flow"] = flow
        if min(weights.values()) < 0 or not any(weights.values()):
            raise UserError(
                f"model: the terms' weights are {weights}: none may be negative, nor all of them 0"
            )
        return {name: weight for name, weight in weights.items() if weight > 0}

    def observe(self, batch: LidarBatch) -> LidarBatch:
        """The second view once more, with the first one's elements of what is not contrasted."""
        if "contrast" not in self.weights or not self.shared:
            return batch
        elements = {name: batch.actions[name][:, 1] for name in self.objectives}
        wanted = elements | {name: batch.actions[name][:, 0] for name in self.shared}
        again = {**wanted, "motion": motion(wanted)}
        step = MOTION.compose(again["motion"], MOTION.inverse(batch.actions["motion"][:, 1]))
        actions = {
            name: torch.stack([action[:, 0], again.get(name, action[:, 1])], dim=1)
            for name, action in batch.actions.items()
        }
        views = [batch.views[0], move_points(batch.views[1], step)]
        # annotations would stay behind, and no term looks at them
        return replace(batch, views=views, actions=actions, boxes=None)

    def terms(self, views: list[BevRepresentation], batch: LidarBatch) -> dict[str, Tensor]:
        """The objectives that have a weight."""
        terms = {}
        features = torch.cat([view.features for view in views])
        for name, classifier in self.classifiers.items():
            assert isinstance(classifier, TransformClassifier)
            elements = batch.actions[name].transpose(0, 1).flatten(0, 1)  # view by view
            losses = classifier.loss(features, elements, name)
            terms[f"classify_{name}"] = global_mean(losses, len(losses))
        if "contrast" in self.weights:
            terms["contrast"] = self.contrast(views, batch, self.points, self.temperature)
        if "flow" in self.weights:
            terms["flow"] = self._flow(views[0], batch)
        return terms

    def _flow(self, view: BevRepresentation, batch: LidarBatch) -> Tensor:
        before = move_points(flow_of(batch, self), batch.actions["motion"][:, 0])
        before = filled(before.select(view.bev.grid.contains(before.points)), batch.views[0])
        moved = cell_flow(view.bev.plane, before)
        with torch.no_grad():
            encoder, embed = cast(nn.ModuleList, self.target.network)
            left = encoder(before).of_cells(moved.sources)
            target = moved.move(apply_to_rows(embed, left))
        both = view.bev.occupied.flatten()[moved.targets]
        prediction = view.bev.of_cells(moved.targets[both])
        embedded = apply_to_rows(self.projector, prediction)
        losses = normalized_error(apply_to_rows(self.predictor, embedded), target[both])
        return global_mean(losses, len(losses))

    def on_fit_start(self) -> None:
        """Refuse a run without an end before it starts, where the momentum needs one."""
        if "flow" in self.weights:
            self.target.config.at(0, self.trainer.estimated_stepping_batches)

    def after_optimizer_step(self, step: int) -> None:
        """Let the target follow."""
        if "flow" in self.weights:
            online = nn.ModuleList([self.backbone, self.projector])
            self.target.update(online, step, self.trainer.estimated_stepping_batches)

"""Conv-I-JEPA: I-JEPA on a convolutional backbone, the baseline of seq-JEPA (arXiv 2505.03176)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_equiv.backbones import BackboneConfig, as_map, freeze_behind_map
from ssl_equiv.data.views import ViewBatch
from ssl_equiv.errors import UserError
from ssl_equiv.heads import MaskPredictor
from ssl_equiv.losses import masked_regression
from ssl_equiv.methods.base import Method, OptimizerConfig
from ssl_equiv.methods.momentum import MomentumConfig, MomentumTarget
from ssl_equiv.representation import Representation
from ssl_equiv.transforms.blocks import context_and_targets
from ssl_equiv.transforms.saccades import keyed_uniform

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class MaskedBatch(ViewBatch):
    """Images with cells cut out, as single views.

    Args:
        context: Cells that are shown, ``(B, h, w)`` bool.
        asked: Cells to predict, ``(B, h, w)`` bool, disjoint from the context.
        target: The map of the whole images, ``(B, D, h, w)`` without gradient.
    """

    context: Tensor
    asked: Tensor
    target: Tensor


@dataclass(frozen=True)
class MappedRepresentation(Representation):
    """A representation with the map ``(B, D, h, w)`` that it was pooled from."""

    map: Tensor


class ConvIJEPA(Method):
    """From an image with blocks cut out, predict the features of the blocks; no action, no crop.

    I-JEPA (Assran et al. 2023, arXiv 2301.08243) with a convolutional backbone: blocks of the
    feature map's cells are set to the mean colour in the image, where a ViT would leave out
    tokens. Four target blocks of 15-20% of the cells are taken out of a context of 85-100%.
    The target is the moving-average backbone's map of the whole image, normalised over channels;
    the loss is the mean squared error in the target cells, each counted once.

    Args:
        backbone: The network that is pretrained: one that has a feature map before its pooling.
            Layers behind the map, which some have, are not learnt.
        optimizer: Optimiser and schedule.
        predictor_width: Channels of the predictor.
        predictor_depth: Residual blocks of the predictor.
        momentum: How the target follows the backbone.
        compile: Compile the backbone's and the target's way to their feature maps.
        channels_last: Keep the backbone in channels-last memory format.
    """

    num_views = 1

    def __init__(
        self,
        backbone: BackboneConfig = BackboneConfig(),  # noqa: B008 (frozen)
        optimizer: OptimizerConfig = OptimizerConfig(),  # noqa: B008 (frozen)
        predictor_width: int = 256,
        predictor_depth: int = 4,
        momentum: MomentumConfig = MomentumConfig(),  # noqa: B008 (frozen)
        compile: bool = False,
        channels_last: bool = True,
    ) -> None:
        super().__init__(backbone, optimizer, compile=False, channels_last=channels_last)
        network: Any = self.backbone
        if not hasattr(network, "forward_features"):
            raise UserError("ConvIJEPA needs a timm backbone with forward_features: use a ResNet")
        if behind := freeze_behind_map(network):
            log.warning(
                "ConvIJEPA learns the feature map of %s: %s behind it stay as they were made",
                backbone.name,
                ", ".join(behind),
            )
        # of the map; what is pooled of it may have another width
        self.predictor = MaskPredictor(network.num_features, predictor_width, predictor_depth)
        self.target = MomentumTarget(self.backbone, momentum)
        if compile:
            for network in (self.backbone, self.target.network):
                network.forward_features = torch.compile(network.forward_features)
        self.weights = {"prediction": 1.0}

    def observe(self, batch: ViewBatch) -> MaskedBatch:
        """Single images with blocks cut out, and what is to be told of the blocks."""
        images = batch.images[:, 0].contiguous(memory_format=self.memory_format)
        with torch.no_grad():
            network: Any = self.target.network
            target = self._map(network, network.forward_features(images))
        grid = (target.shape[-2], target.shape[-1])
        if min(grid) < 4:
            raise UserError(
                f"ConvIJEPA masks cells of a feature map (B, D, h, w) of 4x4 or more, but the "
                f"backbone makes {tuple(target.shape[1:])} of {images.shape[-1]} px: use larger "
                "images, backbone.cifar_stem or options {output_stride: 8}"
            )
        places = keyed_uniform(batch.index, 10, self.step_seed)
        sizes = keyed_uniform(batch.index.new_zeros(1), 3, self.step_seed)[0].tolist()
        context, asked = context_and_targets(places, tuple(sizes), grid)
        visible = F.interpolate(context.unsqueeze(1).to(images.dtype), images.shape[-2:])
        shown = (images * visible).unsqueeze(1)
        return MaskedBatch(
            **{**vars(batch), "images": shown}, context=context, asked=asked, target=target
        )

    def encode_views(self, images: Tensor) -> list[Representation]:
        """Representation and map of the contexts, ``images (B, 1, C, H, W)``."""
        backbone: Any = self.backbone
        features = backbone.forward_features(
            images[:, 0].contiguous(memory_format=self.memory_format)
        )
        pooled = self.represent(backbone.forward_head(features))
        return [MappedRepresentation(pooled.features, self.parts, self._map(backbone, features))]

    def terms(self, views: list[Representation], batch: ViewBatch) -> dict[str, Tensor]:
        """The distance of predictions and targets in the cells that were cut out."""
        (seen,) = views
        assert isinstance(seen, MappedRepresentation)
        assert isinstance(batch, MaskedBatch)
        prediction = self.predictor(seen.map, batch.context, batch.asked)
        return {"prediction": masked_regression(prediction, batch.target, batch.asked)}

    def on_fit_start(self) -> None:
        """Refuse a run without an end before it starts, where the momentum needs one."""
        self.target.config.at(0, self.trainer.estimated_stepping_batches)

    def after_optimizer_step(self, step: int) -> None:
        """Let the target follow."""
        self.target.update(self.backbone, step, self.trainer.estimated_stepping_batches)

    def _map(self, network: nn.Module, features: Tensor) -> Tensor:
        found = as_map(network, features)
        if found.shape[1] != self.predictor.dim:
            raise UserError(
                f"the backbone's map has {found.shape[1]} channels, where timm states "
                f"{self.predictor.dim}: choose another model.backbone"
            )
        return found

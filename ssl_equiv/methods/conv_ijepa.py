"""Conv-I-JEPA: I-JEPA on a convolutional backbone, the baseline of seq-JEPA (arXiv 2505.03176)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.data.views import ViewBatch
from ssl_equiv.errors import UserError
from ssl_equiv.heads import MaskPredictor
from ssl_equiv.losses import masked_regression
from ssl_equiv.methods.base import Method, OptimizerConfig
from ssl_equiv.methods.momentum import MomentumConfig, MomentumTarget
from ssl_equiv.transforms.blocks import context_and_targets
from ssl_equiv.transforms.saccades import keyed_uniform


class ConvIJEPA(Method):
    """From an image with blocks cut out, predict the features of the blocks; no action, no crop.

    I-JEPA (Assran et al. 2023, arXiv 2301.08243) with a convolutional backbone: blocks of the
    feature map's cells are set to the mean colour in the image, where a ViT would leave out
    tokens. Four target blocks of 15-20% of the cells are taken out of a context of 85-100%.
    The target is the moving-average backbone's map of the whole image, normalised over channels;
    the loss is the mean squared error in the target cells, each counted once.

    Args:
        backbone: The network that is pretrained: one that has a feature map before its pooling.
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
        self.predictor = MaskPredictor(self.dim, predictor_width, predictor_depth)
        self.target = MomentumTarget(self.backbone, momentum)
        if compile:
            for network in (self.backbone, self.target.network):
                network.forward_features = torch.compile(network.forward_features)  # type: ignore[assignment, arg-type]
        self.weights = {"prediction": 1.0}

    def training_step(self, batch: ViewBatch, batch_idx: int) -> dict[str, Any]:
        """One step on single images; the features that it hands out are the contexts', pooled."""
        self.check_views(batch)
        terms, features = self.learn(batch.images[:, 0], batch.index)
        return self.outcome(terms, features.unsqueeze(1), batch.label)

    def learn(self, images: Tensor, index: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """The terms, and the contexts' features ``(B, D)``, of images ``(B, C, H, W)``."""
        images = images.contiguous(memory_format=self.memory_format)
        with torch.no_grad():
            target = self._map(self.target.network, images)
        grid = (target.shape[-2], target.shape[-1])
        places = keyed_uniform(index, 10, self.step_seed)
        sizes = keyed_uniform(index.new_zeros(1), 3, self.step_seed)[0].tolist()
        context, asked = context_and_targets(places, tuple(sizes), grid)
        visible = F.interpolate(context.unsqueeze(1).to(images.dtype), images.shape[-2:])
        seen = self._map(self.backbone, images * visible)
        prediction = self.predictor(seen, context, asked)
        terms = {"prediction": masked_regression(prediction, target, asked)}
        return terms, seen.mean(dim=(-2, -1))

    def on_fit_start(self) -> None:
        """Refuse a run without an end before it starts, where the momentum needs one."""
        self.target.config.at(0, self.trainer.estimated_stepping_batches)

    def after_optimizer_step(self, step: int) -> None:
        """Let the target follow."""
        self.target.update(self.backbone, step, self.trainer.estimated_stepping_batches)

    @staticmethod
    def _map(network: Any, images: Tensor) -> Tensor:
        if not hasattr(network, "forward_features"):
            raise UserError("ConvIJEPA needs a timm backbone with forward_features: use a ResNet")
        found: Tensor = network.forward_features(images)
        if found.ndim != 4 or min(found.shape[-2:]) < 4:
            raise UserError(
                f"ConvIJEPA masks cells of a feature map (B, D, h, w) of 4x4 or more, but the "
                f"backbone makes {tuple(found.shape[1:])} of {images.shape[-1]} px: use larger "
                "images, backbone.cifar_stem or options {output_stride: 8}"
            )
        return found

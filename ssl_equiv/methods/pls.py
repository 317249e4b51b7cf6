"""PLS: predictive learning across saccades, seq-JEPA on foveal patches (arXiv 2505.03176)."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.data.saliency import SaliencyMaps
from ssl_equiv.data.views import ViewBatch
from ssl_equiv.errors import UserError
from ssl_equiv.groups import Translation
from ssl_equiv.methods.base import OptimizerConfig
from ssl_equiv.methods.momentum import MomentumConfig
from ssl_equiv.methods.seqjepa import SeqJEPA
from ssl_equiv.transforms.saccades import (
    foveal_patches,
    keyed_uniform,
    sample_fixations,
    spectral_residual,
)

FIXATION = "fixation"


class PLS(SeqJEPA):
    """A sequence of small patches of one image, and where the gaze goes next.

    Fixations are drawn from a saliency map, each emptying a disc around itself (inhibition of
    return); the action between two is the difference of their positions, in units of half the
    image. No augmentation and no masking is used. The rest is :class:`SeqJEPA`.

    Args:
        backbone: The network that is pretrained; it sees patches.
        optimizer: Optimiser and schedule.
        observations: M, patches that are seen; one more is predicted.
        patch: Side of a patch, pixels.
        inhibition: Radius of the disc that is not looked at again, in units of half the image.
        saliency: A file of saliency maps, one an image, for data of single images; None computes
            the spectral residual of each image. See :class:`ssl_equiv.data.saliency.SaliencyMaps`.
        action_width: Width of an action's embedding.
        layers: Transformer layers of the aggregator.
        heads: Attention heads; they must divide the backbone's width plus ``action_width``.
        predictor_width: Hidden width of the predictor.
        dropout: Dropout in the aggregator.
        momentum: How the target follows the backbone; None makes the backbone itself the target.
        compile: Compile the backbone with ``torch.compile``.
        channels_last: Keep the backbone in channels-last memory format.
    """

    def __init__(
        self,
        backbone: BackboneConfig = BackboneConfig(),  # noqa: B008 (frozen)
        optimizer: OptimizerConfig = OptimizerConfig(),  # noqa: B008 (frozen)
        observations: int = 4,
        patch: int = 32,
        inhibition: float = 0.35,
        saliency: str | None = None,
        action_width: int = 128,
        layers: int = 3,
        heads: int = 4,
        predictor_width: int = 1024,
        dropout: float = 0.0,
        momentum: MomentumConfig | None = MomentumConfig(),  # noqa: B008 (frozen)
        compile: bool = False,
        channels_last: bool = True,
    ) -> None:
        super().__init__(
            backbone,
            optimizer,
            observations,
            factors=(FIXATION,),
            action_dim=2,
            action_width=action_width,
            layers=layers,
            heads=heads,
            predictor_width=predictor_width,
            dropout=dropout,
            momentum=momentum,
            compile=compile,
            channels_last=channels_last,
        )
        if patch < 1 or inhibition < 0:
            raise UserError("model.patch must be at least 1 and model.inhibition at least 0")
        self.num_views = 1  # of the data; patches are made here
        self.patch, self.inhibition = patch, inhibition
        self.saliency = saliency
        self.maps: SaliencyMaps | None = None

    def setup(self, stage: str) -> None:
        """Open the saliency file: training needs it, a trained model does not."""
        super().setup(stage)
        if stage == "fit" and self.saliency is not None:
            self.maps = SaliencyMaps(self.saliency)

    def on_fit_start(self) -> None:
        """Refuse a saliency file that is not of the data, before a step is taken."""
        super().on_fit_start()
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if self.maps is not None and data is not None:
            self.maps.check(len(data.source.objects), data.source.num_views)

    def observe(self, batch: ViewBatch) -> ViewBatch:
        """Patches of single images as views, with the factor ``fixation``."""
        uniform = keyed_uniform(batch.index, self.observations + 1, self.step_seed)
        saliency = None if self.maps is None else self.maps(batch.index)
        patches, centres = self.fixate(batch.images[:, 0], uniform, saliency)
        return replace(
            batch,
            images=patches,
            actions={FIXATION: centres},
            groups={FIXATION: Translation(2)},
        )

    def fixate(
        self, images: Tensor, uniform: Tensor, saliency: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Look at images.

        Args:
            images: ``(B, C, H, W)``.
            uniform: Random numbers in [0, 1) that choose N fixations, ``(B, N)``.
            saliency: Maps ``(B, h, w)``; None computes the spectral residual.

        Returns:
            Patches ``(B, N, C, patch, patch)`` and their centres ``(B, N, 2)``.
        """
        if saliency is None:
            saliency = spectral_residual(images)
        share = (self.patch / images.shape[-2], self.patch / images.shape[-1])
        fixations = sample_fixations(saliency, uniform, share, self.inhibition)
        return foveal_patches(images, fixations, self.patch)

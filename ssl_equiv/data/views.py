"""Batches of views: decoded images with the group elements that made them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.io import ImageReadMode  # importing it registers torch.ops.image
from torchvision.transforms.v2 import functional as F

from ssl_equiv.data.draws import Draw, choose_views
from ssl_equiv.data.sources import Source
from ssl_equiv.errors import UserError
from ssl_equiv.groups import Group


@dataclass(frozen=True)
class ViewBatch:
    """V views of each of B objects.

    Args:
        images: ``(B, V, C, H, W)``; uint8 from the loader, normalised float in a training step.
        actions: Absolute group elements ``{factor: (B, V, dim)}``.
        groups: The group of each factor.
        label: Class of each object, ``(B,)``.
        index: Identity of each object in its data set, ``(B,)``.
        skipped: Unreadable objects that were left out while this batch was made.
    """

    images: Tensor
    actions: Mapping[str, Tensor]
    groups: Mapping[str, Group]
    label: Tensor
    index: Tensor
    skipped: int = 0

    def relative(self, factor: str, start: int, end: int) -> Tensor:
        """The element from view ``start`` to view ``end``: ``g_start^-1 g_end``, ``(B, dim)``.

        Raises:
            UserError: the data set has no such factor.
        """
        if factor not in self.actions:
            raise UserError(
                f"the method asks for the factor {factor!r}, but the data set has "
                f"{', '.join(self.actions)}: change the method's factors or the data"
            )
        action = self.actions[factor]
        return self.groups[factor].relative(action[:, start], action[:, end])

    def to(self, device: torch.device | str, **kwargs: Any) -> ViewBatch:
        """The batch on another device."""
        return self._map(lambda tensor: tensor.to(device, **kwargs))

    def pin_memory(self) -> ViewBatch:
        """The batch in page-locked memory."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, function: Any) -> ViewBatch:
        return replace(
            self,
            images=function(self.images),
            actions={name: function(action) for name, action in self.actions.items()},
            label=function(self.label),
            index=function(self.index),
        )


IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DIEBENCH_MEAN, DIEBENCH_STD = (0.5016, 0.5037, 0.5060), (0.1030, 0.0999, 0.0969)


@dataclass(frozen=True)
class Preprocess:
    """What happens to an image before a backbone sees it; stored with checkpoints and exports.

    Args:
        center_crop: Side of a central square cut from the stored image, pixels; None keeps all.
        size: Side to resize to (antialiased bilinear), pixels; None keeps the size.
        mean: Mean of each channel, of values in [0, 1].
        std: Standard deviation of each channel.
    """

    center_crop: int | None = None
    size: int | None = None
    mean: tuple[float, float, float] = DIEBENCH_MEAN
    std: tuple[float, float, float] = DIEBENCH_STD

    def __post_init__(self) -> None:
        for name in ("center_crop", "size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"preprocess.{name} is {value}: choose 1 or more, or leave it out")
        if min(self.std) <= 0:
            raise UserError(f"preprocess.std is {self.std}: every entry must be above 0")

    def shape(self, image: Tensor, where: str) -> Tensor:
        """Crop and resize uint8 ``(..., C, H, W)``; ``where`` names the image in errors."""
        if self.center_crop is not None:
            height, width = image.shape[-2:]
            if self.center_crop > min(height, width):
                raise UserError(
                    f"{where} has {height}x{width} pixels, too few for the centre crop of "
                    f"{self.center_crop}: lower data.preprocess.center_crop"
                )
            top, left = (height - self.center_crop) // 2, (width - self.center_crop) // 2
            image = image[..., top : top + self.center_crop, left : left + self.center_crop]
        if self.size is not None and image.shape[-2:] != (self.size, self.size):
            image = F.resize(image, [self.size, self.size], antialias=True)
        return image

    def normalize(self, images: Tensor) -> Tensor:
        """uint8 ``(..., C, H, W)`` to float32 with the stated mean and deviation removed."""
        mean = torch.tensor(self.mean, device=images.device).view(-1, 1, 1)
        std = torch.tensor(self.std, device=images.device).view(-1, 1, 1)
        return torch.addcmul(-mean / std, images.float(), 1 / (255 * std))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for checkpoints."""
        return {
            "center_crop": self.center_crop,
            "size": self.size,
            "mean": list(self.mean),
            "std": list(self.std),
        }


class ViewDataset(Dataset[ViewBatch]):
    """Decodes batches of views; a whole batch is made by one call, straight into one tensor.

    Args:
        source: Stored views.
        preprocess: Crop and size of the images.
        objects: Indices that draws may name: those of one split.
        num_views: Views drawn per object without replacement, or None for all in order.
        seed: Seed of the view draws.
        skip_bad_images: Put the next readable one of ``objects`` in the place of one that cannot
            be read, and count it, instead of raising.
    """

    def __init__(
        self,
        source: Source,
        preprocess: Preprocess,
        objects: np.ndarray,
        num_views: int | None = None,
        seed: int = 0,
        skip_bad_images: bool = False,
    ) -> None:
        self.source, self.preprocess = source, preprocess
        self.num_views, self.seed, self.skip_bad_images = num_views, seed, skip_bad_images
        self.objects = np.sort(objects)
        self.labels = source.labels
        self.groups = source.schema.groups

    def __len__(self) -> int:
        return len(self.objects)

    def __getitem__(self, draw: Draw) -> ViewBatch:
        return self.__getitems__([draw])

    def __getitems__(self, draws: list[Draw]) -> ViewBatch:
        """One batch; ``draws`` name the epoch and the objects.

        Raises:
            UserError: an image or latent cannot be read, or images differ in size.
        """
        total = self.source.num_views
        if self.num_views is None:
            chosen = np.broadcast_to(np.arange(total), (len(draws), total))
        else:
            chosen = choose_views(self.seed, draws, total, self.num_views)
        images: Tensor | None = None
        latents, read, skipped = [], [], 0
        for row, (draw, views) in enumerate(zip(draws, chosen.tolist(), strict=True)):
            index, pixels, latent, failures = self._read(draw.item, views)
            skipped += failures
            if images is None:
                images = torch.empty((len(draws), *pixels.shape), dtype=torch.uint8)
            if pixels.shape != images.shape[1:]:
                raise UserError(
                    f"{self.source.name_of(index, views[0])} has {pixels.shape[-2]}x"
                    f"{pixels.shape[-1]} pixels where others have {images.shape[-2]}x"
                    f"{images.shape[-1]}: set data.preprocess.size"
                )
            images[row] = pixels
            latents.append(latent)
            read.append(index)
        assert images is not None
        stacked = torch.from_numpy(np.stack(latents)).float()
        actions = self.source.schema.elements(stacked)
        return ViewBatch(
            images=images,
            actions=actions,
            groups=self.groups,
            label=torch.from_numpy(self.labels[read]),
            index=torch.tensor(read),
            skipped=skipped,
        )

    def _read(self, index: int, views: list[int]) -> tuple[int, Tensor, np.ndarray, int]:
        failures = 0
        while True:
            try:
                encoded, latents = self.source.read(index, views)
                pixels = torch.stack(
                    [
                        _decode(data, self.source.name_of(index, view))
                        for data, view in zip(encoded, views, strict=True)
                    ]
                )
                pixels = self.preprocess.shape(pixels, self.source.name_of(index, views[0]))
                return index, pixels, latents, failures
            except UserError:
                if not self.skip_bad_images or failures >= len(self):
                    raise
                failures += 1
                next_place = int(np.searchsorted(self.objects, index)) + 1
                index = int(self.objects[next_place % len(self)])


def _decode(data: bytes, name: str) -> Tensor:
    """A JPEG as uint8 ``(3, H, W)``; ``name`` is told where it is damaged."""
    try:
        if not data:
            raise RuntimeError("it is empty")
        buffer = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        # the operator itself: its Python wrapper warns of its deprecation at every call, and what
        # would replace it takes half as long again
        image: Tensor = torch.ops.image.decode_jpeg(buffer, ImageReadMode.RGB.value, False)
        if b"\xff\xd9" not in data[-64:]:  # libjpeg fills what is missing with grey
            raise RuntimeError("it is cut short")
        return image
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{name} is not a whole JPEG image ({reason}): replace it or set data.skip_bad_images"
        ) from error

"""From a stored image to what a backbone sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from ssl_equiv.errors import UserError

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

    def keeps(self, height: int, width: int) -> bool:
        """Whether :meth:`shape` leaves images of this size as they are."""
        return self.center_crop in (None, height, width) and self.output_size(height, width) == (
            height,
            width,
        )

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of what :meth:`shape` makes of an image."""
        if self.size is not None:
            return self.size, self.size
        crop = self.center_crop
        return (height, width) if crop is None else (crop, crop)

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

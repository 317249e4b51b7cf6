"""A convolutional predictor of masked cells of a feature map."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ssl_equiv.errors import UserError


class MaskPredictor(nn.Module):
    """Fill in the cells of a feature map that were not seen.

    Context cells enter through a 1x1 convolution, cells to predict as a learnt vector, others as
    zeros; all with their position (fixed sines and cosines). Then residual blocks 3x3 convolution
    → BatchNorm → ReLU, and a 1x1 convolution. It is the convolutional counterpart of I-JEPA's
    narrow ViT predictor (arXiv 2301.08243, Sec. 3).

    Args:
        dim: Channels of the feature map, D.
        width: Channels inside, a multiple of 4.
        depth: Residual blocks; each sees one cell farther.
    """

    def __init__(self, dim: int, width: int = 256, depth: int = 4) -> None:
        super().__init__()
        if width < 4 or width % 4 or depth < 1:
            raise UserError(
                f"model.predictor_width is {width} and model.predictor_depth {depth}: choose a "
                "multiple of 4 and 1 or more"
            )
        self.dim = dim
        self.enter = nn.Conv2d(dim, width, 1)
        self.unseen = nn.Parameter(0.02 * torch.randn(width, 1, 1))
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            )
            for _ in range(depth)
        )
        self.leave = nn.Conv2d(width, dim, 1)

    def forward(self, features: Tensor, context: Tensor, target: Tensor) -> Tensor:
        """Predictions ``(B, D, h, w)``; those in ``target`` are the ones that mean something.

        Args:
            features: Map of the context, ``(B, D, h, w)``.
            context: Cells that were seen, ``(B, h, w)`` bool.
            target: Cells to predict, ``(B, h, w)`` bool, disjoint from the context.
        """
        x = self.enter(features)
        seen, asked = context.unsqueeze(1).to(x.dtype), target.unsqueeze(1).to(x.dtype)
        x = x * seen + self.unseen.to(x.dtype) * asked + position_code(x)
        for block in self.blocks:
            x = x + block(x)
        predicted: Tensor = self.leave(x)
        return predicted


def position_code(x: Tensor) -> Tensor:
    """Sines and cosines of row and column of the cells of ``x (B, C, h, w)``, ``(C, h, w)``."""
    channels, height, width = x.shape[1:]
    quarter = torch.arange(channels // 4, device=x.device)
    frequency = torch.exp(-math.log(1e4) * quarter / max(1, channels // 4))
    codes = []
    for axis, length in enumerate((height, width)):
        angle = frequency[:, None] * torch.arange(length, device=x.device)
        code = torch.cat([angle.sin(), angle.cos()])  # (C / 2, length)
        code = code[:, :, None] if axis == 0 else code[:, None, :]
        codes.append(code.expand(-1, height, width))
    return torch.cat(codes).to(x.dtype)

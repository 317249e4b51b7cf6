"""The two-dimensional network over a bird's-eye map that every encoder ends in."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ssl_equiv.errors import UserError

# of every BatchNorm: the published LiDAR networks' eps; their momentum of 0.01 would leave most of
# the first statistics after a hundred steps, and PyTorch's own is as good after thousands
EPS, MOMENTUM = 1e-3, 0.1


@dataclass(frozen=True)
class BevConfig:
    """Blocks of a bird's-eye network; the defaults are SECOND's (Yan et al. 2018, Fig. 2).

    Block i begins with a convolution of ``strides[i]``, then come ``layers[i]`` more; its output is
    brought to the map's size by ``upsample_strides[i]``, and all are concatenated. No block leaves
    the map as it is.

    Args:
        layers: Further 3x3 convolutions of each block.
        strides: Stride of each block.
        filters: Channels of each block.
        upsample_strides: What enlarges each block's output again.
        upsample_filters: Channels that each block gives to the result.
    """

    layers: tuple[int, ...] = (5, 5)
    strides: tuple[int, ...] = (1, 2)
    filters: tuple[int, ...] = (128, 256)
    upsample_strides: tuple[int, ...] = (1, 2)
    upsample_filters: tuple[int, ...] = (256, 256)

    def __post_init__(self) -> None:
        values = vars(self)
        lengths = {name: len(value) for name, value in values.items()}
        if len(set(lengths.values())) != 1:
            told = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise UserError(f"model.backbone.bev: all take one number a block, not {told}")
        if any(value < (name != "layers") for name in values for value in values[name]):
            raise UserError(f"model.backbone.bev: {values} must be 1 or more, layers 0 or more")
        scale, scales = 1, []
        for stride, up in zip(self.strides, self.upsample_strides, strict=True):
            scale *= stride
            scales.append((scale, up))
        if any(scale % up or scale // up != scales[0][0] // scales[0][1] for scale, up in scales):
            raise UserError(
                f"model.backbone.bev: strides {self.strides} and upsample_strides "
                f"{self.upsample_strides} give maps of different sizes: the product of the strides "
                "up to a block over its upsample_stride must be the same whole number"
            )

    @property
    def stride(self) -> int:
        """Edge of a cell of the result, in cells of the map."""
        return self.strides[0] // self.upsample_strides[0] if self.strides else 1

    @property
    def coarsest(self) -> int:
        """Edge of a cell of the last block, by which the map's sides must be divisible."""
        edge = 1
        for stride in self.strides:
            edge *= stride
        return edge


class BevBackbone(nn.Module):
    """2-D blocks, each enlarged again and concatenated: ``(B, C, H, W) -> (B, D, H / s, W / s)``.

    The layout and the names of weights are those that SECOND, PointPillars and CenterPoint share in
    OpenPCDet (``backbone_2d``).

    Args:
        channels: C.
        config: The blocks.

    Attributes:
        out_channels: D.
        stride: s.
    """

    def __init__(self, channels: int, config: BevConfig) -> None:
        super().__init__()
        self.stride = config.stride
        self.out_channels = sum(config.upsample_filters) if config.layers else channels
        self.blocks, self.deblocks = nn.ModuleList(), nn.ModuleList()
        for layers, stride, width, up, up_width in zip(*vars(config).values(), strict=True):
            block: list[nn.Module] = [nn.ZeroPad2d(1)]
            block += _layer(nn.Conv2d(channels, width, 3, stride, bias=False))
            for _ in range(layers):
                block += _layer(nn.Conv2d(width, width, 3, padding=1, bias=False))
            self.blocks.append(nn.Sequential(*block))
            enlarge = nn.ConvTranspose2d(width, up_width, up, up, bias=False)
            self.deblocks.append(nn.Sequential(*_layer(enlarge)))
            channels = width

    def forward(self, x: Tensor) -> Tensor:
        """The concatenated outputs of all blocks."""
        found = []
        for block, deblock in zip(self.blocks, self.deblocks, strict=True):
            x = block(x)
            found.append(deblock(x))
        return torch.cat(found, dim=1) if found else x


def _layer(convolution: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
    norm = nn.BatchNorm2d(convolution.out_channels, EPS, MOMENTUM)
    return [convolution, norm, nn.ReLU(inplace=True)]

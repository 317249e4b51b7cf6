"""The submanifold sparse voxel network with 8x downsampling of SECOND and its descendants."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ssl_equiv.backbones.lidar.bev import EPS, MOMENTUM, BevConfig
from ssl_equiv.backbones.lidar.encoder import LidarEncoder, Voxels
from ssl_equiv.backbones.lidar.grid import Grid
from ssl_equiv.backbones.lidar.rules import Triple
from ssl_equiv.backbones.lidar.sparse import (
    SparseConv3d,
    SparseMap,
    SparseSequential,
    SubMConv3d,
)
from ssl_equiv.errors import UserError

WIDTHS = (16, 16, 32, 64, 64, 128)


class VoxelBackbone(nn.Module):
    """Sparse 3-D convolutions (SECOND, Yan et al. 2018, Sec. 3.1; layout of VoxelBackBone8x).

    Strides are 2, 2, 2 along all axes, the third without padding along z, and 2 along z at the end.
    The names and shapes of weights are those of OpenPCDet's ``backbone_3d`` with spconv 2.

    Args:
        channels: Values of a voxel.
        widths: Channels of conv_input, conv1, conv2, conv3, conv4 and conv_out.
    """

    def __init__(self, channels: int = 4, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        w0, w1, w2, w3, w4, w5 = widths
        self.conv_input = _layer(SubMConv3d(channels, w0, 3, "subm1"))
        self.conv1 = SparseSequential(_layer(SubMConv3d(w0, w1, 3, "subm1")))
        self.conv2 = _stage(w1, w2, 2, 1)
        self.conv3 = _stage(w2, w3, 3, 1)
        self.conv4 = _stage(w3, w4, 4, (0, 1, 1))
        last = SparseConv3d(w4, w5, (3, 1, 1), (2, 1, 1), 0, "spconv_down2")
        self.conv_out = _layer(last)

    def forward(self, voxels: SparseMap) -> SparseMap:
        """The last map."""
        for stage in self.children():
            voxels = stage(voxels)
        return voxels

    def output_shape(self, shape: Triple) -> Triple:
        """Extent of the last map along z, y, x."""
        for module in self.modules():
            if isinstance(module, SparseConv3d) and not module.submanifold:
                shape = module.output_shape(shape)
        return shape


class VoxelEncoder(LidarEncoder):
    """Sweeps to bird's-eye maps by sparse voxels: the mean of a voxel's points, 3-D, then 2-D.

    Args:
        grid: Voxels; along x and y a whole number of output cells.
        widths: Channels of the sparse network's six parts.
        bev: The two-dimensional network.
        spconv: Use spconv where it is installed and the sweeps lie on a GPU.

    Raises:
        UserError: the grid does not fit the strides.
    """

    def __init__(
        self,
        grid: Grid,
        widths: Sequence[int] = WIDTHS,
        bev: BevConfig | None = None,
        spconv: bool = True,
    ) -> None:
        if len(widths) != len(WIDTHS):
            raise UserError(
                f"model.backbone.widths: a voxel network has {len(WIDTHS)} parts, not {len(widths)}"
            )
        depth, height, width = grid.shape
        network = VoxelBackbone(4, widths)
        # one more than the grid has: SECOND's 40 voxels halve to a whole number of layers
        shape = (depth + 1, height, width)
        layers, *_ = network.output_shape(shape)
        if layers < 1:
            raise UserError(
                f"model.backbone: a voxel network needs 24 voxels or more along z, not {depth}: "
                "lower voxel_size or widen range along z"
            )
        super().__init__(grid, layers * widths[-1], 8, bev or BevConfig())
        self.backbone_3d, self.shape = network, shape
        for module in network.modules():
            if isinstance(module, SparseConv3d):
                module.spconv = spconv

    def flat_map(self, points: Tensor, voxels: Voxels, size: int) -> Tensor:
        """The sparse network's output, its layers along z side by side in the channels."""
        means = torch.segment_reduce(points, "mean", lengths=voxels.counts, unsafe=True)
        found = self.backbone_3d(SparseMap(means, voxels.coordinates, self.shape, size))
        dense: Tensor = found.dense()
        return dense.flatten(1, 2)


def _layer(convolution: SparseConv3d) -> SparseSequential:
    norm = nn.BatchNorm1d(len(convolution.weight), EPS, MOMENTUM)
    return SparseSequential(convolution, norm, nn.ReLU(inplace=True))


def _stage(into: int, width: int, number: int, padding: int | Triple) -> SparseSequential:
    return SparseSequential(
        _layer(SparseConv3d(into, width, 3, 2, padding, f"spconv{number}")),
        _layer(SubMConv3d(width, width, 3, f"subm{number}")),
        _layer(SubMConv3d(width, width, 3, f"subm{number}")),
    )

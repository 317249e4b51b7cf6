"""What encoders of sweeps share: from points to voxels, and from a map to bird's-eye features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ssl_equiv.backbones.lidar.bev import BevBackbone, BevConfig
from ssl_equiv.backbones.lidar.grid import BevFeatures, Grid, Plane, by_voxel, voxelize
from ssl_equiv.errors import UserError
from ssl_equiv.points import PointBatch


@dataclass(frozen=True)
class Voxels:
    """Occupied voxels.

    Args:
        coordinates: ``(M, 4)`` int64 of batch, z, y, x, sorted.
        counts: Points of each, ``(M,)`` int64, at least 1.
    """

    coordinates: Tensor
    counts: Tensor


class LidarEncoder(nn.Module, ABC):
    """Sweeps to a bird's-eye map of features.

    Args:
        grid: The voxels.
        channels: Channels of the map that :meth:`flat_map` makes.
        stride: Edge of a cell of that map, in voxels.
        bev: The two-dimensional network after it.

    Attributes:
        grid: The voxels.
        out_channels: Channels of the features.
        stride: Edge of a cell of the features, in voxels.

    Raises:
        UserError: the grid is no whole number of cells.
    """

    def __init__(self, grid: Grid, channels: int, stride: int, bev: BevConfig) -> None:
        super().__init__()
        cell = stride * bev.coarsest
        for axis, count in zip("yx", grid.shape[1:], strict=True):
            if count % cell:
                raise UserError(
                    f"model.backbone: {count} voxels along {axis} are no whole number of the "
                    f"coarsest cells, {cell} voxels each: change range or voxel_size"
                )
        self.grid = grid
        self.backbone_2d = BevBackbone(channels, bev)
        self.out_channels, self.stride = self.backbone_2d.out_channels, stride * bev.stride

    @property
    def plane(self) -> Plane:
        """The cells of the features."""
        return Plane(self.grid, self.stride)

    @abstractmethod
    def flat_map(self, points: Tensor, voxels: Voxels, size: int) -> Tensor:
        """The map ``(size, C, H, W)`` of points ``(P, 4)`` sorted by voxel."""

    def forward(self, batch: PointBatch) -> BevFeatures:
        """Features of each sweep.

        Raises:
            UserError: no point lies in the grid.
        """
        coordinates, point_to_voxel = voxelize(batch.points, batch.batch_index, self.grid)
        if not len(coordinates):
            low, high = self.grid.range[:3], self.grid.range[3:]
            raise UserError(
                f"none of the {len(batch.points)} points of {batch.size} sweeps lies between "
                f"x, y, z {low} and {high}: change model.backbone.range, or the data's frame (x "
                "forward, y left, z up, metres)"
            )
        order, counts = by_voxel(point_to_voxel, len(coordinates))
        flat = self.flat_map(batch.points[order], Voxels(coordinates, counts), batch.size)
        found = self.backbone_2d(flat)
        height, width = found.shape[-2:]
        occupied = torch.zeros(
            (batch.size, 1, height, width), dtype=torch.bool, device=found.device
        )
        cell = torch.div(coordinates[:, 2:], self.stride, rounding_mode="floor")
        occupied[coordinates[:, 0], 0, cell[:, 0], cell[:, 1]] = True
        return BevFeatures(found, self.stride, self.grid, occupied)

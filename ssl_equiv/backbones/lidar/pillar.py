"""Pillars: columns of points summarised by a small network (PointPillars, arXiv 1812.05784)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ssl_equiv.backbones.lidar.bev import EPS, MOMENTUM, BevConfig
from ssl_equiv.backbones.lidar.encoder import LidarEncoder, Voxels
from ssl_equiv.backbones.lidar.grid import Grid
from ssl_equiv.errors import UserError

WIDTHS = (64,)
# PointPillars' (Sec. 2.2)
BEV = BevConfig((3, 5, 5), (2, 2, 2), (64, 128, 256), (1, 2, 4), (128, 128, 128))
_DECORATED = 10  # x, y, z, intensity, offsets from the pillar's mean and from its centre


class PillarLayer(nn.Module):
    """Linear → BatchNorm → ReLU for each point, then the largest of each pillar.

    Args:
        channels: Values of a point.
        width: Channels of the result.
        last: Return the pillars; else points, each beside its pillar's.
    """

    def __init__(self, channels: int, width: int, last: bool) -> None:
        super().__init__()
        self.last = last
        width = width if last else width // 2
        self.linear = nn.Linear(channels, width, bias=False)
        self.norm = nn.BatchNorm1d(width, EPS, MOMENTUM)

    def forward(self, points: Tensor, counts: Tensor) -> Tensor:
        """Points ``(P, C)`` sorted by pillar to ``(M, D)`` or ``(P, D)``; each pillar has some."""
        x = torch.relu_(self.norm(self.linear(points)))
        largest = torch.segment_reduce(x, "max", lengths=counts, unsafe=True)
        if self.last:
            return largest
        return torch.cat([x, largest.repeat_interleave(counts, dim=0)], dim=1)


class PillarFeatures(nn.Module):
    """Points decorated by their offsets, through :class:`PillarLayer` s.

    Names of weights are those of OpenPCDet's ``vfe``. All points of a pillar count, without a limit
    and without padding, as in its DynamicPillarVFE; its PillarVFE, with 32 points a pillar, lets
    the padding into the maximum.

    Args:
        grid: The pillars.
        widths: Widths of the layers.
    """

    def __init__(self, grid: Grid, widths: Sequence[int]) -> None:
        super().__init__()
        self.grid = grid
        into = [_DECORATED, *widths]
        self.pfn_layers = nn.ModuleList(
            PillarLayer(into[place], width, place == len(widths) - 1)
            for place, width in enumerate(widths)
        )

    def forward(self, points: Tensor, voxels: Voxels) -> Tensor:
        """Points ``(P, 4)`` sorted by pillar to pillars ``(M, D)``."""
        xyz, counts = points[:, :3], voxels.counts
        mean = torch.segment_reduce(xyz, "mean", lengths=counts, unsafe=True)
        places = torch.cat([mean, self.grid.centres(voxels.coordinates).to(mean)], dim=1)
        offsets = xyz.repeat(1, 2) - places.repeat_interleave(counts, dim=0)
        x = torch.cat([points, offsets], dim=1)
        # metres with a few bits of mantissa would be decimetres
        with torch.autocast(x.device.type, enabled=False):
            for layer in self.pfn_layers:
                x = layer(x, counts)
        return x


class PillarEncoder(LidarEncoder):
    """Sweeps to bird's-eye maps by pillars, then 2-D.

    Args:
        grid: Voxels, one along z; along x and y a whole number of the coarsest cells.
        widths: Widths of the layers that summarise a pillar's points.
        bev: The two-dimensional network.

    Raises:
        UserError: the grid does not fit.
    """

    def __init__(
        self, grid: Grid, widths: Sequence[int] = WIDTHS, bev: BevConfig | None = None
    ) -> None:
        if grid.shape[0] != 1:
            raise UserError(
                f"model.backbone.voxel_size: a pillar is as high as the range, not "
                f"{grid.voxel_size[2]}: set it to {grid.range[5] - grid.range[2]:g} along z"
            )
        if not widths or min(widths) < 2:
            raise UserError(f"model.backbone.widths is {list(widths)}: give one or more, each >= 2")
        super().__init__(grid, widths[-1], 1, bev or BEV)
        self.vfe = PillarFeatures(grid, widths)

    def flat_map(self, points: Tensor, voxels: Voxels, size: int) -> Tensor:
        """Pillars at their places, zero where there is none."""
        pillars = self.vfe(points, voxels)
        batch, _, y, x = voxels.coordinates.unbind(1)
        _, height, width = self.grid.shape
        empty = pillars.new_zeros(size, height, width, pillars.shape[1])
        flat: Tensor = empty.index_put((batch, y, x), pillars)
        return flat.permute(0, 3, 1, 2)

"""The grid over a sweep's surroundings, the voxels that points fall into, and maps over it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_equiv.errors import UserError


@dataclass(frozen=True)
class Grid:
    """A box of voxels around the sensor.

    Args:
        range: Lowest x, y, z and highest x, y, z, metres; a voxel holds its lower faces.
        voxel_size: Edges along x, y, z, metres; a whole number of each fills the range.

    Raises:
        UserError: the range is empty, or an edge does not divide it.
    """

    range: tuple[float, float, float, float, float, float]
    voxel_size: tuple[float, float, float]

    def __post_init__(self) -> None:
        if len(self.range) != 6 or len(self.voxel_size) != 3:
            raise UserError(
                f"grid: range takes 6 numbers and voxel_size 3, not {len(self.range)} and "
                f"{len(self.voxel_size)}"
            )
        for axis, low, high, edge in zip(
            "xyz", self.range[:3], self.range[3:], self.voxel_size, strict=True
        ):
            if not (math.isfinite(low) and math.isfinite(high) and low < high and edge > 0):
                raise UserError(
                    f"grid: {axis} from {low} to {high} in steps of {edge} is empty: range is the "
                    "lowest x, y, z, then the highest; voxel_size is positive"
                )
            count = (high - low) / edge
            if abs(count - round(count)) > 1e-3:
                raise UserError(
                    f"grid: {axis} from {low} to {high} is {count:.3f} voxels of {edge}: choose "
                    "a range that is a whole number of them"
                )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along z, y, x."""
        nx, ny, nz = (
            round((high - low) / edge)
            for low, high, edge in zip(self.range[:3], self.range[3:], self.voxel_size, strict=True)
        )
        return nz, ny, nx

    def contains(self, points: Tensor) -> Tensor:
        """Which of ``points (N, >= 3)`` lie inside, ``(N,)`` bool; not finite ones do not."""
        low, high = points.new_tensor(self.range[:3]), points.new_tensor(self.range[3:])
        return ((points[:, :3] >= low) & (points[:, :3] < high)).all(1)

    def centres(self, coordinates: Tensor) -> Tensor:
        """Centres of voxels ``(M, 4)`` of batch, z, y, x: ``(M, 3)`` of x, y, z, metres."""
        edges = torch.tensor(self.voxel_size, device=coordinates.device)
        low = torch.tensor(self.range[:3], device=coordinates.device)
        return (coordinates[:, 1:].flip(1) + 0.5) * edges + low


def voxelize(points: Tensor, batch_index: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """The voxels that hold points, sorted by batch, z, y, x.

    Args:
        points: ``(N, >= 3)``; x, y, z first, metres.
        batch_index: The sweep of each point, ``(N,)`` int64, >= 0.
        grid: The voxels.

    Returns:
        coordinates ``(M, 4)`` int64 of batch, z, y, x; the voxel of each point ``(N,)`` int64, -1
        for those outside the grid or not finite.
    """
    depth, height, width = grid.shape
    sweeps = int(batch_index.max()) + 1 if len(batch_index) else 1
    # half the bytes sort twice as fast
    small = sweeps * depth * height * width < 2**31
    key = batch_index.int() if small else batch_index.long()
    inside = torch.ones(len(points), dtype=torch.bool, device=points.device)
    for axis, cells in ((2, depth), (1, height), (0, width)):
        cell = ((points[:, axis] - grid.range[axis]) / grid.voxel_size[axis]).floor()
        inside &= (cell >= 0) & (cell < cells)  # in float: a NaN is neither
        key = key * cells + cell.to(key.dtype)
    found, inverse = torch.unique(key[inside], return_inverse=True)
    point_to_voxel = torch.full((len(points),), -1, dtype=torch.long, device=points.device)
    point_to_voxel[inside] = inverse
    return unravel(found.long(), (sweeps, depth, height, width)), point_to_voxel


def by_voxel(point_to_voxel: Tensor, voxels: int) -> tuple[Tensor, Tensor]:
    """The points inside the grid, voxel by voxel.

    Args:
        point_to_voxel: The voxel of each point, ``(N,)`` int64, -1 outside.
        voxels: Number of voxels, M; each holds a point.

    Returns:
        Rows of the points, sorted by voxel and within a voxel as they were, ``(P,)`` int64; points
        of each voxel, ``(M,)`` int64.
    """
    inside = (point_to_voxel >= 0).nonzero()[:, 0]
    # small numbers sort faster
    voxel, order = torch.sort(point_to_voxel[inside].int(), stable=True)
    return inside[order], torch.bincount(voxel, minlength=voxels)


def ravel(coordinates: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Row-major numbers ``(M,)`` of cells ``(M, len(shape))`` of a dense array."""
    key = coordinates[:, 0]
    for axis, cells in enumerate(shape[1:], 1):
        key = key * cells + coordinates[:, axis]
    return key


def unravel(key: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Cells ``(M, len(shape))`` of a dense array from their row-major numbers ``(M,)``."""
    columns = []
    for cells in reversed(shape[1:]):
        columns.append(key % cells)
        key = torch.div(key, cells, rounding_mode="floor")
    return torch.stack([key, *reversed(columns)], dim=1)


@dataclass(frozen=True)
class Plane:
    """The cells of a bird's-eye map: rows along y, columns along x.

    Args:
        grid: The voxels; row 0 and column 0 begin at the lowest y and x.
        stride: Edge of a cell, in voxels along x and y.
    """

    grid: Grid
    stride: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        _, height, width = self.grid.shape
        return height // self.stride, width // self.stride

    @property
    def cell(self) -> tuple[float, float]:
        """Edges of a cell along x and y, metres."""
        return self.stride * self.grid.voxel_size[0], self.stride * self.grid.voxel_size[1]

    def centres(self, device: torch.device | None = None) -> Tensor:
        """Centres of all cells, ``(H, W, 2)`` of x and y, metres."""
        height, width = self.shape
        x = self.grid.range[0] + self.cell[0] * (torch.arange(width, device=device) + 0.5)
        y = self.grid.range[1] + self.cell[1] * (torch.arange(height, device=device) + 0.5)
        return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)

    def cells(self, points: Tensor, batch_index: Tensor) -> Tensor:
        """The cell that holds each point of the grid.

        Args:
            points: ``(N, >= 3)``; x, y, z first, metres.
            batch_index: The sweep of each, ``(N,)``.

        Returns:
            Row-major numbers in ``(B, H, W)``, ``(N,)`` int64; -1 outside the grid's range.
        """
        height, width = self.shape
        column, row = (
            ((points[:, axis] - self.grid.range[axis]) / edge).floor().clamp(0, past - 1).long()
            for axis, edge, past in zip((0, 1), self.cell, (width, height), strict=True)
        )
        number = (batch_index * height + row) * width + column
        return torch.where(self.grid.contains(points), number, -1)


@dataclass(frozen=True)
class BevFeatures:
    """A bird's-eye map of features over a grid: rows along y, columns along x.

    Args:
        map: ``(B, C, H, W)``.
        stride: Edge of a cell of the grid, in voxels along x and y.
        grid: The voxels; row 0 and column 0 begin at the lowest y and x.
        occupied: Cells that hold points of the sweep, ``(B, 1, H, W)`` bool.
    """

    map: Tensor
    stride: int
    grid: Grid
    occupied: Tensor

    @property
    def plane(self) -> Plane:
        """The cells."""
        return Plane(self.grid, self.stride)

    @property
    def cell(self) -> tuple[float, float]:
        """Edges of a cell along x and y, metres."""
        return self.plane.cell

    def cell_centres(self) -> Tensor:
        """Centres of all cells, ``(H, W, 2)`` of x and y, metres."""
        return self.plane.centres(self.map.device)

    def of_cells(self, numbers: Tensor) -> Tensor:
        """Features ``(n, C)`` of the cells of row-major ``numbers (n,)`` in ``(B, H, W)``."""
        return self.map.permute(0, 2, 3, 1).flatten(0, 2).index_select(0, numbers)

    def pooled(self) -> Tensor:
        """The mean over the cells that hold points, ``(B, C)``; 0 for a sweep without any."""
        count = self.occupied.sum(dim=(2, 3))
        return (self.map * self.occupied).sum(dim=(2, 3)) / count.clamp_min(1)

    def at(self, points: Tensor, batch_index: Tensor) -> Tensor:
        """Features at places of the plane, interpolated bilinearly between centres of cells.

        Args:
            points: ``(N, >= 2)``; x and y first, metres. Places outside get the nearest edge's.
            batch_index: The sweep of each, ``(N,)``.

        Returns:
            ``(N, C)``, differentiable with respect to the map.
        """
        channels, height, width = self.map.shape[1:]
        column = (points[:, 0] - self.grid.range[0]) / self.cell[0] - 0.5
        row = (points[:, 1] - self.grid.range[1]) / self.cell[1] - 0.5
        column, row = column.clamp(0, width - 1), row.clamp(0, height - 1)
        left, top = column.long().clamp(max=width - 2), row.long().clamp(max=height - 2)
        left, top = left.clamp(min=0), top.clamp(min=0)
        right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
        across, down = (column - left)[:, None], (row - top)[:, None]
        rows = self.map.permute(0, 2, 3, 1).reshape(-1, channels)
        start = batch_index * height
        at = [rows[(start + y) * width + x] for y in (top, bottom) for x in (left, right)]
        above = at[0] + (at[1] - at[0]) * across
        below = at[2] + (at[3] - at[2]) * across
        return above + (below - above) * down

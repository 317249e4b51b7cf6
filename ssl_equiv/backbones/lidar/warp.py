"""A bird's-eye map carried along by the flow of the points that it was made of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_equiv.backbones.lidar.grid import Plane
from ssl_equiv.points import PointBatch


@dataclass(frozen=True)
class CellFlow:
    """Which cells of a map go to which, as their points do: each point takes its cell along.

    What comes to a cell is the mean over the points that end there, each with the features of the
    cell that it left.

    Args:
        sources: Cells that are left, row-major numbers in ``(B, H, W)``, ascending, ``(S,)``.
        targets: Cells that are reached, likewise, ``(T,)``.
        row: The source (a row of ``sources``) of each pair of cells, those to the first target
            first, ``(P,)``.
        weight: Share of the target's points that came from this source, ``(P,)``.
        counts: Pairs of each target, ``(T,)``.
    """

    sources: Tensor
    targets: Tensor
    row: Tensor
    weight: Tensor
    counts: Tensor

    def move(self, features: Tensor) -> Tensor:
        """Features of the sources ``(S, C)`` to those of the targets ``(T, C)``."""
        carried = features.index_select(0, self.row) * self.weight[:, None].to(features)
        return torch.segment_reduce(carried, "sum", lengths=self.counts, unsafe=True)


def cell_flow(plane: Plane, points: PointBatch) -> CellFlow:
    """Where the cells of a map go.

    Args:
        plane: The cells.
        points: The points with their flow; those outside the grid before or after, and those whose
            flow is unknown (NaN), are left out.

    Returns:
        The flow of cells, empty where no point remains.
    """
    assert points.flow is not None
    cells = points.size * math.prod(plane.shape)
    before = plane.cells(points.points, points.batch_index)
    after = plane.cells(points.points[:, :3] + points.flow, points.batch_index)
    known = (before >= 0) & (after >= 0)
    pair, number = torch.unique(after[known] * cells + before[known], return_counts=True)
    target, source = torch.div(pair, cells, rounding_mode="floor"), pair % cells
    targets, counts = torch.unique_consecutive(target, return_counts=True)
    total = torch.zeros_like(counts).index_add_(
        0, torch.arange(len(counts), device=counts.device).repeat_interleave(counts), number
    )
    sources, row = torch.unique(source, return_inverse=True)
    weight = number / total.repeat_interleave(counts)
    return CellFlow(sources, targets, row, weight, counts)

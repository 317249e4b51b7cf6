"""Sweeps with the points of some cells taken out, for methods that fill them in."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_equiv.backbones.lidar import Plane
from ssl_equiv.data.lidar.batch import LidarBatch
from ssl_equiv.errors import UserError
from ssl_equiv.methods.matches import STEP
from ssl_equiv.points import PointBatch
from ssl_equiv.transforms.saccades import keyed_uniform


@dataclass(frozen=True, kw_only=True)
class MaskedSweeps(LidarBatch):
    """Single views without the points of masked cells.

    Args:
        whole: The view with all its points that lie in the grid.
        cells: The cell of each of them, row-major in ``(B, H, W)``, ``(N,)``.
        masked: Cells that held points and lost them, ``(B, H, W)`` bool.
    """

    whole: PointBatch
    cells: Tensor
    masked: Tensor


def check_ratio(ratio: float) -> None:
    """Raise UserError unless a share of cells can be masked."""
    if not 0 < ratio < 1:
        raise UserError(f"model.mask_ratio is {ratio}: choose a share between 0 and 1")


def mask_sweeps(batch: LidarBatch, plane: Plane, ratio: float, seed: int) -> MaskedSweeps:
    """Mask each occupied cell with a probability; draws depend on sweep, cell and seed alone.

    Args:
        batch: Sweeps, of which the first view is taken.
        plane: The cells.
        ratio: The probability.
        seed: Seed of the draw, the same on every process.
    """
    view = batch.views[0]
    cells = plane.cells(view.points, view.batch_index)
    whole, cells = view.select(cells >= 0), cells[cells >= 0]
    rows, columns = plane.shape
    held = torch.unique(cells)
    sweep = torch.div(held, rows * columns, rounding_mode="floor")
    identity = batch.index[sweep] * STEP + held % (rows * columns)
    taken = held[keyed_uniform(identity, 1, seed)[:, 0] < ratio]
    masked = torch.zeros(view.size * rows * columns, dtype=torch.bool, device=cells.device)
    masked[taken] = True
    shown = whole.select(~masked[cells])
    return MaskedSweeps(
        **{**vars(batch), "views": [shown]},
        whole=whole,
        cells=cells,
        masked=masked.view(view.size, rows, columns),
    )


def shuffled(points: PointBatch, index: Tensor, seed: int) -> Tensor:
    """Rows of points in a random order that depends on sweep, point and seed alone, ``(N,)``."""
    assert points.source_index is not None
    identity = index[points.batch_index] * STEP + points.source_index
    return keyed_uniform(identity, 1, seed)[:, 0].argsort(stable=True)

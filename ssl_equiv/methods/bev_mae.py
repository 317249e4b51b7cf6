"""BEV-MAE on sweeps (Lin et al. 2022, arXiv 2212.05758): points of masked cells are rebuilt."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_equiv.backbones.lidar import EncoderConfig
from ssl_equiv.data.lidar.batch import LidarBatch
from ssl_equiv.distributed import global_mean
from ssl_equiv.heads import MaskPredictor
from ssl_equiv.losses.lidar import chamfer
from ssl_equiv.methods.base import OptimizerConfig
from ssl_equiv.methods.lidar import LIDAR_OPTIMIZER, BevRepresentation, LidarMethod
from ssl_equiv.methods.masked_sweeps import MaskedSweeps, check_ratio, mask_sweeps, shuffled
from ssl_equiv.methods.matches import first_of_groups
from ssl_equiv.precision import at_least_float32


class BevMAE(LidarMethod):
    """From a sweep with cells taken out, draw their points and tell how many there were.

    As the paper: a learnt token stands for masked cells in the bird's-eye map, a light decoder
    follows, the loss is the Chamfer distance of normalised coordinates plus that of the density
    (here the logarithm of 1 + the number of points).

    Args:
        backbone: The encoder that is pretrained.
        optimizer: Optimiser and schedule.
        mask_ratio: Share of occupied cells that are masked.
        drawn: Points drawn in each masked cell.
        kept: Points of a cell that they are compared with, at most.
        decoder_width: Channels of the decoder, a multiple of 4.
        decoder_depth: 3x3 convolutions of the decoder.
        compile: Compile the two-dimensional part of the encoder.
    """

    num_views = 1

    def __init__(
        self,
        backbone: EncoderConfig = EncoderConfig(),  # noqa: B008 (frozen)
        optimizer: OptimizerConfig = LIDAR_OPTIMIZER,
        mask_ratio: float = 0.7,
        drawn: int = 20,
        kept: int = 32,
        decoder_width: int = 128,
        decoder_depth: int = 1,
        compile: bool = False,
    ) -> None:
        check_ratio(mask_ratio)
        super().__init__(backbone, optimizer, compile)
        self.mask_ratio, self.drawn, self.kept = mask_ratio, drawn, kept
        self.decoder = MaskPredictor(self.dim, decoder_width, decoder_depth)
        self.draw = nn.Linear(self.dim, 3 * drawn + 1)
        self.weights = {"points": 1.0, "density": 1.0}

    def observe(self, batch: LidarBatch) -> MaskedSweeps:
        """The sweeps without the points of masked cells."""
        return mask_sweeps(batch, self.backbone.plane, self.mask_ratio, self.step_seed)

    def terms(self, views: list[BevRepresentation], batch: MaskedSweeps) -> dict[str, Tensor]:
        """How far points and densities are off, mean over masked cells."""
        decoded = self.decoder(views[0].bev.map, ~batch.masked, batch.masked)
        cells = batch.masked.flatten().nonzero()[:, 0]
        found = at_least_float32(self.draw(decoded.permute(0, 2, 3, 1).flatten(0, 2)[cells]))
        points, known, number = self.targets(batch, cells)
        distance = chamfer(found[:, 1:].reshape(-1, self.drawn, 3), points, known)
        density = F.smooth_l1_loss(found[:, 0], torch.log1p(number).to(found), reduction="none")
        return {
            "points": global_mean(distance, len(cells)),
            "density": global_mean(density, len(cells)),
        }

    def targets(self, batch: MaskedSweeps, cells: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What was in masked cells.

        Args:
            batch: The sweeps.
            cells: Masked cells in ascending order, ``(n,)``.

        Returns:
            Points, from -1 to 1 along each edge of the cell, ``(n, kept, 3)``; which of them there
            are, ``(n, kept)`` bool; the number that there were, ``(n,)`` float.
        """
        plane, grid = self.backbone.plane, self.backbone.grid
        order = shuffled(batch.whole, batch.index, self.step_seed)
        order = order[batch.masked.flatten()[batch.cells[order]]]
        cell = torch.searchsorted(cells, batch.cells[order])
        number = torch.bincount(cell, minlength=len(cells))
        some, rank = first_of_groups(cell, self.kept)
        order, cell = order[some], cell[some]
        xyz = batch.whole.points[order, :3]
        centres = plane.centres(xyz.device).flatten(0, 1)[
            batch.cells[order] % math.prod(plane.shape)
        ]
        middle, height = (grid.range[2] + grid.range[5]) / 2, grid.range[5] - grid.range[2]
        centres = torch.cat([centres.to(xyz), torch.full_like(xyz[:, :1], middle)], dim=1)
        scaled = (xyz - centres) / (xyz.new_tensor([*plane.cell, height]) / 2)
        points = xyz.new_zeros(len(cells), self.kept, 3).index_put((cell, rank), scaled)
        known = torch.arange(self.kept, device=cells.device) < number[:, None]
        return points, known, number.to(xyz)

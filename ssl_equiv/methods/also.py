"""ALSO on sweeps (Boulch et al. 2022, arXiv 2212.05867): features tell where there is matter."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_equiv.backbones.lidar import BevFeatures, EncoderConfig
from ssl_equiv.data.lidar.batch import LidarBatch
from ssl_equiv.distributed import global_mean
from ssl_equiv.errors import UserError
from ssl_equiv.methods.base import OptimizerConfig
from ssl_equiv.methods.lidar import LIDAR_OPTIMIZER, BevRepresentation, LidarMethod
from ssl_equiv.methods.masked_sweeps import shuffled
from ssl_equiv.methods.matches import STEP, first_of_groups
from ssl_equiv.precision import at_least_float32
from ssl_equiv.transforms.points import MOTION
from ssl_equiv.transforms.saccades import keyed_uniform


class ALSO(LidarMethod):
    """Just before a point a ray went through the air, just behind it is something.

    As the paper: three queries along the line of sight of a point, ``reach`` before it and anywhere
    between it and the sensor (empty), ``reach`` behind it (full), told apart from a latent; here
    that is the bird's-eye feature, beside the query's place in its cell and its height. The
    intensity of the point is predicted at the full query.

    Args:
        backbone: The encoder that is pretrained.
        optimizer: Optimiser and schedule.
        points: Points of a sweep whose rays are asked about.
        reach: Distance of queries before and behind the point, metres.
        hidden: Width of the decoder.
        intensity_weight: Weight of the intensity's mean absolute error.
        compile: Compile the two-dimensional part of the encoder.
    """

    num_views = 1

    def __init__(
        self,
        backbone: EncoderConfig = EncoderConfig(),  # noqa: B008 (frozen)
        optimizer: OptimizerConfig = LIDAR_OPTIMIZER,
        points: int = 2048,
        reach: float = 0.1,
        hidden: int = 128,
        intensity_weight: float = 1.0,
        compile: bool = False,
    ) -> None:
        if reach <= 0 or points < 1:
            raise UserError(f"model.reach is {reach} and model.points {points}: choose more than 0")
        super().__init__(backbone, optimizer, compile)
        self.points, self.reach = points, reach
        self.decoder = nn.Sequential(
            nn.Linear(self.dim + 3, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, 2),
        )
        self.weights = {"occupancy": 1.0, "intensity": intensity_weight}

    def terms(self, views: list[BevRepresentation], batch: LidarBatch) -> dict[str, Tensor]:
        """Cross-entropy of full and empty, and the intensities' error."""
        bev, cloud = views[0].bev, batch.views[0]
        cloud = cloud.select(bev.grid.contains(cloud.points))
        rows = shuffled(cloud, batch.index, self.step_seed)
        rows = rows[first_of_groups(cloud.batch_index[rows], self.points)[0]]
        assert cloud.source_index is not None
        point, sweep, number = (
            x[rows] for x in (cloud.points, cloud.batch_index, cloud.source_index)
        )
        # the sensor moved with the view: it was at the origin
        sensor = MOTION.parts(batch.actions["motion"][:, 0])[1].to(point)[sweep]
        ray = point[:, :3] - sensor
        step = self.reach / ray.norm(dim=1, keepdim=True).clamp_min(self.reach)
        share = keyed_uniform(batch.index[sweep] * STEP + number, 1, self.step_seed + 1).to(point)
        queries = torch.cat([sensor + ray * s for s in (1 + step, 1 - step, share)])
        told = self.decode(bev, queries, sweep.repeat(3))
        asked = bev.grid.contains(queries)
        full = torch.zeros_like(asked)
        full[: len(rows)] = True
        losses = F.binary_cross_entropy_with_logits(told[:, 0], full.to(told), reduction="none")
        weight = torch.where(full, 1.0, 0.5) * asked  # there are two empty ones for each full one
        behind = asked[: len(rows)]
        off = (told[: len(rows), 1] - point[:, 3]).abs() * behind
        return {
            "occupancy": global_mean(losses * weight, weight.sum()),
            "intensity": global_mean(off, behind.sum()),
        }

    def decode(self, bev: BevFeatures, queries: Tensor, sweep: Tensor) -> Tensor:
        """The logit of something being there, and its intensity, ``(N, 2)``.

        Args:
            bev: Features.
            queries: Places, ``(N, 3)`` metres.
            sweep: The sweep of each, ``(N,)``.
        """
        low = queries.new_tensor(bev.grid.range[:3])
        edges = queries.new_tensor([*bev.cell, bev.grid.range[5] - bev.grid.range[2]])
        place = ((queries - low) / edges).remainder(1.0) * 2 - 1  # in the cell, from -1 to 1
        features = bev.at(queries, sweep)
        decoded: Tensor = self.decoder(torch.cat([features, place.to(features)], dim=1))
        return at_least_float32(decoded)

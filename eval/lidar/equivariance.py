"""How far a bird's-eye map moves with the points that it is made of."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from eval.equivariance import Discrepancy
from ssl_equiv.backbones.lidar import BevFeatures, LidarEncoder
from ssl_equiv.data.lidar.batch import LidarBatch
from ssl_equiv.transforms.points import MOTION, identity, motion, move_points

DEGREES = (10.0, 30.0, 45.0, 90.0, 180.0)
METRES = (0.05, 0.2, 1.0)


def standard_motions() -> dict[str, Tensor]:
    """Single motions by name, elements ``(6,)`` of MOTION: turns, flips, steps forward, a scale."""
    elements = {
        **{f"yaw_{degrees:g}": {"yaw": [math.radians(degrees)]} for degrees in DEGREES},
        "flip_x": {"flip": [-1.0, 1.0]},
        "flip_y": {"flip": [1.0, -1.0]},
        **{f"translation_{metres:g}": {"translation": [metres, 0.0, 0.0]} for metres in METRES},
        "scale_1.05": {"scale": [1.05]},
    }
    neutral = {name: value for name, value in identity().items() if name != "motion"}
    return {
        name: motion(neutral | {factor: torch.tensor(value) for factor, value in told.items()})
        for name, told in elements.items()
    }


@torch.inference_mode()
def bev_equivariance(
    encoder: LidarEncoder, sweeps: Iterable[LidarBatch], motions: dict[str, Tensor] | None = None
) -> dict[str, float]:
    """The distance of the map of moved points from the moved map, for each of some motions.

    Cells of the unmoved sweep that hold points are followed to where the motion takes them, where
    the map of the moved points is read by interpolation; cells that leave the grid are left out.

    Args:
        encoder: In evaluation mode.
        sweeps: What is moved.
        motions: Elements ``(6,)`` of MOTION by name; by default :func:`standard_motions`.

    Returns:
        ``equivariance_error_NAME``: root mean square of the difference over the features' standard
        deviation; 0 for an equivariant map, √2 for two maps that have nothing to do with each
        other. ``unmoved_error_NAME``: the same, had the map stood still: what an equivariant map
        is better than.
    """
    motions = standard_motions() if motions is None else motions
    device = next(encoder.parameters()).device
    found = {
        f"{kind}_error_{name}": Discrepancy(encoder.out_channels, sync_on_compute=False).to(device)
        for kind in ("equivariance", "unmoved")
        for name in motions
    }
    for batch in sweeps:
        start = encoder(batch.current)
        cells = start.occupied.flatten().nonzero()[:, 0]
        before = start.of_cells(cells)
        place, sweep = _places(start, cells)
        for name, element in motions.items():
            elements = element.to(place).expand(len(batch), -1)
            after = encoder(move_points(batch.current, elements))
            there = MOTION.act(element.to(place), place)
            kept = _inside(after, there)
            moved = after.at(there[kept], sweep[kept])
            still = after.at(place[kept], sweep[kept])
            own = before[kept]
            found[f"equivariance_error_{name}"].update(moved, own, own)
            found[f"unmoved_error_{name}"].update(still, own, own)
    return {name: metric.compute().item() for name, metric in found.items()}


def _places(bev: BevFeatures, cells: Tensor) -> tuple[Tensor, Tensor]:
    """Centres ``(n, 3)`` of cells of row-major numbers, at height 0, and their sweeps ``(n,)``."""
    each = math.prod(bev.plane.shape)
    xy = bev.cell_centres().flatten(0, 1)[cells % each]
    flat = torch.cat([xy, torch.zeros_like(xy[:, :1])], dim=1)
    return flat, torch.div(cells, each, rounding_mode="floor")


def _inside(bev: BevFeatures, places: Tensor) -> Tensor:
    """Whether places lie between centres of cells, so that nothing is made up at the border."""
    low, high = (places.new_tensor(bev.grid.range[axis : axis + 2]) for axis in (0, 3))
    half = places.new_tensor(bev.cell) / 2
    return ((places[:, :2] >= low + half) & (places[:, :2] <= high - half)).all(1)

"""An anchor-free detection head on bird's-eye maps (CenterPoint, arXiv 2006.11275).

Every class has a heat map with a bump at each object's centre; at the centre's cell the box is
regressed: where in the cell it lies, its height above the ground, its size and its heading.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_equiv.box_overlap import overlaps_of_pairs
from ssl_equiv.errors import UserError

BOX_CHANNELS = 8
"""Regressed of a box: x and y in its cell, z, log length, width, height, sin and cos of yaw."""
_RARE = 0.01  # share of cells that hold an object, to begin with
_LEAST_SIZE, _LARGEST_SIZE = 0.01, 100.0  # metres, that sizes decode to


@dataclass(frozen=True)
class HeadOutput:
    """What the head says.

    Args:
        heat: Logits of each class's centres, ``(B, K, H, W)``.
        box: ``(B, 8, H, W)``, see :data:`BOX_CHANNELS`.
    """

    heat: Tensor
    box: Tensor


@dataclass(frozen=True)
class HeadTargets:
    """What the head is to say.

    Args:
        heat: ``(B, K, H, W)`` in [0, 1]; 1 at the cell of a centre.
        cell: Cells with a box, numbers into the flattened ``(B, H, W)``, ``(M,)``.
        box: ``(M, 8)``.
    """

    heat: Tensor
    cell: Tensor
    box: Tensor


@dataclass(frozen=True)
class Detections:
    """Boxes found in a batch of sweeps, the surest of each sweep first.

    Args:
        boxes: ``(N, 7)``.
        scores: ``(N,)`` in (0, 1).
        labels: Class numbers of the head ``(N,)``.
        batch_index: ``(N,)`` ascending.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    batch_index: Tensor


class CenterHead(nn.Module):
    """Maps ``(B, C, H, W)`` to heat maps and boxes, and back from and to boxes in metres.

    Args:
        channels: C.
        num_classes: K.
        low: x and y where the map's first column and row begin, metres.
        cell: Edges of a cell along x and y, metres.
        width: Channels of the hidden layers.
        min_overlap: Footprint IoU that a box moved by a bump's radius keeps, along both sides.
        min_radius: Least radius of a bump, cells.

    Raises:
        UserError: a number makes no sense.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        low: tuple[float, float],
        cell: tuple[float, float],
        width: int = 64,
        min_overlap: float = 0.1,
        min_radius: int = 2,
    ) -> None:
        super().__init__()
        if num_classes < 1 or width < 1 or min_radius < 0 or not 0 < min_overlap < 1:
            raise UserError(
                f"head: num_classes {num_classes} and width {width} must be positive, min_radius "
                f"{min_radius} 0 or more, min_overlap {min_overlap} between 0 and 1"
            )
        self.num_classes, self.low, self.cell = num_classes, low, cell
        self.min_overlap, self.min_radius = min_overlap, min_radius
        self.shared = _layer(channels, width)
        self.heat = nn.Sequential(_layer(width, width), nn.Conv2d(width, num_classes, 1))
        self.box = nn.Sequential(_layer(width, width), nn.Conv2d(width, BOX_CHANNELS, 1))
        bias = self.heat[-1].bias
        assert isinstance(bias, nn.Parameter)
        nn.init.constant_(bias, math.log(_RARE / (1 - _RARE)))

    def forward(self, features: Tensor) -> HeadOutput:
        """Heat maps and boxes of features ``(B, C, H, W)``."""
        shared = self.shared(features)
        return HeadOutput(self.heat(shared), self.box(shared))

    def targets(
        self, boxes: Tensor, labels: Tensor, batch_index: Tensor, shape: tuple[int, int, int]
    ) -> HeadTargets:
        """What the head is to say of annotated boxes.

        A bump is a Gaussian whose standard deviation is a sixth of its diameter 2r + 1 cells; where
        bumps of a class meet, the higher counts. Boxes whose centre lies outside are left out.

        Args:
            boxes: ``(M, 7)``.
            labels: Class numbers of the head, ``(M,)``.
            batch_index: Sweep of each, ``(M,)``.
            shape: B, H, W of the map.
        """
        size, height, width = shape
        place = (boxes[:, :2] - boxes.new_tensor(self.low)) / boxes.new_tensor(self.cell)
        inside = (place >= 0).all(1) & (place[:, 0] < width) & (place[:, 1] < height)
        boxes, labels, batch_index, place = (x[inside] for x in (boxes, labels, batch_index, place))
        column, row = place.floor().long().unbind(1)
        heat = boxes.new_zeros(size * self.num_classes * height * width)
        radius = self._radius(boxes)
        most = int(radius.max()) if len(radius) else 0
        steps = torch.arange(-most, most + 1, device=boxes.device)
        away = steps.square()[:, None] + steps.square()
        sigma = (2 * radius + 1)[:, None, None] / 6
        bump = torch.exp(-away / (2 * sigma.square()))
        rows, columns = row[:, None] + steps, column[:, None] + steps
        near = steps.abs() <= radius[:, None]
        seen = (near & (rows >= 0) & (rows < height))[:, :, None]
        seen = seen & (near & (columns >= 0) & (columns < width))[:, None, :]
        layer = (batch_index * self.num_classes + labels)[:, None, None]
        where = (layer * height + rows[:, :, None]) * width + columns[:, None, :]
        heat.scatter_reduce_(0, where[seen], bump[seen], "amax")
        wanted = torch.cat(
            [
                place - place.floor() - 0.5,
                boxes[:, 2:3],
                boxes[:, 3:6].clamp_min(_LEAST_SIZE).log(),
                boxes[:, 6:].sin(),
                boxes[:, 6:].cos(),
            ],
            dim=1,
        )
        cell = (batch_index * height + row) * width + column
        return HeadTargets(heat.view(size, self.num_classes, height, width), cell, wanted)

    def _radius(self, boxes: Tensor) -> Tensor:
        """Radius of each box's bump in cells, ``(M,)`` float, whole numbers.

        A footprint l x w moved by r along both sides shares (l - r)(w - r) with itself, so that IoU
        t is kept up to the smaller root of r² - (l + w) r + l w (1 - t)/(1 + t) = 0.
        """
        sides = boxes[:, 3:5] / boxes.new_tensor(self.cell).mean()
        total, area = sides.sum(1), sides.prod(1)
        lost = (1 - self.min_overlap) / (1 + self.min_overlap)
        root = (total.square() - 4 * area * lost).clamp_min(0).sqrt()
        return ((total - root) / 2).floor().clamp_min(self.min_radius)

    @torch.no_grad()
    def decode(
        self,
        output: HeadOutput,
        max_detections: int = 100,
        min_score: float = 0.05,
        max_overlap: float = 0.1,
    ) -> Detections:
        """Boxes of the highest peaks, less those that overlap a surer one of their class.

        Args:
            output: Of :meth:`forward`.
            max_detections: Peaks that are looked at, a sweep.
            min_score: Least score.
            max_overlap: Footprint IoU from which the less sure box is dropped.
        """
        heat = output.heat.float().sigmoid()
        peak = heat == F.max_pool2d(heat, 3, 1, 1)
        batch, _, height, width = heat.shape
        scores, at = (heat * peak).flatten(1).topk(min(max_detections, heat[0].numel()), dim=1)
        labels = torch.div(at, height * width, rounding_mode="floor")
        at = at % (height * width)
        values = output.box.float().flatten(2).gather(2, at[:, None].expand(-1, BOX_CHANNELS, -1))
        row, column = torch.div(at, width, rounding_mode="floor"), at % width
        sizes = values[:, 3:6].clamp(math.log(_LEAST_SIZE), math.log(_LARGEST_SIZE)).exp()
        parts = [
            self.low[0] + self.cell[0] * (column + 0.5 + values[:, 0]),
            self.low[1] + self.cell[1] * (row + 0.5 + values[:, 1]),
            values[:, 2],
            *sizes.unbind(1),
            torch.atan2(values[:, 6], values[:, 7]),
        ]
        boxes = torch.stack(parts, dim=-1)
        kept = without_overlaps(boxes, labels, scores >= min_score, max_overlap)
        sweep = torch.arange(batch, device=heat.device)[:, None].expand_as(kept)
        return Detections(boxes[kept], scores[kept], labels[kept], sweep[kept])


def without_overlaps(boxes: Tensor, labels: Tensor, valid: Tensor, max_overlap: float) -> Tensor:
    """Which boxes remain when each drops those of its class that follow and overlap it too much.

    Args:
        boxes: The surest first, ``(B, D, 7)``.
        labels: ``(B, D)``.
        valid: Boxes that count at all, ``(B, D)`` bool.
        max_overlap: Footprint IoU above which a box is dropped.

    Returns:
        ``(B, D)`` bool.
    """
    batch, depth = valid.shape
    clash = torch.zeros(batch, depth, depth, dtype=torch.bool, device=boxes.device)
    pairs = (labels[:, :, None] == labels[:, None, :]) & valid[:, :, None] & valid[:, None, :]
    sweep, first, second = pairs.triu(1).nonzero(as_tuple=True)
    flat = boxes.flatten(0, 1)
    overlap, _ = overlaps_of_pairs(flat, flat, sweep * depth + first, sweep * depth + second)
    clash[sweep, first, second] = overlap > max_overlap
    kept = valid.clone()
    for rank in range(depth):  # each in turn, in all sweeps at once
        kept &= ~(clash[:, rank] & kept[:, rank, None])
    return kept


def _layer(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
    )

"""Sweeps and encoders whose figures are known."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from ssl_equiv.backbones.lidar import BevFeatures, Grid, Plane
from ssl_equiv.data.lidar.batch import LidarBatch
from ssl_equiv.points import PointBatch
from ssl_equiv.transforms.points import PointMotions, identity

GROUPS = PointMotions().groups


def street(number: int, labelled: bool = True) -> tuple[Tensor, Tensor]:
    """A line of points ahead, intensity told by the place along it, and a cluster beside it."""
    generator = torch.Generator().manual_seed(number)
    along = 12 * torch.rand(300, generator=generator) - 2
    line = torch.stack([along, 0.2 * torch.randn(300, generator=generator), 0 * along], dim=1)
    lump = torch.tensor([4.0, 3.0, 1.0]) + 0.5 * torch.randn(100, 3, generator=generator)
    points = torch.cat([line, lump])
    intensity = torch.cat([0.5 + along / 30, torch.full((100,), 0.1)])
    label = (torch.arange(400) >= 300).long() * 2
    label[::50] = -1
    return torch.cat([points, intensity[:, None]], dim=1), label if labelled else label * 0 - 1


class FakeData:
    """What the pieces ask of a LidarDataModule."""

    def __init__(self, train: int = 24, val: int = 8, labelled: bool = True) -> None:
        self.numbers = {"train": range(train), "val": range(train, train + val)}
        self.labelled = labelled
        self.source = SimpleNamespace(
            root=Path("data"), point_classes=["road", "wall", "car"], fingerprint="abc"
        )

    def all_views_dataloader(self, split: str) -> Any:
        """Batches of four."""
        numbers = list(self.numbers[split])
        for first in range(0, len(numbers), 4):
            some = numbers[first : first + 4]
            clouds, labels = zip(*(street(n, self.labelled) for n in some), strict=True)
            cloud = PointBatch.collate(clouds, semantics=labels)
            yield LidarBatch([cloud], identity((len(some), 1)), GROUPS, cloud, torch.tensor(some))


class FakeEncoder(nn.Module):
    """Of each cell: mean intensity, number of points, and where it lies if ``places``.

    Without ``places`` it follows every motion by whole cells exactly.
    """

    def __init__(self, places: bool = False, edge: float = 0.5) -> None:
        super().__init__()
        self.places, self.stride = places, 1
        self.out_channels = 4 if places else 2
        self.grid = Grid((-16, -16, -4, 16, 16, 4), (edge, edge, 8))
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, points: PointBatch) -> BevFeatures:
        plane = Plane(self.grid, 1)
        cells = plane.cells(points.points, points.batch_index)
        kept, rows = cells >= 0, points.size * math.prod(plane.shape)
        count = torch.bincount(cells[kept], minlength=rows)
        total = torch.bincount(cells[kept], points.points[kept, 3].double(), rows)
        features = [total / count.clamp_min(1), count.double()]
        if self.places:
            xy = plane.centres().flatten(0, 1).repeat(points.size, 1).double()
            features += [x * (count > 0) for x in xy.unbind(1)]
        found = torch.stack(features, dim=1).float()
        found = found.view(points.size, *plane.shape, -1).permute(0, 3, 1, 2)
        occupied = (count > 0).view(points.size, 1, *plane.shape)
        return BevFeatures(found, 1, self.grid, occupied)

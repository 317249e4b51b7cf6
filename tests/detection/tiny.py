"""A small encoder and a few simple sweeps."""

from __future__ import annotations

import torch

from ssl_equiv.backbones.lidar import EncoderConfig
from ssl_equiv.backbones.lidar.bev import BevConfig
from ssl_equiv.boxes import Boxes
from ssl_equiv.detection import Detector, DetectorConfig
from ssl_equiv.methods.optimizer import OptimizerConfig
from ssl_equiv.points import PointBatch

ENCODER = EncoderConfig(
    "pillars",
    (-8.0, -8.0, -3.0, 8.0, 8.0, 1.0),
    (0.5, 0.5, 4.0),
    (16,),
    BevConfig((1,), (2,), (16,), (1,), (16,)),
)
KNOWN = ["Car", "Van", "Pedestrian", "Cyclist"]
CLASSES = ["Pedestrian", "Car"]


def detector(**config: float) -> Detector:
    torch.manual_seed(0)
    optimizer = OptimizerConfig("adamw", 1e-2, 0.0, "constant")
    return Detector(ENCODER, CLASSES, KNOWN, optimizer, DetectorConfig(width=16, **config))  # type: ignore[arg-type]


def sweeps(count: int, seed: int) -> tuple[PointBatch, list[Boxes]]:
    """Boxes full of points on an empty plane: a car and a pedestrian in each sweep."""
    g = torch.Generator().manual_seed(seed)
    clouds, boxes = [], []
    for _ in range(count):
        place = (torch.rand(2, 2, generator=g) - 0.5) * 4 + torch.tensor([[-4.0, 0.0], [4.0, 0.0]])
        size = torch.tensor([[4.0, 2.0, 1.5], [0.8, 0.8, 1.8]])
        values = torch.cat([place, torch.full((2, 1), -0.9), size, torch.zeros(2, 1)], 1)
        inside = values[:, None, :3] + (torch.rand(2, 80, 3, generator=g) - 0.5) * size[:, None]
        ground = torch.rand(200, 3, generator=g) * torch.tensor([16.0, 16, 0.1])
        ground -= torch.tensor([8.0, 8, 1.75])
        xyz = torch.cat([inside.flatten(0, 1), ground])
        clouds.append(torch.cat([xyz, torch.rand(len(xyz), 1, generator=g)], 1))
        boxes.append(Boxes.make(values, [0, 2], num_points=torch.tensor([80, 80])))
    return PointBatch.collate(clouds), boxes

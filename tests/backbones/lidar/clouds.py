"""Small random sweeps."""

from __future__ import annotations

import torch

from ssl_equiv.backbones.lidar import BevConfig, EncoderConfig
from ssl_equiv.points import PointBatch

BEV = BevConfig((1, 1), (1, 2), (8, 12), (1, 2), (6, 6))
PILLARS = EncoderConfig("pillars", (-8, -8, -2, 8, 8, 2), (0.5, 0.5, 4), (12,), BEV)
VOXELS = EncoderConfig("voxels", (-8, -8, -2, 8, 8, 2), (0.5, 0.5, 0.1), (4, 4, 6, 8, 8, 10), BEV)


def random_clouds(
    sizes: tuple[int, ...] = (300, 200), seed: int = 0, extent: float = 7.9
) -> PointBatch:
    """Points uniform in a box around the sensor."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([extent, extent, 1.9])
    clouds = []
    for size in sizes:
        xyz = (2 * torch.rand(size, 3, generator=generator) - 1) * scale
        clouds.append(torch.cat([xyz, torch.rand(size, 1, generator=generator)], dim=1))
    return PointBatch.collate(clouds)

"""Encoders of sweeps by configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ssl_equiv.backbones.lidar import pillar, voxel
from ssl_equiv.backbones.lidar.bev import BevConfig
from ssl_equiv.backbones.lidar.encoder import LidarEncoder
from ssl_equiv.backbones.lidar.grid import Grid

Numbers3 = tuple[float, float, float]
Numbers6 = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class EncoderConfig:
    """Which encoder; the defaults are PointPillars' on KITTI.

    Args:
        kind: ``pillars`` (PointPillars, arXiv 1812.05784), or ``voxels`` (SECOND, Yan et al. 2018).
        range: Lowest x, y, z and highest x, y, z, metres; points outside are left out.
        voxel_size: Edges along x, y, z, metres. KITTI's voxels are (0.05, 0.05, 0.1).
        widths: Channels: of the layers of a pillar, or of the six parts of the voxel network; by
            default the papers'.
        bev: The two-dimensional network; by default the papers'.
        spconv: Let spconv do the sparse convolutions where it is installed, on a GPU.
    """

    kind: Literal["pillars", "voxels"] = "pillars"
    range: Numbers6 = (0.0, -39.68, -3.0, 69.12, 39.68, 1.0)
    voxel_size: Numbers3 = (0.16, 0.16, 4.0)
    widths: tuple[int, ...] | None = None
    bev: BevConfig | None = None
    spconv: bool = True


def encoder_config(plain: Mapping[str, Any]) -> EncoderConfig:
    """A configuration from the plain values of a checkpoint or a file."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()
    }
    if isinstance(bev := values.get("bev"), Mapping):
        values["bev"] = BevConfig(**{name: tuple(numbers) for name, numbers in bev.items()})
    return EncoderConfig(**values)


def create_encoder(config: EncoderConfig) -> LidarEncoder:
    """The encoder, with weights at random.

    Raises:
        UserError: the grid does not fit the network.
    """
    grid = Grid(config.range, config.voxel_size)
    if config.kind == "pillars":
        return pillar.PillarEncoder(grid, config.widths or pillar.WIDTHS, config.bev)
    return voxel.VoxelEncoder(grid, config.widths or voxel.WIDTHS, config.bev, config.spconv)

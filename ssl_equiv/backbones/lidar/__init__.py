"""Encoders of LiDAR sweeps in pure PyTorch: points to voxels, voxels to a bird's-eye map."""

from ssl_equiv.backbones.lidar.bev import BevBackbone, BevConfig
from ssl_equiv.backbones.lidar.encoder import LidarEncoder
from ssl_equiv.backbones.lidar.factory import EncoderConfig, create_encoder, encoder_config
from ssl_equiv.backbones.lidar.grid import BevFeatures, Grid, Plane, voxelize
from ssl_equiv.backbones.lidar.pillar import PillarEncoder
from ssl_equiv.backbones.lidar.voxel import VoxelEncoder

__all__ = [
    "BevBackbone",
    "BevConfig",
    "BevFeatures",
    "EncoderConfig",
    "Grid",
    "LidarEncoder",
    "PillarEncoder",
    "Plane",
    "VoxelEncoder",
    "create_encoder",
    "encoder_config",
    "voxelize",
]

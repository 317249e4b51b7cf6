"""Judging encoders of LiDAR sweeps: poses, equivariance of maps, classes of points."""

from eval.lidar.encoder import open_encoder, sees_sweeps
from eval.lidar.equivariance import bev_equivariance
from eval.lidar.judge import LidarRecipe, judge_encoder
from eval.lidar.points import point_features
from eval.lidar.pooled import pooled_features

__all__ = [
    "LidarRecipe",
    "bev_equivariance",
    "judge_encoder",
    "open_encoder",
    "point_features",
    "pooled_features",
    "sees_sweeps",
]

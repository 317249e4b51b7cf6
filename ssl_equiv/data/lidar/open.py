"""Which layout a folder of LiDAR data has."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ssl_equiv.data.lidar import kitti360, kitti_raw
from ssl_equiv.data.lidar.folder import CloudFolder
from ssl_equiv.data.lidar.kitti360 import Kitti360
from ssl_equiv.data.lidar.kitti_object import KittiObject
from ssl_equiv.data.lidar.kitti_raw import KittiRaw
from ssl_equiv.data.lidar.nuscenes import NuScenes
from ssl_equiv.data.lidar.odometry import Odometry
from ssl_equiv.data.lidar.shards import MANIFEST, ShardedSweeps
from ssl_equiv.data.lidar.source import LidarSource
from ssl_equiv.errors import UserError

_Layout = tuple[str, str, Callable[[Path], LidarSource]]
_LAYOUTS: tuple[_Layout, ...] = (
    ("KITTI's object benchmark", "training/velodyne", KittiObject),
    ("KITTI odometry or SemanticKITTI", "sequences/*/velodyne", Odometry),
    ("KITTI-360", kitti360.PATTERN, Kitti360),
    ("KITTI's raw drives", kitti_raw.PATTERN, KittiRaw),
    ("nuScenes", "v1.0-*/sample_data.json", NuScenes),
    ("shards of sweeps", MANIFEST, ShardedSweeps),
)


def lidar_layout(root: str | os.PathLike[str]) -> str | None:
    """Which known layout of LiDAR data a folder has, in words; None where it has none."""
    found = _layouts(Path(root))
    return found[0][0] if found else None


def open_lidar(root: str | os.PathLike[str]) -> LidarSource:
    """The LiDAR data set in ``root``, whichever of the known layouts it has.

    These are KITTI's object benchmark, odometry and raw drives, SemanticKITTI, KITTI-360, nuScenes,
    shards of sweeps, and else a bare folder of ``.bin``, ``.ply`` or ``.pcd`` files.

    Raises:
        UserError: no folder, several layouts in one, or none that is known.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"data.root: {root} is not a folder: give a data set's root")
    found = _layouts(root)
    if len(found) > 1:
        raise UserError(
            f"{root} holds {found[0][0]} ({found[0][1]}) and {found[1][0]} ({found[1][1]}): they "
            "mix sensor layouts; put each into a folder of its own"
        )
    return found[0][2](root) if found else CloudFolder(root)


def _layouts(root: Path) -> list[_Layout]:
    return [layout for layout in _LAYOUTS if next(root.glob(layout[1]), None) is not None]

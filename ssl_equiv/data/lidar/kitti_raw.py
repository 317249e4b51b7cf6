"""KITTI's raw drives: ``DATE/DRIVE_sync/velodyne_points/data/*.bin``.

Poses come from the drive's ``oxts``, boxes from its ``tracklet_labels.xml``, the camera from the
date's ``calib_velo_to_cam.txt`` and ``calib_cam_to_cam.txt``.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch

from ssl_equiv.boxes import Boxes, Camera
from ssl_equiv.data.lidar.calibration import IMAGE_SIZE, Keyed, rigid
from ssl_equiv.data.lidar.files import read_bin
from ssl_equiv.data.lidar.names import KITTI_CLASSES
from ssl_equiv.data.lidar.source import Index, LidarSource, by_sequence, every, stored_index
from ssl_equiv.data.lidar.sweep import Sweep, counted
from ssl_equiv.data.lidar.text import read_bytes, read_numbers, read_text
from ssl_equiv.errors import UserError

PATTERN = "[0-9]*/*_sync/velodyne_points/data"
_EARTH = 6378137.0  # metres: the radius of the Mercator projection
_OXTS = 30  # numbers in a line


class KittiRaw(LidarSource):
    """KITTI's raw drives, synchronised. The last tenth of the drives is for validation.

    Args:
        root: The folder that holds the dates.

    Raises:
        UserError: no sweeps.
    """

    kind = "kitti_raw"

    def __init__(self, root: Path) -> None:
        self.root = root
        self.classes, self.point_classes = list(KITTI_CLASSES), []
        index = stored_index(root, self.kind, self._watched, self._build)
        self.names, self.sequence, self.frame = index["names"], index["sequence"], index["frame"]
        self._has_oxts, self._has_tracklets = index["oxts"], index["tracklets"]
        self.split = by_sequence(self.sequence)
        self.has_poses, self.has_boxes = bool(self._has_oxts.any()), bool(self._has_tracklets.any())

    def sweep(self, index: int, boxes: bool = True, flow: bool = True) -> Sweep:
        """A sweep; there is no true flow."""
        path = self.root / str(self.names[index])
        points, drive = read_bin(path), path.parents[2]
        pose = self._pose(drive, path.stem) if self._has_oxts[index] else None
        there = (drive.parent / "calib_cam_to_cam.txt").is_file()
        camera = read_camera(drive.parent) if there else None
        found = None
        if boxes and self._has_tracklets[index]:
            tracks = read_tracklets(drive / "tracklet_labels.xml")
            found = counted(tracks.at(int(self.frame[index])), points, camera)
        return Sweep(points, str(path), found, pose=pose, camera=camera)

    def _pose(self, drive: Path, number: str) -> np.ndarray:
        folder = drive / "oxts" / "data"
        origin = _packet(_first(folder))
        from_imu = _mercator(_packet(folder / f"{number}.txt"), origin)
        start = _mercator(origin, origin)
        calibration = Keyed(drive.parent / "calib_imu_to_velo.txt")
        imu_to_sensor = rigid(
            np.hstack(
                (calibration.matrix("R", shape=(3, 3)), calibration.matrix("T", shape=(3, 1)))
            )
        )
        from_imu[:3, 3] -= start[:3, 3]  # metres from where the drive begins
        pose: np.ndarray = from_imu @ np.linalg.inv(imu_to_sensor)
        return pose

    def _drives(self) -> list[Path]:
        return sorted(path.parents[1] for path in self.root.glob(PATTERN))

    def _watched(self) -> Iterable[Path]:
        for drive in self._drives():
            names = ("velodyne_points/data", "oxts/data", "tracklet_labels.xml")
            yield from (path for name in names if (path := drive / name).exists())

    def _build(self) -> Index:
        names, sequence, frame, oxts, tracklets = [], [], [], [], []
        for number, drive in enumerate(self._drives()):
            sweeps = sorted((drive / "velodyne_points" / "data").glob("*.bin"))
            poses = {path.stem for path in (drive / "oxts" / "data").glob("*.txt")}
            if poses and (lone := [path for path in sweeps if path.stem not in poses]):
                raise UserError(
                    f"{drive / 'oxts' / 'data'} has no {lone[0].stem}.txt for a sweep "
                    f"({len(lone)} sweeps have no pose): copy the whole folder, or remove it"
                )
            names += [str(path.relative_to(self.root)) for path in sweeps]
            sequence += [number] * len(sweeps)
            frame += [int(path.stem) for path in sweeps]
            oxts += [path.stem in poses for path in sweeps]
            tracklets += [(drive / "tracklet_labels.xml").is_file()] * len(sweeps)
        if not names:
            raise UserError(f"{self.root} has no {PATTERN}/*.bin: copy the sweeps")
        return {
            "names": every(names),
            "sequence": np.array(sequence, np.int64),
            "frame": np.array(frame, np.int64),
            "oxts": np.array(oxts, bool),
            "tracklets": np.array(tracklets, bool),
        }


@lru_cache(maxsize=256)
def _first(folder: Path) -> Path:
    return min(folder.glob("*.txt"))


@lru_cache(maxsize=64)
def _packet(path: Path) -> np.ndarray:
    """Latitude, longitude, altitude, roll, pitch, yaw: degrees, metres, radians, ``(6,)``."""
    words = read_text(path).split()
    return read_numbers(" ".join(words[:_OXTS]), _OXTS, str(path))[:6]


def _mercator(packet: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """The unit's pose ``(4, 4)`` in a Mercator projection that is true to scale at the origin."""
    latitude, longitude, altitude, roll, pitch, yaw = packet
    scale = np.cos(np.radians(origin[0])) * _EARTH
    pose = np.eye(4)
    for axes, angle in (((1, 2), roll), ((2, 0), pitch), ((0, 1), yaw)):
        turn = np.eye(4)
        i, j = axes
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        pose = turn @ pose  # roll first, yaw last
    north = np.log(np.tan(np.radians(90 + latitude) / 2))
    pose[:3, 3] = scale * np.radians(longitude), scale * north, altitude
    return pose


@lru_cache(maxsize=16)
def read_camera(date: Path) -> Camera:
    """Image 2 of a date's drives.

    Raises:
        UserError: a file or a key is missing.
    """
    velo, cams = Keyed(date / "calib_velo_to_cam.txt"), Keyed(date / "calib_cam_to_cam.txt")
    to_camera = rigid(np.hstack((velo.matrix("R", shape=(3, 3)), velo.matrix("T", shape=(3, 1)))))
    rectify = rigid(cams.matrix("R_rect_00", shape=(3, 3)))
    size = IMAGE_SIZE
    if "S_rect_02" in cams:
        width, height = cams.matrix("S_rect_02", shape=(1, 2))[0]
        size = int(width), int(height)
    return Camera(cams.matrix("P_rect_02") @ rectify @ to_camera, size)


class Tracklets:
    """The annotated objects of a drive.

    Args:
        rows: Frame, class, x, y, z of the bottom's centre, length, width, height, yaw, occlusion,
            object, ``(M, 11)``.
    """

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows

    def at(self, frame: int) -> Boxes:
        """The boxes of a sweep."""
        rows = self.rows[self.rows[:, 0] == frame]
        values = rows[:, 2:9].copy()
        values[:, 2] += rows[:, 7] / 2
        return Boxes.make(
            torch.from_numpy(values), rows[:, 1], instances=rows[:, 10], occlusion=rows[:, 9]
        )


@lru_cache(maxsize=4)
def read_tracklets(path: Path) -> Tracklets:
    """A ``tracklet_labels.xml``.

    Raises:
        UserError: it is no such file, or has a box without size.
    """
    try:
        items = ElementTree.fromstring(read_bytes(path)).findall("./tracklets/item")
        rows = []
        for number, item in enumerate(items):
            name = _text(item, "objectType").replace("Person (sitting)", "Person_sitting")
            if name not in KITTI_CLASSES:
                raise UserError(
                    f"{path}: unknown class {name!r}: it is one of {', '.join(KITTI_CLASSES)}"
                )
            height, width, length = (float(_text(item, key)) for key in "hwl")
            if min(height, width, length) <= 0:
                raise UserError(
                    f"{path}: object {number} has the size {length:g} x {width:g} x {height:g} m: "
                    "remove it or mend it"
                )
            first = int(_text(item, "first_frame"))
            for step, pose in enumerate(item.findall("./poses/item")):
                x, y, z, yaw = (float(_text(pose, key)) for key in ("tx", "ty", "tz", "rz"))
                level = int(float(_text(pose, "occlusion")))
                size = (length, width, height)
                kind = KITTI_CLASSES.index(name)
                occlusion = level if 0 <= level <= 2 else 3
                rows.append([first + step, kind, x, y, z, *size, yaw, occlusion, number])
    except (ElementTree.ParseError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): copy it again") from error
    return Tracklets(np.array(rows, np.float64).reshape(-1, 11))


def _text(item: ElementTree.Element, key: str) -> str:
    found = item.findtext(key)
    if found is None:
        raise ValueError(f"an item has no {key}")
    return found

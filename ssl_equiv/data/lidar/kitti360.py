"""KITTI-360: ``data_3d_raw/DRIVE/velodyne_points/data/*.bin``.

Poses come from ``data_poses/DRIVE/poses.txt`` (of the inertial unit, for some of the sweeps), the
calibration from ``calibration/calib_{cam_to_velo,cam_to_pose}.txt``, boxes from
``data_3d_bboxes/*/DRIVE.xml``.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch

from ssl_equiv.boxes import Boxes
from ssl_equiv.data.lidar.calibration import Keyed, rigid
from ssl_equiv.data.lidar.files import read_bin
from ssl_equiv.data.lidar.source import Index, LidarSource, by_sequence, every, stored_index
from ssl_equiv.data.lidar.sweep import Sweep, counted
from ssl_equiv.data.lidar.text import read_bytes, read_numbers, read_text
from ssl_equiv.errors import UserError

PATTERN = "data_3d_raw/*/velodyne_points/data"
CLASSES = [
    *("car", "truck", "bus", "train", "caravan", "trailer", "motorcycle", "bicycle"),
    *("person", "rider"),
]
_OTHER_NAMES = {"pedestrian": "person", "bicyclist": "rider", "motorcyclist": "rider"}
_REACH = 80.0  # metres within which boxes that stand still belong to a sweep


class Kitti360(LidarSource):
    """KITTI-360. The last tenth of the drives is for validation.

    Sweeps of a drive for which there are no poses have none; annotated are those that have one,
    with the boxes within 80 m that hold points.

    Args:
        root: The folder that holds ``data_3d_raw``.

    Raises:
        UserError: no sweeps, or poses of a drive without calibration.
    """

    kind = "kitti360"

    def __init__(self, root: Path) -> None:
        self.root = root
        self.classes, self.point_classes = list(CLASSES), []
        index = stored_index(root, self.kind, self._watched, self._build)
        self.names, self.sequence, self.frame = index["names"], index["sequence"], index["frame"]
        self._poses = index["poses"]
        self.split = by_sequence(self.sequence)
        self.has_poses = bool(np.isfinite(self._poses).any())
        self._boxes = {path.stem: path for path in sorted(root.glob("data_3d_bboxes/*/*.xml"))}
        self.has_boxes = self.has_poses and bool(self._boxes)

    def sweep(self, index: int, boxes: bool = True, flow: bool = True) -> Sweep:
        """A sweep; there is no true flow."""
        path = self.root / str(self.names[index])
        points, drive = read_bin(path), path.parents[2].name
        pose = self._poses[index] if np.isfinite(self._poses[index]).all() else None
        found = None
        if boxes and pose is not None and drive in self._boxes:
            objects = read_objects(self._boxes[drive])
            found = counted(objects.at(int(self.frame[index]), pose), points, None)
            found = found[found.num_points > 0]
        return Sweep(points, str(path), found, pose=pose)

    def _drives(self) -> list[Path]:
        return sorted(path.parents[1] for path in self.root.glob(PATTERN))

    def _pose_file(self, drive: Path) -> Path:
        return self.root / "data_poses" / drive.name / "poses.txt"

    def _watched(self) -> Iterable[Path]:
        for drive in self._drives():
            yield drive / "velodyne_points" / "data"
            if (path := self._pose_file(drive)).is_file():
                yield path
        yield from (path for path in (self.root / "calibration").glob("*.txt"))

    def _build(self) -> Index:
        names, sequence, frame, poses = [], [], [], []
        for number, drive in enumerate(self._drives()):
            sweeps = sorted((drive / "velodyne_points" / "data").glob("*.bin"))
            frames = [int(path.stem) for path in sweeps]
            names += [str(path.relative_to(self.root)) for path in sweeps]
            sequence += [number] * len(sweeps)
            frame += frames
            poses.append(self._read_poses(self._pose_file(drive), frames))
        if not names:
            raise UserError(f"{self.root} has no {PATTERN}/*.bin: copy the sweeps")
        return {
            "names": every(names),
            "sequence": np.array(sequence, np.int64),
            "frame": np.array(frame, np.int64),
            "poses": np.concatenate(poses),
        }

    def _read_poses(self, path: Path, frames: list[int]) -> np.ndarray:
        """Sensor to world of each sweep, ``(N, 4, 4)``; NaN where there is none."""
        found = np.full((len(frames), 4, 4), np.nan)
        if not path.is_file():
            return found
        lines = [line for line in read_text(path).splitlines() if line.strip()]
        rows = [read_numbers(line, 13, f"{path}, line {n}") for n, line in enumerate(lines, 1)]
        of_unit = {int(row[0]): rigid(row[1:].reshape(3, 4)) for row in rows}
        if frames and not of_unit.keys() & set(frames):
            raise UserError(f"{path} has no pose for any sweep of its drive: copy the right file")
        folder = self.root / "calibration"
        to_unit = rigid(Keyed(folder / "calib_cam_to_pose.txt").matrix("image_00"))
        text = read_text(folder / "calib_cam_to_velo.txt")
        from_camera = rigid(
            read_numbers(text, 12, str(folder / "calib_cam_to_velo.txt")).reshape(3, 4)
        )
        from_sensor = to_unit @ np.linalg.inv(from_camera)
        for place, number in enumerate(frames):
            if number in of_unit:
                found[place] = of_unit[number] @ from_sensor
        return found


class Objects:
    """The annotated boxes of a drive, in the world.

    Args:
        centres: ``(M, 3)``.
        axes: The three edges as vectors, along, across and up, ``(M, 3, 3)``, edges last.
        labels: Indices of :data:`CLASSES`, ``(M,)``.
        instances: ``(M,)``.
        frames: First and last frame, ``(M, 2)``.
    """

    def __init__(
        self,
        centres: np.ndarray,
        axes: np.ndarray,
        labels: np.ndarray,
        instances: np.ndarray,
        frames: np.ndarray,
    ) -> None:
        self.centres, self.axes, self.labels = centres, axes, labels
        self.instances, self.frames = instances, frames

    def at(self, frame: int, pose: np.ndarray) -> Boxes:
        """Those of a sweep that lie within 80 m, in its sensor's frame."""
        near = np.linalg.norm(self.centres - pose[:3, 3], axis=1) < _REACH
        near &= (self.frames[:, 0] <= frame) & (frame <= self.frames[:, 1])
        back = np.linalg.inv(pose)
        centre = self.centres[near] @ back[:3, :3].T + back[:3, 3]
        edges = back[:3, :3] @ self.axes[near]
        size = np.linalg.norm(edges, axis=1)
        yaw = np.arctan2(edges[:, 1, 0], edges[:, 0, 0])
        values = np.column_stack((centre, size, yaw))
        return Boxes.make(
            torch.from_numpy(values), self.labels[near], instances=self.instances[near]
        )


@lru_cache(maxsize=4)
def read_objects(path: Path) -> Objects:
    """A drive's boxes; what is no box (eight corners) or of no class here is left out.

    Raises:
        UserError: it is no such file, or has a box without size.
    """
    centres, axes, labels, instances, frames = [], [], [], [], []
    try:
        for item in ElementTree.fromstring(read_bytes(path)):
            name = (item.findtext("label") or "").strip()
            name = _OTHER_NAMES.get(name, name)
            if name not in CLASSES or item.find("transform") is None:
                continue
            transform, corners = _matrix(item, "transform"), _matrix(item, "vertices")
            if corners.shape != (8, 3):
                continue
            low, high = corners.min(axis=0), corners.max(axis=0)
            edges = transform[:3, :3] * (high - low)  # columns
            number = int(item.findtext("index") or -1)
            if (np.linalg.norm(edges, axis=0) <= 0).any():
                raise UserError(f"{path}: object {number} has no size: remove it or mend it")
            centres.append(transform[:3, :3] @ (low + high) / 2 + transform[:3, 3])
            axes.append(edges)
            labels.append(CLASSES.index(name))
            instances.append(int(item.findtext("instanceId") or -1))
            moment = int(item.findtext("timestamp") or -1)
            first = int(item.findtext("start_frame") or 0)
            last = int(item.findtext("end_frame") or np.iinfo(np.int32).max)
            frames.append((moment, moment) if moment >= 0 else (first, last))
    except (ElementTree.ParseError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({error}): copy it again") from error
    return Objects(
        np.array(centres).reshape(-1, 3),
        np.array(axes).reshape(-1, 3, 3),
        np.array(labels, np.int64),
        np.array(instances, np.int64),
        np.array(frames, np.int64).reshape(-1, 2),
    )


def _matrix(item: ElementTree.Element, key: str) -> np.ndarray:
    """A matrix as OpenCV writes it."""
    node = item.find(key)
    if node is None:
        raise ValueError(f"an object has no {key}")
    rows, columns = int(node.findtext("rows") or 0), int(node.findtext("cols") or 0)
    data = [float(word) for word in (node.findtext("data") or "").split()]
    return np.array(data).reshape(rows, columns)

"""KITTI's odometry benchmark and SemanticKITTI: ``sequences/NN/velodyne/*.bin``.

Read beside the points are ``sequences/NN/calib.txt``, poses of ``sequences/NN/poses.txt`` or
``poses/NN.txt`` (of the left camera, in its own first frame), and ``labels/*.label``. The simulator
adds ``flow/*.npy``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from ssl_equiv.data.lidar.calibration import Calibration, rigid
from ssl_equiv.data.lidar.files import read_bin, read_flow, read_labels
from ssl_equiv.data.lidar.names import (
    SEMANTIC_KITTI_CLASSES,
    SIMULATION,
    check_finished,
    semantic_kitti_classes,
)
from ssl_equiv.data.lidar.source import Index, LidarSource, by_sequence, every, stored_index
from ssl_equiv.data.lidar.sweep import Sweep
from ssl_equiv.data.lidar.text import read_numbers, read_text
from ssl_equiv.errors import UserError
from ssl_equiv.files import read_json

_VALIDATION, _FIRST_TEST = 8, 11  # SemanticKITTI's own split
_EXTRAS = ("labels", "flow")


class Odometry(LidarSource):
    """KITTI's odometry benchmark, with SemanticKITTI's labels where they are.

    Splits are SemanticKITTI's (validation is sequence 08, tests are 11 to 21) where there is a
    sequence 08, those of the simulator in its data, else the last sequences are for validation.

    Args:
        root: The folder that holds ``sequences``.

    Raises:
        UserError: no sweeps, fewer poses than sweeps, labels of missing sweeps, or an unfinished
            simulation.
    """

    kind = "odometry"

    def __init__(self, root: Path) -> None:
        self.root = root
        check_finished(root)
        self.classes, self.point_classes = [], list(SEMANTIC_KITTI_CLASSES)
        index = stored_index(root, self.kind, self._watched, self._build)
        self.names, self._poses, self._extras = index["names"], index["poses"], index["extras"]
        self.sequence, self.frame = index["sequence"], index["frame"]
        self.split = self._splits()
        self.has_poses = bool(np.isfinite(self._poses).any())
        self.has_flow = bool(self._extras[:, _EXTRAS.index("flow")].any())

    def sweep(self, index: int, boxes: bool = True, flow: bool = True) -> Sweep:
        """A sweep; there are no boxes."""
        path = self.root / str(self.names[index])
        points = read_bin(path)
        folder, number = path.parent.parent, path.stem
        has = dict(zip(_EXTRAS, self._extras[index].tolist(), strict=True))
        semantic = instance = moved = pose = None
        if has["labels"]:
            ids, objects = read_labels(folder / "labels" / f"{number}.label", len(points))
            semantic = torch.from_numpy(semantic_kitti_classes(ids))
            instance = torch.from_numpy(np.where(objects > 0, objects, -1))
        if flow and has["flow"]:
            moved = read_flow(folder / "flow" / f"{number}.npy", len(points))
        if np.isfinite(self._poses[index]).all():
            pose = self._poses[index]
        camera = None
        if (folder / "calib.txt").is_file():
            camera = Calibration.read(folder / "calib.txt").camera
        return Sweep(points, str(path), None, semantic, instance, pose, moved, camera)

    def _splits(self) -> dict[str, np.ndarray]:
        if (self.root / SIMULATION).exists():
            held_out = read_json(self.root / SIMULATION)["validation"]
            val = np.isin(self.sequence, held_out)
        elif (self.sequence == _VALIDATION).any() and (self.sequence < _VALIDATION).any():
            val = self.sequence == _VALIDATION
        else:
            return by_sequence(self.sequence)
        test = np.zeros_like(val)
        if not (self.root / SIMULATION).exists():
            test = self.sequence >= _FIRST_TEST
        found = {"train": ~val & ~test, "val": val, "test": test}
        return {name: np.flatnonzero(mask) for name, mask in found.items() if mask.any()}

    def _folders(self) -> list[Path]:
        return sorted(p for p in (self.root / "sequences").iterdir() if (p / "velodyne").is_dir())

    def _watched(self) -> Iterable[Path]:
        for folder in self._folders():
            names = ("velodyne", *_EXTRAS, "poses.txt", "calib.txt")
            yield from (path for name in names if (path := folder / name).exists())
            if (beside := self._poses_beside(folder)).exists():
                yield beside

    def _poses_beside(self, folder: Path) -> Path:
        return self.root / "poses" / f"{folder.name}.txt"

    def _build(self) -> Index:
        names, sequence, frame, poses, extras = [], [], [], [], []
        for place, folder in enumerate(self._folders()):
            numbers = sorted(path.stem for path in (folder / "velodyne").glob("*.bin"))
            number = int(folder.name) if folder.name.isdecimal() else place
            names += [f"sequences/{folder.name}/velodyne/{n}.bin" for n in numbers]
            sequence += [number] * len(numbers)
            frame += [int(n) if n.isdecimal() else k for k, n in enumerate(numbers)]
            poses.append(self._read_poses(folder, frame[len(frame) - len(numbers) :]))
            there = [{path.stem for path in (folder / e).glob("[!.]*")} for e in _EXTRAS]
            if lone := sorted(there[0] - set(numbers)):
                raise UserError(
                    f"{folder / 'labels' / lone[0]}.label labels a sweep that is missing from "
                    f"{folder / 'velodyne'} ({len(lone)} in all): copy the sweeps, or remove the "
                    "labels"
                )
            extras += [[n in found for found in there] for n in numbers]
        if not names:
            raise UserError(f"{self.root / 'sequences'} has no */velodyne/*.bin: copy the sweeps")
        return {
            "names": every(names),
            "sequence": np.array(sequence, np.int64),
            "frame": np.array(frame, np.int64),
            "poses": np.concatenate(poses),
            "extras": np.array(extras, bool),
        }

    def _read_poses(self, folder: Path, frames: list[int]) -> np.ndarray:
        """Sensor to world of each sweep, ``(N, 4, 4)``; NaN where there are no poses."""
        path = folder / "poses.txt"
        path = path if path.is_file() else self._poses_beside(folder)
        if not path.is_file() or not frames:
            return np.full((len(frames), 4, 4), np.nan)
        lines = [line for line in read_text(path).splitlines() if line.strip()]
        if len(lines) <= max(frames):
            raise UserError(
                f"{path} has {len(lines)} poses, but {folder / 'velodyne'} has sweeps up to number "
                f"{max(frames)}: copy the whole file, or remove the sweeps without poses"
            )
        to_camera = Calibration.read(folder / "calib.txt").to_camera
        back = np.linalg.inv(to_camera)
        of_camera = [
            rigid(read_numbers(lines[k], 12, f"{path}, line {k + 1}").reshape(3, 4)) for k in frames
        ]
        found: np.ndarray = back @ np.array(of_camera) @ to_camera
        return found

"""KITTI's object benchmark, and what the simulator adds to its layout.

Read are ``training/velodyne/*.bin``, ``calib/*.txt`` and ``label_2/*.txt``; ``ImageSets/*.txt`` for
the splits and the devkit's ``mapping/train_{mapping,rand}.txt`` for which sweeps follow each other.
Beside them the simulator writes, by sweep, ``labels/*.label`` (as SemanticKITTI), ``poses/*.txt``
(12 numbers, sensor to world), ``flow/*.npy`` and ``tracks/*.txt`` (a number for each line of
``label_2``, which follows the object).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ssl_equiv.boxes import Boxes, virtual_camera
from ssl_equiv.data.lidar.calibration import Calibration, rigid
from ssl_equiv.data.lidar.files import read_bin, read_flow, read_labels
from ssl_equiv.data.lidar.names import (
    KITTI_CLASSES,
    SEMANTIC_KITTI_CLASSES,
    SIMULATION,
    check_finished,
    semantic_kitti_classes,
)
from ssl_equiv.data.lidar.source import Index, LidarSource, by_sequence, every, stored_index
from ssl_equiv.data.lidar.sweep import Sweep, count_points, counted
from ssl_equiv.data.lidar.text import read_numbers, read_text
from ssl_equiv.errors import UserError
from ssl_equiv.files import read_json

_EXTRAS = ("label_2", "calib", "labels", "poses", "flow", "tracks")


class KittiObject(LidarSource):
    """KITTI's object benchmark.

    Splits are those of ``ImageSets``, else the last tenth is for validation: whole drives where
    the mapping is there.

    Args:
        root: The folder that holds ``training``.

    Raises:
        UserError: no sweeps, labels of missing sweeps, an unfinished simulation, or a split of
            unknown sweeps.
    """

    kind = "kitti_object"

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root / "training"
        check_finished(root)
        self.classes, self.point_classes = list(KITTI_CLASSES), list(SEMANTIC_KITTI_CLASSES)
        index = stored_index(root, self.kind, self._watched, self._build)
        self._number, self._extras = index["number"], index["extras"]
        self.names = every(f"training/velodyne/{number}.bin" for number in self._number)
        self.sequence, self.frame = index["sequence"], index["frame"]
        self.split = {n[6:]: index[n] for n in index if n.startswith("split_")}
        there = [bool(column.any()) for column in self._extras.T]
        found = dict(zip(_EXTRAS, there, strict=True))
        self.has_boxes, self.has_poses = found["label_2"], found["poses"]
        self.has_flow = found["flow"]
        told = read_json(root / SIMULATION) if (root / SIMULATION).exists() else {}
        self._surround = bool(told.get("recipe", {}).get("surround", False))

    def sweep(self, index: int, boxes: bool = True, flow: bool = True) -> Sweep:
        """A sweep; ``boxes`` and ``flow`` are read if asked for."""
        number = str(self._number[index])
        has = dict(zip(_EXTRAS, self._extras[index].tolist(), strict=True))
        path = self.folder / "velodyne" / f"{number}.bin"
        points = read_bin(path)
        semantic = instance = pose = None
        if has["labels"]:
            ids, objects = read_labels(self.folder / "labels" / f"{number}.label", len(points))
            semantic = torch.from_numpy(semantic_kitti_classes(ids))
            instance = torch.from_numpy(np.where(objects > 0, objects, -1))
        if has["poses"]:
            where = self.folder / "poses" / f"{number}.txt"
            pose = rigid(read_numbers(read_text(where), 12, str(where)).reshape(3, 4))
        moved = None
        if flow and has["flow"]:
            moved = read_flow(self.folder / "flow" / f"{number}.npy", len(points))
        calibration, found = self.calibration(index), None
        if boxes and has["label_2"]:
            if calibration is None:
                raise UserError(
                    f"{self.folder / 'calib' / f'{number}.txt'} does not exist, its label_2 does: "
                    "copy the calibration"
                )
            found = self._boxes(number, calibration, points, has["tracks"])
        camera = None if calibration is None else calibration.camera
        camera = virtual_camera() if self._surround else camera
        return Sweep(points, str(path), found, semantic, instance, pose, moved, camera)

    def calibration(self, index: int) -> Calibration | None:
        """Of the sweep's file; None where there is none."""
        if not self._extras[index][_EXTRAS.index("calib")]:
            return None
        return Calibration.read(self.folder / "calib" / f"{self._number[index]}.txt")

    def _boxes(
        self, number: str, calibration: Calibration, points: torch.Tensor, tracked: bool
    ) -> Boxes:
        path = self.folder / "label_2" / f"{number}.txt"
        rows = read_objects(path)
        tracks = None
        if tracked:
            where = self.folder / "tracks" / f"{number}.txt"
            tracks = read_numbers(read_text(where), len(rows.labels), str(where))
        values = calibration.boxes_to_sensor(rows.bottom, rows.size, rows.ry)
        tensor = torch.from_numpy(values).float()
        found = Boxes.make(
            tensor,
            rows.labels,
            tracks,
            truncation=np.maximum(rows.truncation, 0),
            occlusion=rows.occlusion,
            height_px=rows.rectangle[:, 3] - rows.rectangle[:, 1],
        )[rows.labels >= 0]
        if self._surround:
            return counted(found, points, None)
        return replace(found, num_points=count_points(found, points))

    def _watched(self) -> Iterable[Path]:
        yield from (f for name in ("velodyne", *_EXTRAS) if (f := self.folder / name).is_dir())
        for folder in (self.root / "ImageSets", *self._mappings()):
            if folder.is_dir():
                yield from (folder, *folder.glob("*.txt"))

    def _mappings(self) -> list[Path]:
        return [self.root / "mapping", self.root / "devkit_object" / "mapping"]

    def _build(self) -> Index:
        numbers = np.array(sorted(p.stem for p in (self.folder / "velodyne").glob("*.bin")))
        if len(numbers) == 0:
            raise UserError(f"{self.folder / 'velodyne'} has no .bin files: copy the sweeps there")
        extras = np.zeros((len(numbers), len(_EXTRAS)), bool)
        for column, name in enumerate(_EXTRAS):
            there = {path.stem for path in (self.folder / name).glob("[!.]*")}
            if name == "label_2" and (lone := sorted(there - set(numbers.tolist()))):
                raise UserError(
                    f"{self.folder / name / lone[0]}.txt labels a sweep that is missing from "
                    f"{self.folder / 'velodyne'} ({len(lone)} in all): copy the sweeps, or remove "
                    "the labels"
                )
            extras[:, column] = [number in there for number in numbers.tolist()]
        sequence, frame = self._order(numbers)
        order = np.lexsort((frame, sequence))
        numbers, extras = numbers[order], extras[order]
        sequence, frame = sequence[order], frame[order]
        index = {"number": numbers, "extras": extras, "sequence": sequence, "frame": frame}
        place = {number: i for i, number in enumerate(numbers.tolist())}
        split = self._named_splits(place) or by_sequence(sequence)
        return index | {f"split_{name}": members for name, members in split.items()}

    def _order(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sequence and frame of each sweep; each is a sequence of its own without a mapping."""
        for folder in self._mappings():
            mapping, shuffled = folder / "train_mapping.txt", folder / "train_rand.txt"
            if not (mapping.is_file() and shuffled.is_file()):
                continue
            lines = [line.split() for line in read_text(mapping).splitlines() if line.strip()]
            try:
                rows = [int(word) - 1 for word in read_text(shuffled).replace(",", " ").split()]
                drives = {name: k for k, name in enumerate(sorted({line[1] for line in lines}))}
                of = [(drives[lines[row][1]], int(lines[row][2])) for row in rows]
                pairs = np.array([of[int(number)] for number in numbers], np.int64)
            except (ValueError, IndexError) as error:
                raise UserError(
                    f"{mapping} and train_rand.txt do not name the drive of every sweep ({error}): "
                    "copy both from KITTI's development kit, or remove them"
                ) from error
            return pairs[:, 0], pairs[:, 1]
        return np.arange(len(numbers)), np.zeros(len(numbers), np.int64)

    def _named_splits(self, place: dict[str, int]) -> dict[str, np.ndarray]:
        found = {}
        for name in ("train", "val"):
            path = self.root / "ImageSets" / f"{name}.txt"
            if not path.is_file():
                continue
            members = read_text(path).split()
            if missing := [number for number in members if number not in place]:
                raise UserError(
                    f"{path} names {missing[0]}, which is not in {self.folder / 'velodyne'} "
                    f"({len(missing)} in all): copy the sweeps, or remove the lines"
                )
            found[name] = np.sort(np.array([place[n] for n in members], np.int64))
        return found


class Objects:
    """The lines of a KITTI label file as arrays, DontCare and classes unknown here included.

    Attributes:
        labels: Indices of :data:`KITTI_CLASSES`, -1 for DontCare, ``(M,)`` int64.
        truncation: ``(M,)``; -1 unknown.
        occlusion: ``(M,)`` int64.
        rectangle: Left, top, right, bottom in the picture, ``(M, 4)``.
        size: Height, width, length, ``(M, 3)``.
        bottom: Centre of the bottom in the rectified camera, ``(M, 3)``.
        ry: Turn about the camera's y axis, ``(M,)``.
        score: Confidence in a file of results, NaN in one of annotations, ``(M,)``.
    """

    def __init__(self, labels: list[int], rows: np.ndarray) -> None:
        self.labels = np.array(labels, np.int64)
        self.truncation, self.occlusion = rows[:, 0], rows[:, 1].astype(np.int64)
        self.rectangle, self.size = rows[:, 3:7], rows[:, 7:10]
        self.bottom, self.ry, self.score = rows[:, 10:13], rows[:, 13], rows[:, 14]


def read_objects(path: Path) -> Objects:
    """A KITTI label file, ``type trunc occ alpha bbox4 h w l x y z ry [score]``.

    Raises:
        UserError: a line has another number of columns, an unknown class, or a box without size.
    """
    labels, rows = [], []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        name, _, rest = line.strip().partition(" ")
        if not name:
            continue
        where = f"{path}, line {number}"
        values, count = np.full(15, np.nan), 15 if len(rest.split()) == 15 else 14
        values[:count] = read_numbers(rest, count, where)
        if name != "DontCare":
            if name not in KITTI_CLASSES:
                raise UserError(
                    f"{where}: unknown class {name!r}: it is one of {', '.join(KITTI_CLASSES)}"
                )
            if (values[7:10] <= 0).any():
                size = " x ".join(f"{v:g}" for v in values[7:10])
                raise UserError(f"{where}: a box of size {size} m: remove the line or mend it")
        labels.append(-1 if name == "DontCare" else KITTI_CLASSES.index(name))
        rows.append(values)
    return Objects(labels, np.array(rows, np.float64).reshape(-1, 15))

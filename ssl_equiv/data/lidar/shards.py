"""WebDataset shards of pairs of sweeps, read by memory map.

A record holds a sweep, the one before it, the flow between them, and what is known of the sweep:
``KEY.points.bin`` and ``KEY.previous.bin`` (float32 rows: x, y, z, intensity), ``KEY.flow.npy``,
``KEY.boxes.npy``, ``KEY.semantic.npy``, ``KEY.instance.npy`` and ``KEY.info.json`` (name, sequence,
frame, poses, camera). What is not known has no member. ``ssl-equiv pack`` writes them.
"""

from __future__ import annotations

import io
import json
import mmap
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_equiv.boxes import Boxes
from ssl_equiv.camera import Camera, Panorama
from ssl_equiv.data.lidar.files import checked
from ssl_equiv.data.lidar.source import Index, LidarSource, every, stored_index
from ssl_equiv.data.lidar.sweep import Sweep
from ssl_equiv.errors import UserError
from ssl_equiv.files import load_array, read_json

MANIFEST = "sweeps.json"
POINTS, PREVIOUS, FLOW, BOXES, SEMANTIC, INSTANCE, INFO = (
    *("points.bin", "previous.bin", "flow.npy", "boxes.npy", "semantic.npy", "instance.npy"),
    "info.json",
)
MEMBERS = (POINTS, PREVIOUS, FLOW, BOXES, SEMANTIC, INSTANCE, INFO)
_COLUMNS = ("labels", "instances", "num_points", "truncation", "occlusion", "height_px")


class ShardedSweeps(LidarSource):
    """Pairs of sweeps in tar files.

    Args:
        root: The folder with the manifest.

    Raises:
        UserError: a shard is missing or has another size than the manifest says.
    """

    kind = "shards"

    def __init__(self, root: Path) -> None:
        self.root = root
        told = read_json(root / MANIFEST)
        self.shards: list[str] = [shard["name"] for shard in told["shards"]]
        for shard in told["shards"]:
            path = root / shard["name"]
            found = path.stat().st_size if path.exists() else None
            if found != shard["bytes"]:
                what = "is missing" if found is None else f"has {found} bytes"
                raise UserError(
                    f"{path} {what}, not {shard['bytes']}: copy it again, or pack it again"
                )
        self.classes, self.point_classes = told["classes"], told["point_classes"]
        self.has_boxes, self.has_poses = told["has_boxes"], told["has_poses"]
        self.has_flow = told["has_flow"]
        index = stored_index(root, self.kind, self._watched, self._build)
        self.names, self.sequence, self.frame = index["names"], index["sequence"], index["frame"]
        self._shard, self._places = index["shard"], index["places"]
        self.split = {name: np.array(m, np.int64) for name, m in told["split"].items()}
        self._open: dict[int, mmap.mmap] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}  # memory maps are opened anew in each process

    def sweep(self, index: int, boxes: bool = True, flow: bool = True) -> Sweep:
        """A sweep; the flow to it is :meth:`before`'s."""
        info = json.loads(self._member(index, INFO) or b"{}")
        points = self._points(index, POINTS)
        stored = self._array(index, BOXES) if boxes else None
        semantic, instance = self._array(index, SEMANTIC), self._array(index, INSTANCE)
        return Sweep(
            points,
            self.name_of(index),
            None if stored is None else _boxes(stored),
            None if semantic is None else torch.from_numpy(semantic.astype(np.int64)),
            None if instance is None else torch.from_numpy(instance.astype(np.int64)),
            _pose(info.get("pose")),
            camera=_camera(info.get("camera")),
        )

    def before(self, index: int, flow: bool = True) -> Sweep | None:
        """The sweep before one, of the same record, with the flow between them."""
        if self._member(index, PREVIOUS) is None:
            return None
        info = json.loads(self._member(index, INFO) or b"{}")
        points = self._points(index, PREVIOUS)
        moved = self._array(index, FLOW) if flow else None
        if moved is not None and moved.shape != (len(points), 3):
            raise UserError(
                f"{self.name_of(index)}: its flow is for {len(moved)} points, the sweep before has "
                f"{len(points)}: pack it again"
            )
        return Sweep(
            points,
            f"{self.name_of(index)} (before)",
            pose=_pose(info.get("previous_pose")),
            flow=None if moved is None else torch.from_numpy(moved),
        )

    def name_of(self, index: int) -> str:
        """Shard and record."""
        return f"{self.root / self.shards[self._shard[index]]}:{self.names[index]}"

    def _points(self, index: int, member: str) -> Tensor:
        data = self._member(index, member)
        if data is None or len(data) % 16:
            raise UserError(f"{self.name_of(index)}: {member} is damaged: copy the shard again")
        rows = np.frombuffer(data, "<f4").reshape(-1, 4).astype(np.float32)
        return checked(rows, f"{self.name_of(index)}.{member}")

    def _array(self, index: int, member: str) -> np.ndarray | None:
        data = self._member(index, member)
        name = f"{self.name_of(index)}.{member}"
        return None if data is None else load_array(io.BytesIO(data), name)

    def _member(self, index: int, member: str) -> bytes | None:
        start, size = self._places[index, MEMBERS.index(member)]
        if size < 0:
            return None
        number = int(self._shard[index])
        if number not in self._open:
            with open(self.root / self.shards[number], "rb") as file:
                self._open[number] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._open[number][start : start + size]

    def _watched(self) -> Iterable[Path]:
        return [self.root / MANIFEST, *(self.root / name for name in self.shards)]

    def _build(self) -> Index:
        names, sequence, frame, shard, places = [], [], [], [], []
        for number, name in enumerate(self.shards):
            records: dict[str, dict[str, tuple[int, int]]] = {}
            try:
                with tarfile.open(self.root / name, "r:") as tar:
                    for entry in tar:
                        key, _, member = entry.name.partition(".")
                        records.setdefault(key, {})[member] = (entry.offset_data, entry.size)
            except tarfile.TarError as error:
                raise UserError(
                    f"{self.root / name} is damaged ({error}): copy it again"
                ) from error
            for key, members in records.items():
                names.append(key)
                words = key.split("_")
                sequence.append(int(words[0]))
                frame.append(int(words[1]))
                shard.append(number)
                places.append([members.get(member, (0, -1)) for member in MEMBERS])
        return {
            "names": every(names),
            "sequence": np.array(sequence, np.int64),
            "frame": np.array(frame, np.int64),
            "shard": np.array(shard, np.int64),
            "places": np.array(places, np.int64).reshape(-1, len(MEMBERS), 2),
        }


def record(source: LidarSource, index: int) -> dict[str, bytes]:
    """The members of a sweep's record, by their names.

    Raises:
        UserError: a file of the sweep, or of the one before, cannot be read.
    """
    sweep, before = source.sweep(index, flow=False), source.before(index)
    info: dict[str, Any] = {"name": sweep.name}
    found = {POINTS: sweep.points.numpy().astype("<f4").tobytes()}
    if sweep.pose is not None:
        info["pose"] = sweep.pose.tolist()
    if before is not None:
        found[PREVIOUS] = before.points.numpy().astype("<f4").tobytes()
        if before.pose is not None:
            info["previous_pose"] = before.pose.tolist()
        if before.flow is not None:
            found[FLOW] = _npy(before.flow.numpy())
    if sweep.boxes is not None:
        columns = [getattr(sweep.boxes, name).double()[:, None] for name in _COLUMNS]
        found[BOXES] = _npy(torch.cat((sweep.boxes.values.double(), *columns), 1).numpy())
    if sweep.semantic is not None:
        found[SEMANTIC] = _npy(sweep.semantic.numpy().astype(np.int16))
    if sweep.instance is not None:
        found[INSTANCE] = _npy(sweep.instance.numpy().astype(np.int32))
    if sweep.camera is not None:
        info["camera"] = {
            "panorama": isinstance(sweep.camera, Panorama),
            "projection": sweep.camera.projection.tolist(),
            "size": list(sweep.camera.size),
        }
    return {**found, INFO: json.dumps(info).encode()}


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _boxes(stored: np.ndarray) -> Boxes:
    columns = dict(zip(_COLUMNS, stored[:, 7:].T, strict=True))
    return Boxes.make(stored[:, :7], columns.pop("labels"), **columns)


def _pose(stored: Any) -> np.ndarray | None:
    return None if stored is None else np.array(stored, np.float64)


def _camera(stored: Any) -> Camera | None:
    if stored is None:
        return None
    kind = Panorama if stored["panorama"] else Camera
    width, height = stored["size"]
    return kind(np.array(stored["projection"]), (width, height))

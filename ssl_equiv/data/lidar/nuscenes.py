"""nuScenes: the JSON tables of ``v1.0-*`` and ``LIDAR_TOP``'s ``.pcd.bin`` files.

The sensor's frame there is x right, y forward; here all is turned to x forward, y left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssl_equiv.boxes import Boxes
from ssl_equiv.data.lidar.files import read_bin
from ssl_equiv.data.lidar.source import Index, LidarSource, by_sequence, every, stored_index
from ssl_equiv.data.lidar.sweep import Sweep, counted
from ssl_equiv.data.lidar.text import read_bytes, read_rows
from ssl_equiv.errors import UserError

CLASSES = [
    *("car", "truck", "bus", "trailer", "construction_vehicle", "pedestrian", "motorcycle"),
    *("bicycle", "traffic_cone", "barrier"),
]
"""The ten classes of nuScenes' detection benchmark."""
_CATEGORIES = {
    "vehicle.car": "car",
    "vehicle.truck": "truck",
    "vehicle.bus.bendy": "bus",
    "vehicle.bus.rigid": "bus",
    "vehicle.trailer": "trailer",
    "vehicle.construction": "construction_vehicle",
    "human.pedestrian.adult": "pedestrian",
    "human.pedestrian.child": "pedestrian",
    "human.pedestrian.construction_worker": "pedestrian",
    "human.pedestrian.police_officer": "pedestrian",
    "vehicle.motorcycle": "motorcycle",
    "vehicle.bicycle": "bicycle",
    "movable_object.trafficcone": "traffic_cone",
    "movable_object.barrier": "barrier",
}
POINT_CLASSES = [
    *("barrier", "bicycle", "bus", "car", "construction_vehicle", "motorcycle", "pedestrian"),
    *("traffic_cone", "trailer", "truck", "driveable_surface", "other_flat", "sidewalk"),
    *("terrain", "manmade", "vegetation"),
]
"""The 16 classes of nuScenes' lidarseg benchmark."""
_POINT_CATEGORIES = {
    **_CATEGORIES,
    "flat.driveable_surface": "driveable_surface",
    "flat.other": "other_flat",
    "flat.sidewalk": "sidewalk",
    "flat.terrain": "terrain",
    "static.manmade": "manmade",
    "static.vegetation": "vegetation",
}
# numbers of the scenes of the official validation split, and of mini's
_VALIDATION = (
    "3 12-18 35-36 38-39 92-110 221 268-278 329-332 344-346 519-524 552-565 625-627 629-630 "
    "632-638 770-771 775 777-778 780-784 794-800 802 904-917 919-931 962-963 966-969 971-972 "
    "1059-1073"
)
_MINI_VALIDATION = "103 916"
_SWEEP_COLUMNS = (
    *("token", "sample_token", "ego_pose_token", "calibrated_sensor_token", "timestamp"),
    *("is_key_frame", "filename"),
)
_TO_OURS = np.array([[0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], np.float64)
_VISIBILITY = {"4": 0, "3": 1, "2": 1, "1": 2}  # shares above 80, 60, 40 % and below: occlusion
_PERIOD = 0.075  # seconds: sweeps farther apart than one and a half turns do not follow


class NuScenes(LidarSource):
    """nuScenes with all sweeps of the top LiDAR, 20 a second, of which every tenth is annotated.

    Splits are the official ones by the scenes' names, else whole scenes; sweeps between the
    annotated ones belong to the split of their scene.

    Args:
        root: The folder that holds ``v1.0-*``, ``samples`` and ``sweeps``.

    Raises:
        UserError: not one version, a missing table, or a box without size.
    """

    kind = "nuscenes"

    def __init__(self, root: Path) -> None:
        self.root = root
        versions = sorted(path for path in root.glob("v1.0-*") if path.is_dir())
        if len(versions) != 1:
            found = ", ".join(path.name for path in versions) or "none"
            raise UserError(
                f"{root} holds {found} of the versions v1.0-*: keep one, and link the others to "
                "folders of their own"
            )
        self._tables = versions[0]
        self.classes, self.point_classes = list(CLASSES), list(POINT_CLASSES)
        index = stored_index(root, self.kind, self._watched, self._build)
        self.names, self.sequence, self.frame = index["names"], index["sequence"], index["frame"]
        self._index = index
        self.split = self._splits(index["scenes"])
        self.has_poses, self.has_boxes = True, bool(len(index["values"]))

    def sweep(self, index: int, boxes: bool = True, flow: bool = True) -> Sweep:
        """A sweep; boxes only for every tenth, and no true flow."""
        path, data = self.root / str(self.names[index]), self._index
        points = read_bin(path, columns=5, intensity_scale=255.0)
        x, y = points[:, 0].clone(), points[:, 1].clone()
        points[:, 0], points[:, 1] = y, -x
        found = semantic = None
        if boxes and data["annotated"][index]:
            rows = slice(*np.searchsorted(data["of_sweep"], (index, index + 1)))
            made = Boxes.make(
                torch.from_numpy(data["values"][rows]),
                data["labels"][rows],
                data["instances"][rows],
                occlusion=data["occlusion"][rows],
            )
            found = counted(made, points, None)
        if label := str(data["lidarseg"][index]):
            ids = np.frombuffer(read_bytes(self.root / label), np.uint8)
            if len(ids) != len(points):
                raise UserError(
                    f"{self.root / label} has labels for {len(ids)} points, its sweep has "
                    f"{len(points)}: copy both again"
                )
            semantic = torch.from_numpy(data["of_category"][ids])
        return Sweep(points, str(path), found, semantic, pose=data["poses"][index])

    def _splits(self, scenes: np.ndarray) -> dict[str, np.ndarray]:
        numbers = _numbers(_MINI_VALIDATION if "mini" in self._tables.name else _VALIDATION)
        official = {f"scene-{number:04d}" for number in numbers}
        held_out = [place for place, name in enumerate(scenes.tolist()) if name in official]
        if not held_out:
            return by_sequence(self.sequence)
        val = np.isin(self.sequence, held_out)
        return {"train": np.flatnonzero(~val), "val": np.flatnonzero(val)}

    def _watched(self) -> Iterable[Path]:
        return [self._tables, *self._tables.glob("*.json")]

    def _table(self, name: str) -> Iterator[dict[str, Any]]:
        return read_rows(self._tables / f"{name}.json")

    def _build(self) -> Index:
        try:
            return self._from_tables()
        except KeyError as error:
            raise UserError(
                f"{self._tables}: a table lacks {error}: the download is incomplete; unpack the "
                "metadata again"
            ) from error

    def _from_tables(self) -> Index:
        lidar = {s["token"] for s in self._table("sensor") if s["channel"] == "LIDAR_TOP"}
        sensors = {
            row["token"]: _pose(row) @ np.linalg.inv(_TO_OURS)
            for row in self._table("calibrated_sensor")
            if row["sensor_token"] in lidar
        }
        # millions of rows, of which few are wanted, and of those few columns
        sweeps = [
            {column: row[column] for column in _SWEEP_COLUMNS}
            for row in self._table("sample_data")
            if row["calibrated_sensor_token"] in sensors
        ]
        if not sweeps:
            raise UserError(f"{self._tables / 'sample_data.json'} has no sweeps of LIDAR_TOP")
        wanted = {row["ego_pose_token"] for row in sweeps}
        egos = {r["token"]: _pose(r) for r in self._table("ego_pose") if r["token"] in wanted}
        scenes = sorted(self._table("scene"), key=lambda row: str(row["name"]))
        number = {row["token"]: k for k, row in enumerate(scenes)}
        scene_of = {r["token"]: number[r["scene_token"]] for r in self._table("sample")}
        sweeps.sort(key=lambda row: (scene_of[row["sample_token"]], row["timestamp"]))
        sequence = np.array([scene_of[row["sample_token"]] for row in sweeps], np.int64)
        times = np.array([row["timestamp"] for row in sweeps], np.float64) / 1e6
        poses = np.array(
            [egos[r["ego_pose_token"]] @ sensors[r["calibrated_sensor_token"]] for r in sweeps]
        )
        keys = {r["sample_token"]: k for k, r in enumerate(sweeps) if r["is_key_frame"]}
        annotated = np.zeros(len(sweeps), bool)
        annotated[list(keys.values())] = True
        segments, of_category = self._lidarseg({row["token"]: k for k, row in enumerate(sweeps)})
        return {
            "names": every(row["filename"] for row in sweeps),
            "sequence": sequence,
            "frame": _frames(sequence, times),
            "poses": poses,
            "annotated": annotated,
            "scenes": every(row["name"] for row in scenes),
            "lidarseg": segments,
            "of_category": of_category,
            **self._annotations(keys, poses),
        }

    def _annotations(self, keys: dict[str, int], poses: np.ndarray) -> Index:
        """Boxes of all annotated sweeps, in their sensors' frames, in the order of the sweeps."""
        names = {row["token"]: str(row["name"]) for row in self._table("category")}
        kinds = {r["token"]: names[r["category_token"]] for r in self._table("instance")}
        objects = {token: number for number, token in enumerate(kinds)}
        of_sweep, values, labels, instances, occlusion = [], [], [], [], []
        for row in self._table("sample_annotation"):
            name = _CATEGORIES.get(kinds[row["instance_token"]])
            if name is None or row["sample_token"] not in keys:
                continue
            width, length, height = row["size"]
            if min(row["size"]) <= 0:
                raise UserError(
                    f"{self._tables / 'sample_annotation.json'}: {row['token']} has the size "
                    f"{row['size']} m: remove it or mend it"
                )
            sweep = keys[row["sample_token"]]
            local = np.linalg.inv(poses[sweep]) @ _pose(row)
            yaw = np.arctan2(local[1, 0], local[0, 0])
            of_sweep.append(sweep)
            values.append((*local[:3, 3], length, width, height, yaw))
            labels.append(CLASSES.index(name))
            instances.append(objects[row["instance_token"]])
            occlusion.append(_VISIBILITY.get(str(row.get("visibility_token")), 3))
        order = np.argsort(of_sweep, kind="stable").astype(np.int64)
        return {
            "of_sweep": np.array(of_sweep, np.int64)[order],
            "values": np.array(values, np.float32).reshape(-1, 7)[order],
            "labels": np.array(labels, np.int64)[order],
            "instances": np.array(instances, np.int64)[order],
            "occlusion": np.array(occlusion, np.int64)[order],
        }

    def _lidarseg(self, place: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
        """File of the points' classes of each sweep, empty without; class of each category."""
        files = [""] * len(place)
        of_category = np.full(256, -1, np.int64)
        if (self._tables / "lidarseg.json").is_file():
            for row in self._table("lidarseg"):
                if row["sample_data_token"] in place:
                    files[place[row["sample_data_token"]]] = row["filename"]
            for row in self._table("category"):
                name = _POINT_CATEGORIES.get(row["name"])
                if name is not None and "index" in row:
                    of_category[row["index"]] = POINT_CLASSES.index(name)
        return every(files), of_category


def _frames(sequence: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Numbers that follow one another where sweeps do, and skip one where some are missing."""
    gap = np.diff(times, prepend=times[0]) > _PERIOD
    return np.arange(len(sequence)) + np.cumsum(gap)


def _pose(row: dict[str, Any]) -> np.ndarray:
    """The pose ``(4, 4)`` of a row with ``translation`` and ``rotation`` (w, x, y, z)."""
    w, x, y, z = np.array(row["rotation"]) / np.linalg.norm(row["rotation"])
    pose = np.eye(4)
    pose[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    pose[:3, 3] = row["translation"]
    return pose


def _numbers(text: str) -> list[int]:
    """``"1 3-5"`` as 1, 3, 4, 5."""
    found: list[int] = []
    for word in text.split():
        first, _, last = word.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ssl_equiv.data.lidar.open import open_lidar
from ssl_equiv.data.lidar.text import read_rows
from ssl_equiv.errors import UserError

from .written import write

_ROOT_HALF = math.sqrt(0.5)
_QUARTER = [_ROOT_HALF, 0, 0, _ROOT_HALF]  # a quarter turn to the left, w first
_NONE = [1.0, 0, 0, 0]

# right, ahead, up, intensity of 255, ring: ahead 10 m, and to the left 5 m
_POINTS = np.array([[0, 10, 0, 255, 3], [-5, 0, -1, 51, 7]], np.float32)


def tables() -> dict[str, list[dict[str, Any]]]:
    """Two scenes: three sweeps of which the first and last are annotated, and one sweep."""
    sweeps = [
        ("a", "s0", True, 0, "samples/LIDAR_TOP/a.pcd.bin"),
        ("b", "s0", False, 50_000, "sweeps/LIDAR_TOP/b.pcd.bin"),
        ("c", "s1", True, 300_000, "samples/LIDAR_TOP/c.pcd.bin"),
        ("d", "s2", True, 900_000, "samples/LIDAR_TOP/d.pcd.bin"),
    ]
    data = [
        {
            "token": token,
            "sample_token": sample,
            "ego_pose_token": f"e{token}",
            "calibrated_sensor_token": "lidar",
            "timestamp": 1_500_000_000_000_000 + moment,
            "is_key_frame": key,
            "filename": file,
        }
        for token, sample, key, moment, file in sweeps
    ]
    camera = {**data[0], "token": "x", "calibrated_sensor_token": "camera", "filename": "x.jpg"}
    place = {"a": [100, 50, 0], "b": [101, 50, 0], "c": [106, 50, 0], "d": [0, 0, 0]}
    annotation = {
        "token": "n0",
        "sample_token": "s0",
        "instance_token": "i0",
        "visibility_token": "1",
        "translation": [100.0, 60.0, 1.8],  # 10 m to the left of the car that drives along x
        "size": [2.0, 4.0, 1.5],  # width, length, height
        "rotation": _QUARTER,
    }
    other = {**annotation, "token": "n1", "instance_token": "i1", "visibility_token": "4"}
    return {
        "sensor": [{"token": "l", "channel": "LIDAR_TOP"}, {"token": "c", "channel": "CAM_FRONT"}],
        "calibrated_sensor": [
            # the sensor's y ahead is the car's x: a quarter turn to the right
            {
                "token": "lidar",
                "sensor_token": "l",
                "translation": [1.0, 0, 1.8],
                "rotation": [_ROOT_HALF, 0, 0, -_ROOT_HALF],
            },
            {"token": "camera", "sensor_token": "c", "translation": [0, 0, 0], "rotation": _NONE},
        ],
        "sample_data": [data[2], camera, data[3], data[0], data[1]],
        "ego_pose": [
            {"token": f"e{token}", "translation": place[token], "rotation": _NONE}
            for token in place
        ],
        "sample": [
            {"token": "s0", "scene_token": "z"},
            {"token": "s1", "scene_token": "z"},
            {"token": "s2", "scene_token": "y"},
        ],
        "scene": [{"token": "z", "name": "scene-0103"}, {"token": "y", "name": "scene-0061"}],
        "category": [
            {"token": "k0", "name": "vehicle.car", "index": 17},
            {"token": "k1", "name": "animal", "index": 1},
            {"token": "k2", "name": "flat.sidewalk", "index": 26},
        ],
        "instance": [
            {"token": "i0", "category_token": "k0"},
            {"token": "i1", "category_token": "k1"},
        ],
        "sample_annotation": [other, annotation],
        "lidarseg": [{"sample_data_token": "a", "filename": "lidarseg/a.bin"}],
    }


def nuscenes(root: Path, **changed: list[dict[str, Any]]) -> Path:
    for name, rows in {**tables(), **changed}.items():
        write(root / f"v1.0-mini/{name}.json", json.dumps(rows))
    for row in tables()["sample_data"]:
        if row["filename"].endswith(".bin"):
            write(root / row["filename"], _POINTS.tobytes())
    write(root / "lidarseg/a.bin", bytes([17, 26]))
    return root


def test_sweeps_are_turned_to_x_ahead_and_carry_boxes_and_poses(tmp_path: Path) -> None:
    source = open_lidar(nuscenes(tmp_path))
    assert (source.kind, len(source), source.has_boxes) == ("nuscenes", 4, True)
    assert [Path(name).name[0] for name in source.names] == ["d", "a", "b", "c"]
    sweep = source.sweep(1)
    torch.testing.assert_close(
        sweep.points, torch.tensor([[10.0, 0, 0, 1.0], [0, 5.0, -1, 0.2]]), atol=1e-6, rtol=0
    )
    expected = np.eye(4)
    expected[:3, 3] = 101, 50, 1.8
    np.testing.assert_allclose(sweep.pose, expected, atol=1e-9)
    boxes = sweep.boxes
    assert boxes is not None
    values = [[-1, 10, 0, 4, 2, 1.5, math.pi / 2]]
    torch.testing.assert_close(boxes.values, torch.tensor(values), atol=1e-5, rtol=0)
    assert source.classes[boxes.labels[0]] == "car"
    assert (boxes.occlusion.tolist(), boxes.num_points.tolist()) == ([2], [0])
    assert boxes.height_px[0] == pytest.approx(721.5 * 1.5 / math.hypot(1, 10), rel=1e-4)
    assert sweep.semantic is not None
    assert [source.point_classes[label] for label in sweep.semantic] == ["car", "sidewalk"]
    between = source.sweep(2)
    assert (between.boxes, between.semantic) == (None, None)
    assert source.sweep(3).boxes is not None
    assert len(source.sweep(3).boxes) == 0  # type: ignore[arg-type]


def test_sweeps_follow_each_other_at_twenty_a_second_within_a_scene(tmp_path: Path) -> None:
    source = open_lidar(nuscenes(tmp_path))
    assert [source.successor(i) for i in range(4)] == [None, 2, None, None]
    # scene-0103 is of mini's official validation split
    assert {n: m.tolist() for n, m in source.split.items()} == {"train": [0], "val": [1, 2, 3]}


def test_bad_tables_are_told(tmp_path: Path) -> None:
    rows = tables()["sample_annotation"]
    rows[1]["size"] = [2.0, 0.0, 1.5]
    with pytest.raises(UserError, match=r"sample_annotation\.json: n0 has the size \[2\.0, 0\.0"):
        open_lidar(nuscenes(tmp_path / "a", sample_annotation=rows))
    with pytest.raises(UserError, match=r"a table lacks 'ea': the download is incomplete"):
        open_lidar(nuscenes(tmp_path / "b", ego_pose=tables()["ego_pose"][1:]))
    root = nuscenes(tmp_path / "c")
    (root / "v1.0-mini/scene.json").unlink()
    with pytest.raises(UserError, match=r"scene\.json does not exist"):
        open_lidar(root)
    root = nuscenes(tmp_path / "d")
    (root / "v1.0-trainval").mkdir()
    with pytest.raises(UserError, match=r"v1\.0-mini, v1\.0-trainval of the versions v1\.0-\*"):
        open_lidar(root)
    root = nuscenes(tmp_path / "e")
    write(root / "samples/LIDAR_TOP/a.pcd.bin", _POINTS[:, :4].tobytes())
    with pytest.raises(UserError, match=r"a\.pcd\.bin has 32 bytes, no multiple of 20.*4 floats"):
        open_lidar(root).sweep(1)
    write(root / "samples/LIDAR_TOP/a.pcd.bin", _POINTS[:1].tobytes())
    with pytest.raises(
        UserError, match=r"lidarseg/a\.bin has labels for 2 points, its sweep has 1"
    ):
        open_lidar(root).sweep(1)


def test_tables_are_read_piece_by_piece(tmp_path: Path) -> None:
    rows = [{"token": "a, ]{" + str(k), "size": [k, -1.5e3], "none": None} for k in range(30)]
    for text in (json.dumps(rows), json.dumps(rows, indent=2) + "\n", "[]"):
        path = write(tmp_path / "table.json", text)
        for piece in (1, 7, 64, 1 << 20):
            assert list(read_rows(path, piece)) == json.loads(text)
    for text in (json.dumps(rows)[:-3], '{"a": 1}', "", "[{'a': 1}]"):
        path = write(tmp_path / "table.json", text)
        with pytest.raises(UserError, match=r"table\.json is not a readable table of JSON"):
            list(read_rows(path, 16))

from __future__ import annotations

import math
import shutil
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

import numpy as np
import pytest
import torch

from ssl_equiv.data.lidar.calibration import Calibration
from ssl_equiv.data.lidar.names import KITTI_CLASSES
from ssl_equiv.data.lidar.open import open_lidar
from ssl_equiv.data.lidar.source import INDEX
from ssl_equiv.errors import UserError
from ssl_equiv.files import atomic_write

from .written import CALIBRATION, LABELS, POINTS, kitti, write


def test_points_and_boxes_are_in_the_sensors_frame(tmp_path: Path) -> None:
    source = open_lidar(kitti(tmp_path))
    assert (source.kind, len(source), source.has_boxes) == ("kitti_object", 3, True)
    assert (source.has_poses, source.has_flow) == (False, False)
    sweep = source.sweep(0)
    np.testing.assert_array_equal(sweep.points, POINTS)
    boxes = sweep.boxes
    assert boxes is not None
    assert [KITTI_CLASSES[label] for label in boxes.labels] == ["Car", "Cyclist"]
    # bottom (4, 0.6, 19.9) in the camera is (20, -4, -0.6) here; the middle is half a height up
    expected = [
        [20.0, -4.0, 0.15, 4.0, 1.6, 1.5, 0.0],
        [10.0, 1.0, 0.05, 1.8, 0.6, 1.7, math.pi / 2],
    ]
    torch.testing.assert_close(boxes.values, torch.tensor(expected), atol=1e-6, rtol=0)
    assert boxes.truncation.tolist() == [0.0, 0.25]
    assert boxes.occlusion.tolist() == [1, 0]
    assert boxes.height_px.tolist() == [40.0, 2.0]
    assert boxes.num_points.tolist() == [1, 1]
    assert source.sweep(0, boxes=False).boxes is None


def test_the_camera_projects_as_the_calibration_says(tmp_path: Path) -> None:
    camera = open_lidar(kitti(tmp_path)).sweep(0).camera
    assert camera is not None
    pixels, depth = camera.project(np.array([[10.1, -2.0, 1.0]]))
    np.testing.assert_allclose(pixels, [[600 + 700 * 2 / 10, 180 - 700 * 1 / 10]])
    np.testing.assert_allclose(depth, [10.0])
    # 1.5 m high, its near end 17.9 m before the camera
    assert camera.heights(torch.tensor([[20.0, -4.0, 0.15, 4.0, 1.6, 1.5, 0.0]]))[0] == (
        pytest.approx(700 * (0.6 / 17.9 + 0.9 / 17.9), rel=1e-6)
    )
    assert camera.heights(torch.tensor([[-20.0, 0, 0, 4, 2, 1.5, 0]]))[0] == 0


def test_boxes_follow_a_turned_camera_and_back() -> None:
    turn, tilt = 0.3, 0.004
    c, s = math.cos(turn), math.sin(turn)
    rectify = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    lean = np.array(
        [[1, 0, 0], [0, math.cos(tilt), -math.sin(tilt)], [0, math.sin(tilt), math.cos(tilt)]]
    )
    to_camera = np.eye(4)
    to_camera[:3, :3] = lean @ rectify @ np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]])
    to_camera[:3, 3] = 0.1, -0.2, -0.3
    calibration = Calibration(np.eye(3, 4), to_camera)
    values = np.array([[12.0, 3, -0.5, 4, 1.7, 1.5, 0.4], [5, -6, 0.2, 2, 1, 3, -2.8]])
    there = calibration.boxes_to_camera(values)
    np.testing.assert_allclose(calibration.boxes_to_sensor(*there), values, atol=2e-5)
    # a camera turned against the sensor sees another ry than yaw + pi/2
    assert abs(there[2][0] - (-0.4 - math.pi / 2)) > 0.25


def test_splits_and_sequences_are_read(tmp_path: Path) -> None:
    root = kitti(tmp_path, 4)
    write(root / "ImageSets/train.txt", "000000\n000003\n")
    write(root / "ImageSets/val.txt", "000001\n")
    lines = ["d a_0002_sync 0000000007", "d a_0001_sync 0000000005", "d a_0001_sync 0000000004"]
    write(root / "mapping/train_mapping.txt", "\n".join([*lines, "d a_0002_sync 0000000009"]))
    write(root / "mapping/train_rand.txt", "3,1,2,4")
    source = open_lidar(root)
    # line 3, 1, 2, 4: sweep 0 is frame 4 and sweep 2 frame 5 of drive 1, 1 and 3 of drive 2
    order = [name[-10:-4] for name in source.names]
    assert order == ["000000", "000002", "000001", "000003"]
    assert [source.successor(i) for i in range(4)] == [1, None, None, None]
    assert [source.predecessor(i) for i in range(4)] == [None, 0, None, None]
    assert {n: m.tolist() for n, m in source.split.items()} == {"train": [0, 3], "val": [2]}


def test_the_index_is_kept_and_made_again_when_files_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = kitti(tmp_path / "data")
    first = open_lidar(root)
    assert (root / INDEX).exists()
    monkeypatch.setattr(type(first), "_build", lambda self: pytest.fail("built again"))
    assert open_lidar(root).fingerprint == first.fingerprint
    monkeypatch.undo()
    time.sleep(0.01)
    write(root / "training/velodyne/000009.bin", POINTS.tobytes())
    again = open_lidar(root)
    assert len(again) == 4
    assert again.fingerprint != first.fingerprint
    assert again.sweep(3).boxes is None
    (root / INDEX).write_bytes(b"damaged")
    assert len(open_lidar(root)) == 4


def test_a_read_only_folder_is_indexed_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = kitti(tmp_path / "data")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def refusing(path: Path) -> AbstractContextManager[IO[bytes]]:
        if root in path.parents:
            raise UserError("read-only")
        return atomic_write(path)

    monkeypatch.setattr("ssl_equiv.data.lidar.source.atomic_write", refusing)
    first = open_lidar(root)
    assert not (root / INDEX).exists()
    assert len(list((tmp_path / "cache/ssl_equiv").glob("lidar_*.npz"))) == 1
    monkeypatch.setattr(type(first), "_build", lambda self: pytest.fail("built again"))
    assert len(open_lidar(root)) == 3


def bad(root: Path, name: str, content: str | bytes) -> None:
    write(root / "training" / name, content)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("velodyne/000001.bin", POINTS.tobytes()[:-3], r"000001\.bin has 61 bytes, no multiple of"),
        ("velodyne/000001.bin", np.ones((3, 5), "f4").tobytes(), "may have 5 floats a point"),
        ("velodyne/000001.bin", b"", r"000001\.bin has no points: leave the sweep out"),
        (
            "velodyne/000001.bin",
            np.where(POINTS == 20, np.nan, POINTS).astype("f4").tobytes(),
            r"000001\.bin has 1 points with NaN .* the first is number 2: remove",
        ),
        ("velodyne/000001.bin", (POINTS * 1e4).tobytes(), "farther than 10 km"),
        (
            "calib/000001.txt",
            CALIBRATION.replace("Tr_velo_to_cam", "Tr_x"),
            r"000001\.txt has no key Tr_velo_to_cam or Tr_velo_cam or Tr \(it has P0, P2",
        ),
        ("calib/000001.txt", CALIBRATION.replace("700 0 600", "0 600"), "P2 has 11 numbers"),
        (
            "label_2/000001.txt",
            LABELS.replace("1.50 1.60 4.00", "1.50 0.00 4.00"),
            r"line 1: a box",
        ),
        ("label_2/000001.txt", LABELS.replace("Cyclist", "Cyclst"), r"line 2: unknown class 'Cycl"),
        ("label_2/000001.txt", "Car 0 0 1\n", r"line 1 has 3 numbers, not 14"),
        ("label_2/000001.txt", b"\xff\xfe\x00", "is not text"),
    ],
)
def test_a_bad_file_is_named_with_its_mend(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    bad(kitti(tmp_path), name, content)
    source = open_lidar(tmp_path)
    source.sweep(0)
    with pytest.raises(UserError, match=message):
        source.sweep(1)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    root = kitti(tmp_path / "a")
    bad(root, "label_2/000007.txt", LABELS)
    with pytest.raises(UserError, match=r"000007\.txt labels a sweep that is missing"):
        open_lidar(root)
    root = kitti(tmp_path / "b")
    write(root / "ImageSets/train.txt", "000000\n000042\n")
    with pytest.raises(UserError, match=r"train\.txt names 000042, which is not in"):
        open_lidar(root)
    root = kitti(tmp_path / "c")
    shutil.rmtree(root / "training/calib")
    with pytest.raises(UserError, match=r"calib/000000\.txt does not exist, its label_2 does"):
        open_lidar(root).sweep(0)
    root = kitti(tmp_path / "d")
    write(root / "mapping/train_mapping.txt", "d a_0002_sync 0000000007\n")
    write(root / "mapping/train_rand.txt", "1,2,3")
    with pytest.raises(UserError, match=r"do not name the drive of every sweep"):
        open_lidar(root)
    root = kitti(tmp_path / "e")
    write(root / "sequences/00/velodyne/000000.bin", POINTS.tobytes())
    with pytest.raises(UserError, match="mix sensor layouts; put each into a folder of its own"):
        open_lidar(root)
    with pytest.raises(UserError, match="is not a folder"):
        open_lidar(tmp_path / "nowhere")

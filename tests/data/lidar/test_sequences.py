"""KITTI odometry with SemanticKITTI, raw drives, KITTI-360."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_equiv.data.lidar.names import KITTI_CLASSES, SEMANTIC_KITTI_CLASSES
from ssl_equiv.data.lidar.open import open_lidar
from ssl_equiv.errors import UserError

from .written import POINTS, write

# the camera's z is the sensor's x: a pose that goes ahead 2 m in the camera goes 2 m along x
_TR = "0 -1 0 0.5 0 0 -1 0 1 0 0 -0.1"
_CALIB = f"P2: 700 0 600 0 0 700 180 0 0 0 1 0\nTr: {_TR}\n"


def odometry(root: Path, sequences: tuple[int, ...] = (0, 8, 11)) -> Path:
    for sequence in sequences:
        folder = root / f"sequences/{sequence:02d}"
        write(folder / "calib.txt", _CALIB)
        poses = [f"1 0 0 0 0 1 0 0 0 0 1 {2 * k}" for k in range(3)]
        write(folder / "poses.txt", "\n".join(poses))
        for number in range(3):
            write(folder / f"velodyne/{number:06d}.bin", POINTS.tobytes())
            ids = np.array([10, 252, 40, 0], "<u4") | np.array([3, 4, 0, 0], "<u4") << 16
            write(folder / f"labels/{number:06d}.label", ids.tobytes())
    return root


def test_semantic_kitti_labels_poses_and_splits(tmp_path: Path) -> None:
    source = open_lidar(odometry(tmp_path))
    assert (source.kind, len(source), source.has_boxes) == ("odometry", 9, False)
    assert {n: m.tolist() for n, m in source.split.items()} == {
        "train": [0, 1, 2],
        "val": [3, 4, 5],
        "test": [6, 7, 8],
    }
    sweep = source.sweep(2)
    assert sweep.semantic is not None
    assert sweep.instance is not None
    assert sweep.pose is not None
    names = [SEMANTIC_KITTI_CLASSES[label] for label in sweep.semantic[:3]]
    assert names == ["car", "car", "road"]
    assert sweep.semantic[3] == -1
    assert sweep.instance.tolist() == [3, 4, -1, -1]
    expected = np.eye(4)
    expected[0, 3] = 4
    np.testing.assert_allclose(sweep.pose, expected, atol=1e-12)
    assert sweep.camera is not None
    pixels, _ = sweep.camera.project(np.array([[10.1, 0.5, 0.0]]))
    np.testing.assert_allclose(pixels, [[600, 180]])
    assert [source.successor(i) for i in (0, 2, 3)] == [1, None, 4]


def test_poses_may_lie_beside_the_sequences(tmp_path: Path) -> None:
    root = odometry(tmp_path, (0,))
    write(root / "poses/00.txt", (root / "sequences/00/poses.txt").read_text())
    (root / "sequences/00/poses.txt").unlink()
    assert open_lidar(root).sweep(1).pose[0, 3] == 2  # type: ignore[index]
    (root / "poses/00.txt").unlink()
    assert open_lidar(root).sweep(1).pose is None


def test_bad_sequences_are_told(tmp_path: Path) -> None:
    root = odometry(tmp_path / "a", (0,))
    write(root / "sequences/00/poses.txt", "1 0 0 0 0 1 0 0 0 0 1 0\n" * 2)
    with pytest.raises(UserError, match=r"poses\.txt has 2 poses, but .* sweeps up to number 2"):
        open_lidar(root)
    root = odometry(tmp_path / "b", (0,))
    write(root / "sequences/00/calib.txt", "P2: 700 0 600 0 0 700 180 0 0 0 1 0\n")
    with pytest.raises(UserError, match=r"calib\.txt has no key"):
        open_lidar(root)
    root = odometry(tmp_path / "c", (0,))
    write(root / "sequences/00/labels/000001.label", b"\0" * 8)
    with pytest.raises(UserError, match=r"000001\.label has labels for 2 points, its sweep has 4"):
        open_lidar(root).sweep(1)
    write(root / "sequences/00/labels/000077.label", b"\0" * 16)
    with pytest.raises(UserError, match=r"000077\.label labels a sweep that is missing"):
        open_lidar(root)


_TRACKLETS = """<?xml version="1.0" encoding="UTF-8" ?><boost_serialization><tracklets>
<count>1</count><item><objectType>Van</objectType><h>2.0</h><w>1.8</w><l>4.5</l>
<first_frame>1</first_frame><poses><count>2</count>
<item><tx>10</tx><ty>1</ty><tz>-1.6</tz><rx>0</rx><ry>0</ry><rz>0.3</rz><occlusion>2</occlusion></item>
<item><tx>11</tx><ty>1</ty><tz>-1.6</tz><rx>0</rx><ry>0</ry><rz>0.4</rz><occlusion>-1</occlusion></item>
</poses></item></tracklets></boost_serialization>"""


def raw(root: Path) -> Path:
    date = root / "2011_09_26"
    drive = date / "2011_09_26_drive_0001_sync"
    turn = "R: 1 0 0 0 1 0 0 0 1\n"
    write(date / "calib_imu_to_velo.txt", turn + "T: -0.8 0.3 -0.8\n")
    write(date / "calib_velo_to_cam.txt", "R: 0 -1 0 0 0 -1 1 0 0\nT: 0 0 -0.1\n")
    write(
        date / "calib_cam_to_cam.txt",
        "calib_time: 09-Jan-2012 13:57:47\nS_rect_02: 1242 375\nR_rect_00: 1 0 0 0 1 0 0 0 1\n"
        "P_rect_02: 700 0 600 0 0 700 180 0 0 0 1 0\n",
    )
    for number in range(3):
        write(drive / f"velodyne_points/data/{number:010d}.bin", POINTS.tobytes())
        # 1e-5 degrees of longitude to the east, on the equator, heading north at the end
        yaw = math.pi / 2 if number == 2 else 0.0
        words = [0.0, 8e-5 + number * 1e-5, 100.0 + number, 0, 0, yaw, *[0] * 24]
        write(drive / f"oxts/data/{number:010d}.txt", " ".join(map(str, words)))
    write(drive / "tracklet_labels.xml", _TRACKLETS)
    return root


def test_raw_drives_have_poses_of_the_projection_and_tracklets(tmp_path: Path) -> None:
    source = open_lidar(raw(tmp_path))
    assert (source.kind, len(source), source.has_poses) == ("kitti_raw", 3, True)
    assert source.sweep(0).boxes is not None
    assert len(source.sweep(0).boxes) == 0  # type: ignore[arg-type]
    boxes = source.sweep(1).boxes
    assert boxes is not None
    expected = torch.tensor([[10.0, 1.0, -0.6, 4.5, 1.8, 2.0, 0.3]])
    torch.testing.assert_close(boxes.values, expected)
    assert KITTI_CLASSES[boxes.labels[0]] == "Van"
    assert (boxes.occlusion.tolist(), boxes.instances.tolist()) == ([2], [0])
    assert boxes.height_px[0] > 100
    assert source.sweep(2).boxes.occlusion.tolist() == [3]  # type: ignore[union-attr]
    step = math.radians(1e-5) * 6378137
    poses = [source.sweep(i).pose for i in range(3)]
    # imu = sensor + (0.8, -0.3, 0.8): where the imu does not turn, both move alike
    np.testing.assert_allclose((poses[1] - poses[0])[:3, 3], [step, 0, 1], atol=1e-6)  # type: ignore[operator]
    np.testing.assert_allclose(poses[2][:3, :3], [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-12)  # type: ignore[index]
    there = [2 * step + 0.3, 0.8, 2.8]
    np.testing.assert_allclose(poses[2][:3, 3], there, atol=1e-6)  # type: ignore[index]


def test_bad_raw_drives_are_told(tmp_path: Path) -> None:
    drive = raw(tmp_path / "a") / "2011_09_26/2011_09_26_drive_0001_sync"
    write(drive / "tracklet_labels.xml", _TRACKLETS.replace("<w>1.8</w>", "<w>0</w>"))
    with pytest.raises(UserError, match=r"tracklet_labels\.xml: object 0 has the size 4\.5 x 0 x"):
        open_lidar(tmp_path / "a").sweep(1)
    drive = raw(tmp_path / "b") / "2011_09_26/2011_09_26_drive_0001_sync"
    write(drive / "tracklet_labels.xml", _TRACKLETS[:200])
    with pytest.raises(UserError, match=r"tracklet_labels\.xml is damaged"):
        open_lidar(tmp_path / "b").sweep(1)
    drive = raw(tmp_path / "c") / "2011_09_26/2011_09_26_drive_0001_sync"
    (drive / "oxts/data/0000000001.txt").unlink()
    with pytest.raises(UserError, match=r"has no 0000000001\.txt for a sweep \(1 sweeps have no"):
        open_lidar(tmp_path / "c")


def _opencv(name: str, matrix: np.ndarray) -> str:
    data = " ".join(f"{value:.8e}" for value in matrix.ravel())
    return (
        f'<{name} type_id="opencv-matrix"><rows>{len(matrix)}</rows><cols>{matrix.shape[1]}</cols>'
        f"<dt>f</dt><data>\n{data}</data></{name}>"
    )


def _object(number: int, name: str, moment: int, transform: np.ndarray) -> str:
    unit = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    return (
        f"<object{number}><index>{number}</index><label>{name}</label><semanticId>26</semanticId>"
        f"<instanceId>{number + 40}</instanceId><timestamp>{moment}</timestamp>"
        f"<start_frame>3</start_frame><end_frame>4</end_frame>"
        f"{_opencv('transform', transform)}{_opencv('vertices', unit)}</object{number}>"
    )


def kitti360(root: Path) -> Path:
    drive = "2013_05_28_drive_0000_sync"
    # the camera is at the sensor, its z along x; the unit is at the camera, x ahead, z down
    write(root / "calibration/calib_cam_to_velo.txt", "0 0 1 0 -1 0 0 0 0 -1 0 0")
    write(root / "calibration/calib_cam_to_pose.txt", "image_00: 0 0 1 0 1 0 0 0 0 1 0 0\n")
    for number in (3, 4, 5):
        write(
            root / f"data_3d_raw/{drive}/velodyne_points/data/{number:010d}.bin", POINTS.tobytes()
        )
    poses = [f"{n} 1 0 0 {n} 0 -1 0 50 0 0 -1 7" for n in (3, 4)]
    write(root / f"data_poses/{drive}/poses.txt", "\n".join(poses))
    c, s = math.cos(0.5), math.sin(0.5)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    still, moves = np.eye(4), np.eye(4)
    still[:3, :3], still[:3, 3] = turn * [4, 2, 1.5], (14, 51, 7)
    moves[:3, :3], moves[:3, 3] = np.diag([2, 1, 1.0]), (23, 46, 7)
    items = _object(1, "car", -1, still) + _object(2, "person", 3, moves)
    items += _object(3, "building", -1, still)
    write(root / f"data_3d_bboxes/train/{drive}.xml", f"<opencv_storage>{items}</opencv_storage>")
    return root


def test_kitti360_has_poses_of_the_sensor_and_boxes_of_the_moment(tmp_path: Path) -> None:
    source = open_lidar(kitti360(tmp_path))
    assert (source.kind, len(source), source.has_boxes) == ("kitti360", 3, True)
    sweep = source.sweep(0)
    expected = np.eye(4)
    expected[:3, 3] = 3, 50, 7
    np.testing.assert_allclose(sweep.pose, expected, atol=1e-12)
    boxes = sweep.boxes
    assert boxes is not None
    assert [source.classes[label] for label in boxes.labels] == ["car", "person"]
    values = [[11, 1, 0, 4, 2, 1.5, 0.5], [20, -4, 0, 2, 1, 1, 0]]
    torch.testing.assert_close(boxes.values, torch.tensor(values), atol=1e-5, rtol=0)
    assert boxes.instances.tolist() == [41, 42]
    assert boxes.num_points.tolist() == [2, 1]
    later = source.sweep(1).boxes
    assert later is not None
    assert [source.classes[label] for label in later.labels] == ["car"]  # the person was of frame 3
    last = source.sweep(2)
    assert (last.pose, last.boxes) == (None, None)


def test_bad_kitti360_is_told(tmp_path: Path) -> None:
    root = kitti360(tmp_path)
    drive = "2013_05_28_drive_0000_sync"
    write(root / "calibration/calib_cam_to_pose.txt", "image_01: 0 0 1 0 1 0 0 0 0 1 0 0\n")
    with pytest.raises(UserError, match=r"calib_cam_to_pose\.txt has no key image_00"):
        open_lidar(root)
    write(root / f"data_poses/{drive}/poses.txt", "90 1 0 0 0 0 1 0 0 0 0 1 0")
    with pytest.raises(UserError, match=r"poses\.txt has no pose for any sweep"):
        open_lidar(root)

"""Simulated sweeps in KITTI's layouts, which the readers of the real data read.

See :mod:`ssl_equiv.data.lidar.kitti_object` for what lies beside KITTI's own files.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from data_gen.lidar.simulate import SimulatedSweep
from ssl_equiv.data.lidar.calibration import Calibration, rigid

# a camera that is turned 0.01 radians against the sensor, 0.27 m before and 0.08 m below it
_TURN = 0.01
_C, _S = np.cos(_TURN), np.sin(_TURN)
_P2 = np.array([[721.5377, 0, 609.5593, 44.85728], [0, 721.5377, 172.854, 0.2163791], [0, 0, 1, 0]])
_P2[2, 3] = 0.002745884
_RECTIFY = np.array([[_C, 0, _S], [0, 1, 0], [-_S, 0, _C]])
_SENSOR_TO_CAMERA = np.array([[0, -1, 0, 0], [0, 0, -1, -0.08], [1, 0, 0, -0.27]], np.float64)
CALIBRATION = Calibration(_P2, rigid(_RECTIFY) @ rigid(_SENSOR_TO_CAMERA))
"""Of every simulated sweep."""


def calibration_text(odometry: bool = False) -> str:
    """The calibration file, of the object or the odometry benchmark."""
    lines = [(f"P{camera}", _P2) for camera in range(4)]
    if odometry:
        lines.append(("Tr", CALIBRATION.to_camera[:3]))
    else:
        lines += [("R0_rect", _RECTIFY), ("Tr_velo_to_cam", _SENSOR_TO_CAMERA)]
    return "".join(f"{key}: {_numbers(matrix)}\n" for key, matrix in lines)


def label_text(sweep: SimulatedSweep, surround: bool) -> tuple[str, str]:
    """The label file, and the objects' numbers in the same order.

    Args:
        sweep: What is annotated.
        surround: Keep objects that the camera does not see; their rectangle is 0 0 0 0.
    """
    lines, tracks = [], []
    values = np.array([a.box for a in sweep.annotations]).reshape(-1, 7)
    rectangles, truncation = CALIBRATION.camera.rectangles(values)
    bottoms, sizes, turns = CALIBRATION.boxes_to_camera(values)
    for row, annotation in enumerate(sweep.annotations):
        if not surround and truncation[row] == 1:
            continue
        bottom, ry = bottoms[row], turns[row]
        alpha = (ry - np.arctan2(bottom[0], bottom[2]) + np.pi) % (2 * np.pi) - np.pi
        numbers = [*rectangles[row], *sizes[row], *bottom, ry]
        words = " ".join(f"{number:.6f}" for number in numbers)
        head = f"{annotation.class_name} {truncation[row]:.2f} {annotation.occlusion}"
        lines.append(f"{head} {alpha:.6f} {words}\n")
        tracks.append(f"{annotation.instance}\n")
    return "".join(lines), "".join(tracks)


def object_files(
    sweep: SimulatedSweep, number: int, surround: bool, last: bool
) -> dict[str, bytes]:
    """A sweep's files in the object benchmark's layout, by path; the last has no flow."""
    label, tracks = label_text(sweep, surround)
    name = f"{number:06d}"
    files = {
        f"training/velodyne/{name}.bin": sweep.points.astype("<f4").tobytes(),
        f"training/labels/{name}.label": _label_bytes(sweep),
        f"training/calib/{name}.txt": calibration_text().encode(),
        f"training/label_2/{name}.txt": label.encode(),
        f"training/tracks/{name}.txt": tracks.encode(),
        f"training/poses/{name}.txt": f"{_numbers(sweep.pose[:3])}\n".encode(),
    }
    if not last:
        files[f"training/flow/{name}.npy"] = _array_bytes(sweep.flow)
    return files


def sequence_files(
    sweeps: Sequence[SimulatedSweep], sequence: int, period: float
) -> dict[str, bytes]:
    """A whole sequence's files in SemanticKITTI's layout, which has no boxes, by path."""
    folder = f"sequences/{sequence:02d}"
    to_camera = CALIBRATION.to_camera
    start = np.linalg.inv(sweeps[0].pose @ np.linalg.inv(to_camera))
    poses = [start @ sweep.pose @ np.linalg.inv(to_camera) for sweep in sweeps]
    times = "".join(f"{number * period:e}\n" for number in range(len(sweeps)))
    files = {
        f"{folder}/calib.txt": calibration_text(odometry=True).encode(),
        f"{folder}/poses.txt": "".join(f"{_numbers(pose[:3])}\n" for pose in poses).encode(),
        f"{folder}/times.txt": times.encode(),
    }
    for number, sweep in enumerate(sweeps):
        files[f"{folder}/velodyne/{number:06d}.bin"] = sweep.points.astype("<f4").tobytes()
        files[f"{folder}/labels/{number:06d}.label"] = _label_bytes(sweep)
        if number + 1 < len(sweeps):
            files[f"{folder}/flow/{number:06d}.npy"] = _array_bytes(sweep.flow)
    return files


def _numbers(matrix: np.ndarray) -> str:
    return " ".join(f"{number:.12e}" for number in matrix.ravel())


def _label_bytes(sweep: SimulatedSweep) -> bytes:
    packed: np.ndarray = sweep.semantic | (sweep.instance << 16)
    return packed.astype("<u4").tobytes()


def _array_bytes(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()

"""Folders of KITTI files: detections and annotations to tables, detections to files.

``python -m eval.detection RESULTS LABELS`` prints the average precision of a folder of results.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from eval.detection.table import BoxTable
from ssl_equiv.boxes import Boxes, Camera
from ssl_equiv.data.lidar.calibration import Calibration, rigid
from ssl_equiv.data.lidar.kitti_object import read_objects
from ssl_equiv.errors import UserError
from ssl_equiv.files import atomic_write

_AHEAD = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]], np.float64)
"""Sensor to camera where a data set tells nothing: at the same place, looking along x."""


def read_kitti(folder: str | Path, frames: Sequence[str], results: bool) -> BoxTable:
    """The boxes of KITTI files, in the camera's frame with axes renamed: x ahead, y left, z up.

    Args:
        folder: Holds ``FRAME.txt`` for each frame.
        frames: Names; their places become the table's frames.
        results: Whether they are detections, which have scores.

    Raises:
        UserError: a file is missing or damaged, or a detection has no score.
    """
    tables = []
    for number, frame in enumerate(frames):
        path = Path(folder) / f"{frame}.txt"
        rows = read_objects(path)
        if results and np.isnan(rows.score).any():
            line = int(np.isnan(rows.score).argmax()) + 1
            raise UserError(f"{path}: box {line} has no score: a file of results has 16 columns")
        x, y, z = rows.bottom.T
        height, width, length = rows.size.T
        boxes = np.stack((z, -x, height / 2 - y, length, width, height, -rows.ry - np.pi / 2), 1)
        columns = (boxes, rows.labels, rows.score, rows.truncation, rows.occlusion, rows.rectangle)
        values, labels, score, truncation, occlusion, rectangle = map(torch.from_numpy, columns)
        tables.append(
            BoxTable.make(
                torch.tensor(number),
                values,
                labels,
                score if results else None,
                truncation=truncation,
                occlusion=occlusion,
                image_box=rectangle,
            )
        )
    return BoxTable.cat(tables)


def result_text(
    boxes: Boxes, classes: Sequence[str], calibration: Calibration | None, camera: Camera | None
) -> str:
    """Detections as the lines of a KITTI file of results.

    Args:
        boxes: With scores, labelled by ``classes``, in the sensor's frame.
        classes: Names.
        calibration: Of the sweep; None writes boxes as a camera would see them that stands at the
            sensor and looks along x.
        camera: What rectangles are told of where there is no calibration; None tells none.
    """
    assert boxes.scores is not None
    values = boxes.values.detach().cpu().double().numpy()
    if calibration is None:
        calibration = Calibration(np.eye(3, 4), rigid(_AHEAD))
    else:
        camera = calibration.camera
    rectangles = np.zeros((len(values), 4)) if camera is None else camera.rectangles(values)[0]
    bottoms, sizes, turns = calibration.boxes_to_camera(values)
    lines = []
    for label, rectangle, size, bottom, turn, score in zip(
        boxes.labels.tolist(), rectangles, sizes, bottoms, turns, boxes.scores.tolist(), strict=True
    ):
        seen = (turn - np.arctan2(bottom[0], bottom[2]) + np.pi) % (2 * np.pi) - np.pi
        numbers = " ".join(f"{x:.4f}" for x in (seen, *rectangle, *size, *bottom, turn))
        lines.append(f"{classes[label]} -1 -1 {numbers} {score:.6f}\n")
    return "".join(lines)


def write_result(path: Path, text: str) -> None:
    """A file of results, whole or not at all; one without detections is empty."""
    with atomic_write(path) as file:
        file.write(text.encode())

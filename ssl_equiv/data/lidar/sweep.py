"""One turn of a LiDAR sensor with what is known of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ssl_equiv.boxes import Boxes, Camera, points_in_boxes, virtual_camera

__all__ = ["Boxes", "Camera", "Sweep", "counted", "virtual_camera"]

MARGIN = 0.05  # metres: points of a surface lie on both sides of it


@dataclass(frozen=True)
class Sweep:
    """Points of one sweep in the sensor's frame: x forward, y left, z up, metres.

    Args:
        points: ``(N, 4)`` float32: x, y, z, intensity in [0, 1].
        name: Where it comes from, for messages.
        boxes: Annotated objects; None where the data set has no annotations for this sweep.
        semantic: Class of each point, an index into the source's ``point_classes``, -1 unlabelled.
            ``(N,)`` int64.
        instance: Object of each point, -1 none. ``(N,)`` int64.
        pose: Sensor to world, ``(4, 4)`` float64.
        flow: Displacement that carries a point of THIS sweep to where it is in the NEXT sweep, in
            the next sweep's frame, ``(N, 3)`` float32:
            ``T_ego(t+1)^-1 T_obj(t+1) T_obj(t)^-1 T_ego(t) p - p``. NaN where unknown.
        camera: The camera of the annotations' heights, truncation and occlusion; None if none.
    """

    points: Tensor
    name: str
    boxes: Boxes | None = None
    semantic: Tensor | None = None
    instance: Tensor | None = None
    pose: np.ndarray | None = None
    flow: Tensor | None = None
    camera: Camera | None = None

    def __len__(self) -> int:
        return len(self.points)

    def with_boxes(self, boxes: Boxes | None) -> Sweep:
        """The same sweep with other annotations."""
        return replace(self, boxes=boxes)


def counted(boxes: Boxes, points: Tensor, camera: Camera | None) -> Boxes:
    """The boxes with their numbers of points, and with what the camera sees of them.

    Args:
        boxes: Of a sweep.
        points: Of the sweep, ``(N, 3+)``; those within 0.05 m of a box count.
        camera: Its camera, which tells heights and truncation; None takes the virtual one.
    """
    camera = camera or virtual_camera()
    rectangles, truncation = camera.rectangles(boxes.values.numpy())
    height = (rectangles[:, 3] - rectangles[:, 1]).astype(np.float32)
    return replace(
        boxes,
        num_points=count_points(boxes, points),
        truncation=torch.from_numpy(truncation.astype(np.float32)),
        height_px=torch.from_numpy(height),
    )


def count_points(boxes: Boxes, points: Tensor) -> Tensor:
    """How many points ``(N, 3+)`` lie in each box or within 0.05 m of it, ``(M,)`` int64."""
    return points_in_boxes(points, boxes.values, MARGIN).sum(1)

"""Upright boxes in the frame of a LiDAR sensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_equiv.camera import Camera, Panorama, virtual_camera

__all__ = [
    "Boxes",
    "Camera",
    "Panorama",
    "box_corners",
    "points_in_boxes",
    "virtual_camera",
]


@dataclass(frozen=True)
class Boxes:
    """Upright boxes of one sweep; x forward, y left, z up, metres.

    Args:
        values: ``(M, 7)`` float32: centre x, y, z, length (along the heading), width, height, yaw
            (radians about z; 0 heads along x, +pi/2 along y).
        labels: Class of each, an index into the source's ``classes``, ``(M,)`` int64.
        instances: A number that follows the object from sweep to sweep; -1 unknown. ``(M,)`` int64.
        num_points: Points of the sweep in the box; -1 unknown. ``(M,)`` int64.
        truncation: Share of the box outside the camera's picture in [0, 1]; 0 unknown. ``(M,)``.
        occlusion: KITTI's level: 0 visible, 1 partly, 2 largely hidden, 3 unknown. ``(M,)`` int64.
        height_px: Height of the box in the camera's picture, pixels, ``(M,)``; infinite where no
            camera tells.
        scores: Confidence of detections; None for annotations. ``(M,)``.
    """

    values: Tensor
    labels: Tensor
    instances: Tensor
    num_points: Tensor
    truncation: Tensor
    occlusion: Tensor
    height_px: Tensor
    scores: Tensor | None = None

    @classmethod
    def make(
        cls,
        values: Tensor | np.ndarray,
        labels: Tensor | np.ndarray | Sequence[int],
        instances: Tensor | np.ndarray | None = None,
        num_points: Tensor | np.ndarray | None = None,
        truncation: Tensor | np.ndarray | None = None,
        occlusion: Tensor | np.ndarray | None = None,
        height_px: Tensor | np.ndarray | None = None,
        scores: Tensor | np.ndarray | None = None,
    ) -> Boxes:
        """Boxes from tensors or arrays; what is left out is unknown.

        Raises:
            ValueError: the shapes do not fit.
        """
        values = torch.as_tensor(values, dtype=torch.float32)
        if values.ndim != 2 or values.shape[1] != 7:
            raise ValueError(f"boxes are (M, 7), got {tuple(values.shape)}")
        num, device = len(values), values.device

        def column(given: Any, default: float, dtype: torch.dtype) -> Tensor:
            if given is None:
                return torch.full((num,), default, dtype=dtype, device=device)
            tensor = torch.as_tensor(given, dtype=dtype, device=device)
            if tensor.shape != (num,):
                raise ValueError(f"{num} boxes, but a column of {tuple(tensor.shape)}")
            return tensor

        return cls(
            values,
            column(labels, 0, torch.int64),
            column(instances, -1, torch.int64),
            column(num_points, -1, torch.int64),
            column(truncation, 0, torch.float32),
            column(occlusion, 0, torch.int64),
            column(height_px, float("inf"), torch.float32),
            None if scores is None else column(scores, 0, torch.float32),
        )

    @classmethod
    def empty(cls, device: torch.device | str | None = None) -> Boxes:
        """No boxes."""
        return cls.make(torch.zeros(0, 7, device=device), torch.zeros(0))

    @classmethod
    def cat(cls, several: Sequence[Boxes]) -> Boxes:
        """All boxes of several sets in one; scores stay only where every set has them."""
        if not several:
            return cls.empty()
        found: dict[str, Tensor | None] = {}
        for field in fields(cls):
            columns = [getattr(boxes, field.name) for boxes in several]
            found[field.name] = None if any(c is None for c in columns) else torch.cat(columns)
        return cls(**found)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, which: Tensor | np.ndarray | slice) -> Boxes:
        """The boxes of a mask ``(M,)``, of indices, or of a slice."""
        if isinstance(which, np.ndarray):
            which = torch.from_numpy(which)
        return self._map(lambda column: column[which])

    def with_values(self, values: Tensor) -> Boxes:
        """The same objects at other places, ``(M, 7)``."""
        return replace(self, values=values)

    def to(self, device: torch.device | str, **kwargs: Any) -> Boxes:
        """The boxes on another device."""
        return self._map(lambda column: column.to(device, **kwargs))

    def pin_memory(self) -> Boxes:
        """The boxes in page-locked memory."""
        return self._map(lambda column: column.pin_memory())

    def corners(self) -> Tensor:
        """The eight corners of each, ``(M, 8, 3)``: see :func:`box_corners`."""
        return box_corners(self.values)

    def contain(self, points: Tensor, margin: float = 0.0) -> Tensor:
        """Which points ``(N, 3+)`` lie in which boxes, ``(M, N)`` bool; surfaces belong to them."""
        return points_in_boxes(points, self.values, margin)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Boxes:
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        moved = {k: v if v is None else function(v) for k, v in columns.items()}
        return Boxes(**moved)  # type: ignore[arg-type]

    def __reduce__(self) -> tuple[Any, ...]:
        # between processes a tensor is a file of shared memory: no small one is worth that
        columns = [getattr(self, field.name) for field in fields(self)]
        return _received, tuple(None if c is None else c.detach().cpu().numpy() for c in columns)


def _received(*columns: np.ndarray | None) -> Boxes:
    return Boxes(*(None if c is None else torch.from_numpy(c) for c in columns))  # type: ignore[arg-type]


def box_corners(values: Tensor) -> Tensor:
    """Corners ``(..., 8, 3)`` of boxes ``(..., 7)``.

    The first four are the bottom, counter-clockwise as seen from above (front left, rear left,
    rear right, front right), the last four the top in the same order.
    """
    x = values.new_tensor([1, -1, -1, 1] * 2) / 2 * values[..., 3:4]
    y = values.new_tensor([1, 1, -1, -1] * 2) / 2 * values[..., 4:5]
    z = values.new_tensor([-1] * 4 + [1] * 4) / 2 * values[..., 5:6]
    cosine, sine = values[..., 6:7].cos(), values[..., 6:7].sin()
    corners = torch.stack((cosine * x - sine * y, sine * x + cosine * y, z), dim=-1)
    return corners + values[..., None, :3]


def points_in_boxes(points: Tensor, values: Tensor, margin: float = 0.0) -> Tensor:
    """Which points ``(N, 3+)`` lie in which boxes ``(M, 7)``: ``(M, N)`` bool.

    Args:
        points: Only x, y, z are read.
        values: Boxes; a surface belongs to its box.
        margin: Metres that every face is moved outwards.
    """
    inside = torch.zeros(len(values), len(points), dtype=torch.bool, device=values.device)
    half = values[:, 3:6] / 2 + margin
    # few points are near any box: only those are turned into its frame
    exact = "donot_use_mm_for_euclid_dist"
    away = torch.cdist(values[:, :2], points[:, :2].to(values), compute_mode=exact)
    box, point = (away <= half[:, :2].norm(dim=1, keepdim=True) + 1e-3).nonzero().unbind(1)
    x, y, z = (points[point, :3].to(values) - values[box, :3]).unbind(1)
    cosine, sine = values[box, 6].cos(), values[box, 6].sin()
    local = torch.stack((cosine * x + sine * y, cosine * y - sine * x, z), dim=1)
    inside[box, point] = (local.abs() <= half[box]).all(dim=1)
    return inside

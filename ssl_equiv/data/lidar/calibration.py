"""KITTI's calibration files, read by key, and the boxes of their camera's frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssl_equiv.camera import Camera
from ssl_equiv.data.lidar.text import read_numbers, read_text
from ssl_equiv.errors import UserError

IMAGE_SIZE = (1242, 375)
"""Width and height of KITTI's pictures; single ones are up to 18 by 6 pixels smaller."""


class Keyed:
    """A file of lines ``key: numbers``.

    Raises:
        UserError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.entries = path, dict[str, str]()
        for line in read_text(path).splitlines():
            key, colon, rest = line.partition(":")
            if not colon:
                key, _, rest = line.partition(" ")
            if key.strip():
                self.entries[key.strip()] = rest

    def __contains__(self, key: str) -> bool:
        return key in self.entries

    def matrix(self, *keys: str, shape: tuple[int, int] = (3, 4)) -> np.ndarray:
        """The matrix of the first of these keys that is there, float64.

        Raises:
            UserError: none is, or it has another number of entries.
        """
        for key in keys:
            if key in self.entries:
                where = f"{self.path}: {key}"
                return read_numbers(self.entries[key], shape[0] * shape[1], where).reshape(shape)
        found = ", ".join(self.entries) or "nothing"
        raise UserError(
            f"{self.path} has no key {' or '.join(keys)} (it has {found}): add it, or copy the "
            "file again"
        )


def rigid(matrix: np.ndarray) -> np.ndarray:
    """``(3, 3)`` or ``(3, 4)`` as ``(4, 4)``."""
    whole = np.eye(4)
    whole[:3, : matrix.shape[1]] = matrix
    return whole


@dataclass(frozen=True)
class Calibration:
    """Sensor, rectified camera and picture of KITTI.

    Args:
        projection: Rectified camera to picture, ``P2``, ``(3, 4)``.
        to_camera: Sensor to rectified camera, ``R0_rect Tr_velo_to_cam``, ``(4, 4)``.
    """

    projection: np.ndarray
    to_camera: np.ndarray

    @classmethod
    def read(cls, path: Path) -> Calibration:
        """Of a file of the object or the odometry benchmark.

        Raises:
            UserError: a key is missing.
        """
        file = Keyed(path)
        rectify = np.eye(3)  # odometry: Tr leads into the rectified frame itself
        if "Tr" not in file or "R0_rect" in file or "R_rect" in file:
            rectify = file.matrix("R0_rect", "R_rect", shape=(3, 3))
        sensor = rigid(file.matrix("Tr_velo_to_cam", "Tr_velo_cam", "Tr"))
        return cls(file.matrix("P2"), rigid(rectify) @ sensor)

    @property
    def camera(self) -> Camera:
        """The camera as it sees the sensor's frame."""
        return Camera(self.projection @ self.to_camera, IMAGE_SIZE)

    def boxes_to_sensor(self, bottom: np.ndarray, size: np.ndarray, ry: np.ndarray) -> np.ndarray:
        """Boxes ``(M, 7)`` of the sensor's frame from KITTI's.

        Args:
            bottom: Centre of the bottom in the rectified camera, x right, y down, z ahead,
                ``(M, 3)``.
            size: Height, width, length, ``(M, 3)``.
            ry: Turn about the camera's y axis, 0 heads right, ``(M,)`` radians.

        The heading is turned as a vector: it follows a camera that is turned against the sensor.
        """
        back = np.linalg.inv(self.to_camera)
        centre = bottom - np.array([0, 0.5, 0]) * size[:, :1]
        centre = centre @ back[:3, :3].T + back[:3, 3]
        heading = np.stack((np.cos(ry), np.zeros_like(ry), -np.sin(ry)), axis=1) @ back[:3, :3].T
        yaw = np.arctan2(heading[:, 1], heading[:, 0])
        return np.column_stack((centre, size[:, ::-1], yaw))

    def boxes_to_camera(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The inverse of :meth:`boxes_to_sensor`: bottoms, sizes and ``ry``."""
        values = np.asarray(values, np.float64).reshape(-1, 7)
        turn, shift = self.to_camera[:3, :3], self.to_camera[:3, 3]
        size = values[:, 5:2:-1]
        bottom = values[:, :3] @ turn.T + shift + np.array([0, 0.5, 0]) * size[:, :1]
        yaw = values[:, 6]
        heading = np.stack((np.cos(yaw), np.sin(yaw), np.zeros_like(yaw)), axis=1) @ turn.T
        return bottom, size, np.arctan2(-heading[:, 2], heading[:, 0])

"""The camera beside a LiDAR sensor, which judges how well an object is seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Camera:
    """A pinhole camera beside the sensor.

    Args:
        projection: ``(3, 4)`` float64: a homogeneous point of the sensor's frame to homogeneous
            pixels; the third row is the depth in metres.
        size: Width and height of the picture, pixels.
    """

    projection: np.ndarray
    size: tuple[int, int]

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels ``(..., 2)`` and depths ``(...)``, metres, of points ``(..., 3+)``."""
        xyz = np.asarray(points, np.float64)[..., :3]
        image = xyz @ self.projection[:, :3].T + self.projection[:, 3]
        depth = image[..., 2]
        safe = np.where(np.abs(depth) < 1e-9, 1e-9, depth)
        return image[..., :2] / safe[..., None], depth

    def rectangles(self, values: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """What boxes ``(M, 7)`` cover in the picture.

        Returns:
            Left, top, right, bottom in pixels, cut at the borders, ``(M, 4)``, all 0 for boxes
            with a corner nearer than 0.1 m to the picture's plane or outside the picture; and the
            share of each whole rectangle that the borders cut off, ``(M,)``, 1 for those.
        """
        values = np.asarray(values, np.float64).reshape(-1, 7)
        if len(values) == 0:
            return np.zeros((0, 4)), np.zeros(0)
        pixels, depth = self.project(_corners(values))
        whole = np.concatenate((pixels.min(axis=1), pixels.max(axis=1)), axis=1)
        width, height = self.size
        cut = np.clip(whole, 0, np.array([width - 1, height - 1] * 2, np.float64))
        area = (whole[:, 2] - whole[:, 0]) * (whole[:, 3] - whole[:, 1])
        left = (cut[:, 2] - cut[:, 0]) * (cut[:, 3] - cut[:, 1])
        seen = (depth > 0.1).all(axis=1) & (left > 0)
        share = np.where(seen, 1 - left / np.maximum(area, 1e-9), 1.0)
        return np.where(seen[:, None], cut, 0.0), share

    def heights(self, values: ArrayLike) -> np.ndarray:
        """Height in pixels of boxes ``(M, 7)`` in the picture, ``(M,)``; 0 outside it."""
        found, _ = self.rectangles(values)
        height: np.ndarray = found[:, 3] - found[:, 1]
        return height


@dataclass(frozen=True)
class Panorama(Camera):
    """A camera that looks all around: columns are angles from the x axis times the focal length,
    rows fall with the tangent of the elevation. Everything is in its picture.
    """

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels ``(..., 2)`` and horizontal distances ``(...)``, metres, of points."""
        x, y, z = np.moveaxis(np.asarray(points, np.float64)[..., :3], -1, 0)
        focal, (width, height) = float(self.projection[0, 0]), self.size
        distance = np.maximum(np.hypot(x, y), 1e-3)
        across = width / 2 - focal * np.arctan2(y, x)
        return np.stack((across, height / 2 - focal * z / distance), axis=-1), distance

    def rectangles(self, values: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """What boxes ``(M, 7)`` cover, ``(M, 4)``, whole across the seam behind; and zeros.

        Top and bottom are those of the middle of the box, so that its height in pixels is its
        height times the focal length over its distance.
        """
        values = np.asarray(values, np.float64).reshape(-1, 7)
        if len(values) == 0:
            return np.zeros((0, 4)), np.zeros(0)
        pixels, _ = self.project(_corners(values))
        middle, distance = self.project(values[:, :3])
        focal = float(self.projection[0, 0])
        turn = 2 * np.pi * focal
        off = (pixels[..., 0] - middle[:, None, 0] + turn / 2) % turn - turn / 2
        across = middle[:, None, 0] + off
        half = focal * values[:, 5] / 2 / distance
        sides = (across.min(1), middle[:, 1] - half, across.max(1), middle[:, 1] + half)
        return np.stack(sides, axis=1), np.zeros(len(values))


def _corners(values: np.ndarray) -> np.ndarray:
    """Corners ``(M, 8, 3)`` of boxes ``(M, 7)``."""
    ahead, left, up = np.array([(x, y, z) for x in (1, -1) for y in (1, -1) for z in (1, -1)]).T / 2
    x, y = ahead * values[:, 3:4], left * values[:, 4:5]
    cosine, sine = np.cos(values[:, 6:7]), np.sin(values[:, 6:7])
    turned = (cosine * x - sine * y, sine * x + cosine * y, up * values[:, 5:6])
    found: np.ndarray = np.stack(turned, axis=-1) + values[:, None, :3]
    return found


def virtual_camera() -> Camera:
    """The camera that stands in where a data set has none, or none that looks all around.

    A panorama at the sensor with a focal length of 721.5 pixels, KITTI's: an object d metres away
    is as high in it as in KITTI's image 2.
    """
    focal = 721.5
    inner = np.array([[focal, 0, 0, 0], [0, focal, 0, 0], [0, 0, 1, 0]])
    return Panorama(inner, (round(2 * np.pi * focal), 375))

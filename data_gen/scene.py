"""The geometry of the scene: where things stand and where the camera looks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_gen.recipe import Recipe


def spherical(r: float, theta: float, phi: float) -> NDArray[np.float64]:
    """Point ``(3,)`` at distance ``r``, polar angle ``theta`` from +z, azimuth ``phi`` from +x."""
    return r * np.array(
        [
            math.sin(theta) * math.cos(phi),
            math.sin(theta) * math.sin(phi),
            math.cos(theta),
        ]
    )


def rotation_matrix(euler_xyz: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(3, 3)`` matrix of extrinsic xyz Euler angles ``(3,)``, as scipy's ``"xyz"``."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(euler_xyz), np.sin(euler_xyz)
    return np.array(
        [
            [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
            [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
            [-sy, cy * sx, cy * cx],
        ]
    )


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera that looks at the origin, world z pointing up in its picture.

    Attributes:
        position: ``(3,)``.
        right, down, forward: Orthonormal world directions ``(3,)`` of the picture's axes.
        focal: Focal length in pixels.
        size: Width and height of the picture in pixels.
    """

    position: NDArray[np.float64]
    right: NDArray[np.float64]
    down: NDArray[np.float64]
    forward: NDArray[np.float64]
    focal: float
    size: int

    @classmethod
    def of(cls, recipe: Recipe) -> Camera:
        """The camera of a recipe."""
        position = spherical(recipe.camera_r, recipe.camera_theta, recipe.camera_phi)
        forward = -position / np.linalg.norm(position)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        length = float(np.linalg.norm(right))
        if length < 1e-9:  # straight down: right is where phi grows
            right = np.array([-math.sin(recipe.camera_phi), math.cos(recipe.camera_phi), 0.0])
            length = 1.0
        right = right / length
        focal = recipe.lens_mm / recipe.sensor_mm * recipe.image_size
        down = np.cross(forward, right)
        return cls(position, right, down, forward, focal, recipe.image_size)

    def project(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Picture coordinates ``(..., 2)`` (x, y in pixels; pixel centres at .5) of world points
        ``(..., 3)``, which must lie in front of the camera.
        """
        offset = points - self.position
        depth = offset @ self.forward
        x, y = offset @ self.right / depth, offset @ self.down / depth
        return np.stack([x, y], axis=-1) * self.focal + self.size / 2

    def rays(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """World directions ``(..., 3)`` through picture coordinates ``(..., 2)``, of depth 1."""
        offset = (pixels - self.size / 2) / self.focal
        return self.forward + offset[..., :1] * self.right + offset[..., 1:] * self.down

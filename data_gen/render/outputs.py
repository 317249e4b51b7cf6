"""What a view shows besides its colours: depth, normals and mask at the centres of its pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from data_gen.render.rays import DOWN, F32, FORWARD, I32, POSITION, RIGHT, Hits
from data_gen.scene import Camera
from ssl_equiv.data.geometry import check_output


class Geometry(NamedTuple):
    """Of one picture.

    Attributes:
        depth: ``(H, W)``, along the camera's forward axis; infinite where nothing is.
        normals: ``(H, W, 3)`` in the camera's frame (x right, y down, z forward), on the side
            that is seen; 0 where nothing is.
    """

    depth: F32
    normals: F32

    @classmethod
    def of_nothing(cls, size: int) -> Geometry:
        """A picture ``size`` wide without anything in it."""
        return cls(np.full((size, size), np.inf, np.float32), np.zeros((size, size, 3), np.float32))

    @classmethod
    def of_floor(cls, camera: Camera, floor_z: float) -> Geometry:
        """The floor at height ``floor_z``, and the sky beyond it."""
        ticks = np.arange(camera.size) + 0.5
        slope = camera.rays(np.stack(np.meshgrid(ticks, ticks), axis=-1))[..., 2]
        down = slope < 0
        out = cls.of_nothing(camera.size)
        out.depth[down] = (floor_z - camera.position[2]) / slope[down]
        out.normals[down] = camera.right[2], camera.down[2], camera.forward[2]
        return out


class Outputs:
    """Collects the asked outputs of a run of views.

    Args:
        names: Of :data:`ssl_equiv.data.geometry.OUTPUTS`.
        views: How many there will be.
        behind: What stands behind the object.

    Attributes:
        arrays: By name: ``depth (V, H, W)`` and ``normals (V, H, W, 3)`` float32, ``mask
            (V, H, W)`` bool.

    Raises:
        UserError: a name is unknown.
    """

    def __init__(self, names: Sequence[str], views: int, behind: Geometry) -> None:
        for name in names:
            check_output(name)
        self.behind = behind
        size = len(behind.depth)
        self.arrays: dict[str, NDArray[Any]] = {
            name: np.zeros((views, size, size, *[3][: name == "normals"]), np.float32)
            for name in names
            if name != "mask"
        }
        self.geometry = bool(self.arrays)
        if "mask" in names:
            self.arrays["mask"] = np.zeros((views, size, size), np.bool_)

    def add(self, view: int, pixels: I32, hits: Hits, frame: F32) -> None:
        """Take one view: the picture indices of its ``hits``, one ray a pixel, and its frame."""
        if "mask" in self.arrays:
            self.arrays["mask"][view].reshape(-1)[pixels] = True
        if self.geometry:
            depth, normals = self.behind.depth.copy(), self.behind.normals.copy()
            write_geometry(pixels, hits, frame, depth.reshape(-1), normals.reshape(-1, 3))
            for name, array in (("depth", depth), ("normals", normals)):
                if name in self.arrays:
                    self.arrays[name][view] = array


@njit(cache=True, nogil=True)
def write_geometry(pixels: I32, hits: Hits, frame: F32, depth: F32, normals: F32) -> None:
    """Write the object into the rows of a picture.

    Args:
        pixels: Picture index of each hit.
        hits: Of rays through the pixels' centres.
        frame: The view's frame.
        depth, normals: ``(H * W,)`` and ``(H * W, 3)`` as in :class:`Geometry`, written. A smooth
            normal that turns away from the camera, as happens at outlines, is brought back until
            it is square to the ray.
    """
    _, position, _, normal, _ = hits
    for n in range(pixels.shape[0]):
        dot, square = np.float32(0.0), np.float32(0.0)
        for c in range(3):
            ray = position[n, c] - frame[POSITION, c]
            dot += ray * normal[n, c]
            square += ray * ray
        away = max(dot, np.float32(0.0)) / square
        length, along = np.float32(0.0), np.float32(0.0)
        x, y, z = np.float32(0.0), np.float32(0.0), np.float32(0.0)
        for c in range(3):
            ray = position[n, c] - frame[POSITION, c]
            part = normal[n, c] - away * ray
            length += part * part
            along += ray * frame[FORWARD, c]
            x += part * frame[RIGHT, c]
            y += part * frame[DOWN, c]
            z += part * frame[FORWARD, c]
        if length < np.float32(1e-8):  # a face too thin to have a normal faces the camera
            for c in range(3):
                ray = position[n, c] - frame[POSITION, c]
                x -= ray * frame[RIGHT, c]
                y -= ray * frame[DOWN, c]
                z -= ray * frame[FORWARD, c]
            length = x * x + y * y + z * z
        scale = np.float32(1.0) / math.sqrt(length)
        depth[pixels[n]] = along
        normals[pixels[n], 0] = x * scale
        normals[pixels[n], 1] = y * scale
        normals[pixels[n], 2] = z * scale

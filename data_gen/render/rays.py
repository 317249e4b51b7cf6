"""What passes between the kernels: bundles of rays, hits on the object, and a view's frame."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]
Box = tuple[int, int, int, int]
"""Pixels ``x0, y0, x1, y1``, the last two excluded."""

# Rows of a view's frame, an (8, 3) float32 array of vectors in the object's coordinates. Numba
# keeps compiled kernels until their own file changes: after a change here, touch theirs too.
POSITION, RIGHT, DOWN, FORWARD, UP, LIGHT, AXIS, HEIGHT = range(8)
"""Camera position and axes, world up, spot position and direction; ``frame[HEIGHT, 0]`` is what
must be added to ``UP . p`` to give the height of ``p`` above the floor."""


class Rays(NamedTuple):
    """``origins`` and ``directions``, ``(n, 3)``, and the number ``(n,)`` of what each is for."""

    origins: F32
    directions: F32
    owners: I32

    @classmethod
    def empty(cls, num: int) -> Rays:
        """Room for ``num`` rays."""
        return cls(
            np.empty((num, 3), np.float32), np.empty((num, 3), np.float32), np.empty(num, np.int32)
        )

    def first(self, num: int) -> Rays:
        """The first ``num`` of them."""
        return Rays(self.origins[:num], self.directions[:num], self.owners[:num])


class Hits(NamedTuple):
    """Camera rays that met the object.

    Attributes:
        rays: ``(n,)`` number of the ray.
        position: ``(n, 3)`` in the object's coordinates.
        flat: ``(n, 3)`` normal of the face, turned towards the camera.
        normal: ``(n, 3)`` normal for shading, on the same side.
        albedo: ``(n, 3)`` linear.
    """

    rays: I32
    position: F32
    flat: F32
    normal: F32
    albedo: F32

    @classmethod
    def empty(cls, num: int) -> Hits:
        """Room for ``num`` hits."""
        position, flat, normal, albedo = np.empty((4, num, 3), np.float32)
        return cls(np.empty(num, np.int32), position, flat, normal, albedo)

    def take(self, index: I32 | slice) -> Hits:
        """Some of them."""
        return Hits(
            self.rays[index],
            self.position[index],
            self.flat[index],
            self.normal[index],
            self.albedo[index],
        )


class Faces(NamedTuple):
    """A mesh's surface as the kernels read it.

    Attributes:
        material: ``(F,)`` material of each face.
        colors: ``(M, 3)`` linear colour of each material.
        textures: ``(M, 3)`` first texel, height and width of each material's texture; height 0
            where there is none.
        texels: ``(T, 3)`` sRGB bytes of all textures.
        uv: ``(F, 3, 2)``, or ``(0, 3, 2)`` where there are none.
        smooth: ``(F, 3, 3)`` corner normals, or ``(0, 3, 3)``.
    """

    material: I32
    colors: F32
    textures: NDArray[np.int64]
    texels: U8
    uv: F32
    smooth: F32

    def take(self, which: I32) -> Faces:
        """Some of them."""
        return self._replace(
            material=self.material[which],
            uv=self.uv[which] if len(self.uv) else self.uv,
            smooth=self.smooth[which] if len(self.smooth) else self.smooth,
        )

"""Triangle meshes with materials: what every object source makes and every renderer takes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ssl_equiv.errors import UserError


@dataclass(frozen=True, eq=False)
class Material:
    """A diffuse surface.

    Attributes:
        color: ``(3,)`` float32, linear RGB in [0, 1]: the albedo, or a tint over ``texture``.
        texture: ``(H, W, 3)`` uint8 sRGB, row 0 at the top (v = 1), repeated outside [0, 1];
            ``None`` for a plain colour.
    """

    color: NDArray[np.float32]
    texture: NDArray[np.uint8] | None = None


GREY = Material(np.full(3, 0.6, np.float32))


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles in object coordinates, z up, unit of length that of the scene.

    Attributes:
        vertices: ``(N, 3)`` float32.
        faces: ``(F, 3)`` int32, indices of ``vertices``.
        face_material: ``(F,)`` int32, indices of ``materials``.
        materials: At least one.
        corner_uv: ``(F, 3, 2)`` float32 texture coordinates of each face's corners, or ``None``.
        corner_normals: ``(F, 3, 3)`` float32 normals of each face's corners, of any length;
            ``None`` for flat shading. A zero normal falls back to the flat one.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    face_material: NDArray[np.int32]
    materials: tuple[Material, ...] = (GREY,)
    corner_uv: NDArray[np.float32] | None = None
    corner_normals: NDArray[np.float32] | None = None

    @classmethod
    def plain(
        cls, vertices: NDArray[np.floating], faces: NDArray[np.integer], color: float = 0.6
    ) -> Mesh:
        """Make a flat-shaded mesh of one grey material from ``(N, 3)`` and ``(F, 3)`` arrays."""
        return cls(
            np.ascontiguousarray(vertices, np.float32),
            np.ascontiguousarray(faces, np.int32),
            np.zeros(len(faces), np.int32),
            (Material(np.full(3, color, np.float32)),),
        )

    @property
    def bounds(self) -> NDArray[np.float32]:
        """``(2, 3)``: the least and greatest coordinates of the vertices that faces use."""
        used = self.used_vertices
        return np.stack([used.min(axis=0), used.max(axis=0)])

    @property
    def used_vertices(self) -> NDArray[np.float32]:
        """``(M, 3)``: the vertices that faces use."""
        used = np.zeros(len(self.vertices), np.bool_)
        used[self.faces.ravel()] = True
        return self.vertices if used.all() else self.vertices[used]

    def normalized(self) -> Mesh:
        """Centre the bounding box on the origin and make its diagonal 1 (ShapeNet's convention).

        Raises:
            UserError: the mesh has no extent.
        """
        low, high = self.bounds.astype(np.float64)
        diagonal = float(np.linalg.norm(high - low))
        if not (np.isfinite(diagonal) and diagonal > 0):
            raise UserError("mesh of zero size: its vertices are all at one point; leave it out")
        vertices = (self.vertices.astype(np.float64) - (low + high) / 2) / diagonal
        return replace(self, vertices=vertices.astype(np.float32))

    def check(self, name: str) -> None:
        """Raise a ``UserError`` that names ``name`` unless the mesh can be rendered.

        Refused: no faces, NaN or infinite vertices, zero size, indices out of range, arrays of
        the wrong shape. Degenerate triangles are harmless and pass.
        """

        def fail(what: str, mend: str) -> None:
            raise UserError(f"mesh {name}: {what}; {mend}")

        num_faces = len(self.faces)
        if num_faces == 0 or len(self.vertices) == 0:
            fail("it has no faces", "leave it out or export it again with triangles")
        if self.vertices.ndim != 2 or self.vertices.shape[1] != 3:
            fail(f"vertices have shape {self.vertices.shape}", "give (N, 3)")
        if self.faces.ndim != 2 or self.faces.shape[1] != 3:
            fail(f"faces have shape {self.faces.shape}", "give triangles, (F, 3)")
        if self.faces.min() < 0 or self.faces.max() >= len(self.vertices):
            fail("a face names a vertex that does not exist", "export it again")
        used = self.used_vertices
        if not np.isfinite(used).all():
            fail("a vertex is NaN or infinite", "repair it or leave it out")
        if not np.ptp(used, axis=0).max() > 0:
            fail("it has zero size", "repair it or leave it out")
        if not self.materials:
            fail("it has no material", "give at least one")
        if self.face_material.shape != (num_faces,):
            fail(f"face_material has shape {self.face_material.shape}", f"give ({num_faces},)")
        if self.face_material.min() < 0 or self.face_material.max() >= len(self.materials):
            fail("a face names a material that does not exist", "export it again")
        for label, array, width in (
            ("corner_uv", self.corner_uv, 2),
            ("corner_normals", self.corner_normals, 3),
        ):
            if array is not None and array.shape != (num_faces, 3, width):
                fail(f"{label} has shape {array.shape}", f"give ({num_faces}, 3, {width})")
        for material in self.materials:
            if material.color.shape != (3,) or not np.isfinite(material.color).all():
                fail("a material's colour is not three finite numbers", "give linear RGB")
            texture = material.texture
            if texture is not None and (
                texture.ndim != 3
                or texture.shape[2] != 3
                or texture.dtype != np.uint8
                or texture.size == 0
            ):
                fail("a texture is not (H, W, 3) uint8", "convert it to RGB bytes")

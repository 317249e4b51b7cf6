"""An object in the making: parts in four colours, finished as a mesh."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data_gen.mesh import Material, Mesh
from data_gen.procedural.primitives import Part, Vector, cross

_CREASE = 0.64  # cosine of 50 degrees: quads that meet at a sharper angle keep a hard edge


class Model:
    """Collects parts, each in one of four colours (0 to 3), ``colors (4, 3)`` linear RGB."""

    def __init__(self, colors: NDArray[np.float32]):
        self._materials = tuple(Material(color) for color in colors)
        self._parts: list[Part] = []
        self._colors: list[int] = []

    def add(self, part: Part, color: int, at: Vector = (0, 0, 0), turn: Vector = (0, 0, 0)) -> None:
        """Add a part, turned by extrinsic xyz angles in degrees and then moved."""
        self._parts.append(part.placed(at, turn))
        self._colors.append(color)

    def pair(
        self, part: Part, color: int, at: Vector = (0, 0, 0), turn: Vector = (0, 0, 0)
    ) -> None:
        """Add a part and its mirror image in the plane x = 0."""
        placed = part.placed(at, turn)
        self._parts += [placed, placed.scaled(-1, 1, 1)]
        self._colors += [color, color]

    @property
    def bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Least and greatest corner of what was added so far."""
        points = np.concatenate([part.points for part in self._parts])
        return points.min(axis=0), points.max(axis=0)

    def mesh(self) -> Mesh:
        """Return the object centred on its bounding box, of diagonal 1, its front turned to +y.

        Corners are smoothed over the quads of the same part that meet there at less than 50
        degrees. Coordinates are rounded to 1e-6 (normals 1e-4), so that processors whose sines
        differ in the last bit make the same bytes.
        """
        first_point = np.cumsum([0] + [len(part.points) for part in self._parts])
        first_quad = np.cumsum([0] + [len(part.quads) for part in self._parts])
        points = np.concatenate([part.points for part in self._parts])
        quads = np.concatenate(
            [p.quads + n for p, n in zip(self._parts, first_point[:-1], strict=True)]
        )
        around = np.concatenate(
            [p.around + n for p, n in zip(self._parts, first_quad[:-1], strict=True)]
        )
        material = np.repeat(self._colors, np.diff(first_quad))

        low, high = points.min(axis=0), points.max(axis=0)
        points = (points - (low + high) / 2) / np.linalg.norm(high - low)
        points[:, :2] *= -1  # families face -y; the recipes' camera stands at +y

        corners = points[quads]
        area = cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])
        length = np.sqrt(np.einsum("qi,qi->q", area, area))
        unit = area / np.maximum(length, 1e-30)[:, None]
        # weights: the area of each quad that meets the corner without a crease
        smooth = np.einsum("qi,qabi->qab", unit, unit[around]) > _CREASE
        normals = np.einsum("qab,qabi->qai", smooth * 1.0, area[around])
        normals /= np.maximum(np.sqrt(np.einsum("qai,qai->qa", normals, normals)), 1e-30)[..., None]

        split = np.array([[0, 1, 2], [0, 2, 3]])
        faces = quads[:, split].reshape(-1, 3)
        normals = normals[:, split].reshape(-1, 3, 3)
        a, b, c = (points[faces[:, corner]] for corner in range(3))
        double = cross(b - a, c - a)
        solid = np.einsum("fi,fi->f", double, double) > 1e-16  # fans leave half a quad of no area
        return Mesh(
            vertices=_rounded(points, 6),
            faces=faces[solid].astype(np.int32),
            face_material=np.repeat(material, 2)[solid].astype(np.int32),
            materials=self._materials,
            corner_normals=_rounded(normals[solid], 4),
        )


def _rounded(values: np.ndarray, decimals: int) -> np.ndarray:
    return (np.round(values, decimals) + 0.0).astype(np.float32)  # + 0 turns -0 into 0

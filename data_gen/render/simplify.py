"""Fewer triangles: a coarser stand-in for a dense mesh, and a tangle without what cannot be seen.

A ray's cost grows with the triangles whose bounding boxes it passes. On a surface these are a
handful; long slivers across one another make them a share of the whole mesh.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from data_gen.render.rays import F32, I32
from ssl_equiv.errors import UserError

_OVERLAP = 2000.0  # boxes on a ray's way at which a view takes about a second


def untangle(vertices: F32, faces: I32, pixel: float, name: str) -> tuple[F32, I32, I32 | None]:
    """Make a mesh fit to be traced in bounded time.

    One whose boxes overlap no more than surfaces do comes back as it is. Of others, vertices
    within a cell of 1/64 of a pixel are merged and triangles thinner than half of it left out.

    Args:
        vertices: ``(N, 3)``; faces: ``(F, 3)``.
        pixel: Width of a pixel on the object.
        name: What an error message calls the mesh.

    Returns:
        Vertices, faces, and which of the given faces these are (``None``: all).

    Raises:
        UserError: that does not suffice, or leaves nothing.
    """
    if overlap(vertices, faces) <= _OVERLAP:
        return vertices, faces, None
    cell = max(pixel / 64, float(np.ptp(vertices, axis=0).max()) / (1 << 20))
    vertices, faces, which = cluster(vertices, faces, cell)
    wide = widths(vertices, faces) >= cell / 2
    faces, which = faces[wide], which[wide]
    if len(faces) == 0:
        raise UserError(
            f"mesh {name}: no triangle of it is wide enough to be seen; export it again or leave "
            "it out"
        )
    boxes = overlap(vertices, faces)
    if boxes > _OVERLAP:
        raise UserError(
            f"mesh {name}: its triangles lie across one another, the boxes of {boxes:.0f} on every "
            f"ray's way (at most {_OVERLAP:.0f}); export it as a surface or leave it out"
        )
    return vertices, faces, which


@njit(cache=True, nogil=True)
def overlap(vertices: F32, faces: I32) -> float:
    """Mean number of triangles whose bounding boxes a line through the mesh's own box passes: the
    sum of the boxes' surfaces over that of the whole (Cauchy's formula for convex bodies).
    """
    least, most = np.full(3, np.inf), np.full(3, -np.inf)
    size = np.empty(3)
    total = 0.0
    for n in range(faces.shape[0]):
        for c in range(3):
            i, j, k = vertices[faces[n, 0], c], vertices[faces[n, 1], c], vertices[faces[n, 2], c]
            low, high = min(i, j, k), max(i, j, k)
            least[c], most[c] = min(least[c], low), max(most[c], high)
            size[c] = high - low
        total += size[0] * size[1] + size[1] * size[2] + size[2] * size[0]
    size = most - least
    whole = size[0] * size[1] + size[1] * size[2] + size[2] * size[0]
    return float(total / max(whole, 1e-30))


@njit(cache=True, nogil=True)
def widths(vertices: F32, faces: I32) -> F32:
    """Least height ``(F,)`` of each triangle."""
    out = np.empty(faces.shape[0], np.float32)
    for n in range(faces.shape[0]):
        a, b, c = vertices[faces[n, 0]], vertices[faces[n, 1]], vertices[faces[n, 2]]
        ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
        x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        wx, wy, wz = ux - vx, uy - vy, uz - vz
        longest = max(
            ux * ux + uy * uy + uz * uz, vx * vx + vy * vy + vz * vz, wx * wx + wy * wy + wz * wz
        )
        out[n] = math.sqrt((x * x + y * y + z * z) / max(longest, np.float32(1e-30)))
    return out


def cluster(vertices: F32, faces: I32, cell: float) -> tuple[F32, I32, I32]:
    """Merge the vertices within each cell of a grid into their mean (Rossignac and Borrel 1993).

    Args:
        vertices: ``(N, 3)``; faces: ``(F, 3)``.
        cell: Width of a cell.

    Returns:
        Vertices ``(M, 3)``, the faces ``(K, 3)`` that still have three corners, and which of the
        given faces each of them was ``(K,)``.
    """
    low = vertices.min(axis=0)
    place = ((vertices - low) * np.float32(1 / cell)).astype(np.int64)
    extent = place.max(axis=0) + 1
    key = (place[:, 0] * extent[1] + place[:, 1]) * extent[2] + place[:, 2]
    group = _number(key)
    count = np.bincount(group)
    merged = np.stack(
        [np.bincount(group, weights=vertices[:, axis]) / count for axis in range(3)], axis=1
    )
    new_faces = np.empty_like(faces)
    which = np.empty(len(faces), np.int32)
    kept = _keep(faces, group, new_faces, which)
    return merged.astype(np.float32), new_faces[:kept], which[:kept]


@njit(cache=True, nogil=True)
def _number(key: NDArray[np.int64]) -> I32:
    """Number equal keys alike, in order of first appearance (open-addressing hash table)."""
    size = 16
    while size < 2 * key.shape[0]:
        size *= 2
    mask = size - 1
    slot_key = np.full(size, np.int64(-1))
    slot_number = np.empty(size, np.int32)
    out = np.empty(key.shape[0], np.int32)
    found = 0
    for n in range(key.shape[0]):
        place = (key[n] * np.int64(0x9E3779B97F4A7C1)) >> 20 & mask
        while slot_key[place] != -1 and slot_key[place] != key[n]:
            place = (place + 1) & mask
        if slot_key[place] == -1:
            slot_key[place] = key[n]
            slot_number[place] = found
            found += 1
        out[n] = slot_number[place]
    return out


@njit(cache=True, nogil=True)
def _keep(faces: I32, group: I32, new_faces: I32, which: I32) -> int:
    """Renumber faces and drop those with two corners in one group; returns how many stay."""
    kept = 0
    for n in range(faces.shape[0]):
        a, b, c = group[faces[n, 0]], group[faces[n, 1]], group[faces[n, 2]]
        if a != b and b != c and c != a:
            new_faces[kept, 0], new_faces[kept, 1], new_faces[kept, 2] = a, b, c
            which[kept] = n
            kept += 1
    return kept

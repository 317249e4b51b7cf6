"""A coarser stand-in for a dense mesh, for rays whose answers blur over many pixels."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from data_gen.render.rays import F32, I32


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

"""Camera rays and what they meet: position, normals and albedo of the object at each hit."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from data_gen.mesh import Mesh
from data_gen.render.color import texel_table
from data_gen.render.rays import (
    DOWN,
    F32,
    FORWARD,
    HEIGHT,
    I32,
    POSITION,
    RIGHT,
    U8,
    UP,
    Box,
    Faces,
    Hits,
    Rays,
)


def faces_of(mesh: Mesh) -> tuple[Faces, F32]:
    """Lay out a mesh for the kernels; also the mean albedo ``(M, 3)`` of each of its materials,
    texture included.
    """
    colors = np.stack([material.color for material in mesh.materials])
    means = colors.astype(np.float64)
    textures = np.zeros((len(colors), 3), np.int64)
    blocks: list[U8] = [np.zeros((1, 3), np.uint8)]
    first = 1
    table = texel_table()
    for index, material in enumerate(mesh.materials):
        if material.texture is None or mesh.corner_uv is None:
            continue
        height, width = material.texture.shape[:2]
        block = np.ascontiguousarray(material.texture).reshape(-1, 3)
        means[index] *= table[block].mean(axis=0)
        textures[index] = first, height, width
        first += len(block)
        blocks.append(block)
    uv, smooth = mesh.corner_uv, mesh.corner_normals
    faces = Faces(
        np.ascontiguousarray(mesh.face_material, np.int32),
        np.ascontiguousarray(colors, np.float32),
        textures,
        np.concatenate(blocks),
        _finite(np.zeros((0, 3, 2)) if uv is None else uv),
        _finite(np.zeros((0, 3, 3)) if smooth is None else smooth),
    )
    return faces, means.astype(np.float32)


def _finite(corners: NDArray[np.floating]) -> F32:
    """Corner attributes without NaN or numbers that an integer cannot hold."""
    finite = np.nan_to_num(np.asarray(corners, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    return np.ascontiguousarray(np.clip(finite, -1e6, 1e6), np.float32)


@njit(cache=True, nogil=True, fastmath=True)
def mean_albedo(vertices: F32, faces: I32, material: I32, means: F32) -> F32:
    """``(3,)`` mean of the materials' albedos ``means (M, 3)``, weighted by area."""
    area = np.zeros(means.shape[0], np.float64)
    for n in range(faces.shape[0]):
        i, j, k = faces[n, 0], faces[n, 1], faces[n, 2]
        ax, ay, az = (
            vertices[j, 0] - vertices[i, 0],
            vertices[j, 1] - vertices[i, 1],
            vertices[j, 2] - vertices[i, 2],
        )
        bx, by, bz = (
            vertices[k, 0] - vertices[i, 0],
            vertices[k, 1] - vertices[i, 1],
            vertices[k, 2] - vertices[i, 2],
        )
        x, y, z = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        area[material[n]] += math.sqrt(x * x + y * y + z * z)
    out = np.zeros(3, np.float32)
    total = max(area.sum(), 1e-30)
    for m in range(means.shape[0]):
        for c in range(3):
            out[c] += np.float32(area[m] / total) * means[m, c]
    return out


@njit(cache=True, nogil=True, fastmath=True)
def screen_box(vertices: F32, frame: F32, focal: np.float32, size: int) -> Box:
    """The pixels that hold the projection of ``vertices (3, N)``."""
    least = np.float32(1e-4)
    x0, y0 = np.float32(1e9), np.float32(1e9)
    x1, y1 = np.float32(-1e9), np.float32(-1e9)
    nearest = np.float32(1e9)
    for i in range(vertices.shape[1]):
        x = vertices[0, i] - frame[POSITION, 0]
        y = vertices[1, i] - frame[POSITION, 1]
        z = vertices[2, i] - frame[POSITION, 2]
        depth = frame[FORWARD, 0] * x + frame[FORWARD, 1] * y + frame[FORWARD, 2] * z
        nearest = min(nearest, depth)
        inverse = np.float32(1.0) / max(depth, least)
        sx = (frame[RIGHT, 0] * x + frame[RIGHT, 1] * y + frame[RIGHT, 2] * z) * inverse
        sy = (frame[DOWN, 0] * x + frame[DOWN, 1] * y + frame[DOWN, 2] * z) * inverse
        x0, x1 = min(x0, sx), max(x1, sx)
        y0, y1 = min(y0, sy), max(y1, sy)
    if nearest <= least:  # part of the object is beside or behind the camera
        return 0, 0, size, size
    half = np.float32(size) / 2
    # a pixel more on each side: its filter reaches beyond its own square
    left, above = max(int(x0 * focal + half) - 1, 0), max(int(y0 * focal + half) - 1, 0)
    right, below = min(int(x1 * focal + half) + 2, size), min(int(y1 * focal + half) + 2, size)
    return left, above, max(right, left), max(below, above)


@njit(cache=True, nogil=True, fastmath=True)
def camera_rays(
    pixels: I32,
    offsets: F32,
    frame: F32,
    focal: np.float32,
    size: int,
    rays: Rays,
) -> None:
    """Rays ``n * K + k`` through the centre of pixel n (row-major index) plus offset k, of depth 1
    along the camera's axis, so that distances along them are depths.
    """
    origins, directions, _ = rays
    num = offsets.shape[0]
    half = np.float32(size) / 2
    inverse = np.float32(1.0) / focal
    for n in range(pixels.shape[0]):
        x = np.float32(pixels[n] % size) + np.float32(0.5) - half
        y = np.float32(pixels[n] // size) + np.float32(0.5) - half
        for k in range(num):
            a, b = (x + offsets[k, 0]) * inverse, (y + offsets[k, 1]) * inverse
            r = n * num + k
            for c in range(3):
                origins[r, c] = frame[POSITION, c]
                directions[r, c] = frame[FORWARD, c] + a * frame[RIGHT, c] + b * frame[DOWN, c]


@njit(cache=True, nogil=True, fastmath=True)
def collect(
    prim: I32,
    u: F32,
    v: F32,
    depth: F32,
    across: F32,
    directions: F32,
    frame: F32,
    faces: Faces,
    linear: F32,
    hits: Hits,
) -> int:
    """Gather the rays that meet the object in front of the floor.

    Args:
        prim, u, v, depth, across: Embree's answer; u and v weight a face's second and third
            corner, ``across (n, 3)`` is normal to it, of any length and on either side.
        directions: ``(n, 3)`` of the camera rays.
        frame: The view's frame.
        faces: The mesh; ``linear (256,)`` is the linear light of a texel's byte.
        hits: Room for n, written.

    Returns:
        How many rays hit.
    """
    height = (
        frame[UP, 0] * frame[POSITION, 0]
        + frame[UP, 1] * frame[POSITION, 1]
        + frame[UP, 2] * frame[POSITION, 2]
        + frame[HEIGHT, 0]
    )
    one = np.float32(1.0)
    rays, position, flat, normal, albedo = hits
    material, colors, textures, texels, uv, smooth = faces
    count = 0
    for n in range(prim.shape[0]):
        face = prim[n]
        if face < 0:
            continue
        t = depth[n]
        dx, dy, dz = directions[n, 0], directions[n, 1], directions[n, 2]
        if height + t * (frame[UP, 0] * dx + frame[UP, 1] * dy + frame[UP, 2] * dz) < 0:
            continue  # below the floor
        rays[count] = n
        position[count, 0] = frame[POSITION, 0] + t * dx
        position[count, 1] = frame[POSITION, 1] + t * dy
        position[count, 2] = frame[POSITION, 2] + t * dz
        gx, gy, gz = across[n, 0], across[n, 1], across[n, 2]
        scale = one / (math.sqrt(gx * gx + gy * gy + gz * gz) + np.float32(1e-30))
        gx, gy, gz = gx * scale, gy * scale, gz * scale
        if gx * dx + gy * dy + gz * dz > 0:
            gx, gy, gz = -gx, -gy, -gz
        flat[count, 0], flat[count, 1], flat[count, 2] = gx, gy, gz
        w1, w2 = u[n], v[n]
        w0 = one - w1 - w2
        nx, ny, nz = gx, gy, gz
        if smooth.shape[0] > 0:
            sx = w0 * smooth[face, 0, 0] + w1 * smooth[face, 1, 0] + w2 * smooth[face, 2, 0]
            sy = w0 * smooth[face, 0, 1] + w1 * smooth[face, 1, 1] + w2 * smooth[face, 2, 1]
            sz = w0 * smooth[face, 0, 2] + w1 * smooth[face, 1, 2] + w2 * smooth[face, 2, 2]
            length = math.sqrt(sx * sx + sy * sy + sz * sz)
            if length > np.float32(1e-6):
                if sx * gx + sy * gy + sz * gz < 0:
                    length = -length
                nx, ny, nz = sx / length, sy / length, sz / length
        normal[count, 0], normal[count, 1], normal[count, 2] = nx, ny, nz
        m = material[face]
        for c in range(3):
            albedo[count, c] = colors[m, c]
        rows, cols = textures[m, 1], textures[m, 2]
        if rows > 0:  # bytes are interpolated, then made linear: Cycles' order
            tu = w0 * uv[face, 0, 0] + w1 * uv[face, 1, 0] + w2 * uv[face, 2, 0]
            tv = w0 * uv[face, 0, 1] + w1 * uv[face, 1, 1] + w2 * uv[face, 2, 1]
            x = (tu - math.floor(tu)) * cols - np.float32(0.5)
            y = (one - (tv - math.floor(tv))) * rows - np.float32(0.5)
            left, above = math.floor(x), math.floor(y)
            fx, fy = np.float32(x - left), np.float32(y - above)
            x0, y0 = int(left) % cols, int(above) % rows
            x1, y1 = (x0 + 1) % cols, (y0 + 1) % rows
            first = textures[m, 0]
            t00, t01 = first + y0 * cols + x0, first + y0 * cols + x1
            t10, t11 = first + y1 * cols + x0, first + y1 * cols + x1
            w00, w01 = (one - fx) * (one - fy), fx * (one - fy)
            w10, w11 = (one - fx) * fy, fx * fy
            for c in range(3):
                byte = (
                    w00 * np.float32(texels[t00, c])
                    + w01 * np.float32(texels[t01, c])
                    + w10 * np.float32(texels[t10, c])
                    + w11 * np.float32(texels[t11, c])
                )
                low = min(int(byte), 254)
                light = linear[low] + (byte - np.float32(low)) * (linear[low + 1] - linear[low])
                albedo[count, c] *= light
        count += 1
    return count

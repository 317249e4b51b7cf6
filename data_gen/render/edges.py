"""Pixels that need several samples, and the way from radiance to bytes."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from data_gen.render.color import TABLE_STEPS
from data_gen.render.rays import F32, FORWARD, I32, POSITION, U8, Box, Hits


@njit(cache=True, nogil=True, fastmath=True)
def borrow(
    edges: I32,
    offsets: F32,
    samples: Hits,
    hit_pixels: I32,
    hits: Hits,
    hit_light: F32,
    box: Box,
    size: int,
    footprint: np.float32,
    frame: F32,
    out: F32,
    rest: I32,
) -> int:
    """Irradiance of an edge pixel's samples from the hit of the pixel, or of the neighbours on
    the sample's side, where it lies on the same piece of surface.

    Args:
        edges, offsets: Pixels, and ``(K, 2)`` the samples' places in them.
        samples: Hits of rays ``edge * K + k``.
        hit_pixels, hits, hit_light: Picture index of the hits of one ray a pixel, these hits, and
            their irradiance ``(m, 3)``.
        box, size: Pixels within which all lie; width of the picture.
        footprint: Width of a pixel at depth 1.
        frame: The view's frame.
        out: ``(n, 3)`` irradiance, written where it was found.
        rest: Written: the hits for which it was not.

    Returns:
        How many remain.
    """
    rays, position, _, normal, _ = samples
    _, hit_position, _, hit_normal, _ = hits
    x0, y0, x1, y1 = box
    per_pixel = offsets.shape[0]
    index = np.full((y1 - y0 + 2, x1 - x0 + 2), -1, np.int32)
    for m in range(hit_pixels.shape[0]):
        index[hit_pixels[m] // size - y0 + 1, hit_pixels[m] % size - x0 + 1] = m
    count = 0
    for n in range(rays.shape[0]):
        k = rays[n] % per_pixel
        pixel = edges[rays[n] // per_pixel]
        y, x = pixel // size - y0 + 1, pixel % size - x0 + 1
        side = 1 if offsets[k, 0] > 0 else -1
        down = 1 if offsets[k, 1] > 0 else -1
        depth = np.float32(0.0)
        for c in range(3):
            depth += (position[n, c] - frame[POSITION, c]) * frame[FORWARD, c]
        reach = np.float32(1.5) * footprint * depth
        found = False
        for t in range(4):
            m = index[y + (t >> 1) * down, x + (t & 1) * side]
            if m < 0:
                continue
            turn, plane = np.float32(0.0), np.float32(0.0)
            for c in range(3):
                turn += normal[n, c] * hit_normal[m, c]
                plane += (position[n, c] - hit_position[m, c]) * hit_normal[m, c]
            if turn > np.float32(0.99) and abs(plane) < reach:
                for c in range(3):
                    out[n, c] = hit_light[m, c]
                found = True
                break
        if not found:
            rest[count] = n
            count += 1
    return count


@njit(cache=True, nogil=True, fastmath=True)
def find_edges(
    pixels: I32,
    rays: I32,
    radiance: F32,
    box: Box,
    size: int,
    contrast: float,
    edges: I32,
) -> int:
    """Pixels within ``box`` that need more than one sample.

    These lie on either side of the object's outline, or differ from a neighbour on the object by
    more than ``contrast`` in the square root of a channel (about equal steps to the eye).
    ``edges`` receives their picture indices, in order.

    Returns:
        Their number.
    """
    x0, y0, x1, y1 = box
    rows, cols = y1 - y0, x1 - x0
    value = np.full((rows, cols, 3), np.float32(-1.0), np.float32)
    for n in range(rays.shape[0]):
        pixel = pixels[rays[n]]
        for c in range(3):
            value[pixel // size - y0, pixel % size - x0, c] = math.sqrt(radiance[n, c])
    marked = np.zeros((rows, cols), np.bool_)
    for i in range(rows):
        for j in range(cols):
            for k in range(2):
                a, b = (i + 1, j) if k == 0 else (i, j + 1)
                if a >= rows or b >= cols:
                    continue
                here, there = value[i, j, 0] >= 0, value[a, b, 0] >= 0
                differs = here != there
                if here and there:
                    for c in range(3):
                        differs |= abs(value[i, j, c] - value[a, b, c]) > contrast
                if differs:
                    marked[i, j] = True
                    marked[a, b] = True
    count = 0
    for i in range(rows):
        for j in range(cols):
            if marked[i, j]:
                edges[count] = (i + y0) * size + j + x0
                count += 1
    return count


@njit(cache=True, nogil=True, fastmath=True)
def write_hits(pixels: I32, rays: I32, radiance: F32, table: U8, image: U8) -> None:
    """Write the hits of one ray per pixel into ``image (H, W, 3)``, by a display ``table`` of bytes
    (:func:`~data_gen.render.color.display_table`).
    """
    size = image.shape[1]
    steps, half = np.float32(TABLE_STEPS), np.float32(0.5)
    white = np.float32(table.shape[0] - 1) / steps
    for n in range(rays.shape[0]):
        pixel = pixels[rays[n]]
        for c in range(3):
            value = min(white, radiance[n, c])
            image[pixel // size, pixel % size, c] = table[int(value * steps + half)]


@njit(cache=True, nogil=True, fastmath=True)
def write_edges(
    edges: I32,
    per_pixel: int,
    rays: I32,
    radiance: F32,
    behind: F32,
    table: U8,
    image: U8,
) -> None:
    """Write the mean of each edge pixel's samples into ``image (H, W, 3)``.

    ``rays (n,)`` are the samples that hit, in order, with their ``radiance (n, 3)``; the others
    see the background ``behind (E, 3)``.
    """
    size = image.shape[1]
    steps, one, half = np.float32(TABLE_STEPS), np.float32(1.0), np.float32(0.5)
    white = np.float32(table.shape[0] - 1) / steps
    r, num = 0, rays.shape[0]
    for e in range(edges.shape[0]):
        red, green, blue = np.float32(0.0), np.float32(0.0), np.float32(0.0)
        count = 0
        while r < num and rays[r] // per_pixel == e:
            red += radiance[r, 0]
            green += radiance[r, 1]
            blue += radiance[r, 2]
            count += 1
            r += 1
        rest = np.float32(per_pixel - count)
        y, x = edges[e] // size, edges[e] % size
        scale = one / per_pixel
        value = min(white, (red + rest * behind[e, 0]) * scale)
        image[y, x, 0] = table[int(value * steps + half)]
        value = min(white, (green + rest * behind[e, 1]) * scale)
        image[y, x, 1] = table[int(value * steps + half)]
        value = min(white, (blue + rest * behind[e, 2]) * scale)
        image[y, x, 2] = table[int(value * steps + half)]

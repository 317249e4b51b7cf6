"""The spot on the object: which hits see how much of the lamp."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from data_gen.render.rays import F32, I32, LIGHT, Box, Hits, Rays


@njit(cache=True, nogil=True, fastmath=True)
def spot_rays(
    chosen: I32,
    pixels: I32,
    per_pixel: int,
    size: int,
    hits: Hits,
    bare: F32,
    frame: F32,
    radius: np.float32,
    lamp: F32,
    lift: np.float32,
    rays: Rays,
) -> int:
    """Rays from lit hits to the lamp.

    Args:
        chosen: The hits to start from.
        pixels, per_pixel, size: Ray ``pixel * per_pixel + sample`` goes through ``pixels[pixel]``
            of a picture ``size`` wide.
        hits: What may be lit.
        bare: ``(n,)`` irradiance of the bare spot at normal incidence.
        frame: The view's frame; ``radius`` of the lamp.
        lamp: ``(patterns, K, 3)`` interleaved points of the lamp.
        lift: Distance from the surface at which rays start.
        rays: Written; owners are hits.

    Returns:
        The number of rays.
    """
    numbers, position, flat, normal, _ = hits
    origins, directions, owners = rays
    patterns, per_hit = lamp.shape[0], lamp.shape[1]
    count = 0
    for n in chosen:
        if bare[n] <= 0:
            continue
        dx = frame[LIGHT, 0] - position[n, 0]
        dy = frame[LIGHT, 1] - position[n, 1]
        dz = frame[LIGHT, 2] - position[n, 2]
        if normal[n, 0] * dx + normal[n, 1] * dy + normal[n, 2] * dz <= -radius:
            continue
        pixel, sample = pixels[numbers[n] // per_pixel], numbers[n] % per_pixel
        pattern = (pixel // size * 2 + (pixel % size >> 1) + sample) % patterns
        for k in range(per_hit):
            x = lamp[pattern, k, 0] - position[n, 0]
            y = lamp[pattern, k, 1] - position[n, 1]
            z = lamp[pattern, k, 2] - position[n, 2]
            if flat[n, 0] * x + flat[n, 1] * y + flat[n, 2] * z <= 0:
                continue
            origins[count, 0] = position[n, 0] + lift * flat[n, 0]
            origins[count, 1] = position[n, 1] + lift * flat[n, 1]
            origins[count, 2] = position[n, 2] + lift * flat[n, 2]
            directions[count, 0], directions[count, 1], directions[count, 2] = x, y, z
            owners[count] = n
            count += 1
    return count


@njit(cache=True, nogil=True, fastmath=True)
def count_free(owners: I32, blocked: I32, free: I32, traced: I32) -> None:
    """Add up the rays to the lamp of each hit, and those of them that reach it."""
    for r in range(owners.shape[0]):
        free[owners[r]] += blocked[r] == -1
        traced[owners[r]] += 1


@njit(cache=True, nogil=True, fastmath=True)
def every_other(pixels: I32, rays: I32, size: int, chosen: I32) -> int:
    """Hits on the black fields of a checkerboard; ``chosen`` receives them. Returns how many."""
    count = 0
    for n in range(rays.shape[0]):
        pixel = pixels[rays[n]]
        if (pixel // size + pixel % size) & 1 == 0:
            chosen[count] = n
            count += 1
    return count


@njit(cache=True, nogil=True, fastmath=True)
def find_penumbra(
    pixels: I32,
    hits: Hits,
    bare: F32,
    frame: F32,
    radius: np.float32,
    free: I32,
    traced: I32,
    box: Box,
    size: int,
    chosen: I32,
) -> int:
    """Hits of which the rays of every other pixel leave open how much of the lamp shows.

    Where a traced hit and those diagonal to it disagree it is chosen for more rays. A hit that was
    skipped takes the answer of its four neighbours if they lie on its surface and agree, and is
    chosen otherwise.

    Args:
        pixels, hits: One ray a pixel.
        bare, frame, radius: As in :func:`spot_rays`.
        free, traced: Counts of the rays so far, amended.
        box, size: Pixels within which all hits lie; width of the picture.
        chosen: Written.

    Returns:
        How many are chosen.
    """
    rays, position, flat, normal, _ = hits
    x0, y0, x1, y1 = box
    at = np.full((y1 - y0 + 2, x1 - x0 + 2), -1, np.int32)
    for n in range(rays.shape[0]):
        at[pixels[rays[n]] // size - y0 + 1, pixels[rays[n]] % size - x0 + 1] = n
    count = 0
    for n in range(rays.shape[0]):
        pixel = pixels[rays[n]]
        y, x = pixel // size - y0 + 1, pixel % size - x0 + 1
        if (pixel // size + pixel % size) & 1 == 0:
            if traced[n] == 0:
                continue
            first = free[n]
            for k in range(4):
                m = at[y + (k & 2) - 1, x + 2 * (k & 1) - 1]
                if m >= 0 and traced[m] > 0 and free[m] != first:
                    chosen[count] = n
                    count += 1
                    break
            continue
        facing = np.float32(0.0)
        for c in range(3):
            facing += normal[n, c] * (frame[LIGHT, c] - position[n, c])
        if bare[n] <= 0 or facing <= -radius:
            continue
        lit, dark = 0, 0
        for k in range(4):
            step = 2 * (k & 1) - 1
            m = at[y + step, x] if k < 2 else at[y, x + step]
            if m < 0 or traced[m] == 0:
                continue
            turn = np.float32(0.0)
            for c in range(3):
                turn += flat[n, c] * flat[m, c]
            if turn > np.float32(0.7):
                lit += free[m] > 0
                dark += free[m] == 0
        if lit + dark < 2 or (lit > 0 and dark > 0):
            chosen[count] = n
            count += 1
        else:
            free[n], traced[n] = lit > 0, 1
    return count


@njit(cache=True, nogil=True, fastmath=True)
def light_up(
    hits: Hits,
    bare: F32,
    frame: F32,
    radius: np.float32,
    colour: F32,
    free: I32,
    traced: I32,
    out: F32,
) -> None:
    """Add the spot to the irradiance from all else.

    Args:
        hits: What is lit.
        bare: ``(n,)`` irradiance of the bare spot at normal incidence.
        frame, radius: As in :func:`spot_rays`; ``colour (3,)`` of the spot.
        free, traced: ``(n,)`` from :func:`count_free`.
        out: ``(n, 3)`` irradiance, added to in place.
    """
    _, position, _, normal, _ = hits
    zero = np.float32(0.0)
    for n in range(position.shape[0]):
        if free[n] == 0:
            continue
        dx = frame[LIGHT, 0] - position[n, 0]
        dy = frame[LIGHT, 1] - position[n, 1]
        dz = frame[LIGHT, 2] - position[n, 2]
        d = math.sqrt(dx * dx + dy * dy + dz * dz)
        slant = (normal[n, 0] * dx + normal[n, 1] * dy + normal[n, 2] * dz) / d
        spread = max(radius / d, np.float32(1e-6))
        if slant < spread:  # the lamp is partly below the surface's horizon
            above = max(slant + spread, zero)
            slant = above * above / (4 * spread)
        direct = bare[n] * slant * np.float32(free[n]) / np.float32(traced[n])
        for c in range(3):
            out[n, c] += direct * colour[c]

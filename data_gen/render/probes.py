"""Probes: a few of the visible points, from which rays go out to see what light reaches them."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from data_gen.render.rays import (
    DOWN,
    F32,
    FORWARD,
    HEIGHT,
    I32,
    POSITION,
    RIGHT,
    UP,
    Box,
    Hits,
    Rays,
)


@njit(cache=True, nogil=True, fastmath=True)
def place_probes(
    pixels: I32,
    hits: Hits,
    box: Box,
    size: int,
    block: int,
    footprint: np.float32,
    frame: F32,
    slots: I32,
) -> int:
    """Choose the hits that carry probes: in each block of pixels the one nearest its centre and,
    where the block shows a second surface, the hit that differs most from it.

    Args:
        pixels: ``(n,)`` picture index of each hit.
        hits: One of each pixel that shows the object.
        box: Pixels ``x0, y0, x1, y1`` within which the hits lie.
        size: Width of the picture.
        block: Pixels along a block's side.
        footprint: Width of a pixel at depth 1.
        frame: The view's frame.
        slots: ``(rows, cols, 2)``, written: hit of each block's probes, -1 for none.

    Returns:
        The number of probes.
    """
    _, position, flat, _, _ = hits
    x0, y0 = box[0], box[1]
    rows, cols = slots.shape[0], slots.shape[1]
    best = np.full((rows, cols), np.float32(1e9), np.float32)
    slots[:] = -1
    centre = np.float32(block - 1) / 2
    for n in range(pixels.shape[0]):
        y, x = pixels[n] // size - y0, pixels[n] % size - x0
        i, j = y // block, x // block
        # the small slopes settle ties
        a = np.float32(y - i * block) - centre + np.float32(0.1)
        b = np.float32(x - j * block) - centre + np.float32(0.05)
        distance = a * a + b * b
        if distance < best[i, j]:
            best[i, j] = distance
            slots[i, j, 0] = n
    best[:] = np.float32(0.25)  # what sets a second surface apart
    for n in range(pixels.shape[0]):
        i, j = (pixels[n] // size - y0) // block, (pixels[n] % size - x0) // block
        k = slots[i, j, 0]
        turn = np.float32(1.0)
        plane, depth = np.float32(0.0), np.float32(0.0)
        for c in range(3):
            turn -= flat[n, c] * flat[k, c]
            plane += (position[n, c] - position[k, c]) * flat[k, c]
            depth += (position[k, c] - frame[POSITION, c]) * frame[FORWARD, c]
        off = plane / (4 * footprint * np.float32(block) * depth)
        difference = turn + min(off * off, np.float32(4.0))
        if difference > best[i, j]:
            best[i, j] = difference
            slots[i, j, 1] = n
    count = 0
    for i in range(rows):
        for j in range(cols):
            for k in range(2):
                count += slots[i, j, k] >= 0
    return count


@njit(cache=True, nogil=True, fastmath=True)
def probe_rays(
    slots: I32,
    hits: Hits,
    around: F32,
    lift: np.float32,
    chosen: I32,
    rays: Rays,
) -> int:
    """Rays of all probes along the directions above their surface.

    Args:
        slots: ``(rows, cols, 2)``: hit of each probe; rewritten to the probe's number.
        hits: Where the camera's rays met the object.
        around: ``(D, 3)`` directions in the object's frame.
        lift: Distance from the surface at which rays start.
        chosen: ``(P,)``, written: hit of each probe.
        rays: Room for ``P * D``, written; owners are ``probe * D + direction``.

    Returns:
        The number of rays.
    """
    _, position, flat, _, _ = hits
    origins, directions, owners = rays
    num = around.shape[0]
    probe, count = 0, 0
    for i in range(slots.shape[0]):
        for j in range(slots.shape[1]):
            for k in range(2):
                n = slots[i, j, k]
                if n < 0:
                    continue
                slots[i, j, k] = probe
                chosen[probe] = n
                x = position[n, 0] + lift * flat[n, 0]
                y = position[n, 1] + lift * flat[n, 1]
                z = position[n, 2] + lift * flat[n, 2]
                for d in range(num):
                    cosine = (
                        flat[n, 0] * around[d, 0]
                        + flat[n, 1] * around[d, 1]
                        + flat[n, 2] * around[d, 2]
                    )
                    if cosine <= np.float32(0.06):  # such light hardly counts
                        continue
                    origins[count, 0], origins[count, 1], origins[count, 2] = x, y, z
                    directions[count, 0] = around[d, 0]
                    directions[count, 1] = around[d, 1]
                    directions[count, 2] = around[d, 2]
                    owners[count] = probe * num + d
                    count += 1
                probe += 1
    return count


@njit(cache=True, nogil=True, fastmath=True)
def floor_meetings(
    prim: I32,
    far: F32,
    rays: Rays,
    num_up: int,
    num: int,
    frame: F32,
    focal: np.float32,
    size: int,
    which: I32,
    points: F32,
    pixels: F32,
) -> int:
    """Where the probes' downward rays meet the floor.

    Args:
        prim, far: Embree's answer for the rays; ``prim`` is set to -1 where the floor is nearer.
        rays: From :func:`probe_rays`; of each probe's ``num`` directions ``num_up`` go up.
        frame, focal, size: Of the view.
        which: Written: the rays that meet the floor.
        points: ``(n, 3)``, written: where, in the object's frame.
        pixels: ``(n, 2)``, written: where in the picture the camera sees that.

    Returns:
        How many there are.
    """
    count = 0
    half = np.float32(size) / 2
    origins, directions, owners = rays
    for n in range(prim.shape[0]):
        if owners[n] % num < num_up:
            continue
        x, y, z = origins[n, 0], origins[n, 1], origins[n, 2]
        dx, dy, dz = directions[n, 0], directions[n, 1], directions[n, 2]
        height = frame[UP, 0] * x + frame[UP, 1] * y + frame[UP, 2] * z + frame[HEIGHT, 0]
        slope = frame[UP, 0] * dx + frame[UP, 1] * dy + frame[UP, 2] * dz
        t = max(height, np.float32(0.0)) / max(-slope, np.float32(1e-4))
        if prim[n] >= 0:
            if far[n] < t:
                continue
            prim[n] = -1
        which[count] = n
        x, y, z = x + t * dx, y + t * dy, z + t * dz
        points[count, 0], points[count, 1], points[count, 2] = x, y, z
        x, y, z = x - frame[POSITION, 0], y - frame[POSITION, 1], z - frame[POSITION, 2]
        depth = frame[FORWARD, 0] * x + frame[FORWARD, 1] * y + frame[FORWARD, 2] * z
        pixels[count, 0], pixels[count, 1] = np.float32(-1.0), np.float32(-1.0)
        if depth > np.float32(1e-3):
            scale = focal / depth
            right = frame[RIGHT, 0] * x + frame[RIGHT, 1] * y + frame[RIGHT, 2] * z
            down = frame[DOWN, 0] * x + frame[DOWN, 1] * y + frame[DOWN, 2] * z
            pixels[count, 0], pixels[count, 1] = half + scale * right, half + scale * down
        count += 1
    return count


@njit(cache=True, nogil=True, fastmath=True)
def bounce_rays(
    prim: I32,
    across: F32,
    far: F32,
    rays: Rays,
    lamp: F32,
    lift: np.float32,
    out: Rays,
) -> int:
    """Rays to points ``lamp (K, 3)`` from where the probes' rays meet the object.

    ``prim, across, far`` are Embree's answer for ``rays``. ``out`` is written; the owner of a ray
    is the probe's ray that it goes on from. Returns how many there are.
    """
    origins, directions, _ = rays
    starts, to_light, which = out
    count = 0
    points = lamp.shape[0]
    for n in range(prim.shape[0]):
        if prim[n] < 0:
            continue
        gx, gy, gz = across[n, 0], across[n, 1], across[n, 2]
        scale = lift / (math.sqrt(gx * gx + gy * gy + gz * gz) + np.float32(1e-30))
        if gx * directions[n, 0] + gy * directions[n, 1] + gz * directions[n, 2] > 0:
            scale = -scale
        x = origins[n, 0] + far[n] * directions[n, 0] + scale * gx
        y = origins[n, 1] + far[n] * directions[n, 1] + scale * gy
        z = origins[n, 2] + far[n] * directions[n, 2] + scale * gz
        k = n % points  # neighbouring rays aim at different points of the lamp
        dx, dy, dz = lamp[k, 0] - x, lamp[k, 1] - y, lamp[k, 2] - z
        if (gx * dx + gy * dy + gz * dz) * scale <= 0:
            continue
        which[count] = n
        starts[count, 0], starts[count, 1], starts[count, 2] = x, y, z
        to_light[count, 0], to_light[count, 1], to_light[count, 2] = dx, dy, dz
        count += 1
    return count

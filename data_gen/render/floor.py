"""The floor: sun and spot shadows on coarse grids in the picture, spread bilinearly to its pixels.

The camera never moves, so where each grid point lies on the floor is computed once. Shadows of a
lamp 0.25 wide and of a sun 90° wide are smooth over many pixels; rays are spent on grid points
whose light the object's bounding sphere can reach, and on nothing else.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from data_gen.recipe import Recipe
from data_gen.render.color import TABLE_STEPS
from data_gen.render.rays import F32, I32, U8, Rays
from data_gen.render.sampling import cosine_band
from data_gen.scene import Camera

_FAR = 1e3  # where rays at or above the horizon are taken to meet the floor


def grid_points(camera: Camera, floor_z: float, spacing: int) -> F32:
    """``(G, G, 3)`` world points of the floor seen at pixel corners ``spacing`` apart."""
    ticks = np.arange(0, camera.size + spacing, spacing, dtype=np.float64)
    pixels = np.stack(np.meshgrid(ticks, ticks), axis=-1)
    rays = camera.rays(pixels)
    height = camera.position[2] - floor_z
    slope = np.maximum(-rays[..., 2], height / _FAR)
    points: F32 = (camera.position + rays * (height / slope)[..., None]).astype(np.float32)
    points[..., 2] = floor_z
    return points


def horizon_mask(camera: Camera) -> NDArray[np.bool_] | None:
    """``(H, W)``: pixels that look past the floor into the sky; ``None`` where there is none."""
    ticks = np.arange(camera.size) + 0.5
    mask: NDArray[np.bool_] = camera.rays(np.stack(np.meshgrid(ticks, ticks), axis=-1))[..., 2] >= 0
    return mask if mask.any() else None


def overhead_directions(recipe: Recipe, num: int) -> tuple[F32, F32]:
    """Directions ``(num, 3)`` over the upper half space and the irradiance ``(num,)`` on the floor
    that each stands for: half of them within the sun's disc, half outside of it.
    """
    sin2 = math.sin(recipe.sun_angle / 2) ** 2
    half = num // 2
    directions = np.concatenate([cosine_band(half, 0, sin2), cosine_band(num - half, sin2, 1)])
    weights = np.empty(num)
    weights[:half] = (recipe.sun_energy + math.pi * recipe.sky * sin2) / half
    weights[half:] = math.pi * recipe.sky * (1 - sin2) / (num - half)
    return directions.astype(np.float32), weights.astype(np.float32)


@njit(cache=True, nogil=True, fastmath=True)
def spot_shadow_rays(
    points: F32,
    turn: F32,
    shift: F32,
    light: F32,
    radius: np.float32,
    ball: F32,
    lamp: F32,
    rays: Rays,
) -> int:
    """Rays from floor points towards the lamp, in the object's frame.

    Args:
        points: ``(G, G, 3)`` world points.
        turn: ``(3, 3)``, shift ``(3,)``: object frame = turn @ world - shift.
        light: Centre of the lamp in the object's frame; ``radius`` is its radius.
        ball: ``(4,)`` centre and radius of the object's bounding sphere in its frame.
        lamp: ``(4, K, 3)`` interleaved points of the lamp in the object's frame.
        rays: Room for ``G * G * K``, written; owners are grid points.

    Returns:
        How many rays there are, K for each grid point that has any.
    """
    origins, directions, owners = rays
    rows, cols = points.shape[0], points.shape[1]
    per_point = lamp.shape[1]
    count = 0
    for i in range(rows):
        for j in range(cols):
            x, y, z = points[i, j, 0], points[i, j, 1], points[i, j, 2]
            ox = turn[0, 0] * x + turn[0, 1] * y + turn[0, 2] * z - shift[0]
            oy = turn[1, 0] * x + turn[1, 1] * y + turn[1, 2] * z - shift[1]
            oz = turn[2, 0] * x + turn[2, 1] * y + turn[2, 2] * z - shift[2]
            dx, dy, dz = light[0] - ox, light[1] - oy, light[2] - oz
            bx, by, bz = ball[0] - ox, ball[1] - oy, ball[2] - oz
            d2 = dx * dx + dy * dy + dz * dz
            along = (bx * dx + by * dy + bz * dz) / d2
            along = min(np.float32(1.0), max(np.float32(0.0), along))
            mx, my, mz = bx - along * dx, by - along * dy, bz - along * dz
            reach = ball[3] + radius * along
            if mx * mx + my * my + mz * mz > reach * reach:
                continue
            pattern = (i & 1) * 2 + (j & 1)
            for k in range(per_point):
                origins[count, 0], origins[count, 1], origins[count, 2] = ox, oy, oz
                directions[count, 0] = lamp[pattern, k, 0] - ox
                directions[count, 1] = lamp[pattern, k, 1] - oy
                directions[count, 2] = lamp[pattern, k, 2] - oz
                owners[count] = i * cols + j
                count += 1
    return count


@njit(cache=True, nogil=True, fastmath=True)
def overhead_shadow_rays(
    points: F32,
    turn: F32,
    shift: F32,
    ball: F32,
    overhead: F32,
    rays: Rays,
) -> int:
    """Rays from floor points into the upper half space that pass the object's bounding sphere.

    Args as in :func:`spot_shadow_rays`; ``overhead (D, 3)`` are directions in the object's frame;
    the owner of a ray is ``point * D + direction``.

    Returns:
        How many rays there are.
    """
    origins, directions, owners = rays
    rows, cols, num = points.shape[0], points.shape[1], overhead.shape[0]
    count = 0
    for i in range(rows):
        for j in range(cols):
            x, y, z = points[i, j, 0], points[i, j, 1], points[i, j, 2]
            ox = turn[0, 0] * x + turn[0, 1] * y + turn[0, 2] * z - shift[0]
            oy = turn[1, 0] * x + turn[1, 1] * y + turn[1, 2] * z - shift[1]
            oz = turn[2, 0] * x + turn[2, 1] * y + turn[2, 2] * z - shift[2]
            bx, by, bz = ball[0] - ox, ball[1] - oy, ball[2] - oz
            gap = bx * bx + by * by + bz * bz - ball[3] * ball[3]
            for k in range(num):
                along = bx * overhead[k, 0] + by * overhead[k, 1] + bz * overhead[k, 2]
                if gap > 0 and (along <= 0 or along * along < gap):
                    continue
                origins[count, 0], origins[count, 1], origins[count, 2] = ox, oy, oz
                directions[count, 0] = overhead[k, 0]
                directions[count, 1] = overhead[k, 1]
                directions[count, 2] = overhead[k, 2]
                owners[count] = (i * cols + j) * num + k
                count += 1
    return count


@njit(cache=True, nogil=True, fastmath=True)
def radiance_grid(
    points: F32,
    step: int,
    spot: F32,
    light: F32,
    spot_owners: I32,
    spot_hits: I32,
    per_point: int,
    overhead_owners: I32,
    overhead_hits: I32,
    weights: F32,
    bounce: F32,
    albedo: F32,
    colour: F32,
    out: F32,
) -> None:
    """Light that leaves the floor towards the camera, at the points of the fine grid.

    Args:
        points: ``(G, G, 3)`` world points of the fine grid.
        step: Fine grid points between those of the overhead grid.
        spot: ``(G, G)`` irradiance of the bare spot at normal incidence.
        light: World position of the spot.
        spot_owners: Grid points of the spot's rays, ``per_point`` of each that has any.
        spot_hits: Embree's answer for them; -1 is free.
        overhead_owners: ``point * D + direction`` of the overhead rays.
        overhead_hits: Embree's answer for them.
        weights: ``(D,)`` irradiance of each overhead direction.
        bounce: ``(3,)`` radiance of the object's underside, seen where it hides the sky.
        albedo: ``(3,)`` of the floor.
        colour: ``(3,)`` of the spot.
        out: ``(G, G, 3)`` radiance, written.
    """
    size, num = points.shape[0], weights.shape[0]
    one = np.float32(1.0)
    shade = np.ones((size, size), np.float32)
    for n in range(spot_owners.shape[0]):
        if spot_hits[n] != -1:
            shade[spot_owners[n] // size, spot_owners[n] % size] -= one / np.float32(per_point)

    # what is lost from overhead, and how much of the half space the object fills instead
    coarse = (size - 1) // step + 1
    lost = np.zeros((coarse, coarse), np.float32)
    filled = np.zeros((coarse, coarse), np.float32)
    total = np.float32(0.0)
    for k in range(num):
        total += weights[k]
    for n in range(overhead_owners.shape[0]):
        if overhead_hits[n] != -1:
            point, k = overhead_owners[n] // num, overhead_owners[n] % num
            lost[point // coarse, point % coarse] += weights[k]
            filled[point // coarse, point % coarse] += one / np.float32(num)
    for i in range(size):
        up, down = max(i - 1, 0), min(i + 1, size - 1)
        ci = min(i // step, coarse - 2)
        fi = np.float32(i - ci * step) / np.float32(step)
        for j in range(size):
            left, right = max(j - 1, 0), min(j + 1, size - 1)
            # the tent takes as much of each of the four interleaved patterns
            seen = (
                np.float32(0.25) * shade[i, j]
                + np.float32(0.125)
                * (shade[up, j] + shade[down, j] + shade[i, left] + shade[i, right])
                + np.float32(0.0625)
                * (shade[up, left] + shade[up, right] + shade[down, left] + shade[down, right])
            )
            cj = min(j // step, coarse - 2)
            fj = np.float32(j - cj * step) / np.float32(step)
            w00, w01 = (one - fi) * (one - fj), (one - fi) * fj
            w10, w11 = fi * (one - fj), fi * fj
            loss = (
                w00 * lost[ci, cj]
                + w01 * lost[ci, cj + 1]
                + w10 * lost[ci + 1, cj]
                + w11 * lost[ci + 1, cj + 1]
            )
            fill = (
                w00 * filled[ci, cj]
                + w01 * filled[ci, cj + 1]
                + w10 * filled[ci + 1, cj]
                + w11 * filled[ci + 1, cj + 1]
            )
            x = light[0] - points[i, j, 0]
            y = light[1] - points[i, j, 1]
            z = light[2] - points[i, j, 2]
            slant = z / math.sqrt(x * x + y * y + z * z)
            direct = spot[i, j] * slant * seen
            for c in range(3):
                irradiance = total - loss + direct * colour[c]
                out[i, j, c] = albedo[c] * (irradiance * np.float32(1 / math.pi) + fill * bounce[c])


@njit(cache=True, nogil=True, fastmath=True)
def paint(grid: F32, spacing: int, curve: F32, image: U8) -> None:
    """Write the floor into every pixel of ``image (H, W, 3)`` from ``grid (G, G, 3)``.

    The grid is brought to display values first, by ``curve`` (a table of
    :func:`~data_gen.render.color.display_table`): between points this close it makes
    no difference which of the two is interpolated.
    """
    size, width = image.shape[0], image.shape[1] * 3
    cells = grid.shape[0] - 1
    steps, half = np.float32(TABLE_STEPS), np.float32(0.5)
    white = np.float32(curve.shape[0] - 1) / steps
    rows = image.reshape(size, width)
    line = np.empty(3 * (cells + 1), np.float32)
    above = np.empty(width, np.float32)
    below = np.empty(width, np.float32)
    for i in range(cells + 1):
        for j in range(cells + 1):
            for c in range(3):
                line[3 * j + c] = curve[int(min(grid[i, j, c], white) * steps + half)]
        above, below = below, above
        for x in range(image.shape[1]):
            left = x // spacing
            share = (np.float32(x - left * spacing) + half) / np.float32(spacing)
            for c in range(3):
                start = line[3 * left + c]
                below[3 * x + c] = start + share * (line[3 * left + 3 + c] - start)
        if i == 0:
            continue
        for y in range((i - 1) * spacing, min(i * spacing, size)):
            share = (np.float32(y - (i - 1) * spacing) + half) / np.float32(spacing)
            for b in range(width):
                rows[y, b] = np.uint8(above[b] + share * (below[b] - above[b]) + half)


@njit(cache=True, nogil=True, fastmath=True)
def look_up(grid: F32, spacing: int, pixels: F32, out: F32) -> None:
    """Bilinear values ``out (n, 3)`` of ``grid`` at picture coordinates ``pixels (n, 2)``; those
    outside of the picture are left as they are.
    """
    cells = grid.shape[0] - 1
    size = np.float32(cells * spacing)
    for n in range(pixels.shape[0]):
        x, y = pixels[n, 0], pixels[n, 1]
        if not (x >= 0 and y >= 0 and x <= size and y <= size):
            continue
        gx, gy = x / np.float32(spacing), y / np.float32(spacing)
        j, i = min(int(gx), cells - 1), min(int(gy), cells - 1)
        fx, fy = gx - np.float32(j), gy - np.float32(i)
        for c in range(3):
            upper = grid[i, j, c] + fx * (grid[i, j + 1, c] - grid[i, j, c])
            lower = grid[i + 1, j, c] + fx * (grid[i + 1, j + 1, c] - grid[i + 1, j, c])
            out[n, c] = upper + fy * (lower - upper)

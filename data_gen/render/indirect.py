"""All light but the spot's on the object: what stands in its way, and what bounces.

A bare surface of normal n above an even floor has a closed form
(:func:`~data_gen.render.ambient.open_irradiance`). What the object takes from it (its own shadow)
or adds to it (light from lit parts of itself), and what the floor's spot-lit disc adds, varies
slowly over a surface: it is measured along a fixed set of directions at a few *probes* on the
visible surface, as the difference in radiance to the open scene, and kept as nine
spherical-harmonic coefficients (Ramamoorthi and Hanrahan 2001), from which every pixel reads the
irradiance at its own normal, between its neighbouring probes.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from data_gen.render.rays import F32, FORWARD, I32, POSITION, UP, Box, Hits, Rays


@njit(cache=True, nogil=True, fastmath=True)
def probe_coefficients(
    prim: I32,
    across: F32,
    rays: Rays,
    lit: Rays,
    lit_hits: I32,
    bare: F32,
    ground_rays: I32,
    ground: F32,
    chosen: I32,
    normal: F32,
    around: F32,
    num_up: int,
    solid: F32,
    sky: F32,
    floor: F32,
    colour: F32,
    frame: F32,
    material: I32,
    means: F32,
    open_table: F32,
    out: F32,
) -> None:
    """The probes' difference in light to the open scene, as spherical-harmonic coefficients of
    irradiance (the cosine's already folded in).

    Args:
        prim, across: Embree's answer for the probes' rays: face, -1 for none, and its normal.
        rays: From :func:`~data_gen.render.probes.probe_rays`.
        lit: From :func:`~data_gen.render.probes.bounce_rays`; ``lit_hits`` Embree's answer for
            them (-1 is free), ``bare`` the irradiance of the spot there at normal incidence.
        ground_rays: Rays that meet the floor; ``ground (m, 3)`` radiance that they see there.
        chosen, normal: Hit of each probe, and the hits' shading normals.
        around: ``(D, 3)`` directions, the first ``num_up`` above the horizon; ``solid (D,)`` solid
            angles; ``sky (D,)`` radiance of the open sky.
        floor: ``(3,)`` radiance of the open floor, the spot apart.
        colour: ``(3,)`` of the spot.
        frame: The view's frame.
        material: ``(F,)`` of each face; means: ``(M, 3)`` albedo of each material.
        open_table: From :func:`~data_gen.render.ambient.open_irradiance`.
        out: ``(P, 32)``, written: coefficient ``k`` of channel ``c`` at ``3 k + c``.
    """
    _, directions, owners = rays
    _, lit_directions, lit_rays = lit
    num, count = solid.shape[0], chosen.shape[0]
    top = open_table.shape[0] - 1
    one, half, zero, pi = np.float32(1.0), np.float32(0.5), np.float32(0.0), np.float32(math.pi)
    # of each probe's half space, weighted by cosine: all of it, and what the object leaves free
    whole = np.zeros(count, np.float32)
    free = np.zeros(count, np.float32)
    spot = np.zeros(prim.shape[0], np.float32)
    for n in range(prim.shape[0]):
        probe, d = owners[n] // num, owners[n] % num
        h = chosen[probe]
        cosine = zero
        for c in range(3):
            cosine += normal[h, c] * around[d, c]
        weight = max(zero, cosine) * solid[d]
        whole[probe] += weight
        if prim[n] < 0:
            free[probe] += weight
    for m in range(lit_rays.shape[0]):
        if lit_hits[m] == -1:
            n = lit_rays[m]
            x, y, z = lit_directions[m, 0], lit_directions[m, 1], lit_directions[m, 2]
            gx, gy, gz = across[n, 0], across[n, 1], across[n, 2]
            cosine = abs(x * gx + y * gy + z * gz) / math.sqrt(
                max((x * x + y * y + z * z) * (gx * gx + gy * gy + gz * gz), np.float32(1e-30))
            )
            spot[n] = bare[m] * cosine

    basis = np.empty((num, 9), np.float32)
    for d in range(num):
        x, y, z = around[d, 0], around[d, 1], around[d, 2]
        basis[d, 0] = np.float32(0.282095) * solid[d]
        basis[d, 1] = np.float32(0.488603) * y * solid[d]
        basis[d, 2] = np.float32(0.488603) * z * solid[d]
        basis[d, 3] = np.float32(0.488603) * x * solid[d]
        basis[d, 4] = np.float32(1.092548) * x * y * solid[d]
        basis[d, 5] = np.float32(1.092548) * y * z * solid[d]
        basis[d, 6] = np.float32(0.315392) * (3 * z * z - one) * solid[d]
        basis[d, 7] = np.float32(1.092548) * x * z * solid[d]
        basis[d, 8] = np.float32(0.546274) * (x * x - y * y) * solid[d]
    out[:] = 0
    exact = np.zeros((count, 3), np.float32)
    seen = np.empty(3, np.float32)
    g = 0
    for n in range(prim.shape[0]):
        probe, d = owners[n] // num, owners[n] % num
        face = prim[n]
        if face >= 0:
            gx, gy, gz = across[n, 0], across[n, 1], across[n, 2]
            up = gx * frame[UP, 0] + gy * frame[UP, 1] + gz * frame[UP, 2]
            up /= math.sqrt(max(gx * gx + gy * gy + gz * gz, np.float32(1e-30)))
            if gx * directions[n, 0] + gy * directions[n, 1] + gz * directions[n, 2] > 0:
                up = -up
            table = open_table[int((min(one, max(-one, up)) + one) * half * top)]
            # the hidden surface is taken to be as open as the one that the probe lies on; what
            # lies around it reflects as it does, over and over
            openness = free[probe] / max(whole[probe], np.float32(1e-6))
            m = material[face]
            for c in range(3):
                light = (table + pi * floor[c] * (one - up) * half) * openness
                light = (light + spot[n] * colour[c]) / (one - means[m, c] * (one - openness))
                seen[c] = means[m, c] * light / pi - (sky[d] if d < num_up else floor[c])
        elif g < ground_rays.shape[0] and ground_rays[g] == n:
            for c in range(3):
                seen[c] = ground[g, c] - floor[c]
            g += 1
        else:
            continue
        h = chosen[probe]
        cosine = zero
        for c in range(3):
            cosine += normal[h, c] * around[d, c]
        cosine = max(zero, cosine) * solid[d]
        for c in range(3):
            exact[probe, c] += cosine * seen[c]
        for k in range(9):
            for c in range(3):
                out[probe, 3 * k + c] += basis[d, k] * seen[c]
    for probe in range(count):
        for c in range(3):
            out[probe, c] *= pi * np.float32(0.282095)
            for k in range(1, 4):
                out[probe, 3 * k + c] *= 2 * pi / 3 * np.float32(0.488603)
            for k in range(4, 9):
                out[probe, 3 * k + c] *= pi / 4
            out[probe, 12 + c] *= np.float32(1.092548)
            out[probe, 15 + c] *= np.float32(1.092548)
            out[probe, 18 + c] *= np.float32(0.315392)
            out[probe, 21 + c] *= np.float32(1.092548)
            out[probe, 24 + c] *= np.float32(0.546274)
            # nine coefficients blur: make them exact at the probe's own normal
            h = chosen[probe]
            x, y, z = normal[h, 0], normal[h, 1], normal[h, 2]
            value = (
                out[probe, c]
                + out[probe, 3 + c] * y
                + out[probe, 6 + c] * z
                + out[probe, 9 + c] * x
                + out[probe, 12 + c] * x * y
                + out[probe, 15 + c] * y * z
                + out[probe, 18 + c] * (3 * z * z - one)
                + out[probe, 21 + c] * x * z
                + out[probe, 24 + c] * (x * x - y * y)
            )
            out[probe, c] += exact[probe, c] - value


@njit(cache=True, nogil=True, fastmath=True)
def gather(
    pixels: I32,
    offsets: F32,
    hits: Hits,
    box: Box,
    size: int,
    block: int,
    footprint: np.float32,
    frame: F32,
    slots: I32,
    chosen: I32,
    probed: Hits,
    coefficients: F32,
    floor: F32,
    open_table: F32,
    out: F32,
) -> None:
    """Irradiance ``out (n, 3)`` on the hits from all that is not the spot.

    Args:
        pixels: Picture indices; ray ``pixel * K + k`` goes through its offset k.
        offsets: ``(K, 2)`` places within a pixel.
        hits: What is to be lit.
        box, size, block, footprint, frame: As in :func:`~data_gen.render.probes.place_probes`.
        slots: ``(rows, cols, 2)`` probe of each block, -1 for none.
        chosen: Hit of each probe among ``probed``.
        coefficients: From :func:`probe_coefficients`.
        floor, open_table: As there.
        out: Written.
    """
    rays, position, flat, normal, _ = hits
    _, probe_position, probe_flat, _, _ = probed
    per_pixel, per_block = offsets.shape[0], np.float32(1.0) / np.float32(block)
    rows, cols = slots.shape[0], slots.shape[1]
    top = open_table.shape[0] - 1
    one, half, zero = np.float32(1.0), np.float32(0.5), np.float32(0.0)
    mean = np.empty(32, np.float32)
    probes = np.empty(8, np.int32)
    weights = np.empty(8, np.float32)
    for n in range(rays.shape[0]):
        nx, ny, nz = normal[n, 0], normal[n, 1], normal[n, 2]
        up = nx * frame[UP, 0] + ny * frame[UP, 1] + nz * frame[UP, 2]
        table = open_table[int((min(one, max(-one, up)) + one) * half * top + half)]
        below = np.float32(math.pi) * (one - up) * half
        depth = zero
        for c in range(3):
            depth += (position[n, c] - frame[POSITION, c]) * frame[FORWARD, c]
        reach = one / (2 * footprint * np.float32(block) * depth)
        pixel, k = pixels[rays[n] // per_pixel], rays[n] % per_pixel
        gx = (np.float32(pixel % size - box[0]) + half + offsets[k, 0]) * per_block - half
        gy = (np.float32(pixel // size - box[1]) + half + offsets[k, 1]) * per_block - half
        j0, i0 = math.floor(gx), math.floor(gy)
        fx, fy = gx - np.float32(j0), gy - np.float32(i0)
        found = 0
        best = zero
        for i in range(max(i0, 0), min(i0 + 2, rows)):
            wi = fy if i > i0 else one - fy
            for j in range(max(j0, 0), min(j0 + 2, cols)):
                wij = wi * (fx if j > j0 else one - fx) + np.float32(1e-3)
                for s in range(2):
                    probe = slots[i, j, s]
                    if probe < 0:
                        continue
                    h = chosen[probe]
                    turn, plane = zero, zero
                    for c in range(3):
                        turn += flat[n, c] * probe_flat[h, c]
                        plane += (position[n, c] - probe_position[h, c]) * probe_flat[h, c]
                    off = plane * reach
                    near = max(turn, zero)
                    near *= near
                    off *= off
                    # where no probe lies on this surface the nearest ones still speak
                    weight = wij * (near * near / (one + off * off) + np.float32(1e-4))
                    probes[found], weights[found] = probe, weight
                    best = max(best, weight)
                    found += 1
        total = zero
        mean[:] = zero
        for s in range(found):
            weight = weights[s]
            if weight < np.float32(0.03) * best:
                continue
            total += weight
            probe = probes[s]
            for q in range(32):
                mean[q] += weight * coefficients[probe, q]
        scale = one / total if total > 0 else zero
        xy, yz, zz = nx * ny, ny * nz, 3 * nz * nz - one
        xz, xx = nx * nz, nx * nx - ny * ny
        for c in range(3):
            change = (
                mean[c]
                + mean[3 + c] * ny
                + mean[6 + c] * nz
                + mean[9 + c] * nx
                + mean[12 + c] * xy
                + mean[15 + c] * yz
                + mean[18 + c] * zz
                + mean[21 + c] * xz
                + mean[24 + c] * xx
            )
            out[n, c] = max(zero, table + below * floor[c] + change * scale)

"""The coloured spot: a disc of light that faces whatever it lights, cut by a cone.

Blender's spot of power P and radius R (soft fall-off) is a disc that turns towards each shaded
point and sends P / 4π watts per steradian; the cone cuts every ray from the disc by its own angle
to the axis, so that the rim of the lit circle is as soft as the disc is wide. Irradiance at
normal incidence, at distance d and angle θ from the axis, is therefore P / 4π · a(θ, d) /
(d² + R²) with ``a`` the share of the disc whose rays lie within the cone.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from data_gen.recipe import Recipe
from data_gen.render.rays import F32

_EDGE_POINTS = 3
"""Steps that stand for the smoothstep at the cone's edge: it is far narrower than the disc."""


def spot_constants(recipe: Recipe) -> F32:
    """``(2 + n,)`` float32: intensity in W/sr, disc radius, and the angles of the n steps that
    make up the cone's edge.
    """
    cos_cone = math.cos(recipe.light_cone / 2)
    quantiles = (np.arange(_EDGE_POINTS) + 0.5) / _EDGE_POINTS
    # smoothstep(x) = q solved for x, then x to the angle it stands for
    x = np.linspace(0.0, 1.0, 2001)
    edge = np.interp(quantiles, x * x * (3 - 2 * x), x)
    angles = np.arccos(np.clip(cos_cone + edge * recipe.light_blend * (1 - cos_cone), -1, 1))
    intensity = recipe.light_energy / (4 * math.pi)
    return np.array([intensity, recipe.light_radius, *angles], np.float32)


@njit(cache=True, nogil=True, fastmath=True)
def normal_irradiance(
    points: F32,
    light: F32,
    axis: F32,
    constants: F32,
    out: F32,
) -> None:
    """Irradiance ``out (n,)`` of the bare spot on surfaces at ``points (n, 3)`` that face it.

    Args:
        points: Lit points, in any frame.
        light: Position of the spot in that frame.
        axis: Unit direction in which it shines.
        constants: From :func:`spot_constants`.
        out: Written.
    """
    intensity, radius = constants[0], constants[1]
    steps = constants.shape[0] - 2
    widest, narrowest = constants[2], constants[2]
    for k in range(1, steps):
        widest = max(widest, constants[2 + k])
        narrowest = min(narrowest, constants[2 + k])
    zero, one = np.float32(0.0), np.float32(1.0)
    for i in range(points.shape[0]):
        x, y, z = points[i, 0] - light[0], points[i, 1] - light[1], points[i, 2] - light[2]
        d2 = x * x + y * y + z * z
        d = math.sqrt(d2)
        cosine = (x * axis[0] + y * axis[1] + z * axis[2]) / d
        # arc cosine to 7e-5 (Abramowitz and Stegun 4.4.45)
        c = min(one, abs(cosine))
        angle = math.sqrt(one - c) * (
            np.float32(1.5707288)
            + c * (np.float32(-0.2121144) + c * (np.float32(0.074261) - c * np.float32(0.0187293)))
        )
        if cosine < zero:
            angle = np.float32(math.pi) - angle
        spread = max(radius / d, np.float32(1e-6))
        if angle + spread <= narrowest:
            share = one
        elif angle - spread >= widest:
            share = zero
        else:
            share = zero
            for k in range(steps):
                t = (constants[2 + k] - angle) / spread
                if t >= one:
                    share += one
                elif t > -one:  # area of the disc on this side of a chord
                    share += np.float32(0.5) + (
                        t * math.sqrt(one - t * t) + math.asin(t)
                    ) * np.float32(1 / math.pi)
            share /= np.float32(steps)
        out[i] = intensity * share / (d2 + radius * radius)

"""Light that comes from everywhere: sun, sky and floor, on a surface with nothing in the way."""

from __future__ import annotations

import math

import numpy as np

from data_gen.recipe import Recipe
from data_gen.render.rays import F32
from data_gen.render.sampling import cap

TABLE_SIZE = 2048


def directions(recipe: Recipe, sun: int, sky: int, ground: int) -> tuple[F32, F32, int]:
    """World directions ``(D, 3)`` spread evenly over the sun's disc, the rest of the sky and the
    ground, the solid angle ``(D,)`` each stands for, and the number of directions above.
    """
    cosine = math.cos(recipe.sun_angle / 2)
    world = np.concatenate([cap(sun, 1, cosine), cap(sky, cosine, 0), cap(ground, 0, -1)])
    solid = np.repeat(
        [2 * math.pi * (1 - cosine) / sun, 2 * math.pi * cosine / sky, 2 * math.pi / ground],
        [sun, sky, ground],
    )
    return world.astype(np.float32), solid.astype(np.float32), sun + sky


def sky_radiance(recipe: Recipe, world: F32) -> F32:
    """Radiance ``(D,)`` of the open scene above the horizon; 0 below it."""
    half = recipe.sun_angle / 2
    sun = recipe.sun_energy / (math.pi * math.sin(half) ** 2)
    above = world[:, 2] > 0
    radiance = above * recipe.sky + (world[:, 2] > math.cos(half)) * sun
    return np.asarray(radiance, np.float32)


def open_irradiance(recipe: Recipe) -> F32:
    """``(TABLE_SIZE,)`` irradiance from sun and sky on a surface whose normal has the height
    ``-1 ... 1``, nothing standing in the way.
    """
    half = recipe.sun_angle / 2
    radiance = recipe.sun_energy / (math.pi * math.sin(half) ** 2)
    height = np.linspace(-1.0, 1.0, TABLE_SIZE)
    # the disc as rings of constant polar angle; max(0, n . s) integrated over each in closed form
    rings = 256
    polar = (np.arange(rings) + 0.5) / rings * half
    side = np.sqrt(1 - height**2)[:, None] * np.sin(polar)
    up = height[:, None] * np.cos(polar)
    with np.errstate(divide="ignore", invalid="ignore"):
        limit = np.arccos(np.clip(np.where(side > 0, -up / side, -np.sign(up)), -1, 1))
    ring = 2 * (up * limit + side * np.sin(limit)) * np.sin(polar) * half / rings
    sky = recipe.sky * math.pi * (1 + height) / 2
    return np.asarray(radiance * ring.sum(axis=1) + sky, np.float32)

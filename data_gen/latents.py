"""Draws of latent vectors: one object's views from a recipe and a seed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from data_gen.orbits import grid_values
from data_gen.recipe import Recipe

F64 = NDArray[np.float64]


def sample_latents(recipe: Recipe, seed: int | Sequence[int]) -> F64:
    """Draw the latent vectors of one object's views: at random, on the recipe's grid, or along a
    smooth path.

    Args:
        recipe: Distributions and number of views.
        seed: Non-negative integers that identify the object, such as ``(run seed, index)``.
            Different seeds give independent draws; the same seed repeats exactly.

    Returns:
        ``(num_views, L)`` float64, columns as in ``recipe.schema``.
    """
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed)))
    names = list(recipe.columns)
    uniform = generator.random((recipe.num_views, len(names)))
    if recipe.grid is not None or recipe.trajectory is not None:
        uniform[1:] = uniform[0]
    if recipe.trajectory is not None:
        moving = [names.index(name) for name in recipe.path_columns]
        keyframes = recipe.trajectory["keyframes"]
        keys = generator.random((keyframes, len(names)))[:, moving]
        # monotone between keyframes, so it never leaves the distribution's range
        path = PchipInterpolator(np.arange(keyframes), keys)
        uniform[:, moving] = np.clip(path(np.linspace(0, keyframes - 1, recipe.num_views)), 0, 1)
    latents = _quantiles(recipe, uniform, generator)
    if recipe.grid is not None:
        columns = recipe.columns
        points = list(product(*(grid_values(n, columns, k) for n, k in recipe.grid.items())))
        latents[:, [names.index(name) for name in recipe.grid]] = points
    return latents


def _quantiles(recipe: Recipe, uniform: F64, generator: np.random.Generator) -> F64:
    """Latent vectors of uniform numbers ``(V, L)``; a joint rotation may need more of them."""
    rotation = recipe.rotation.sample(uniform[:, :3], generator)
    if recipe.rotation.columns is None and (recipe.grid or recipe.trajectory):
        rotation[1:] = rotation[0]  # drawn once an object
    others = list(recipe.columns.values())[3:]
    rest = [d.quantile(uniform[:, 3 + i]) for i, d in enumerate(others) if d is not None]
    return np.concatenate([rotation, np.stack(rest, axis=1)], axis=1)

"""Draws of latent vectors: one object's views from a recipe and a seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data_gen.recipe import Recipe


def sample_latents(recipe: Recipe, seed: int | Sequence[int]) -> NDArray[np.float64]:
    """Draw the latent vectors of one object's views, uniformly in the recipe's ranges.

    Args:
        recipe: Ranges and number of views.
        seed: Non-negative integers that identify the object, such as ``(run seed, index)``.
            Different seeds give independent draws; the same seed repeats exactly.

    Returns:
        ``(num_views, L)`` float64, columns as in ``recipe.schema``.
    """
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed)))
    low, high = np.array(recipe.ranges).T
    return generator.uniform(low, high, size=(recipe.num_views, len(low)))

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data_gen.latents import sample_latents
from data_gen.recipe import Recipe


def test_uniform_draws_are_numpys():
    recipe = Recipe.diebench_t()
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([3, 4])))
    low, high = np.array(recipe.ranges).T
    np.testing.assert_array_equal(
        sample_latents(recipe, (3, 4)), generator.uniform(low, high, (50, 10))
    )


def test_grids_are_even_and_hold_all_else_fixed():
    recipe = Recipe.from_dict(
        {"grid": {"rotation_z": 4, "light_theta": 3}, "rotation": [0, 0, [-math.pi, math.pi]]}
    )
    latents = sample_latents(recipe, 1)
    assert recipe.num_views == len(latents) == 12
    # a full circle leaves out its second end, a range has both
    np.testing.assert_allclose(np.degrees(latents[::3, 2]), [-180, -90, 0, 90])
    np.testing.assert_allclose(latents[:3, 4], [0, math.pi / 8, math.pi / 4])
    others = latents[:, [0, 1, 3, 5, 6]]
    assert (others == others[0]).all()
    again = sample_latents(recipe, 2)
    assert (again[:, [2, 4]] == latents[:, [2, 4]]).all()
    assert (again[0, [3, 5, 6]] != latents[0, [3, 5, 6]]).all()


@pytest.mark.parametrize(
    "layout",
    [
        {"grid": {"floor_hue": 5}},
        {"trajectory": {"keyframes": 3, "columns": ["light_phi"]}, "num_views": 5},
    ],
)
@pytest.mark.parametrize(
    "rotation",
    [{"outside": [[-1, 1]] * 3, "angles": [1, 2]}, {"far_from": [[-1, 1]] * 3, "at_least": 0.5}],
)
def test_a_joint_rotation_is_drawn_once_an_object(layout: dict, rotation: dict):
    for seed in range(5):
        latents = sample_latents(Recipe.from_dict({**layout, "rotation": rotation}), seed)
        assert (latents[:, :3] == latents[0, :3]).all()


@pytest.mark.parametrize("rotation", ["uniform", [[-1.5, 1.5]] * 3])
def test_paths_are_smooth_and_stay_in_range(rotation):
    recipe = Recipe.from_dict(
        {"trajectory": {"keyframes": 4}, "num_views": 400, "rotation": rotation}
    )
    latents = sample_latents(recipe, 7)
    low, high = np.array(recipe.ranges).T
    assert (latents >= low).all()
    assert (latents <= high).all()
    steps = np.diff(latents, axis=0)
    assert (np.abs(steps).max(axis=0) < 0.05 * (high - low)).all()
    assert (np.abs(np.diff(steps, axis=0)).max(axis=0) < 0.01 * (high - low)).all()
    turns = Rotation.from_euler("xyz", latents[:, :3])
    assert (turns[:-1].inv() * turns[1:]).magnitude().sum() > 0.5


def test_a_path_of_some_columns():
    recipe = Recipe.from_dict(
        {"trajectory": {"keyframes": 3, "columns": ["rotation_z", "light_phi"]}, "num_views": 9}
    )
    latents = sample_latents(recipe, 7)
    moving = (np.ptp(latents, axis=0) > 0).tolist()
    assert moving == [False, False, True, False, False, True, False]
    assert np.ptp(sample_latents(recipe, 8)[:, 0]) == 0
    assert sample_latents(recipe, 8)[0, 0] != latents[0, 0]

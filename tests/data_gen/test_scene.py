from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data_gen.latents import sample_latents
from data_gen.recipe import Recipe
from data_gen.scene import Camera, rotation_matrix, spherical


def test_latents_fill_their_ranges_and_nothing_else():
    recipe = Recipe.diebench_t(num_views=4000, floor_hue=(0.5, 0.7), light_theta=(0.1, 0.1))
    latents = sample_latents(recipe, 3)
    low, high = np.array(recipe.ranges).T
    assert latents.shape == (4000, 10)
    assert latents.dtype == np.float64
    assert (latents >= low).all()
    assert (latents <= high).all()
    np.testing.assert_allclose(latents.mean(axis=0), (low + high) / 2, atol=0.12)
    np.testing.assert_allclose(latents.max(axis=0) - latents.min(axis=0), high - low, rtol=0.01)


def test_latents_repeat_and_objects_are_independent():
    recipe = Recipe()
    np.testing.assert_array_equal(sample_latents(recipe, [1, 2]), sample_latents(recipe, [1, 2]))
    seeds = [[1, 2], [1, 3], [2, 2], [2, 1], 1, 2]
    draws = np.stack([sample_latents(recipe, seed)[:, 0] for seed in seeds])
    assert np.abs(np.corrcoef(draws) - np.eye(len(seeds))).max() < 0.6
    assert len(np.unique(draws)) == draws.size


def test_latents_of_fewer_views_are_the_first_ones():
    few, many = (sample_latents(Recipe(num_views=n), 5) for n in (4, 9))
    np.testing.assert_array_equal(few, many[:4])


def test_rotation_matrix_is_scipys_extrinsic_xyz():
    angles = np.random.default_rng(0).uniform(-np.pi, np.pi, (50, 3))
    expected = Rotation.from_euler("xyz", angles).as_matrix()
    np.testing.assert_allclose([rotation_matrix(a) for a in angles], expected, atol=1e-12)


def test_spherical():
    np.testing.assert_allclose(spherical(2, 0, 1), [0, 0, 2], atol=1e-12)
    np.testing.assert_allclose(spherical(2, np.pi / 2, np.pi / 2), [0, 2, 0], atol=1e-12)


def test_camera_of_3diebench():
    camera = Camera.of(Recipe())
    np.testing.assert_allclose(camera.position, [0, 2.5 / 2**0.5, 2.5 / 2**0.5], atol=1e-12)
    np.testing.assert_allclose(camera.project(np.zeros(3)), [128, 128])
    # +x is on the left when looking along -y, and up is up
    assert camera.project(np.array([0.1, 0, 0]))[0] < 128
    assert camera.project(np.array([0, 0, 0.1]))[1] < 128
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (20, 3))
    rays = camera.rays(camera.project(points))
    depth = (points - camera.position) @ camera.forward
    np.testing.assert_allclose(camera.position + rays * depth[:, None], points, atol=1e-12)


def test_camera_overhead_has_a_picture():
    axes = Camera.of(Recipe(camera_theta=0.0))
    assert np.isfinite(axes.rays(np.zeros((1, 2)))).all()
    np.testing.assert_allclose(axes.right @ axes.forward, 0, atol=1e-12)


def test_a_longer_lens_shows_the_object_larger():
    point = np.array([0.2, 0.0, 0.0])
    short, long = (Camera.of(Recipe(lens_mm=f)).project(point)[0] - 128 for f in (50.0, 100.0))
    assert long == pytest.approx(2 * short)

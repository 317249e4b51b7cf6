from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.stats import kstest

from data_gen.geodesic import distance_to_box, far_from_box
from data_gen.overlap import rotation_overlap
from data_gen.recipe import Recipe
from data_gen.rotations import parse_rotation

HALF = math.pi / 2
TRAINING = [[-HALF, HALF]] * 3
PUBLISHED_OOD = [[[-math.pi, -HALF], [HALF, math.pi]]] * 3
NEW = {"outside": TRAINING, "angles": [1, 2]}
FAR = {"far_from": TRAINING, "at_least": 0.5}


def draw(plain, n: int = 4000) -> np.ndarray:
    generator = np.random.default_rng(5)
    return parse_rotation("rotation", plain).sample(generator.random((n, 3)), generator)


def brute_distance(euler: np.ndarray, ranges) -> np.ndarray:
    axes = [np.linspace(low, high, 33) for low, high in ranges]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    near = Rotation.from_euler("xyz", grid).as_quat()
    cosine = np.abs(Rotation.from_euler("xyz", euler).as_quat() @ near.T).max(axis=1)
    return 2 * np.arccos(np.clip(cosine, -1, 1))


@pytest.mark.parametrize("ranges", [TRAINING, [[-0.3, 0.5], [-0.2, 0.9], [-1, 2]]])
def test_distance_to_a_box_of_angles(ranges):
    euler = draw("uniform", 300)
    have, want = distance_to_box(euler, ranges), brute_distance(euler, ranges)
    assert (have <= want + 0.01).all()  # the grid cannot be nearer than the nearest
    assert (have >= want - 0.09).all()  # and its steps are no longer than this
    inside = draw(ranges, 100)
    assert distance_to_box(inside, ranges).max() < 1e-3


@pytest.mark.parametrize("ranges", [TRAINING, [[-0.3, 0.5], [-0.2, 0.9], [-1, 2]]])
@pytest.mark.parametrize("at_least", [0.05, 0.5, 1.2, 2.5])
def test_grids_decide_as_the_distance_does(
    ranges, at_least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    euler = draw("uniform", 1500)
    want = distance_to_box(euler, ranges) >= at_least
    measured: list[int] = []

    def counted(some: np.ndarray, box) -> np.ndarray:
        measured.append(len(some))
        return distance_to_box(some, box)

    monkeypatch.setattr("data_gen.geodesic.distance_to_box", counted)
    np.testing.assert_array_equal(far_from_box(euler, ranges, at_least), want)
    if at_least >= 0.5:  # more than the grid's steps
        assert sum(measured) < 0.2 * len(euler)  # the distance itself is slow


def test_uniform_rotations_are_haar():
    matrices = Rotation.from_euler("xyz", draw("uniform")).as_matrix()
    # every entry of a Haar rotation is uniform in [-1, 1], its angle has density (1 - cos)/π
    for entry in matrices.reshape(-1, 9).T:
        assert kstest(entry, lambda x: (x + 1) / 2).pvalue > 1e-3
    angle = np.arccos(np.clip((matrices.trace(axis1=1, axis2=2) - 1) / 2, -1, 1))
    assert kstest(angle, lambda x: (x - np.sin(x)) / math.pi).pvalue > 1e-3


@pytest.mark.parametrize("plain", [TRAINING, PUBLISHED_OOD, NEW, FAR, "uniform"])
def test_densities_are_relative_to_haar(plain):
    distribution = parse_rotation("rotation", plain)
    haar = draw("uniform", 8000)
    haar = haar[np.abs(np.cos(haar[:, 1])) > 0.2]  # the density of Euler draws has poles
    draws = draw(plain, 8000)
    kept = draws[np.abs(np.cos(draws[:, 1])) > 0.2]
    share = math.sqrt(1 - 0.04)  # of Haar's latitudes
    assert distribution.density(haar).mean() * share == pytest.approx(
        len(kept) / len(draws), abs=0.03
    )
    assert (distribution.density(draws) > 0).all()


def test_new_rotations_are_new():
    assert distance_to_box(draw(FAR, 500), TRAINING).min() >= 0.5
    new = draw(NEW, 2000)
    out = (np.abs(new) > HALF).sum(axis=1)
    assert set(out) == {1, 2}
    assert brute_distance(new[:300], TRAINING).min() > 0
    # each angle outside: the other triple of the same rotation is a training one
    old = draw(PUBLISHED_OOD, 300)
    assert (np.abs(old) > HALF).all()
    assert distance_to_box(old, TRAINING).max() < 1e-3


@pytest.mark.parametrize(
    ("plain", "shared", "within"),
    [(TRAINING, 1, 1), (PUBLISHED_OOD, 1, 1), (NEW, 0, 0), (FAR, 0, 0), ("uniform", None, 0.25)],
)
def test_overlap_with_the_training_set(plain, shared, within):
    overlap = rotation_overlap(Recipe(), Recipe.from_dict({"rotation": plain}), draws=4000)
    if shared is not None:
        assert overlap.shared == pytest.approx(shared, abs=1e-3)
    assert overlap.second_in_first == pytest.approx(within, abs=0.02)
    # the nearest draws tell the same without any density
    if shared == 1:
        assert overlap.nearest[0] == pytest.approx(overlap.own[0], abs=0.2)
    else:
        assert overlap.nearest[0] > 3 * overlap.own[0]


def test_overlap_without_densities():
    orbit = Recipe.from_dict({"rotation": [0, 0, [-3, 3]], "grid": {"rotation_z": 12}})
    overlap = rotation_overlap(Recipe(), orbit, draws=4000)
    assert overlap.shared is overlap.second_in_first is None
    assert "unknown" in str(overlap)
    assert overlap.nearest[2] > 60

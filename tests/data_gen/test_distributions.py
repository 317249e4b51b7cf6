from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import kstest

from data_gen.distributions import parse

U = np.random.default_rng(0).random(20_000)


@pytest.mark.parametrize(
    ("plain", "cumulative"),
    [
        ([-1, 3], lambda x: (x + 1) / 4),
        ([[0, 1], [5, 8]], lambda x: np.where(x < 3, x / 4, (x - 5 + 1) / 4)),
        ({"latitude": [-math.pi / 2, 0.5]}, lambda x: (np.sin(x) + 1) / (math.sin(0.5) + 1)),
        ({"polar": [0, 1.2]}, lambda x: (1 - np.cos(x)) / (1 - math.cos(1.2))),
    ],
)
def test_draws_follow_the_law(plain, cumulative):
    draws = parse("x", plain).quantile(U)
    assert kstest(draws, cumulative).pvalue > 0.01


@pytest.mark.parametrize(
    "plain",
    [
        [-1, 3],
        [[0, 1], [5, 8]],
        {"latitude": [-1, 0.5]},
        {"polar": [0.1, 1.2]},
        {"normal": [0.3, 0.2], "within": [0, 0.4]},
        {"normal": [0.3, 0.2]},
    ],
)
def test_densities_are_those_of_the_draws(plain):
    distribution = parse("x", plain)
    low, high = distribution.bounds
    draws = distribution.quantile(U)
    assert low <= draws.min()
    assert draws.max() <= high
    counts, edges = np.histogram(draws, bins=20, range=(low, high))
    inside = np.linspace(edges[:-1], edges[1:], 201)
    mass = np.trapezoid(distribution.density(inside), inside, axis=0)
    assert mass.sum() == pytest.approx(1, abs=0.01)
    np.testing.assert_allclose(counts / len(U), mass, atol=0.012)
    assert distribution.density(np.array([low - 0.1, high + 0.1])).tolist() == [0, 0]


def test_choices_and_constants():
    values, counts = np.unique(parse("x", {"choice": [3, 1, 2]}).quantile(U), return_counts=True)
    assert values.tolist() == [1, 2, 3]
    assert counts.min() > 6000
    assert set(parse("x", 0.3).quantile(U)) == {0.3}
    assert parse("x", 0.3).density(U) is None
    assert parse("x", {"choice": [1]}).density(U) is None

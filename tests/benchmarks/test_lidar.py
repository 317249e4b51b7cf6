from __future__ import annotations

import pytest
import torch

from benchmarks.lidar import TINY, by_counting, by_sorting, keys_of, parts, sweeps, voxelisation
from ssl_equiv.backbones.lidar import Grid, create_encoder


def test_the_alternatives_find_the_same_voxels() -> None:
    clouds = sweeps(2, tiny=True).current
    config = TINY["pillars (tiny)"]
    grid = Grid(config.range, config.voxel_size)
    key = keys_of(clouds, grid)
    want = torch.unique(key, return_inverse=True)
    cells = clouds.size * grid.shape[0] * grid.shape[1] * grid.shape[2]
    for found in (by_sorting(key), by_counting(key, cells)):
        assert all(torch.equal(a, b) for a, b in zip(found, want, strict=True))


@pytest.mark.parametrize("name", TINY)
def test_figures_are_of_what_they_say(name: str) -> None:
    threads = torch.get_num_threads()
    try:
        found = voxelisation(TINY[name], True, 1)
    finally:
        torch.set_num_threads(threads)
    assert found["points"] > found["inside"] >= found["voxels"] > 0
    assert found["points_per_s"] == pytest.approx(1000 * found["points"] / found["ms"])
    shares = parts(create_encoder(TINY[name]).eval(), sweeps(2, True).current, "cpu", 1)
    assert min(shares.values()) > 0

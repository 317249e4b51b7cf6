from __future__ import annotations

import numpy as np
import pytest
import torch

from ssl_equiv.backbones.lidar import BevFeatures, Grid, voxelize
from ssl_equiv.backbones.lidar.grid import by_voxel, ravel, unravel
from ssl_equiv.errors import UserError
from tests.backbones.lidar.clouds import random_clouds

GRID = Grid((-4, -6, -2, 4, 6, 2), (0.5, 0.25, 0.8))


def test_voxels_are_those_of_a_loop_over_points() -> None:
    clouds = random_clouds((2000, 0, 500), extent=7.0)
    coordinates, voxel = voxelize(clouds.points, clouds.batch_index, GRID)
    assert GRID.shape == (5, 48, 16)
    seen = {}
    for row, (point, sweep) in enumerate(
        zip(clouds.points.numpy(), clouds.batch_index.tolist(), strict=True)
    ):
        cell = [
            int(np.floor((point[axis] - GRID.range[axis]) / GRID.voxel_size[axis]))
            for axis in (2, 1, 0)
        ]
        if all(0 <= c < past for c, past in zip(cell, GRID.shape, strict=True)):
            seen[row] = (sweep, *cell)
    assert coordinates.tolist() == [list(cell) for cell in sorted(set(seen.values()))]
    assert 100 < len(seen) < len(clouds.points)
    for row, number in enumerate(voxel.tolist()):
        assert (number < 0) == (row not in seen)
        assert number < 0 or tuple(coordinates[number].tolist()) == seen[row]


def test_borders_and_what_is_no_number() -> None:
    low, high = GRID.range[:3], GRID.range[3:]
    points = torch.tensor([[*low, 0], [*high, 0], [float("nan")] * 4, [float("inf")] * 4])
    coordinates, voxel = voxelize(points, torch.zeros(4, dtype=torch.long), GRID)
    assert coordinates.tolist() == [[0, 0, 0, 0]]
    assert voxel.tolist() == [0, -1, -1, -1]
    assert GRID.contains(points).tolist() == [True, False, False, False]
    nothing, _ = voxelize(points[1:], torch.zeros(3, dtype=torch.long), GRID)
    assert nothing.shape == (0, 4)
    assert voxelize(points[:0], torch.zeros(0, dtype=torch.long), GRID)[0].shape == (0, 4)


def test_more_cells_than_32_bits_count() -> None:
    fine = Grid((-80, -80, -4, 80, 80, 4), (0.02, 0.02, 0.02))  # 26 thousand million
    clouds = random_clouds((500, 500), extent=79.0)
    coordinates, voxel = voxelize(clouds.points, clouds.batch_index, fine)
    assert len(coordinates) == 1000
    centres = fine.centres(coordinates)[voxel]
    assert (centres - clouds.points[:, :3]).abs().max() <= 0.01 + 1e-4
    assert torch.equal(coordinates[voxel, 0], clouds.batch_index)


def test_points_come_voxel_by_voxel_in_their_order() -> None:
    clouds = random_clouds((400,))
    coordinates, voxel = voxelize(clouds.points, clouds.batch_index, GRID)
    rows, counts = by_voxel(voxel, len(coordinates))
    want = sorted((v, row) for row, v in enumerate(voxel.tolist()) if v >= 0)
    assert rows.tolist() == [row for _, row in want]
    assert counts.tolist() == [sum(v == number for v, _ in want) for number in range(len(counts))]


def test_cells_have_numbers_and_numbers_cells() -> None:
    shape = (3, 4, 5, 6)
    cells = torch.randint(0, 3, (50, 4))
    want = np.ravel_multi_index(tuple(cells.numpy().T), shape)
    assert ravel(cells, shape).tolist() == want.tolist()
    assert torch.equal(unravel(ravel(cells, shape), shape), cells)


@pytest.mark.parametrize(
    ("limits", "edges", "told"),
    [
        ((0, 0, 0, 10, -1, 1), (1, 1, 1), "y from 0 to -1"),
        ((0, 0, 0, 10, 1, 1), (1, 0, 1), "steps of 0"),
        ((0, 0, 0, 10, 1, 1), (0.3, 1, 1), "33.333 voxels of 0.3"),
        ((0, 0, 0, 10), (1, 1, 1), "6 numbers"),
    ],
)
def test_grids_that_cannot_be(limits: tuple, edges: tuple, told: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(UserError, match=told):
        Grid(limits, edges)


def features(height: int = 12, width: int = 8, channels: int = 3) -> BevFeatures:
    grid = Grid((-4, -6, -2, 4, 6, 2), (0.5, 0.5, 4))
    stride = 24 // height
    torch.manual_seed(0)
    found = torch.randn(2, channels, height, width, dtype=torch.float64)
    occupied = torch.rand(2, 1, height, width) < 0.5
    return BevFeatures(found, stride, grid, occupied)


def test_features_at_places_are_those_of_grid_sample() -> None:
    bev = features()
    assert bev.cell == (1.0, 1.0)
    places = torch.rand(40, 2, dtype=torch.float64) * torch.tensor([10.0, 14.0]) - torch.tensor(
        [5.0, 7.0]
    )
    sweep = torch.arange(40) % 2
    scaled = places / torch.tensor([4.0, 6.0])
    for b in (0, 1):
        want = torch.nn.functional.grid_sample(
            bev.map[b : b + 1], scaled[None, None], padding_mode="border", align_corners=False
        )[0, :, 0].T
        mine = sweep == b
        torch.testing.assert_close(bev.at(places, sweep)[mine], want[mine])


def test_features_at_centres_are_the_cells() -> None:
    bev = features()
    centres = bev.cell_centres().flatten(0, 1).double()
    sweep = torch.ones(len(centres), dtype=torch.long)
    torch.testing.assert_close(bev.at(centres, sweep), bev.map[1].flatten(1).T)
    xyz = torch.cat([centres, torch.zeros(len(centres), 1)], dim=1)
    numbers = bev.plane.cells(xyz, sweep)
    assert numbers.tolist() == list(range(96, 192))
    torch.testing.assert_close(bev.of_cells(numbers), bev.map[1].flatten(1).T)
    outside = torch.tensor([[5.0, 0, 0], [0, 0, 3]])
    assert bev.plane.cells(outside, sweep[:2]).tolist() == [-1, -1]


def test_pooling_is_over_occupied_cells() -> None:
    bev = features()
    bev.occupied[1] = False
    chosen = bev.map[0][:, bev.occupied[0, 0]]
    torch.testing.assert_close(bev.pooled(), torch.stack([chosen.mean(1), torch.zeros(3)]).double())

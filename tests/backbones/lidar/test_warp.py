"""Cells that go where their points do."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace

import torch

from ssl_equiv.backbones.lidar import Grid, Plane
from ssl_equiv.backbones.lidar.warp import cell_flow
from ssl_equiv.points import PointBatch
from tests.backbones.lidar.clouds import random_clouds

PLANE = Plane(Grid((-8, -8, -2, 8, 8, 2), (0.5, 0.5, 4)), 2)


def test_the_mean_over_points_that_arrive() -> None:
    clouds = random_clouds((200, 150))
    torch.manual_seed(0)
    flow = 3 * torch.randn(350, 3) * torch.tensor([1, 1, 0.1])
    flow[::9] = float("nan")
    clouds = replace(clouds, flow=flow)
    features = torch.randn(2 * 16 * 16, 5)
    moved = cell_flow(PLANE, clouds)
    found = moved.move(features[moved.sources])
    assert moved.sources.tolist() == sorted(set(moved.sources.tolist()))

    def cell(xyz: list[float]) -> int | None:
        if not all(-8 <= v < 8 for v in xyz[:2]) or not -2 <= xyz[2] < 2:
            return None
        return 16 * math.floor(xyz[1] + 8) + math.floor(xyz[0] + 8)

    arriving = defaultdict(list)
    for point, step, sweep in zip(
        clouds.points[:, :3], flow, clouds.batch_index.tolist(), strict=True
    ):
        start, end = cell(point.tolist()), cell((point + step).tolist())
        if start is not None and end is not None and not step.isnan().any():
            arriving[256 * sweep + end].append(features[256 * sweep + start])
    assert len(arriving) > 100
    assert max(map(len, arriving.values())) > 2
    assert moved.targets.tolist() == sorted(arriving)
    for row, target in enumerate(moved.targets.tolist()):
        torch.testing.assert_close(found[row], torch.stack(arriving[target]).mean(0))


def test_no_flow_leaves_every_cell_where_it_is() -> None:
    clouds = random_clouds()
    moved = cell_flow(PLANE, replace(clouds, flow=torch.zeros(len(clouds.points), 3)))
    features = torch.randn(len(moved.sources), 3)
    assert torch.equal(moved.sources, moved.targets)
    torch.testing.assert_close(moved.move(features), features)


def test_nothing_is_moved_by_nothing() -> None:
    none = PointBatch(
        torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), 2, flow=torch.zeros(0, 3)
    )
    moved = cell_flow(PLANE, none)
    assert moved.move(torch.zeros(0, 5)).shape == (0, 5)

"""Motions of clouds, boxes and flow."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ssl_equiv.boxes import Boxes, box_corners, points_in_boxes
from ssl_equiv.errors import UserError
from ssl_equiv.points import PointBatch
from ssl_equiv.transforms.points import (
    MOTION,
    PointMotions,
    identity,
    motion,
    move_annotations,
    move_boxes,
    move_points,
)

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)
WIDE = PointMotions(yaw=(-math.pi, math.pi), translation=(-5, 5), scale=(0.5, 2.0))
seeds = st.integers(0, 2**31)


def elements(seed: int, *shape: int, motions: PointMotions = WIDE) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return motions.sample(shape, generator)["motion"].double()


def boxes(seed: int, number: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(seed + 1)
    low = torch.tensor([-60.0, -40, -2, 0.5, 0.5, 0.5, -math.pi], dtype=torch.float64)
    high = torch.tensor([60.0, 40, 1, 6, 3, 3, math.pi], dtype=torch.float64)
    unit = torch.rand(number, 7, generator=generator, dtype=torch.float64)
    return low + (high - low) * unit


def around(values: Tensor, seed: int, number: int = 400) -> Tensor:
    """Points in and near the boxes, ``(N, 3)``, none within 1e-5 m of a face."""
    generator = torch.Generator().manual_seed(seed + 2)
    unit = torch.rand(len(values), number, 3, generator=generator, dtype=values.dtype) - 0.5
    local = 1.3 * unit * values[:, None, 3:6]
    cosine, sine = values[:, 6:7].cos(), values[:, 6:7].sin()
    x, y, z = local.unbind(-1)
    turned = torch.stack((cosine * x - sine * y, sine * x + cosine * y, z), -1)
    points = (turned + values[:, None, :3]).reshape(-1, 3)
    wide, narrow = points_in_boxes(points, values, 1e-5), points_in_boxes(points, values, -1e-5)
    return points[(wide == narrow).all(0)]


@PROPERTY
@given(seeds)
def test_points_stay_in_their_boxes_and_out_of_others(seed: int) -> None:
    values, element = boxes(seed), elements(seed)
    points = around(values, seed)
    before = points_in_boxes(points, values)
    after = points_in_boxes(MOTION.act(element, points), move_boxes(values, element))
    assert torch.equal(before, after)
    assert 0.2 < before.any(0).double().mean() < 0.8


@PROPERTY
@given(seeds)
def test_boxes_move_as_their_corners(seed: int) -> None:
    values, element = boxes(seed), elements(seed)
    moved = box_corners(move_boxes(values, element))
    corners = MOTION.act(element, box_corners(values).reshape(-1, 3)).reshape(-1, 8, 3)
    # a mirror swaps left and right
    order = [0, 1, 2, 3, 4, 5, 6, 7] if element[1] > 0 else [3, 2, 1, 0, 7, 6, 5, 4]
    torch.testing.assert_close(moved, corners[:, order], atol=1e-9, rtol=0)


@PROPERTY
@given(seeds)
def test_float32_is_within_a_hundredth_of_a_millimetre(seed: int) -> None:
    """The motions of the paper, at the distances of a sweep."""
    element = elements(seed, motions=PointMotions())
    values = boxes(seed)
    points = around(values, seed)
    exact = MOTION.act(element, points)
    batch = PointBatch.collate([torch.cat((points, points[:, :1]), 1).float()])
    moved = move_points(batch, element[None].float()).points[:, :3]
    assert (moved - exact).abs().max() < 3e-5  # 80 m have steps of 8e-6 in float32
    after = points_in_boxes(moved, move_boxes(values.float(), element.float()), 1e-4)
    before = points_in_boxes(points, values, -1e-4)
    assert (after | ~before).all()


@PROPERTY
@given(seeds)
def test_moving_twice_is_moving_by_the_product_and_back(seed: int) -> None:
    values = boxes(seed)
    g, h = elements(seed), elements(seed + 1)
    both = move_boxes(values, MOTION.compose(g, h))
    once = move_boxes(move_boxes(values, h), g)
    torch.testing.assert_close(both[:, :6], once[:, :6], atol=1e-4, rtol=1e-5)
    off = (both[:, 6] - once[:, 6] + math.pi).remainder(2 * math.pi) - math.pi
    assert off.abs().max() < 1e-5
    back = move_boxes(move_boxes(values, g), MOTION.inverse(g))
    torch.testing.assert_close(back[:, :6], values[:, :6], atol=1e-4, rtol=1e-5)
    points = PointBatch.collate([torch.rand(9, 4).double(), torch.rand(5, 4).double()])
    pair, other = torch.stack((g, h)), torch.stack((h, g))
    twice = move_points(move_points(points, other), pair).points
    product = move_points(points, MOTION.compose(pair, other)).points
    torch.testing.assert_close(twice, product, atol=1e-5, rtol=1e-5)


def test_every_cloud_moves_by_its_own_element_with_its_flow() -> None:
    generator = torch.Generator().manual_seed(0)
    clouds = [10 * torch.randn(n, 4, generator=generator).double() for n in (7, 0, 11)]
    flows = [torch.randn(len(cloud), 3, generator=generator).double() for cloud in clouds]
    flows[0][2] = math.nan  # unknown stays unknown
    batch = PointBatch.collate(clouds, flows)
    element = elements(3, 3)
    moved = move_points(batch, element)
    assert moved.flow is not None
    for k, (cloud, flow) in enumerate(zip(clouds, flows, strict=True)):
        mine = moved.batch_index == k
        torch.testing.assert_close(moved.points[mine, :3], MOTION.act(element[k], cloud[:, :3]))
        torch.testing.assert_close(moved.points[mine, 3], cloud[:, 3])
        carried = MOTION.act(element[k], cloud[:, :3] + flow)
        found = moved.points[mine, :3] + moved.flow[mine]
        torch.testing.assert_close(found, carried, equal_nan=True)
    assert torch.equal(moved.source_index, batch.source_index)
    with pytest.raises(ValueError, match="3 clouds need elements"):
        move_points(batch, element[:2])


def test_the_factors_are_applied_in_their_order() -> None:
    """Known numbers: flip x, a quarter turn, twice as large, then 1 m to the left."""
    given_elements = {
        "flip": torch.tensor([-1.0, 1.0]),
        "yaw": torch.tensor([math.pi / 2]),
        "scale": torch.tensor([2.0]),
        "translation": torch.tensor([0.0, 1.0, 0.5]),
    }
    element = motion(given_elements)
    # (3, 1, 2) -> (-3, 1, 2) -> (-1, -3, 2) -> (-2, -6, 4) -> (-2, -5, 4.5)
    moved = MOTION.act(element, torch.tensor([[3.0, 1, 2]]))
    torch.testing.assert_close(moved, torch.tensor([[-2.0, -5, 4.5]]))
    # a car that heads along (cos .3, sin .3): flipped to pi - .3, turned to 3 pi/2 - .3
    box = move_boxes(torch.tensor([[3.0, 1, 2, 4, 2, 1.5, 0.3]]), element)
    expected = torch.tensor([[-2.0, -5, 4.5, 8, 4, 3, -math.pi / 2 - 0.3]])
    torch.testing.assert_close(box, expected)
    both = {**given_elements, "flip": torch.tensor([-1.0, -1.0])}
    torch.testing.assert_close(
        MOTION.act(motion(both), torch.tensor([[3.0, 1, 2]])), torch.tensor([[2.0, -5, 4.5]])
    )
    assert motion(both)[1] == 1  # two flips are half a turn


def test_annotations_keep_what_the_camera_saw() -> None:
    made = Boxes.make(boxes(0).float(), torch.arange(6), height_px=torch.arange(6.0))
    moved = move_annotations(made, elements(0).float())
    assert torch.equal(moved.labels, made.labels)
    assert torch.equal(moved.height_px, made.height_px)
    assert not torch.equal(moved.values, made.values)


def test_draws_are_in_their_ranges_and_the_product_is_theirs() -> None:
    motions = PointMotions(flip=(0.0, 0.25))
    drawn = motions.sample((4000, 2), torch.Generator().manual_seed(0))
    assert (drawn["flip"][..., 0] == 1).all()
    assert (drawn["flip"][..., 1] < 0).float().mean() == pytest.approx(0.25, abs=0.02)
    assert drawn["yaw"].abs().max() <= math.pi / 2
    assert drawn["yaw"].std() == pytest.approx(math.pi / 12**0.5, rel=0.02)
    assert ((drawn["scale"] >= 0.95) & (drawn["scale"] <= 1.05)).all()
    assert drawn["translation"].abs().max() <= 0.2
    torch.testing.assert_close(drawn["motion"], motion(drawn))
    for name, group in motions.groups.items():
        assert drawn[name].shape == (4000, 2, group.dim)
    one = identity((3,))
    points = torch.randn(3, 5, 3)
    assert torch.equal(MOTION.act(one["motion"], points), points)


@pytest.mark.parametrize(
    ("given_range", "message"),
    [
        ({"yaw": (1.0, -1.0)}, r"motions.yaw is \(1.0, -1.0\): give two numbers, low <= high"),
        ({"scale": (0.0, 1.0)}, "factors are more than 0"),
        ({"flip": (0.5, 1.5)}, "give probabilities of x and y"),
        ({"translation": (-math.inf, 0.2)}, "motions.translation"),
    ],
)
def test_a_range_out_of_place_is_told(given_range: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        PointMotions(**given_range)

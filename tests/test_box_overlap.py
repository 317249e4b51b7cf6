from __future__ import annotations

import math

import pytest
import shapely
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ssl_equiv.box_overlap import (
    footprint_overlap,
    overlaps,
    overlaps_of_pairs,
    pairwise_overlaps,
)
from ssl_equiv.boxes import box_corners


def corners(boxes: Tensor) -> Tensor:
    """Of footprints, ``(N, 4, 2)``."""
    return box_corners(boxes)[:, :4, :2]


def boxes(count: int, seed: int, spread: float = 3.0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    place = (torch.rand(count, 3, generator=g) * 2 - 1) * spread
    size = torch.rand(count, 3, generator=g) * 4 + 0.1
    return torch.cat([place, size, torch.randn(count, 1, generator=g) * 9], 1).double()


def reference(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Areas by shapely, heights one by one."""
    one, other = (shapely.polygons(corners(x).numpy()) for x in (a, b))
    shared = torch.from_numpy(shapely.area(shapely.intersection(one[:, None], other)))
    area = [torch.from_numpy(shapely.area(x)) for x in (one, other)]
    flat = shared / (area[0][:, None] + area[1] - shared)
    low, high = ([x[:, 2] + s * x[:, 5] / 2 for x in (a, b)] for s in (-1, 1))
    tall = torch.minimum(high[0][:, None], high[1]) - torch.maximum(low[0][:, None], low[1])
    volume = shared * tall.clamp_min(0)
    whole = (area[0] * a[:, 5])[:, None] + area[1] * b[:, 5] - volume
    return flat, volume / whole


@pytest.mark.parametrize("far", [0.0, 1000.0])
def test_it_is_what_shapely_finds(far: float) -> None:
    a, b = boxes(150, 0), boxes(200, 1)
    a[:, :2] += far
    b[:, :2] += far
    found, expected = pairwise_overlaps(a, b), reference(a, b)
    assert (expected[0] > 0.01).sum() > 8_000
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-12 * (1 + far), rtol=0)


@settings(max_examples=200, deadline=None)
@given(
    shift=st.tuples(*[st.sampled_from([-4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0])] * 2),
    turn=st.sampled_from([0.0, math.pi / 4, math.pi / 2, math.pi, -3 * math.pi, 1e-9, 1e-15]),
    both=st.floats(-10, 10),
    nudge=st.sampled_from([0.0, 1e-17, -1e-15, 1e-12]),
)
def test_shared_edges_and_corners_do_no_harm(
    shift: tuple[float, float], turn: float, both: float, nudge: float
) -> None:
    """Boxes of which edges touch, coincide or nearly do, in any direction."""
    a = torch.tensor([[0.0, 0, 0, 4, 2, 1, 0]], dtype=torch.float64)
    b = torch.tensor([[shift[0] + nudge, shift[1], 0, 4, 2, 1, turn]], dtype=torch.float64)
    expected = footprint_of(a) & footprint_of(b)
    cos, sin = math.cos(both), math.sin(both)
    rotation = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
    for box in (a, b):
        box[:, :2] = box[:, :2] @ rotation.T
        box[:, 6] += both
    assert footprint_overlap(a, b).item() == pytest.approx(expected.area, abs=1e-12)


def footprint_of(box: Tensor) -> shapely.Polygon:
    return shapely.Polygon(corners(box)[0].tolist())


def test_known_overlaps() -> None:
    a = torch.tensor([0.0, 0, 0, 4, 2, 2, 0])
    cases = {
        (0.0, 0, 0, 4, 2, 2, 0): (1.0, 1.0),  # itself
        (0.0, 0, 0, 4, 2, 2, math.pi): (1.0, 1.0),  # turned round
        (0.0, 0, 0, 2, 4, 2, math.pi / 2): (1.0, 1.0),  # the same with sides exchanged
        (1.0, 0, 1, 4, 2, 2, 0): (6 / 10, 6 / 26),  # 3 x 2 of 8 + 8; 1 m of 2
        (0.0, 0, 0, 2, 1, 1, 0.0): (2 / 8, 2 / 16),  # inside
        (0.0, 0, 0, 4, 2, 2, math.pi / 2): (4 / 12, 8 / 24),  # a cross
        (4.0, 0, 0, 4, 2, 2, 0): (0.0, 0.0),  # side by side
        (0.0, 0, 2, 4, 2, 2, 0): (1.0, 0.0),  # on top
        (0.0, 0, 0, 0, 0, 0, 0): (0.0, 0.0),  # nothing
    }
    found = overlaps(a, torch.tensor(list(cases)))
    for mine, theirs in zip(found, zip(*cases.values(), strict=True), strict=True):
        assert mine.tolist() == pytest.approx(theirs, abs=1e-6)  # a float32 π
    nothing = torch.zeros(7)
    assert [float(x) for x in overlaps(nothing, nothing)] == [0.0, 0.0]


def test_an_octagon() -> None:
    """Two unit squares, one turned by 45°, share a regular octagon of area 2 (√2 - 1)."""
    a = torch.tensor([0.0, 0, 0, 1, 1, 1, 0]).double()
    b = a.clone()
    b[6] = math.pi / 4
    assert footprint_overlap(a, b).item() == pytest.approx(2 * (math.sqrt(2) - 1), abs=1e-15)


def test_it_is_symmetric_and_unmoved_by_a_common_motion() -> None:
    a, b = boxes(500, 2), boxes(500, 3)
    forth, back = overlaps(a, b), overlaps(b, a)
    torch.testing.assert_close(forth, back, atol=1e-13, rtol=0)
    cos, sin = math.cos(0.7), math.sin(0.7)
    for box in (a, b):
        x, y = box[:, 0].clone(), box[:, 1].clone()
        box[:, 0], box[:, 1] = cos * x - sin * y + 5, sin * x + cos * y - 3
        box[:, 6] += 0.7
    torch.testing.assert_close(overlaps(a, b), forth, atol=1e-12, rtol=0)


def test_chosen_pairs_are_those_of_the_table() -> None:
    a, b = boxes(40, 4, spread=20), boxes(30, 5, spread=20)
    first, second = torch.randint(0, 40, (99,)), torch.randint(0, 30, (99,))
    flat, solid = pairwise_overlaps(a, b)
    found = overlaps_of_pairs(a, b, first, second)
    torch.testing.assert_close(found, (flat[first, second], solid[first, second]))
    assert [x.shape for x in pairwise_overlaps(a[:0], b)] == [(0, 30), (0, 30)]


def test_it_has_the_gradient_of_the_area() -> None:
    """Moving a 4 x 2 box along x out of an equal one loses 2 m² a metre."""
    a = torch.tensor([1.0, 0, 0, 4, 2, 1, 0], dtype=torch.float64, requires_grad=True)
    footprint_overlap(a, torch.tensor([0.0, 0, 0, 4, 2, 1, 0])).backward()
    assert a.grad is not None
    assert a.grad[0].item() == pytest.approx(-2.0)

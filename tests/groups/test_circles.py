"""SO(2), the hue circle, and the papers' plain hue difference."""

from __future__ import annotations

import math

import torch
from scipy import stats

from ssl_equiv.groups import SO2, Circle, Hue, HueDifference

from .cases import generator


def column(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers)[:, None]


def test_a_plane_rotation_is_counter_clockwise() -> None:
    quarter = torch.tensor([math.pi / 2])
    expected = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    torch.testing.assert_close(SO2().act(quarter, torch.eye(2)), expected)
    torch.testing.assert_close(SO2().act(quarter, torch.eye(2)), SO2().matrix(quarter).mT)


def test_hues_wrap_below_one() -> None:
    hues = column(-1e-10, 1.0, -0.0, 2.75)  # float32: 1 - 1e-10 is 1
    wrapped = Hue().exp(hues)
    torch.testing.assert_close(wrapped, column(0.0, 0.0, 0.0, 0.75))
    assert ((wrapped >= 0) & (wrapped < 1)).all()


def test_nearly_equal_hues_are_near_across_red() -> None:
    red, pink = torch.tensor([0.02]), torch.tensor([0.98])
    assert torch.allclose(Hue().log(Hue().relative(red, pink)), torch.tensor([-0.04]))
    assert torch.allclose(Hue().distance(red, pink), torch.tensor(0.04))
    assert torch.allclose(HueDifference().relative(red, pink), torch.tensor([0.96]))
    assert torch.allclose(HueDifference().distance(red, pink), torch.tensor(0.96))


def test_half_a_turn_has_a_positive_logarithm() -> None:
    for group in (SO2(), Hue()):
        half = torch.tensor([group.turn / 2])
        assert torch.equal(group.log(half), half)
        assert torch.equal(group.log(group.inverse(half)), half)


def test_circles_are_sampled_uniformly() -> None:
    def check(group: Circle, low: float | None, high: float | None, a: float, b: float) -> None:
        g = group.sample((20_000,), generator=generator(4), low=low, high=high)[:, 0]
        assert stats.kstest(g.numpy(), stats.uniform(a, b - a).cdf).pvalue > 0.01

    check(SO2(), None, None, -math.pi, math.pi)
    check(SO2(), 0.5, 1.0, 0.5, 1.0)
    check(SO2(), 0.0, 2 * math.pi, -math.pi, math.pi)
    check(Hue(), None, None, 0.0, 1.0)
    check(Hue(), 0.5, 0.7, 0.5, 0.7)


def test_a_range_may_cross_the_seam() -> None:
    g = Hue().sample((1000,), generator=generator(), low=-0.1, high=0.1)
    assert ((g < 0.1 + 1e-6) | (g > 0.9 - 1e-6)).all()
    assert (g < 0.5).float().mean().sub(0.5).abs() < 0.1

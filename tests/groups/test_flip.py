"""Flips."""

from __future__ import annotations

import pytest
import torch

from ssl_equiv.groups import Flip

from .cases import generator


def test_ranges_are_probabilities() -> None:
    g = Flip(4).sample(
        (20_000,), generator=generator(), low=[-1.0, 1.0, -0.2, -1.0], high=[-1.0, 1.0, 0.8, 1.0]
    )
    flipped = (g < 0).float().mean(0)
    torch.testing.assert_close(flipped, torch.tensor([1.0, 0.0, 0.2, 0.5]), atol=0.015, rtol=0)
    assert (g.abs() == 1).all()
    even = (Flip(1).sample((20_000,), generator=generator()) < 0).float().mean()
    assert abs(even - 0.5) < 0.015


def test_a_flip_mirrors_its_axes_and_counts_them() -> None:
    group, g = Flip(3), torch.tensor([1.0, -1.0, -1.0])
    assert torch.equal(group.act(g, torch.ones(2, 3)), g.expand(2, 3))
    assert torch.equal(group.compose(g, g), group.identity())
    assert group.distance(g, group.identity()) == 2


def test_something_must_flip() -> None:
    with pytest.raises(ValueError, match="need n >= 1, got 0"):
        Flip(0)

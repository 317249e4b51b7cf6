"""Translations and scalings."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from ssl_equiv.groups import Scale, Translation

from .cases import generator


def test_a_translation_s_matrix_moves_homogeneous_points() -> None:
    group = Translation(3)
    g = group.sample((5,), generator=generator())
    points = torch.randn(5, 7, 3, generator=generator())
    homogeneous = torch.cat((points, torch.ones(5, 7, 1)), dim=-1)
    moved = homogeneous @ group.matrix(g).mT
    torch.testing.assert_close(group.act(g, points), moved[..., :3])


def test_translations_are_uniform_in_their_box() -> None:
    low, high = [-2.0, 0.5], [1.0, 0.5]
    g = Translation(2).sample((20_000,), generator=generator(1), low=low, high=high)
    assert stats.kstest(g[:, 0].numpy(), stats.uniform(-2, 3).cdf).pvalue > 0.01
    assert (g[:, 1] == 0.5).all()


def test_scales_are_log_uniform() -> None:
    g = Scale().sample((20_000,), generator=generator(2), low=0.95, high=1.05)
    assert stats.kstest(g[:, 0].numpy(), stats.loguniform(0.95, 1.05).cdf).pvalue > 0.01


def test_a_scale_multiplies_every_coordinate() -> None:
    assert torch.equal(Scale(2).matrix(torch.tensor([3.0])), 3 * torch.eye(2))
    assert torch.equal(Scale(2).act(torch.tensor([3.0]), torch.ones(4, 2)), torch.full((4, 2), 3.0))


@pytest.mark.parametrize("group", [Translation, Scale])
def test_a_space_has_a_dimension(group: type[Translation] | type[Scale]) -> None:
    with pytest.raises(ValueError, match="need n >= 1, got 0"):
        group(0)

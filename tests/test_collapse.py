from __future__ import annotations

import numpy as np
import pytest
import torch

from ssl_equiv.collapse import effective_rank, entropy_rank, spread


def test_spread() -> None:
    torch.manual_seed(0)
    assert spread(torch.randn(4000, 32)).item() == pytest.approx(1, abs=0.02)
    assert spread(torch.ones(10, 32)).item() == pytest.approx(0, abs=1e-6)
    assert spread(torch.ones(50, 32) + 0.01 * torch.randn(50, 32)).item() < 0.02


def test_effective_rank() -> None:
    torch.manual_seed(0)
    for rank in (1, 3, 8):
        directions, _ = torch.linalg.qr(torch.randn(32, rank))
        points, _ = torch.linalg.qr(torch.randn(200, rank) - torch.randn(200, rank).mean(0))
        features = (points - points.mean(0)) @ directions.T
        assert effective_rank(features).item() == pytest.approx(rank, rel=0.05)


def test_entropy_rank_is_that_of_the_definition() -> None:
    values = np.array([3.0, 2.0, 1.0, 0.0])
    share = values[:3] / 6
    expected = np.exp(-(share * np.log(share)).sum())
    assert entropy_rank(torch.tensor(values)).item() == pytest.approx(expected, rel=1e-12)
    share = values / 6 + 1e-7  # with RankMe's constant
    expected = np.exp(-(share * np.log(share)).sum())
    assert entropy_rank(torch.tensor(values), 1e-7).item() == pytest.approx(expected, rel=1e-12)
    assert entropy_rank(torch.zeros(4)).item() == 1  # nothing varies: one point

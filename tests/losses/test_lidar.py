from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.distance import cdist

from ssl_equiv.losses.lidar import chamfer, normalized_error, point_info_nce


@pytest.mark.parametrize("temperature", [0.2, 0.02])  # there are two ways to the same sums
def test_point_contrast_against_a_loop(temperature: float) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(2, 3, 6, 5, dtype=torch.float64)
    known = torch.rand(3, 6) < 0.7
    known[1] = False
    found = point_info_nce(x, y, known, temperature)
    for sweep in range(3):
        there = known[sweep].nonzero()[:, 0].tolist()
        for row in range(6):
            if row not in there:
                assert found[sweep, row] == 0
                continue
            logits = [
                torch.stack([F.cosine_similarity(one[row], other[p], dim=0) for p in there])
                / temperature
                for one, other in ((x[sweep], y[sweep]), (y[sweep], x[sweep]))
            ]
            want = sum(F.cross_entropy(scores, torch.tensor(there.index(row))) for scores in logits)
            torch.testing.assert_close(found[sweep, row], want / 2)


def test_both_ways_have_the_gradients_of_finite_differences() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(2, 2, 5, 3, dtype=torch.float64, requires_grad=True)
    known = torch.tensor([[True, True, False, True, True], [True, False, False, True, False]])
    for temperature in (0.3, 0.02):
        assert torch.autograd.gradcheck(
            lambda a, b, t=temperature: point_info_nce(a, b, known, t), (x, y)
        )


def test_point_contrast_at_its_best_and_where_all_are_alike() -> None:
    known = torch.ones(1, 8, dtype=torch.bool)
    apart = torch.eye(8)[None]
    assert point_info_nce(3 * apart, apart, known, 0.01).max() < 1e-6
    alike = torch.ones(1, 8, 4)
    torch.testing.assert_close(point_info_nce(alike, alike, known), torch.full((1, 8), math.log(8)))


def test_a_sweep_without_matches_leaves_gradients_finite() -> None:
    x = torch.randn(2, 4, 3, requires_grad=True)
    known = torch.tensor([[True, True, False, False], [False] * 4])
    point_info_nce(x, torch.randn(2, 4, 3), known).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert (x.grad[~known] == 0).all()
    assert (x.grad[0, :2] != 0).any()


def test_normalized_error_is_two_minus_two_cosines() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(2, 7, 5)
    want = (2 - 2 * F.cosine_similarity(x, y, dim=1)) / 5
    torch.testing.assert_close(normalized_error(x, y), want)
    torch.testing.assert_close(normalized_error(x, 4 * x), torch.zeros(7))
    torch.testing.assert_close(normalized_error(x, -x), torch.full((7,), 4 / 5))


def test_chamfer_against_scipy() -> None:
    torch.manual_seed(0)
    drawn, there = torch.randn(3, 4, 3, dtype=torch.float64), torch.randn(3, 6, 3).double()
    known = torch.arange(6) < torch.tensor([6, 1, 3])[:, None]
    found = chamfer(drawn, there, known)
    for row in range(3):
        squares = cdist(drawn[row], there[row, known[row]], "sqeuclidean")
        assert found[row].item() == pytest.approx(squares.min(1).mean() + squares.min(0).mean())
    assert chamfer(there[:, :4], there, torch.arange(6).expand(3, 6) < 4).max() == 0


@pytest.mark.parametrize(
    "loss", [normalized_error, lambda x, y: point_info_nce(x[None], y[None], torch.ones(1, 8) > 0)]
)
def test_half_precision_is_computed_in_single(loss) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    x, y = torch.randn(2, 8, 16).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(x, y)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, loss(x.float(), y.float()))

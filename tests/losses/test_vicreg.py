from __future__ import annotations

import pytest
import torch
from lightly.loss.vicreg_loss import covariance_loss, invariance_loss, variance_loss

from ssl_equiv.losses import covariance, invariance, variance


@pytest.mark.parametrize(("num", "dim"), [(7, 30), (30, 7), (16, 16), (2, 5)])
def test_against_lightly(num: int, dim: int) -> None:
    generator = torch.Generator().manual_seed(num)
    x = torch.randn(num, dim, generator=generator, dtype=torch.double, requires_grad=True)
    y = torch.randn(num, dim, generator=generator, dtype=torch.double) @ torch.diag(
        torch.linspace(0.1, 3, dim, dtype=torch.double)
    )
    for ours, theirs, args in (
        (covariance, covariance_loss, (x + y,)),
        (variance, variance_loss, (0.3 * x + y,)),
        (invariance, invariance_loss, (x, y)),
    ):
        have, want = ours(*args), theirs(*args)
        torch.testing.assert_close(have, want)
        (have_grad,) = torch.autograd.grad(have, x, retain_graph=True)
        (want_grad,) = torch.autograd.grad(want, x)
        torch.testing.assert_close(have_grad, want_grad)


def test_known_values() -> None:
    x = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    # variances and the covariance are 2: two off-diagonal entries squared, over D = 2
    torch.testing.assert_close(covariance(x), torch.tensor(4.0))
    assert variance(x) == 0
    torch.testing.assert_close(variance(torch.zeros(3, 4)), torch.tensor(1 - 1e-2))
    assert invariance(x, x) == 0


def test_half_precision_is_lifted_to_float32() -> None:
    x = torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
    half = x.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        for loss in (covariance, variance):
            have = loss(half)
            assert have.dtype == torch.float32
            torch.testing.assert_close(have, loss(half.float()))

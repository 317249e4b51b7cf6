from __future__ import annotations

import pytest
import torch
from lightly.loss import NTXentLoss

from ssl_equiv.losses import info_nce


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_is_lightlys(temperature: float) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(2, 7, 5)
    torch.testing.assert_close(info_nce(x, y, temperature), NTXentLoss(temperature)(x, y))


def test_scale_does_not_matter_and_precision_is_kept() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(2, 7, 5)
    torch.testing.assert_close(info_nce(3 * x, 0.1 * y), info_nce(x, y))
    with torch.autocast("cpu", torch.bfloat16):
        assert info_nce(x.bfloat16(), y.bfloat16()).dtype == torch.float32
        torch.testing.assert_close(info_nce(x, y), info_nce(x, y))


def test_gradients() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(2, 4, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(info_nce, (x, y))

from __future__ import annotations

import pytest
import torch

from ssl_equiv.errors import UserError
from ssl_equiv.heads import MaskPredictor
from ssl_equiv.heads.mask_predictor import position_code


def test_only_the_context_is_seen() -> None:
    torch.manual_seed(0)
    predictor = MaskPredictor(6, width=8, depth=2).eval()
    context = torch.zeros(2, 5, 5, dtype=torch.bool)
    context[:, :2] = True
    target = torch.zeros_like(context)
    target[:, 3, 1:3] = True
    features = torch.randn(2, 6, 5, 5)
    want = predictor(features, context, target)
    hidden = torch.where(context.unsqueeze(1), features, 100.0)
    torch.testing.assert_close(predictor(hidden, context, target), want)
    seen = torch.where(context.unsqueeze(1), features + 1, features)
    assert not torch.allclose(predictor(seen, context, target)[:, :, 3, 1], want[:, :, 3, 1])


def test_every_cell_has_a_position_of_its_own() -> None:
    codes = position_code(torch.zeros(1, 16, 12, 9)).flatten(1).T
    assert codes.shape == (108, 16)
    distance = torch.cdist(codes, codes) + torch.eye(108)
    assert distance.min() > 1e-2


def test_bad_input() -> None:
    with pytest.raises(UserError, match="multiple of 4"):
        MaskPredictor(6, width=10)

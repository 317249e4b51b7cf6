from __future__ import annotations

import numpy as np
import pytest
import torch

from ssl_equiv.losses import cosine_distance, masked_regression


def test_cosine_distance_by_hand() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 5, 7))
    want = 1 - np.mean([a @ b / np.sqrt((a @ a) * (b @ b)) for a, b in zip(x, y, strict=True)])
    have = cosine_distance(torch.from_numpy(x), torch.from_numpy(y))
    assert have.item() == pytest.approx(want, abs=1e-12)
    assert cosine_distance(torch.from_numpy(x), torch.from_numpy(-3 * x)).item() == pytest.approx(2)


def test_cosine_distance_is_single_precision_under_autocast() -> None:
    x = torch.randn(4, 8, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert cosine_distance(x, torch.randn(4, 8)).dtype == torch.float32


def test_masked_regression_by_hand() -> None:
    rng = np.random.default_rng(1)
    prediction, target = rng.normal(size=(2, 2, 6, 3, 4))
    mask = rng.random((2, 3, 4)) < 0.5
    images = []
    for p, t, m in zip(prediction, target, mask, strict=True):
        cells = []
        for row, column in zip(*np.nonzero(m), strict=True):
            wanted = t[:, row, column]
            wanted = (wanted - wanted.mean()) / np.sqrt(wanted.var() + 1e-5)
            cells.append(np.mean((p[:, row, column] - wanted) ** 2))
        images.append(np.mean(cells))
    arrays = (torch.from_numpy(a) for a in (prediction, target, mask))
    assert masked_regression(*arrays).item() == pytest.approx(np.mean(images), rel=1e-5)


def test_an_image_without_masked_cells_adds_nothing() -> None:
    prediction = torch.randn(2, 6, 3, 4, requires_grad=True)
    loss = masked_regression(prediction, torch.randn(2, 6, 3, 4), torch.zeros(2, 3, 4).bool())
    loss.backward()
    assert loss == 0
    assert prediction.grad is not None
    assert not prediction.grad.any()

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from scipy.special import hyp0f1
from torch import Tensor

from eval.geometry import (
    Alignment,
    Spectrum,
    Spread,
    Uniformity,
    alignment,
    dead_columns,
    participation_ratio,
    rankme,
    strangers,
    uniformity,
)
from ssl_equiv.collapse import effective_rank, spread
from ssl_equiv.errors import UserError


def made(objects: int = 30, views: int = 4, width: int = 12, offset: float = 0.0) -> Tensor:
    """Views around their object's centre, columns of different sizes, the last one constant."""
    generator = torch.Generator().manual_seed(objects)
    centres = torch.randn(objects, 1, width, generator=generator)
    features = centres + 0.3 * torch.randn(objects, views, width, generator=generator)
    features = features * torch.logspace(0, -2, width) + offset
    features[..., -1] = 0.7
    return features


def unit(features: Tensor) -> np.ndarray:
    x = features.double().numpy()
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def stream(metric, features: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
    """In batches of different sizes."""
    for some in (features[:1], features[1:18], features[18:]):
        metric.update(some)
    return metric.compute()


@pytest.mark.parametrize("offset", [0.0, 5.0])
def test_ranks_are_those_of_the_singular_values(offset: float) -> None:
    features = made(offset=offset)
    x = features.flatten(0, 1).double().numpy()
    found = stream(Spectrum(12), features)

    sigma = np.linalg.svd(x, compute_uv=False)
    p = sigma / sigma.sum() + 1e-7
    expected = {"rankme": np.exp(-(p * np.log(p)).sum())}
    sigma = np.linalg.svd(x - x.mean(0), compute_uv=False)[:11]  # the twelfth column is constant
    p = sigma / sigma.sum()
    expected["effective_rank"] = np.exp(-(p * np.log(p)).sum())
    expected["participation_ratio"] = (sigma**2).sum() ** 2 / (sigma**4).sum()
    expected["dead_columns"] = 1 / 12
    for name, value in expected.items():
        assert found[name].item() == pytest.approx(value, rel=1e-5), name
    np.testing.assert_allclose(found["deviations"][:11], sigma / math.sqrt(119), rtol=1e-5)
    assert found["deviations"][11].item() == pytest.approx(0, abs=1e-6)

    flat = features.flatten(0, 1)  # the functional twins
    assert rankme(flat).item() == pytest.approx(expected["rankme"], rel=1e-9)
    assert participation_ratio(flat).item() == pytest.approx(expected["participation_ratio"])
    assert effective_rank(flat).item() == pytest.approx(expected["effective_rank"], rel=1e-3)
    assert dead_columns(flat).item() == 1 / 12


def test_ranks_count_directions() -> None:
    generator = torch.Generator().manual_seed(0)
    directions, _ = torch.linalg.qr(torch.randn(32, 5, generator=generator))
    features = torch.randn(5000, 5, generator=generator) @ directions.T
    found = stream(Spectrum(32), features)
    for name in ("rankme", "effective_rank", "participation_ratio"):
        assert found[name].item() == pytest.approx(5, abs=0.03)
    assert (found["deviations"][5:] < 1e-6).all()
    off = stream(Spectrum(32), features + 100)  # RankMe sees the offset as one more direction
    assert off["rankme"].item() < 1.5
    assert off["effective_rank"].item() == pytest.approx(5, abs=0.03)


def test_ranks_of_features_that_are_all_one() -> None:
    found = stream(Spectrum(8), torch.full((40, 8), 0.3))
    ranks = [found[name].item() for name in ("rankme", "effective_rank", "participation_ratio")]
    assert ranks == pytest.approx([1, 1, 1], abs=1e-4)
    assert found["dead_columns"].item() == 1
    zeros = stream(Spectrum(8), torch.zeros(40, 8))
    assert all(torch.isfinite(value).all() for value in zeros.values())
    one = stream(Spectrum(1), torch.randn(40, 1))
    assert one["effective_rank"].item() == pytest.approx(1)
    metric = Spectrum(8)
    metric.update(torch.zeros(1, 8))
    with pytest.raises(UserError, match="two or more"):
        metric.compute()


def test_alignment_is_the_mean_over_pairs() -> None:
    features = made()
    u = unit(features)
    pairs = [((a[i] - a[j]) ** 2).sum() for a in u for i in range(4) for j in range(i)]
    flat = u.reshape(-1, 12)
    anyone = ((flat[:, None] - flat[None]) ** 2).sum(-1).mean()
    assert alignment(features).item() == pytest.approx(np.mean(pairs), rel=1e-5)
    assert strangers(features).item() == pytest.approx(anyone, rel=1e-5)
    found = stream(Alignment(12), features)
    assert found["alignment"].item() == pytest.approx(np.mean(pairs), rel=1e-5)
    assert found["strangers"].item() == pytest.approx(anyone, rel=1e-5)


def test_alignment_at_its_ends() -> None:
    same = torch.randn(6, 1, 4).expand(6, 3, 4)
    assert alignment(same).item() == pytest.approx(0, abs=1e-6)
    opposite = torch.stack([same[:, 0], -same[:, 0]], dim=1)
    assert alignment(opposite).item() == pytest.approx(4, rel=1e-6)
    with pytest.raises(UserError, match="objects have one"):
        alignment(same[:, :1])


def test_uniformity_is_the_mean_over_pairs() -> None:
    features = made(400).flatten(0, 1)  # more than fit into one block of distances
    for t in (2.0, 0.5):
        expected = np.log(np.exp(-t * pdist(unit(features), "sqeuclidean")).mean())
        assert uniformity(features, t).item() == pytest.approx(expected, rel=1e-5)
        assert stream(Uniformity(t), features).item() == pytest.approx(expected, rel=1e-5)


def test_uniformity_at_its_ends() -> None:
    assert uniformity(torch.ones(50, 8)).item() == pytest.approx(0, abs=1e-5)
    for width in (3, 128):  # uniform on the sphere: E exp(2t u·v) has a closed form
        features = torch.randn(4000, width, generator=torch.Generator().manual_seed(0))
        expected = math.log(hyp0f1(width / 2, 4.0)) - 4
        assert uniformity(features).item() == pytest.approx(expected, abs=0.01)
    with pytest.raises(UserError, match="one view"):
        uniformity(torch.ones(1, 8))


def test_spread_adds_up() -> None:
    features = made(offset=1.0)
    expected = unit(features).reshape(-1, 12).std(axis=0, ddof=1).mean() * math.sqrt(12)
    assert stream(Spread(12), features).item() == pytest.approx(expected, rel=1e-5)
    assert spread(features.flatten(0, 1)).item() == pytest.approx(expected, rel=1e-5)

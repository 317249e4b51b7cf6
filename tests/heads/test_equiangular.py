from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from ssl_equiv.errors import UserError
from ssl_equiv.heads import (
    EquiangularHead,
    coherence,
    equiangular_basis,
    extend_basis,
    quality,
)
from ssl_equiv.heads.equiangular import _basis
from ssl_equiv.heads.frames import paley, quadratic_forms, simplex, welch_bound
from ssl_equiv.losses.equiangular import equiangular_loss

GOLDEN = Path(__file__).parents[1] / "golden" / "ebv_repo_head.npz"


@pytest.fixture(autouse=True)
def _few_steps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "slow" not in request.keywords:
        monkeypatch.setattr("ssl_equiv.heads.equiangular._MOST_STEPS", 300)
        _basis.cache_clear()


def gram(basis: torch.Tensor) -> torch.Tensor:
    return basis.double() @ basis.double().T


def largest(basis: torch.Tensor) -> float:
    return (gram(basis).abs() - torch.eye(len(basis), dtype=torch.float64)).max().item()


@pytest.mark.parametrize("num_vectors", [1, 2, 40, 64])
def test_up_to_the_dimension_they_are_orthonormal(num_vectors: int) -> None:
    basis = equiangular_basis(num_vectors, 64)
    expected = torch.eye(num_vectors, dtype=torch.float64)
    torch.testing.assert_close(gram(basis), expected, atol=1e-6, rtol=0)
    assert torch.equal(basis, equiangular_basis(64, 64)[:num_vectors])


@pytest.mark.parametrize("dim", [1, 2, 7, 100])
def test_one_more_is_the_simplex(dim: int) -> None:
    basis = equiangular_basis(dim + 1, dim)
    off = gram(basis)[~torch.eye(dim + 1, dtype=torch.bool)]
    torch.testing.assert_close(off, torch.full_like(off, -1 / dim), atol=1e-6, rtol=0)
    assert largest(simplex(dim)) == pytest.approx(welch_bound(dim + 1, dim))


@pytest.mark.parametrize(("num_vectors", "dim"), [(6, 3), (14, 7), (198, 99), (30, 15)])
def test_paley_frames_reach_the_welch_bound(num_vectors: int, dim: int) -> None:
    frame = paley(num_vectors, dim)
    assert frame is not None
    assert frame.shape == (num_vectors, dim)
    assert largest(frame) == pytest.approx(welch_bound(num_vectors, dim), abs=1e-9)
    assert largest(equiangular_basis(num_vectors, dim)) < 1.001 * welch_bound(num_vectors, dim)


@pytest.mark.parametrize(
    ("num_vectors", "dim", "wanted"),
    [
        (136, 16, 1 / 4),  # Kerdock: 8 + 1 bases that are mutually unbiased
        (2112, 64, 1 / 8),
        (1056, 32, 1 / 4),  # Gold: 32 + 1 bases
        (300, 40, 1 / 4),  # dimensions that are left over stay empty
        (2000, 128, 1 / 8),
        (6000, 64, 1 / 2),  # more than Kerdock has
    ],
)
def test_quadratic_forms(num_vectors: int, dim: int, wanted: float) -> None:
    frame = quadratic_forms(num_vectors, dim)
    assert frame is not None
    torch.testing.assert_close(frame.norm(dim=1), torch.ones(num_vectors))
    assert largest(frame) == pytest.approx(wanted, abs=1e-6)
    assert torch.equal(quadratic_forms(num_vectors - 40, dim), frame[:-40])


def test_many_vectors_are_far_below_random_ones() -> None:
    basis = equiangular_basis(10_000, 512)
    assert basis.shape == (10_000, 512)
    some = basis[torch.randperm(10_000, generator=torch.Generator().manual_seed(0))[:2000]]
    assert coherence(some) == pytest.approx(1 / 16, abs=1e-6)
    random = normalize(torch.randn(2000, 512, generator=torch.Generator().manual_seed(0)), dim=1)
    assert coherence(random) > 3 / 16


@pytest.mark.slow
@pytest.mark.parametrize(("num_vectors", "dim", "ratio"), [(200, 100, 1.08), (1000, 100, 1.35)])
def test_refined_bases_come_near_the_bound(num_vectors: int, dim: int, ratio: float) -> None:
    basis = equiangular_basis(num_vectors, dim)
    assert 1 <= largest(basis) / welch_bound(num_vectors, dim) <= ratio


def test_it_is_deterministic_and_seeded() -> None:
    one = equiangular_basis(12, 5, seed=3)
    _basis.cache_clear()
    assert torch.equal(one, equiangular_basis(12, 5, seed=3))
    assert not torch.equal(one, equiangular_basis(12, 5, seed=4))
    assert largest(one) < 1.25 * welch_bound(12, 5)


def test_blockwise_coherence(monkeypatch: pytest.MonkeyPatch) -> None:
    basis = normalize(torch.randn(50, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    monkeypatch.setattr("ssl_equiv.heads.equiangular._BLOCK", 7)
    assert coherence(basis) == pytest.approx(largest(basis), abs=1e-6)
    assert coherence(basis[:1]) == 0


def test_quality_is_told() -> None:
    assert quality(equiangular_basis(30, 64)) == (pytest.approx(0, abs=1e-6), 0, 1)
    for size in ((65, 64), (198, 99)):  # simplex and Paley frame: nothing is better
        found = quality(equiangular_basis(*size))
        assert found.bound == welch_bound(*size)
        assert found.ratio == pytest.approx(1, abs=1e-3)
    random = normalize(torch.randn(50, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    assert quality(random).ratio == pytest.approx(largest(random) / welch_bound(50, 8), rel=1e-5)
    assert quality(random[:2]).ratio == math.inf  # two could be orthogonal
    with pytest.raises(UserError, match="no basis of unit vectors"):
        quality(2 * random)


def test_the_published_head() -> None:
    with np.load(GOLDEN, allow_pickle=False) as golden:
        arrays = {name: torch.from_numpy(np.array(golden[name])) for name in golden.files}
    head = EquiangularHead(40, 40, projection=False)
    head.basis = arrays["basis"]
    features = arrays["features"].requires_grad_()
    torch.testing.assert_close(head(features), arrays["logits"], rtol=1e-4, atol=1e-5)
    loss = equiangular_loss(head.project(features), arrays["labels"], head.basis)
    assert loss.item() == pytest.approx(arrays["loss"].item(), rel=1e-4)
    loss.backward()
    torch.testing.assert_close(features.grad, arrays["grad/features"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("margin", [0.0, 0.2])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_blocks_change_nothing(margin: float, smoothing: float) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(9, 16, dtype=torch.float64, generator=generator).requires_grad_()
    label = torch.randint(130, (9,), generator=generator)
    basis = quadratic_forms(130, 16)
    assert basis is not None
    cosines = normalize(features, dim=1) @ basis.double().T
    cosines = cosines - margin * torch.nn.functional.one_hot(label, 130)
    expected = cross_entropy(cosines / 0.07, label, label_smoothing=smoothing)
    (wanted,) = torch.autograd.grad(expected, features)
    for block in (1000, 130, 64, 7):
        loss = equiangular_loss(
            features, label, basis.double(), smoothing=smoothing, margin=margin, block=block
        )
        torch.testing.assert_close(loss, expected)
        (found,) = torch.autograd.grad(loss, features)
        torch.testing.assert_close(found, wanted)


def test_the_head_learns_and_predicts() -> None:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(30, 24, generator=generator)
    label = torch.arange(300) % 30
    features = centres[label] + 0.2 * torch.randn(300, 24, generator=generator)
    torch.manual_seed(0)
    head = EquiangularHead(24, 30, dim=16)
    assert [name for name, _ in head.named_parameters()] == ["project.weight", "project.bias"]
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        equiangular_loss(head.project(features), label, head.basis).backward()
        optimizer.step()
    assert (head.predict(features) == label).float().mean() > 0.97
    assert torch.equal(head.predict(features), head(features).argmax(dim=1))
    assert (head.predict(features, coarse_dims=12) == label).float().mean() > 0.9


def test_features_are_projected_unless_told_otherwise() -> None:
    bare, head = EquiangularHead(16, 20, projection=False), EquiangularHead(16, 20)
    assert not list(bare.parameters())
    assert [name for name, _ in head.named_parameters()] == ["project.weight", "project.bias"]
    x = torch.randn(3, 16)
    torch.testing.assert_close(bare(head.project(x)), head(x))


def test_approximate_search_among_many(monkeypatch: pytest.MonkeyPatch) -> None:
    head = EquiangularHead(256, 40_000, projection=False)
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(40_000, (200,), generator=generator)
    label[:20] = torch.arange(20) * 12  # of the coordinates' basis, which is zero in most places
    features = head.basis[label] + 0.05 * torch.randn(200, 256, generator=generator)
    exact = head.predict(features)
    assert torch.equal(exact, head(features).argmax(dim=1))
    assert (exact == label).float().mean() > 0.99
    assert (head.predict(features, coarse_dims=128) == exact).float().mean() > 0.97
    assert head.predict(features, coarse_dims=128)[:20].tolist() == exact[:20].tolist()
    # least of all is missed with more dimensions, and nothing with all
    assert torch.equal(head.predict(features, coarse_dims=256), exact)
    monkeypatch.setattr("ssl_equiv.heads.equiangular_head._BLOCK", 999)
    assert torch.equal(head.predict(features), exact)
    head.extend(40_010)  # the projected basis is made anew
    assert (head.predict(head.basis[-10:], coarse_dims=128) >= 40_000).all()


def test_many_classes_take_no_gradient_of_their_size() -> None:
    basis = equiangular_basis(30_000, 128)
    features = torch.randn(4, 128, requires_grad=True)
    held: list[int] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() != basis.data_ptr():
            held.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = equiangular_loss(features, torch.arange(4), basis, block=1000)
    loss.backward()
    assert basis.grad is None
    assert max(held) < 4 * 30_000  # not even a row of logits


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_whose_norms_overflow(dtype: torch.dtype) -> None:
    head = EquiangularHead(256, 40, projection=False)
    features = (6000 * torch.randn(8, 256, generator=torch.Generator().manual_seed(0))).to(dtype)
    assert not torch.isfinite(features.half().norm(dim=1)).any()
    wanted = head(features.double().float())
    torch.testing.assert_close(head(features), wanted)
    label = torch.arange(8)
    for block in (10, 100):
        half = features.clone().requires_grad_()
        loss = equiangular_loss(half, label, head.basis, block=block)
        expected = cross_entropy(wanted, label, label_smoothing=0.1)
        torch.testing.assert_close(loss, expected)
        loss.backward()
        assert torch.isfinite(half.grad).all()
    assert torch.equal(head.predict(features), wanted.argmax(dim=1))


def test_a_head_that_was_trained_keeps_what_it_knows() -> None:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(20, 32, generator=generator)
    label = torch.arange(400) % 20
    features = centres[label] + 0.2 * torch.randn(400, 32, generator=generator)
    torch.manual_seed(0)
    head = EquiangularHead(32, 12, dim=16)
    first = label < 12

    def fit(x: torch.Tensor, y: torch.Tensor) -> None:
        optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
        for _ in range(150):
            optimizer.zero_grad()
            equiangular_loss(head.project(x), y, head.basis).backward()
            optimizer.step()

    fit(features[first], label[first])
    assert (head.predict(features[first]) == label[first]).float().mean() > 0.97
    old, logits = head.basis.clone(), head(features[first])
    head.extend(20)
    assert torch.equal(head.basis[:12], old)
    assert torch.equal(head(features[first])[:, :12], logits)  # the old classes' are as they were
    fit(features, label)
    assert (head.predict(features) == label).float().mean() > 0.97


def test_classes_that_come_later_leave_the_old_ones() -> None:
    for old, new in ((10, 16), (10, 40), (16, 17), (40, 60)):
        basis = equiangular_basis(old, 16)
        more = extend_basis(basis, new)
        assert more.shape == (new, 16)
        assert torch.equal(more[:old], basis)
        torch.testing.assert_close(more.norm(dim=1), torch.ones(new))
        random = normalize(torch.randn(new, 16, generator=torch.Generator().manual_seed(0)), dim=1)
        assert coherence(more) < 0.75 * coherence(random)
    assert coherence(extend_basis(equiangular_basis(10, 16), 16)) < 1e-5  # there was room
    head = EquiangularHead(16, 10)
    head.extend(12)
    assert head(torch.randn(3, 16)).shape == (3, 12)


def test_bad_input() -> None:
    bound = math.sqrt(100 / (100 * 199))
    with pytest.raises(UserError, match=r"both must be 1 or more"):
        equiangular_basis(0, 4)
    with pytest.raises(UserError, match=rf"the Welch bound is {bound:.4f}; ask for more"):
        equiangular_basis(200, 100, max_coherence=0.05)
    with pytest.raises(UserError, match=r"found have a coherence of .*, above 0.2295"):
        equiangular_basis(20, 10, max_coherence=0.2295)
    for sizes in ((4, 0), (-1, 4)):
        with pytest.raises(UserError, match=r"both must be 1 or more"):
            equiangular_basis(*sizes)
    for options in ({"temperature": 0.0}, {"dim": 0}):
        with pytest.raises(UserError, match="1 or more"):
            EquiangularHead(16, 10, **options)
    with pytest.raises(UserError, match="16 features and vectors of dimension 8: leave projection"):
        EquiangularHead(16, 10, dim=8, projection=False)
    with pytest.raises(UserError, match="coarse_dims is 17: choose from 1 to 16"):
        EquiangularHead(16, 10).predict(torch.randn(2, 16), coarse_dims=17)
    with pytest.raises(UserError, match="a basis of 10 vectors cannot be extended to 9"):
        extend_basis(equiangular_basis(10, 16), 9)
    with pytest.raises(UserError, match="labels from 0 to 10, but the basis has 10 vectors"):
        equiangular_loss(torch.randn(2, 16), torch.tensor([0, 10]), equiangular_basis(10, 16))
    with pytest.raises(UserError, match="labels from -1 to 0"):
        equiangular_loss(torch.randn(2, 16), torch.tensor([0, -1]), equiangular_basis(10, 16))

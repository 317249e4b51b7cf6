from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from ssl_equiv.errors import UserError
from ssl_equiv.groups import SO2, SO3, Hue, Translation
from ssl_equiv.regularizers import SoftEquivariance
from ssl_equiv.regularizers.soft import code, independent_entries
from tests.methods.views import random_batch

DIM, BATCH = 16, 96
FACTORS = {"rotation": "SO3", "floor_hue": "Hue"}
GROUPS = {"rotation": SO3(), "floor_hue": Hue()}


def built(factors: dict[str, str] = FACTORS, dim: int = DIM) -> SoftEquivariance:
    regularizer = SoftEquivariance(factors)
    regularizer.build(nn.Identity(), {"all": (0, dim)})
    return regularizer


@torch.no_grad()
def randomize(regularizer: SoftEquivariance) -> None:
    for weight in regularizer.moves.parameters():
        weight.normal_(std=0.1)


def total(regularizer: SoftEquivariance, terms: dict[str, Tensor]) -> Tensor:
    return sum((regularizer.weights[n] * t for n, t in terms.items()), torch.zeros(()))


def strengths(regularizer: SoftEquivariance) -> dict[str, float]:
    return {name.split("/")[1]: value.item() for name, value in regularizer.found().items()}


class Scene:
    """Features of which some columns follow one factor, some are the object, the rest is noise."""

    def __init__(self, follows: str | None) -> None:
        self.follows = follows
        size = 0 if follows is None else GROUPS[follows].point_dim
        self.frame = torch.randn(BATCH, size, size)  # of each object
        self.object = torch.randn(BATCH, 3)

    def features(self, elements: dict[str, Tensor], noise: bool = True) -> Tensor:
        parts = [self.object]
        if self.follows is not None:
            matrix = GROUPS[self.follows].matrix(elements[self.follows])
            parts.append((self.frame @ matrix).flatten(1))
        rest = DIM - sum(part.shape[1] for part in parts)
        parts.append(torch.randn(BATCH, rest) if noise else torch.zeros(BATCH, rest))
        return torch.cat(parts, dim=1)

    def pair(self, noise: bool = True) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        start, end = (
            {name: group.sample((BATCH,)) for name, group in GROUPS.items()} for _ in range(2)
        )
        relative = {name: group.relative(start[name], end[name]) for name, group in GROUPS.items()}
        return self.features(start, noise), self.features(end, noise), relative


def learn(follows: str | None, seed: int, steps: int = 150, noise: bool = True) -> dict[str, float]:
    torch.manual_seed(seed)
    regularizer = built()
    optimizer = torch.optim.Adam([regularizer.noise], lr=4e-3)
    for _ in range(steps):
        terms = regularizer.terms_of_pair(*Scene(follows).pair(noise))
        optimizer.zero_grad()
        total(regularizer, terms).backward()
        optimizer.step()
    return strengths(regularizer)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("follows", "other"), [("rotation", "floor_hue"), ("floor_hue", "rotation")]
)
def test_the_strength_tells_which_group_is_followed(follows: str, other: str, seed: int) -> None:
    found = learn(follows, seed)
    assert found[follows] > 0.85
    assert found[other] < 0.05


@pytest.mark.parametrize("noise", [True, False])
def test_invariance_is_not_following(noise: bool) -> None:
    """Neither features that stay, nor columns of noise or without variance, make a strength."""
    assert max(learn(None, 0, 150, noise).values()) < 0.05


def test_the_unexplained_share_is_the_known_one() -> None:
    """With the true predictor, r is noise over noise and motion, whatever else varies."""
    torch.manual_seed(0)
    num, spread = 200_000, 0.5
    regularizer = built({"shift": "Translation(1)"}, 1)
    x, shift = torch.randn(num, 1), torch.rand(num, 1) - 0.5
    unit = (shift - shift.mean()) / shift.std()
    y = 0.6 * x + 0.8 * unit * x + spread * torch.randn(num, 1)
    scale = 1 / y.std()
    with torch.no_grad():  # of standardised columns
        for predictor, true in zip(regularizer.moves, (0.6, 0.8), strict=True):
            predictor.weight[:] = true * scale / regularizer.projection  # type: ignore
        regularizer.noise[:] = 100.0  # sigma² = 1
    terms = regularizer.terms_of_pair(x, y, {"shift": shift})
    assert 2 * terms["shift"].item() == pytest.approx(spread**2 / (spread**2 + 0.64), rel=0.02)


def test_the_loss_is_least_where_the_strength_is_true() -> None:
    """And switching a followed group off is the worst that a factor can settle at."""
    regularizer = built()
    for unexplained in (0.05, 0.3, 0.9):
        noise = torch.linspace(0.011, 0.999, 400)
        loss = (unexplained / noise + noise.log()) / 2
        assert noise[loss.argmin()].item() == pytest.approx(unexplained, abs=0.01)
        assert loss.min() < loss[-1]
    with torch.no_grad():
        regularizer.noise[:] = torch.tensor([-100.0, 100.0])
    assert strengths(regularizer) == {"rotation": pytest.approx(0.99), "floor_hue": 0.0}


def test_scale_and_shift_of_a_column_do_not_matter() -> None:
    torch.manual_seed(0)
    regularizer = built()
    randomize(regularizer)
    x, y, elements = Scene("rotation").pair()
    want = regularizer.terms_of_pair(x, y, elements)
    scale, shift = torch.rand(DIM) * 5 + 0.5, torch.randn(DIM)
    have = regularizer.terms_of_pair(x * scale + shift, y * scale + shift, elements)
    for name, value in want.items():
        torch.testing.assert_close(have[name], value, rtol=1e-3, atol=1e-4)


def test_who_learns_from_what() -> None:
    """The terms train features and strengths; the predictor is solved, not trained."""
    torch.manual_seed(0)
    regularizer = built()
    randomize(regularizer)
    assert [n for n, p in regularizer.named_parameters() if p.requires_grad] == ["noise"]
    x, y, elements = Scene("rotation").pair()
    x.requires_grad_()
    terms = regularizer.terms_of_pair(x, y.requires_grad_(), elements)
    sum(terms.values()).backward()  # type: ignore[union-attr]
    for reached in (x, y, regularizer.noise):
        assert reached.grad is not None
        assert reached.grad.abs().max() > 0


def test_the_predictor_is_the_ridge_regression_of_what_it_saw() -> None:
    torch.manual_seed(0)
    regularizer = SoftEquivariance({"rotation": "SO3"}, rank=3)
    regularizer.build(nn.Identity(), {"all": (0, 5)})
    inputs, targets = [], []
    for _ in range(5):  # solved before the fifth is seen
        x, y = torch.randn(2, 64, 5) * torch.tensor([1.0, 2.0, 3.0, 0.5, 1.0])
        rotation = SO3().sample((64,))
        regularizer.terms_of_pair(x, y, {"rotation": rotation})
        x, y = ((v - v.mean(0)) / v.std(0, correction=0) for v in (x, y))
        matrix = SO3().matrix(rotation).flatten(1)
        matrix = (matrix - matrix.mean(0)) / matrix.std(0, correction=0)
        action = torch.cat([torch.ones(64, 1), matrix], dim=1)
        inputs.append(torch.einsum("bk,bd->bkd", action, x @ regularizer.projection).flatten(1))
        targets.append(y)
    a, b = torch.cat(inputs[:4]).double().numpy(), torch.cat(targets[:4]).double().numpy()
    size = a.shape[1]  # ridge: the share size / pairs of an input's variance
    want = np.linalg.solve(a.T @ a / len(a) + size / len(a) * np.eye(size), a.T @ b / len(a))
    have = torch.cat([predictor.weight for predictor in regularizer.moves], dim=1)  # type: ignore
    np.testing.assert_allclose(have.T.numpy(), want, rtol=1e-3, atol=1e-4)


def test_which_entries_of_a_matrix_are_needed() -> None:
    wanted = {SO3(): 9, SO2(): 2, Hue(): 2, Translation(3): 3}
    assert {group: len(independent_entries(group)) for group in wanted} == wanted


@pytest.mark.parametrize("weight", [1.0, 0.0])
def test_features_are_pulled_towards_what_can_be_followed(weight: float) -> None:
    """A linear encoder of followed columns and noise, trained by the regularizer alone."""
    torch.manual_seed(0)
    regularizer, encoder = built({"rotation": "SO3"}, 6), nn.Linear(DIM, 6, bias=False)
    optimizer = torch.optim.Adam([*encoder.parameters(), regularizer.noise], lr=5e-3)
    for _ in range(200):
        x, y, elements = Scene("rotation").pair()
        terms = regularizer.terms_of_pair(
            encoder(x), encoder(y), {"rotation": elements["rotation"]}
        )
        optimizer.zero_grad()
        (weight * terms["rotation"]).backward()
        optimizer.step()
    energy = encoder.weight.detach().square().sum(dim=0)
    followed = (energy[3:12].sum() / energy.sum()).item()
    assert followed > 0.8 if weight else followed < 0.65  # 9 of 16 columns


@pytest.mark.parametrize("group", [SO2(), SO3(), Hue(), Translation(3)])
def test_a_code_is_zero_at_the_identity_and_has_no_seam(group) -> None:  # type: ignore[no-untyped-def]
    one = group.identity((1,))
    assert code(group, one).abs().max() == 0
    if not isinstance(group, Translation):
        turn = torch.zeros(1, group.log_dim)
        turn[:, 0] = (group.turn if isinstance(group, (SO2, Hue)) else 2 * math.pi) / 2
        ends = [code(group, group.exp(turn * share)) for share in (1 - 1e-6, 1 + 1e-6)]
        torch.testing.assert_close(*ends, rtol=0, atol=1e-4)


def test_the_code_of_a_rotation_is_its_matrix() -> None:
    quat = SO3().sample((5,))
    want = Rotation.from_quat(quat.numpy()).as_matrix() - np.eye(3)
    torch.testing.assert_close(
        code(SO3(), quat).double().numpy(), want.reshape(5, 9), rtol=1e-5, atol=1e-6
    )


def test_bad_input() -> None:
    with pytest.raises(UserError, match="needs factors"):
        SoftEquivariance({})
    with pytest.raises(UserError, match=r"factors\.rotation: no group is named 'SO7'"):
        SoftEquivariance({"rotation": "SO7"})
    with pytest.raises(UserError, match="part is 'equi', but the representation has all"):
        SoftEquivariance(FACTORS, part="equi").build(nn.Identity(), {"all": (0, 8)})
    features = torch.randn(6, 2, DIM)
    with pytest.raises(UserError, match="encodes one of each object"):
        built().terms(nn.Identity(), features[:, :1], random_batch(), 0)
    with pytest.raises(UserError, match="asks for the factor 'shape', but the data set has"):
        built({"shape": "SO3"}).terms(nn.Identity(), features, random_batch(), 0)
    with pytest.raises(UserError, match="says floor_hue: SO2, but in the data it is of Hue"):
        built({"floor_hue": "SO2"}).terms(nn.Identity(), features, random_batch(), 0)

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from eval.equivariance import (
    Discrepancy,
    EquivarianceError,
    PredictionErrors,
    discrepancy,
    equivariance_error,
    prediction_errors,
)
from ssl_equiv.groups import SE3, SO2, SO3


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def three() -> list[Tensor]:
    return [normal(40, 6, seed=seed) * (seed + 1) + 5 for seed in range(3)]


def test_errors_are_those_of_numpy(three: list[Tensor]) -> None:
    moved, target, start = three
    found = prediction_errors(moved, target, start)
    m, t, s = (x.double().numpy() for x in three)
    residual = ((m - t) ** 2).sum()
    assert found["vs_identity"].item() == pytest.approx(residual / ((s - t) ** 2).sum())
    assert found["vs_constant"].item() == pytest.approx(residual / (t.var(axis=0).sum() * len(t)))
    want = np.sqrt(((m - t) ** 2).sum() / ((s - s.mean(axis=0)) ** 2).sum())
    assert discrepancy(moved, target, start).item() == pytest.approx(want)


def test_copy_and_constant_get_one(three: list[Tensor]) -> None:
    _, target, start = three
    assert prediction_errors(start, target, start)["vs_identity"] == 1
    constant = target.mean(dim=0).expand_as(target)
    assert prediction_errors(constant, target, start)["vs_constant"].item() == pytest.approx(1)
    assert prediction_errors(target, target, start) == {"vs_identity": 0, "vs_constant": 0}


def test_unrelated_embeddings_are_apart_by_root_two() -> None:
    one, other, embedding = (normal(20_000, 4, seed=seed) for seed in range(3))
    assert discrepancy(one, other, embedding).item() == pytest.approx(2**0.5, rel=0.02)


def test_a_collapsed_embedding_is_no_division_by_zero() -> None:
    same = torch.full((10, 3), 7.0)
    assert prediction_errors(same, same, same) == {"vs_identity": 0, "vs_constant": 0}
    assert prediction_errors(same + 1, same, same) == {"vs_identity": 1, "vs_constant": 1}
    assert discrepancy(same, same, same) == 0


def test_batches_of_any_size_add_up(three: list[Tensor]) -> None:
    errors, apart = PredictionErrors(6), Discrepancy(6)
    for some in (slice(0, 1), slice(1, 30), slice(30, 40)):
        errors.update(*(x[some] for x in three))
        apart.update(*(x[some] for x in three))
    torch.testing.assert_close(errors.compute(), prediction_errors(*three))
    assert apart.compute().item() == pytest.approx(discrepancy(*three).item())


class Shifted(nn.Module):
    """Circular convolutions, which shifts pass through; ``stride`` breaks that."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        options = {"kernel_size": 3, "padding": 1, "padding_mode": "circular"}
        self.net = nn.Sequential(
            nn.Conv2d(3, 8, **options), nn.ReLU(), nn.Conv2d(8, 4, stride=stride, **options)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def roll(shift: Tensor, x: Tensor) -> Tensor:
    """Shift images ``(B, C, H, W)`` circularly by whole pixels ``(B, 2)``."""
    rows, columns = (
        (torch.arange(size) - shift[:, [axis]].long()) % size
        for axis, size in enumerate(x.shape[-2:])
    )
    return x[torch.arange(len(x))[:, None, None], :, rows[:, :, None], columns[:, None, :]].movedim(
        -1, 1
    )


def test_circular_convolutions_follow_shifts() -> None:
    x = normal(6, 3, 16, 16)
    shift = torch.randint(16, (6, 2), generator=torch.Generator().manual_seed(1)).float()
    torch.testing.assert_close(roll(shift, x)[2], x[2].roll(shift[2].long().tolist(), (1, 2)))
    assert equivariance_error(Shifted(), x, shift, roll, roll) < 1e-5
    zeros = Shifted()
    for layer in (zeros.net[0], zeros.net[2]):
        layer.padding_mode = "zeros"
        layer.forward = nn.Conv2d.forward.__get__(layer)
    assert equivariance_error(zeros, x, shift, roll, roll) > 0.1
    halved = Shifted(stride=2)
    even, odd = 2 * shift, 2 * shift + 1
    assert equivariance_error(halved, x, even, roll, lambda g, y: roll(g / 2, y)) < 1e-5
    assert equivariance_error(halved, x, odd, roll, lambda g, y: roll((g - 1) / 2, y)) > 0.1


def quarter_turns(g: Tensor, x: Tensor) -> Tensor:
    """Turn maps ``(B, C, H, W)`` by quarters, angles ``(B, 1)`` radians."""
    turns = (g[:, 0] / (torch.pi / 2)).round().long() % 4
    every = torch.stack([torch.rot90(x, k, (-2, -1)) for k in range(4)])
    return every[turns, torch.arange(len(x))]


def test_symmetric_kernels_follow_quarter_turns() -> None:
    x = normal(8, 3, 9, 9)
    g = torch.arange(8)[:, None] * torch.pi / 2
    plain = nn.Conv2d(3, 5, 3, padding=1)
    assert equivariance_error(plain, x, g, quarter_turns, quarter_turns) > 0.1
    weight = sum(torch.rot90(plain.weight.detach(), k, (-2, -1)) for k in range(4))
    plain.weight.data = weight / 4
    assert equivariance_error(plain, x, g, quarter_turns, quarter_turns) < 1e-5
    # the mean over positions does not turn at all
    pooled = nn.Sequential(plain, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert equivariance_error(pooled, x, g, quarter_turns, lambda g, y: y) < 1e-5
    assert SO2().dim == g.shape[-1]


def test_mixed_capsules_follow_poses() -> None:
    """Poses times an action from the right: what mixes them from the left follows."""
    group = SE3("object")
    poses = normal(6, 5, 4, 4)
    g = group.sample((6,), generator=torch.Generator().manual_seed(1))
    mix = normal(7, 5, 4, 4, seed=2)

    def act(g: Tensor, poses: Tensor) -> Tensor:
        return poses @ group.matrix(g)[:, None]

    def left(poses: Tensor) -> Tensor:
        return torch.einsum("mnij,bnjk->bmik", mix, poses)

    def right(poses: Tensor) -> Tensor:
        return torch.einsum("bnij,mnjk->bmik", poses, mix)

    assert equivariance_error(left, poses, g, act, act) < 1e-6
    assert equivariance_error(right, poses, g, act, act) > 0.1


@pytest.mark.parametrize("seed", range(5))
def test_vectors_of_points_turn_and_their_lengths_do_not(seed: int) -> None:
    group = SO3()
    points = normal(6, 9, 3, seed=seed)
    g = group.sample((6,), generator=torch.Generator().manual_seed(seed))

    def weighted(x: Tensor) -> Tensor:  # weights that are invariant: equivariant vectors
        return (x.norm(dim=-1, keepdim=True).cos() * x).cumsum(dim=1)

    assert equivariance_error(weighted, points, g, group.act, group.act) < 1e-6
    invariant = equivariance_error(lambda x: x.norm(dim=-1), points, g, group.act, lambda g, y: y)
    assert invariant < 1e-6
    assert equivariance_error(torch.relu, points, g, group.act, group.act) > 0.1


def test_the_streamed_error_is_that_of_all() -> None:
    group, points = SO3(), normal(7, 9, 3)
    g = group.sample((7,), generator=torch.Generator().manual_seed(1))
    metric = EquivarianceError()
    for some in (slice(0, 2), slice(2, 7)):
        metric.update(torch.relu, points[some], g[some], group.act, group.act)
    want = equivariance_error(torch.relu, points, g, group.act, group.act)
    assert metric.compute().item() == pytest.approx(want.item())
    found, wanted = torch.relu(group.act(g, points)), group.act(g, torch.relu(points))
    assert want.item() == pytest.approx(((found - wanted).norm() / found.norm()).item(), rel=1e-5)


def test_a_module_of_zeros_is_equivariant() -> None:
    group, points = SO3(), normal(7, 9, 3)
    g = group.sample((7,), generator=torch.Generator().manual_seed(1))
    assert equivariance_error(torch.zeros_like, points, g, group.act, group.act) == 0

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from sklearn.metrics import r2_score, top_k_accuracy_score

from eval.metrics import (
    EachDimR2,
    ErrorSummary,
    PerDimR2,
    PooledR2,
    RotationError,
    TopKAccuracy,
    constant_baseline,
    median,
    r2_each_dim,
    r2_per_dim,
    r2_pooled,
    regression_scores,
    rotation_degrees,
    top_k_accuracy,
)
from eval.targets import make_targets
from ssl_equiv.errors import UserError
from tests.eval.fakes import feature_set, rotations

GOLDEN = Path(__file__).parents[1] / "golden"


def _regression(members: tuple[int, ...] = (), n: int = 500, d: int = 4):
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(n, d, generator=generator).double() * torch.tensor([1.0, 2, 0.1, 5]) + 3
    pred = target + torch.randn(*members, n, d, generator=generator)
    return pred, target


def test_per_dim_is_scikit_learns() -> None:
    pred, target = _regression()
    expected = r2_score(target.numpy(), pred.numpy())
    assert r2_per_dim(pred, target).item() == pytest.approx(expected, abs=1e-6)


def test_pooled_is_scikit_learns_of_the_flattened_array() -> None:
    pred, target = _regression()
    expected = r2_score(target.numpy().ravel(), pred.numpy().ravel())
    assert r2_pooled(pred, target).item() == pytest.approx(expected, abs=1e-6)


def test_pooled_is_the_published_figure() -> None:
    golden = np.load(GOLDEN / "sie_repo_r2.npz", allow_pickle=False)
    pred, target = torch.from_numpy(golden["pred"]), torch.from_numpy(golden["target"])
    assert r2_pooled(pred, target).item() == pytest.approx(float(golden["r2"]), rel=1e-5)


def test_published_targets_are_the_published_ones() -> None:
    golden = np.load(GOLDEN / "relative_rotation.npz", allow_pickle=False)
    euler = np.stack([golden["euler_1"], golden["euler_2"]], axis=1)
    quats = torch.from_numpy(Rotation.from_euler("xyz", euler.reshape(-1, 3)).as_quat())
    actions = {"rotation": quats.reshape(-1, 2, 4)}
    canonical, published = _between_two_views(actions["rotation"])
    expected = torch.from_numpy(golden["quat_xyzw"])
    torch.testing.assert_close(published.double(), expected, atol=1e-6, rtol=1e-6)
    assert (canonical[:, 3] >= 0).all()
    torch.testing.assert_close(canonical.double(), expected * expected[:, 3:].sign())


def _between_two_views(quats: torch.Tensor) -> list[torch.Tensor]:
    """Relative rotations of objects with two views, canonical and published."""
    views = feature_set(quats, actions={"rotation": quats})
    objects = torch.arange(len(quats))
    chosen = torch.stack([objects, torch.zeros_like(objects), torch.ones_like(objects)])
    targets = make_targets(views, ["rotation"], conventions=("canonical", "published"))
    return [target.values(target.quantity.elements(views), chosen) for target in targets]


@pytest.mark.parametrize(("target", "pred", "r2"), [(2.0, 2.0, 1.0), (2.0, 2.5, 0.0)])
def test_a_constant_target_counts_as_met_or_missed(target: float, pred: float, r2: float) -> None:
    targets, preds = torch.full((10, 2), target), torch.full((10, 2), pred)
    assert r2_pooled(preds, targets).item() == r2
    assert r2_per_dim(preds, targets).item() == r2
    assert r2_score(targets.numpy(), preds.numpy()) == r2


def test_r2_of_unlike_shapes_is_refused() -> None:
    with pytest.raises(UserError, match="same"):
        r2_pooled(torch.zeros(5, 3), torch.zeros(5, 4))


def test_streams_give_what_functions_give() -> None:
    pred, target = _regression(members=(2, 3))
    for stream, function in ((PooledR2, r2_pooled), (PerDimR2, r2_per_dim)):
        metric = stream(4, (2, 3))
        for part in torch.arange(500).split(77):
            metric.update(pred[..., part, :], target[part])
        torch.testing.assert_close(metric.compute(), function(pred, target))
        for member in np.ndindex(2, 3):
            alone = function(pred[member], target)
            torch.testing.assert_close(metric.compute()[member], alone)


def test_each_dimensions_is_scikit_learns() -> None:
    pred, target = _regression(members=(2,))
    metric = EachDimR2("abcd", (2,))
    for part in torch.arange(500).split(77):
        metric.update(pred[:, part], target[part])
    found = metric.compute()
    assert list(found) == ["r2_a", "r2_b", "r2_c", "r2_d"]
    for member in range(2):
        expected = r2_score(target.numpy(), pred[member].numpy(), multioutput="raw_values")
        np.testing.assert_allclose([found[name][member] for name in found], expected, atol=1e-6)
        np.testing.assert_allclose(r2_each_dim(pred, target)[member], expected, atol=1e-6)


def test_errors_are_summed_up_as_numpy_does() -> None:
    errors = torch.rand(2, 41, generator=torch.Generator().manual_seed(0))
    metric = ErrorSummary("distance")
    metric.update(errors[:, :7])
    metric.update(errors[:, 7:])
    found = metric.compute()
    np.testing.assert_allclose(found["distance_mean"], errors.mean(-1), rtol=1e-6)
    np.testing.assert_allclose(found["distance_median"], np.median(errors, axis=-1), rtol=1e-6)


def test_all_figures_of_a_regression_at_once() -> None:
    pred, target = _regression(n=21)
    error = (pred - target).norm(dim=-1)
    scores = regression_scores(pred, target, error, "abcd", "distance")
    assert scores["r2_c"].item() == pytest.approx(r2_score(target[:, 2], pred[:, 2]))
    assert scores["r2_pooled"] == r2_pooled(pred, target)
    assert scores["distance_median"].item() == pytest.approx(np.median(error))
    alone = regression_scores(pred[:, :1], target[:, :1], error, "a", "distance")
    assert set(alone) == {"r2_pooled", "r2_per_dim", "distance_mean", "distance_median"}


def test_degrees_are_scipys() -> None:
    quats = rotations(300, 2, seed=1).double()
    first, second = quats.unbind(1)
    expected = (
        Rotation.from_quat(first.numpy()).inv() * Rotation.from_quat(second.numpy())
    ).magnitude()
    found = rotation_degrees(-3.0 * first, second)
    np.testing.assert_allclose(found.numpy(), np.rad2deg(expected), rtol=1e-9)


def test_degrees_at_the_ends() -> None:
    identity = torch.tensor([0.0, 0, 0, 1])
    tiny = torch.tensor([5e-6, 0, 0, 1])
    assert rotation_degrees(identity, identity) == 0
    assert rotation_degrees(-identity, identity) == 0
    assert rotation_degrees(tiny, identity).item() == pytest.approx(np.rad2deg(1e-5), rel=1e-3)
    assert rotation_degrees(torch.tensor([0.0, 1, 0, 0]), identity).item() == pytest.approx(180)
    assert rotation_degrees(torch.zeros(4), identity).item() == pytest.approx(180)


def test_rotation_error_streams() -> None:
    target = rotations(1, 41)[0]
    pred = target + 0.3 * torch.randn(2, 41, 4, generator=torch.Generator().manual_seed(0))
    metric = RotationError()
    metric.update(pred[:, :7], target[:7])
    metric.update(pred[:, 7:], target[7:])
    degrees = rotation_degrees(pred, target)
    found = metric.compute()
    torch.testing.assert_close(found["degrees_mean"], degrees.double().mean(-1))
    np.testing.assert_allclose(found["degrees_median"], np.median(degrees, axis=-1), rtol=1e-6)


def test_median_of_an_even_number() -> None:
    assert median(torch.tensor([4.0, 1, 3, 2])).item() == 2.5


@pytest.mark.parametrize("k", [1, 3, 9])
def test_top_k_is_scikit_learns(k: int) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 200, 5, generator=generator)
    label = torch.randint(5, (200,), generator=generator)
    metric = TopKAccuracy(k, (2,))
    metric.update(logits[:, :50], label[:50])
    metric.update(logits[:, 50:], label[50:])
    torch.testing.assert_close(metric.compute(), top_k_accuracy(logits, label, k))
    if k < 5:
        expected = top_k_accuracy_score(label.numpy(), logits[0].numpy(), k=k)
        assert metric.compute()[0].item() == pytest.approx(expected)
    else:
        assert (metric.compute() == 1).all()


@pytest.mark.parametrize(("published", "expected"), [(False, 0.2435), (True, 0.229)])
def test_what_a_constant_gets_for_rotations(published: bool, expected: float) -> None:
    target = _between_two_views(rotations(20_000, 2))[published]
    negative = (target[:, 3] < 0).float().mean().item()
    assert negative == pytest.approx(0.045 if published else 0, abs=0.01)
    scores = constant_baseline(target, rotation=True)
    assert scores["r2_pooled"] == pytest.approx(expected, abs=0.004)
    assert scores["r2_per_dim"] == pytest.approx(0, abs=1e-9)
    assert 95 < scores["degrees_mean"] < 115


def test_the_constant_is_the_training_mean() -> None:
    target = torch.tensor([[0.0], [2.0]])
    assert constant_baseline(target, torch.tensor([[1.0]]))["r2_pooled"] == 0
    assert constant_baseline(target, torch.tensor([[3.0]]))["r2_pooled"] == pytest.approx(-4)

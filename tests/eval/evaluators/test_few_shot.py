from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from eval.artifacts import read_artifacts
from eval.cache import FeatureSet
from eval.evaluators.few_shot import FewShot, draw_shots, fit_logistic
from eval.protocol import NotApplicable
from ssl_equiv.errors import UserError
from tests.eval.evaluators.tasks import collapsed, figures, task_of
from tests.eval.fakes import clusters

HALVES = {"all": (0, 16), "inv": (0, 6), "equi": (6, 16)}


@pytest.fixture
def sets() -> list[FeatureSet]:
    return [
        replace(clusters(48, 16, split, spread=1.5), parts=HALVES) for split in ("train", "val")
    ]


@pytest.mark.parametrize("strength", [0.1, 1.0, 30.0])
def test_regression_is_scikit_learns(strength: float) -> None:
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(60) % 5
    x = torch.randn(3, 60, 8, generator=generator) + 2 * torch.eye(8)[label]
    weight, bias = fit_logistic(x, label, 5, strength)
    for member in range(3):
        reference = LogisticRegression(C=strength, max_iter=1000, tol=1e-7)
        reference.fit(x[member].double().numpy(), label.numpy())
        torch.testing.assert_close(
            weight[member].T.double(), torch.from_numpy(reference.coef_), atol=0.02, rtol=0.02
        )
        expected = reference.predict_proba(x[member].double().numpy())
        found = (x[member] @ weight[member] + bias[member]).softmax(dim=1)
        np.testing.assert_allclose(found.numpy(), expected, atol=3e-3)


def test_shots_are_distinct_objects_of_their_class() -> None:
    labels = torch.tensor([3, 1, 1, 3, 1, 3, 3, 1])
    drawn = draw_shots(labels, torch.tensor([1, 3]), 3, 50, torch.Generator().manual_seed(0))
    assert drawn.shape == (50, 2, 3)
    assert (labels[drawn] == torch.tensor([1, 3])[:, None]).all()
    assert all(len(set(row.tolist())) == 3 for row in drawn.flatten(0, 1))
    counts = torch.bincount(drawn.flatten(), minlength=8)
    assert counts.min() > 25  # of 37.5
    fewer = draw_shots(labels, torch.tensor([1, 3]), 2, 50, torch.Generator().manual_seed(0))
    assert torch.equal(fewer, drawn[:, :, :2])


@pytest.mark.parametrize("part", HALVES)
@pytest.mark.parametrize("views", [1, 3, None])
def test_figures_are_those_of_the_steps_done_one_by_one(
    sets: list[FeatureSet], part: str, views: int | None
) -> None:
    train, val = sets
    evaluator = FewShot((2,), views, draws=2, queries=None)
    found = figures(evaluator, task_of(train, val, seeds=(5,)), part)
    columns = slice(*HALVES[part])
    mean = train.features.flatten(0, 1)[:, columns].mean(dim=0).numpy()

    def prepared(x: torch.Tensor) -> np.ndarray:
        y = x[..., columns].flatten(0, -2).numpy() - mean
        return y / np.linalg.norm(y, axis=1, keepdims=True)

    shown = evaluator._draw(task_of(train, val), torch.arange(4), 2, 5)
    assert shown.shape == (2, 4, 2, views or 4, 16)
    accuracy = []
    for draw in shown:
        x = prepared(draw)
        fitted = LogisticRegression().fit(x, np.arange(4).repeat(len(x) // 4))
        accuracy.append(fitted.score(prepared(val.features), val.labels.repeat_interleave(4)))
    assert found["few_shot_top1_n2"].values == pytest.approx((np.mean(accuracy),), abs=0.01)
    assert found["few_shot_top1_n2"].baseline == 0.25


def test_more_shots_do_better(sets: list[FeatureSet]) -> None:
    found = figures(FewShot(draws=5), task_of(*sets, seeds=(0, 1, 2)))
    one, five, ten = (np.mean(found[f"few_shot_top1_n{n}"].values) for n in (1, 5, 10))
    assert 0.3 < one < five - 0.05
    assert five < ten + 0.02 < 1
    assert len(set(found["few_shot_top1_n1"].values)) == 3  # seeds draw other objects


def test_a_seed_gives_the_same_beside_others(sets: list[FeatureSet]) -> None:
    three = figures(FewShot((1, 5)), task_of(*sets, seeds=(0, 1, 2)))
    one = figures(FewShot((5,)), task_of(*sets, seeds=(1,)))
    assert three["few_shot_top1_n5"].values[0] != three["few_shot_top1_n5"].values[1]
    # the classes' objects are drawn to the largest number of shots
    again = figures(FewShot((1, 5)), task_of(*sets, seeds=(1,)))
    assert again["few_shot_top1_n1"].values[0] == three["few_shot_top1_n1"].values[1]
    assert one["few_shot_top1_n5"].values[0] == three["few_shot_top1_n5"].values[1]


def test_a_class_without_shots_is_missed(sets: list[FeatureSet]) -> None:
    train, val = sets
    labels = torch.where(train.labels == 2, 3, train.labels)
    found = figures(FewShot((5,)), task_of(replace(train, labels=labels), val))
    assert found["few_shot_top1_n5"].baseline == pytest.approx(0.25)
    assert found["few_shot_top1_n5"].values[0] < 0.76


def test_a_collapsed_model_gets_chance() -> None:
    task = task_of(collapsed(100, "train"), collapsed(100, "val"))
    for found in figures(FewShot(), task).values():
        assert found.values[0] == pytest.approx(found.baseline)


def test_all_that_is_judged_gets_figures_and_a_curve(
    sets: list[FeatureSet], tmp_path: Path
) -> None:
    train, val = sets
    noise = torch.randn(val.features.shape, generator=torch.Generator().manual_seed(1))
    ood = replace(val, features=noise, split="ood")
    task = task_of(train, val, seeds=(0, 1), others={"ood": ood}, folder=tmp_path)
    seen, unseen = (figures(FewShot(), task, split=split) for split in ("", "ood"))
    assert list(seen) == list(unseen)
    for name, found in seen.items():
        assert min(found.values) > max(unseen[name].values)
    curves = {artifact.name: artifact for artifact in read_artifacts(tmp_path)}
    assert set(curves) == {"few_shot", "few_shot_ood"}
    values = [seen[f"few_shot_top1_n{n}"].values for n in (1, 5, 10)]
    np.testing.assert_allclose(curves["few_shot"].arrays["y"][0], np.mean(values, axis=1))
    np.testing.assert_allclose(curves["few_shot"].arrays["spread"][0], np.std(values, axis=1))


def test_too_few_objects_name_the_class(
    sets: list[FeatureSet], caplog: pytest.LogCaptureFixture
) -> None:
    train, val = sets
    labels = train.labels.clone()
    labels[torch.nonzero(labels == 2).squeeze(1)[3:]] = 0  # class 2 keeps three objects
    task = task_of(replace(train, labels=labels), val)
    with caplog.at_level(logging.WARNING):
        found = figures(FewShot((1, 3, 5, 10)), task)
    assert list(found) == ["few_shot_top1_n1", "few_shot_top1_n3"]
    assert "shots of 5, 10: the class 'class2' has 3 training objects" in caplog.text
    with pytest.raises(NotApplicable, match="'class2' has 3 training objects, fewer than the 5"):
        FewShot((5,))(task)


def test_bad_input_is_one_clear_line(sets: list[FeatureSet]) -> None:
    train, val = sets
    one_class = replace(train, labels=torch.zeros(48, dtype=torch.int64))
    cases = [
        (FewShot(), one_class, NotApplicable, "class 'class0': few-shot classification needs"),
        (FewShot(()), train, UserError, "must be 1 or more"),
        (FewShot((0, 1)), train, UserError, "must be 1 or more"),
        (FewShot(draws=0), train, UserError, "must be 1 or more"),
        (FewShot(views=0), train, UserError, "must be 1 or more"),
        (FewShot(strength=0.0), train, UserError, "must be positive"),
    ]
    for evaluator, some, kind, message in cases:
        with pytest.raises(kind, match=message) as caught:
            evaluator(task_of(some, val))
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no part 'invv'"):
        FewShot()(replace(task_of(train, val), parts=("invv",)))

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from sklearn.neighbors import KNeighborsClassifier
from torch.nn.functional import normalize

from eval.artifacts import read_artifacts
from eval.cache import FeatureSet
from eval.evaluators import neighbours
from eval.evaluators.neighbours import KNN, RetrievalOfClasses, nearest
from eval.protocol import NotApplicable
from ssl_equiv.errors import UserError
from tests.eval.evaluators.tasks import collapsed, figures, task_of
from tests.eval.fakes import clusters, feature_set

HALVES = {"all": (0, 16), "inv": (0, 6), "equi": (6, 16)}


@pytest.fixture
def sets() -> list[FeatureSet]:
    return [
        replace(clusters(40, 16, split, spread=2.5), parts=HALVES) for split in ("train", "val")
    ]


def _flat(views: FeatureSet, part: str = "all") -> tuple[np.ndarray, np.ndarray]:
    x = normalize(views.features.flatten(0, 1)[:, slice(*HALVES[part])], dim=1)
    return x.numpy(), views.labels.repeat_interleave(views.num_views).numpy()


@pytest.mark.parametrize("part", HALVES)
@pytest.mark.parametrize("k", [1, 20])
def test_knn_is_scikit_learns(
    sets: list[FeatureSet], part: str, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "_QUERIES", 33)
    monkeypatch.setattr(neighbours, "_BANK", 37)
    reference = KNeighborsClassifier(
        k,
        metric="cosine",
        algorithm="brute",
        weights=lambda distance: np.exp((1 - distance) / 0.07),
    ).fit(*_flat(sets[0], part))
    expected = reference.score(*_flat(sets[1], part))
    found = figures(KNN(), task_of(*sets), part)
    assert 0.3 < expected < 0.99
    assert found[f"knn_top1_k{k}"].values == pytest.approx((expected,), abs=1e-9)
    assert found[f"knn_top1_k{k}"].baseline == pytest.approx(0.25)


def test_nearest_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_BANK", 7)
    generator = torch.Generator().manual_seed(0)
    query, bank = (torch.randn(n, 5, generator=generator) for n in (11, 30))
    values, rows = nearest(query, bank, 9)
    expected = (query @ bank.T).topk(9, dim=1)
    torch.testing.assert_close(values, expected.values)
    assert torch.equal(rows, expected.indices)


def test_drawn_views_estimate_all(sets: list[FeatureSet]) -> None:
    task = task_of(*sets)
    few, all_ = (figures(KNN(20, bank=n, queries=n), task) for n in (80, None))
    few_value, all_value = (found["knn_top1_k20"].values[0] for found in (few, all_))
    assert few_value != all_value
    assert few_value == pytest.approx(all_value, abs=0.2)


@pytest.mark.parametrize("part", HALVES)
def test_map_is_scikit_learns(
    sets: list[FeatureSet], part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "_RANKED", 7 * 160)
    x, label = _flat(sets[1], part)
    owner = np.arange(40).repeat(4)
    average, first, ten = [], [], []
    for number, scores in enumerate(x @ x.T):
        others = owner != owner[number]
        truth, scores = (label == label[number])[others], scores[others]
        average.append(average_precision_score(truth, scores))
        order = truth[np.argsort(-scores)]
        first.append(order[0])
        ten.append(order[:10].mean())
    found = figures(RetrievalOfClasses(queries=None, bank=None), task_of(*sets), part)
    assert found["class_map"].values == pytest.approx((np.mean(average),), abs=1e-5)
    assert found["class_recall1"].values == pytest.approx((np.mean(first),), abs=1e-6)
    assert found["class_precision10"].values == pytest.approx((np.mean(ten),), abs=1e-6)
    assert found["class_precision10"].baseline == pytest.approx(9 / 39)
    assert found["class_map"].baseline == pytest.approx(0.26, abs=0.02)


def test_views_of_the_same_object_are_not_retrieved() -> None:
    # every object is a point of its own, so its own views would be all that is found
    generator = torch.Generator().manual_seed(0)
    views = feature_set(torch.randn(200, 1, 64, generator=generator).expand(-1, 4, -1), "val")
    found = figures(RetrievalOfClasses(), task_of(views, views))
    assert found["class_recall1"].values[0] < 0.4
    assert found["class_map"].values[0] == pytest.approx(found["class_map"].baseline, abs=0.03)


@pytest.mark.parametrize("evaluator", [KNN(), RetrievalOfClasses()])
def test_a_collapsed_model_gets_chance(evaluator: KNN | RetrievalOfClasses) -> None:
    task = task_of(collapsed(400, "train"), collapsed(200, "val"))
    for found in figures(evaluator, task).values():
        assert found.values[0] == pytest.approx(found.baseline, abs=0.06), found.metric


@pytest.mark.parametrize("evaluator", [KNN(), RetrievalOfClasses()])
def test_all_that_is_judged_gets_figures(
    evaluator: KNN | RetrievalOfClasses, sets: list[FeatureSet]
) -> None:
    train, val = sets
    noise = torch.randn(val.features.shape, generator=torch.Generator().manual_seed(1))
    task = task_of(train, val, others={"ood": replace(val, features=noise, split="ood")})
    seen, ood = (figures(evaluator, task, split=split) for split in ("", "ood"))
    assert list(seen) == list(ood)
    assert seen == figures(evaluator, task_of(train, val))
    for name, found in seen.items():
        assert found.values[0] > ood[name].values[0] + 0.1


def test_the_curve_of_retrieval(sets: list[FeatureSet], tmp_path: Path) -> None:
    task = task_of(*sets, folder=tmp_path, others={"ood": sets[1]})
    found = figures(RetrievalOfClasses(k=5), task, "equi")
    artifacts = {artifact.name: artifact for artifact in read_artifacts(tmp_path)}
    assert set(artifacts) == {"class_retrieval", "class_retrieval_ood"}
    curve = artifacts["class_retrieval"]
    assert curve.meta["series"] == ["all", "inv", "equi"]
    assert curve.arrays["x"].tolist() == [1, 2, 3, 4, 5]
    assert curve.arrays["y"][2, -1] == found["class_precision5"].values[0]


def test_bad_input_is_one_clear_line(sets: list[FeatureSet]) -> None:
    train, val = sets
    one_class = replace(train, labels=torch.zeros(40, dtype=torch.int64))
    lonely = replace(clusters(4, 16, "val", spread=1.0), parts=HALVES)
    renamed = replace(val, class_names=("cup", "jug", "pan", "pot"))
    pair = replace(
        feature_set(torch.randn(2, 4, 16), "val", labels=torch.zeros(2, dtype=torch.int64)),
        parts=HALVES,
    )
    cases = [
        (KNN(), one_class, val, NotApplicable, "class 'class0': k-NN needs two classes"),
        (KNN(200), train, val, NotApplicable, "k=200 has a bank of 160 .*lower k"),
        (KNN(0), train, val, UserError, "must be positive"),
        (KNN(()), train, val, UserError, "must be positive"),
        (KNN(queries=0), train, val, UserError, "0 views asked for"),
        (KNN(), train, renamed, NotApplicable, "classes cup, jug, pan and 1 more"),
        (RetrievalOfClasses(), train, lonely, NotApplicable, "no class has two val objects"),
        (RetrievalOfClasses(), train, pair, NotApplicable, "rank 10 of 4 val views"),
        (RetrievalOfClasses(k=0), train, val, UserError, "must be positive"),
    ]
    for evaluator, *pair_of_sets, kind, message in cases:
        with pytest.raises(kind, match=message) as caught:
            evaluator(task_of(*pair_of_sets))
        assert "\n" not in str(caught.value)
    wrong_part = replace(task_of(train, val), parts=("invv",))
    with pytest.raises(UserError, match="no part 'invv'"):
        KNN()(wrong_part)

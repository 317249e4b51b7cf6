from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from eval.artifacts import read_artifacts
from eval.cache import FeatureSet
from eval.evaluators.clustering import Clustering
from eval.protocol import NotApplicable
from ssl_equiv.errors import UserError
from tests.eval.evaluators.tasks import collapsed, figures, task_of
from tests.eval.fakes import clusters, feature_set

HALVES = {"all": (0, 16), "inv": (0, 6), "equi": (6, 16)}


@pytest.fixture
def sets() -> list[FeatureSet]:
    return [
        replace(clusters(40, 16, split, spread=1.0), parts=HALVES) for split in ("train", "val")
    ]


@pytest.mark.parametrize("part", HALVES)
def test_figures_are_scikit_learns(sets: list[FeatureSet], part: str) -> None:
    x = sets[1].features.flatten(0, 1)[:, slice(*HALVES[part])].numpy()
    label = sets[1].labels.repeat_interleave(4).numpy()
    x = x - x.mean(axis=0)
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    # of so many starts, both find the best clustering there is
    assigned = KMeans(4, n_init=30, random_state=0).fit_predict(x)
    found = figures(Clustering(starts=30), task_of(*sets, seeds=(0, 1)), part)
    nmi = normalized_mutual_info_score(label, assigned)
    ari = adjusted_rand_score(label, assigned)
    assert 0.3 < nmi <= 1
    assert found["cluster_nmi"].values == pytest.approx((nmi, nmi), abs=1e-6)
    assert found["cluster_ari"].values == pytest.approx((ari, ari), abs=1e-6)


def test_classes_far_apart_are_found() -> None:
    sets = [clusters(40, 16, split, spread=0.1) for split in ("train", "val")]
    found = figures(Clustering(starts=5), task_of(*sets))
    for name in ("nmi", "ari", "accuracy"):
        assert found[f"cluster_{name}"].values == pytest.approx((1.0,))


def test_chance_knows_objects_but_no_classes() -> None:
    # every object is a clump of its own, so clusters tell objects apart
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(48, 1, 32, generator=generator).expand(-1, 8, -1)
    views = feature_set(features, "val")
    found = figures(Clustering(), task_of(views, views, seeds=tuple(range(6))))["cluster_nmi"]
    assert found.baseline is not None
    assert found.baseline > 0.03  # 0 for clusters that tell nothing apart
    assert np.mean(found.values) == pytest.approx(found.baseline, abs=0.05)


def test_a_collapsed_model_gets_nothing() -> None:
    found = figures(Clustering(), task_of(collapsed(40, "train"), collapsed(40, "val")))
    assert found["cluster_nmi"].values == pytest.approx((0.0,), abs=1e-9)
    assert found["cluster_ari"].values == pytest.approx((0.0,), abs=1e-9)
    assert found["cluster_accuracy"].values == pytest.approx((0.25,))


def test_other_numbers_of_clusters(sets: list[FeatureSet]) -> None:
    task = task_of(*sets)
    few, many = (figures(Clustering(clusters=n), task) for n in (2, 12))
    assert few["cluster_accuracy"].values[0] <= 0.5
    assert few["cluster_nmi"].values[0] != many["cluster_nmi"].values[0]


def test_all_that_is_judged_gets_figures_and_a_plane(
    sets: list[FeatureSet], tmp_path: Path
) -> None:
    train, val = sets
    noise = torch.randn(val.features.shape, generator=torch.Generator().manual_seed(1))
    ood = replace(val, features=noise, split="ood")
    task = task_of(train, val, seeds=(0, 1), others={"ood": ood}, folder=tmp_path)
    seen, unseen = (figures(Clustering(), task, "equi", split) for split in ("", "ood"))
    for name, found in seen.items():
        assert min(found.values) > max(unseen[name].values)
    planes = {(artifact.name, artifact.part): artifact for artifact in read_artifacts(tmp_path)}
    assert set(planes) == {(f"clusters{s}", part) for s in ("", "_ood") for part in HALVES}
    share = planes["clusters", "equi"].arrays["values"]
    np.testing.assert_allclose(share.sum(axis=0), 1)
    assert np.trace(share) / 4 == pytest.approx(seen["cluster_accuracy"].values[0])


def test_bad_input_is_one_clear_line(sets: list[FeatureSet]) -> None:
    train, val = sets
    one_class = replace(val, labels=torch.ones(40, dtype=torch.int64))
    cases = [
        (Clustering(), one_class, NotApplicable, "of the class 'class1': clustering needs two"),
        (Clustering(clusters=161), val, UserError, "161 clusters of 160 val views"),
        (Clustering(clusters=1), val, UserError, "1 clusters of 160 val views"),
        (Clustering(views=0), val, UserError, "0 views asked for"),
    ]
    for evaluator, some, kind, message in cases:
        with pytest.raises(kind, match=message) as caught:
            evaluator(task_of(train, some))
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no part 'invv'"):
        Clustering()(replace(task_of(train, val), parts=("invv",)))

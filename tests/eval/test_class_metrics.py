from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import (
    adjusted_rand_score,
    average_precision_score,
    confusion_matrix,
    normalized_mutual_info_score,
)
from torch import Tensor

from eval.class_metrics import (
    ClassRetrieval,
    ClusterAgreement,
    chance_retrieval,
    class_retrieval,
    cluster_agreement,
)


def _ranking(
    queries: int = 60, bank: int = 80, classes: int = 6, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(classes, (queries + bank,), generator=generator)
    owner = torch.randint(20, (queries + bank,), generator=generator)
    relevant = label[:queries, None] == label[queries:]
    candidate = owner[:queries, None] != owner[queries:]
    similarity = torch.randn(queries, bank, generator=generator) + relevant
    return similarity, relevant, candidate


def test_map_is_scikit_learns() -> None:
    similarity, relevant, candidate = _ranking()
    found = class_retrieval(similarity, relevant, candidate, 5)
    average, precision = [], []
    for scores, truth, may in zip(similarity, relevant, candidate, strict=True):
        scores, truth = scores[may].numpy(), truth[may].numpy()
        average.append(average_precision_score(truth, scores))
        order = truth[np.argsort(-scores)]
        precision.append([order[:k].mean() for k in range(1, 6)])
    assert found["map"].item() == pytest.approx(np.mean(average), abs=1e-6)
    np.testing.assert_allclose(found["precision"].numpy(), np.mean(precision, 0), atol=1e-6)


def test_queries_with_nothing_to_find_do_not_count() -> None:
    similarity, relevant, candidate = _ranking()
    relevant[::2] = False
    expected = class_retrieval(similarity[1::2], relevant[1::2], candidate[1::2], 3)
    torch.testing.assert_close(class_retrieval(similarity, relevant, candidate, 3), expected)


def test_retrieval_streams() -> None:
    ranking = _ranking()
    metric = ClassRetrieval(4)
    for rows in torch.arange(60).split(17):
        metric.update(*(some[rows] for some in ranking))
    metric.update(*(some[:0] for some in ranking))  # a process without a share
    torch.testing.assert_close(metric.compute(), class_retrieval(*ranking, 4))


def test_chance_is_what_random_rankings_get() -> None:
    _, relevant, candidate = _ranking()
    relevant[:5] = False  # these do not count
    expected = chance_retrieval((relevant & candidate).sum(dim=1), candidate.sum(dim=1))
    generator = torch.Generator().manual_seed(1)
    found = [
        class_retrieval(torch.rand(relevant.shape, generator=generator), relevant, candidate, 3)
        for _ in range(200)
    ]
    chance_map = np.mean([one["map"].item() for one in found])
    chance_precision = np.mean([one["precision"].mean().item() for one in found])
    assert chance_map == pytest.approx(expected["map"], abs=0.003)
    assert chance_precision == pytest.approx(expected["precision"], abs=0.005)


def _clustering(clusters: int, classes: int, noise: float) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(classes, (300,), generator=generator)
    anywhere = torch.rand(300, generator=generator) < noise
    random = torch.randint(clusters, (300,), generator=generator)
    return torch.where(anywhere, random, (label * 3 + 1) % clusters), label


@pytest.mark.parametrize(
    ("clusters", "classes", "noise"), [(7, 7, 0.3), (4, 9, 0.5), (12, 5, 0.0), (5, 5, 1.0)]
)
def test_agreement_is_scikit_learns(clusters: int, classes: int, noise: float) -> None:
    cluster, label = _clustering(clusters, classes, noise)
    found = cluster_agreement(cluster, label, clusters, classes)
    pair = label.numpy(), cluster.numpy()
    assert found["nmi"].item() == pytest.approx(normalized_mutual_info_score(*pair), abs=1e-9)
    assert found["ari"].item() == pytest.approx(adjusted_rand_score(*pair), abs=1e-9)
    table = confusion_matrix(*pair, labels=np.arange(max(clusters, classes)))
    best = table[linear_sum_assignment(-table)].sum() / 300
    assert found["accuracy"].item() == pytest.approx(best)


@pytest.mark.parametrize("kinds", [(1, 1), (1, 4), (4, 1)])
def test_agreement_at_the_ends_is_scikit_learns(kinds: tuple[int, int]) -> None:
    cluster, label = (torch.arange(40) % n for n in kinds)
    found = cluster_agreement(cluster, label, 5, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert found["nmi"].item() == normalized_mutual_info_score(label, cluster)
        assert found["ari"].item() == adjusted_rand_score(label, cluster)


def test_names_of_clusters_mean_nothing() -> None:
    label = torch.arange(50) % 5
    found = cluster_agreement((label * 2 + 1) % 5, label, 5, 5)
    assert {name: value.item() for name, value in found.items()} == pytest.approx(
        {"nmi": 1, "ari": 1, "accuracy": 1}
    )


def test_agreement_streams() -> None:
    cluster, label = _clustering(6, 4, 0.4)
    metric = ClusterAgreement(6, 4)
    for rows in torch.arange(300).split(77):
        metric.update(cluster[rows], label[rows])
    torch.testing.assert_close(metric.compute(), cluster_agreement(cluster, label, 6, 4))

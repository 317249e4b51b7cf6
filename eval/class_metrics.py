"""Metrics of what knows classes: retrieval of a class's other objects, clusters against classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchmetrics import Metric


def class_retrieval(
    similarity: Tensor, relevant: Tensor, candidate: Tensor, k: int
) -> dict[str, Tensor]:
    """Mean average precision and precision at ranks 1 to k.

    Candidates of equal similarity rank in any order: shuffle the bank, and the order is random.

    Args:
        similarity: Queries against a bank, ``(Q, B)``.
        relevant: What is to be found, ``(Q, B)`` bool.
        candidate: What may be found, ``(Q, B)`` bool: not the query itself, say.
        k: Ranks whose precision is told; no query may have fewer candidates.

    Returns:
        ``map`` () and ``precision`` (k,) in [0, 1], float64. Queries that nothing is relevant to
        do not count; the figures are NaN where no query counts.
    """
    return _mean_retrieval(*_retrieval_sums(similarity, relevant, candidate, k))


def chance_retrieval(to_find: Tensor, candidates: Tensor) -> dict[str, float]:
    """What a random ranking gets in the mean: ``map`` and ``precision`` (the same at all ranks).

    Of n candidates, R relevant: a relevant one at rank r has ``(r - 1)(R - 1)/(n - 1)`` others
    before it, and r is uniform, so with the harmonic number H_n

        E[AP] = H_n / n + (R - 1)/(n - 1) (1 - H_n / n).

    Args:
        to_find: R of each query, ``(Q,)``; those with 0 do not count.
        candidates: n of each query, ``(Q,)``.
    """
    found, n = (counts[to_find > 0].double() for counts in (to_find, candidates))
    first = (torch.special.digamma(n + 1) + np.euler_gamma) / n  # H_n = ψ(n + 1) + γ
    expected = first + (found - 1) / (n - 1).clamp_min(1) * (1 - first)
    return {"map": expected.mean().item(), "precision": (found / n).mean().item()}


class ClassRetrieval(Metric):
    """Streaming :func:`class_retrieval`.

    Args:
        k: Ranks whose precision is told.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True

    def __init__(self, k: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.k = k
        self.average: Tensor
        self.precision: Tensor
        self.count: Tensor
        for name, shape in (("average", ()), ("precision", (k,)), ("count", ())):
            zeros = torch.zeros(shape, dtype=torch.float64)
            self.add_state(name, default=zeros, dist_reduce_fx="sum")

    def update(self, similarity: Tensor, relevant: Tensor, candidate: Tensor) -> None:
        """Add queries, ``(Q, B)`` each."""
        average, precision, count = _retrieval_sums(similarity, relevant, candidate, self.k)
        self.average = self.average + average
        self.precision = self.precision + precision
        self.count = self.count + count

    def compute(self) -> dict[str, Tensor]:
        """``map`` () and ``precision`` (k,), float64."""
        return _mean_retrieval(self.average, self.precision, self.count)


def contingency(cluster: Tensor, label: Tensor, clusters: int, classes: int) -> Tensor:
    """Samples of each cluster and class, ``(clusters, classes)`` float64."""
    counts = torch.bincount(cluster * classes + label, minlength=clusters * classes)
    return counts.reshape(clusters, classes).double()


def cluster_agreement(
    cluster: Tensor, label: Tensor, clusters: int, classes: int
) -> dict[str, Tensor]:
    """How far a clustering, whose numbers mean nothing, agrees with classes.

    Args:
        cluster: Cluster of each sample, ``(N,)`` in [0, clusters).
        label: Class of each sample, ``(N,)`` in [0, classes).
        clusters: Number of clusters.
        classes: Number of classes.

    Returns:
        Float64 scalars: ``nmi``, mutual information over the mean of both entropies, in [0, 1];
        ``ari``, the adjusted Rand index (Hubert and Arabie, 1985), 0 at chance and at most 1;
        ``accuracy`` in [0, 1] of the best one-to-one naming of clusters by classes (Kuhn, 1955).
    """
    return _agreement(contingency(cluster, label, clusters, classes))


class ClusterAgreement(Metric):
    """Streaming :func:`cluster_agreement`: the table of clusters and classes adds up.

    Args:
        clusters: Number of clusters.
        classes: Number of classes.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True

    def __init__(self, clusters: int, classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.table: Tensor
        zeros = torch.zeros(clusters, classes, dtype=torch.float64)
        self.add_state("table", default=zeros, dist_reduce_fx="sum")

    def update(self, cluster: Tensor, label: Tensor) -> None:
        """Add samples, ``(N,)`` each."""
        self.table = self.table + contingency(cluster, label, *self.table.shape)

    def compute(self) -> dict[str, Tensor]:
        """``nmi``, ``ari``, ``accuracy``, float64."""
        return _agreement(self.table)


def _retrieval_sums(
    similarity: Tensor, relevant: Tensor, candidate: Tensor, k: int
) -> tuple[Tensor, Tensor, Tensor]:
    ranked = _descending(similarity.masked_fill(~candidate, -torch.inf))
    hit = (relevant & candidate).gather(1, ranked)
    to_find = hit.sum(dim=1)
    ranks = torch.arange(1, hit.shape[1] + 1, device=hit.device)
    precision = hit.cumsum(dim=1, dtype=torch.float32) / ranks
    average = (precision * hit).sum(dim=1) / to_find.clamp_min(1)  # 0 where there is none to find
    counts = to_find > 0
    return average.double().sum(), precision[counts, :k].double().sum(dim=0), counts.sum()


def _mean_retrieval(average: Tensor, precision: Tensor, count: Tensor) -> dict[str, Tensor]:
    return {"map": average / count, "precision": precision / count}


def _descending(values: Tensor) -> Tensor:
    """Indices that sort rows, the largest first."""
    if values.device.type != "cpu":
        return values.argsort(dim=-1, descending=True)
    # numpy sorts with vector instructions, in a fifth of torch's time
    return torch.from_numpy(np.argsort(-values.numpy(), axis=-1))


def _agreement(table: Tensor) -> dict[str, Tensor]:
    total = table.sum()
    rows, columns = table.sum(dim=1), table.sum(dim=0)
    information = _entropy(rows) + _entropy(columns) - _entropy(table.flatten())
    entropies = (_entropy(rows) + _entropy(columns)) / 2
    # one cluster and one class agree
    nmi = torch.where(entropies > 0, information / entropies.clamp_min(1e-300), 1.0).clamp(0, 1)
    together, in_rows, in_columns, all_pairs = map(_pairs, (table, rows, columns, total))
    chance = in_rows * in_columns / all_pairs.clamp_min(1)
    possible = (in_rows + in_columns) / 2 - chance
    ari = torch.where(possible > 0, (together - chance) / possible.clamp_min(1e-300), 1.0)
    named = linear_sum_assignment(table.cpu().numpy(), maximize=True)
    accuracy = table[torch.from_numpy(named[0]), torch.from_numpy(named[1])].sum() / total
    return {"nmi": nmi, "ari": ari, "accuracy": accuracy}


def _entropy(counts: Tensor) -> Tensor:
    entropy: Tensor = torch.special.entr(counts / counts.sum()).sum()
    return entropy


def _pairs(counts: Tensor) -> Tensor:
    return (counts * (counts - 1) / 2).sum()

"""Neighbours in feature space: the k-NN classifier, and retrieval of other objects of a class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from eval.artifacts import Artifact
from eval.cache import FeatureSet
from eval.class_metrics import ClassRetrieval, chance_retrieval
from eval.evaluators.views import Views, device_of, draw_views, majority, with_classes
from eval.metrics import TopKAccuracy
from eval.protocol import Evaluator, Measurement, NotApplicable, Task
from ssl_equiv.errors import UserError

_QUERIES, _BANK = 512, 32768  # rows and columns of a block of similarities
_RANKED = 1 << 22  # similarities that are ranked at once


def nearest(query: Tensor, bank: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k rows of ``bank`` with the largest inner product, the largest first.

    Args:
        query: ``(Q, D)``.
        bank: ``(B, D)``, B >= k.
        k: How many.

    Returns:
        Inner products and row numbers, ``(Q, k)`` each.
    """
    values = query.new_empty(len(query), 0)
    rows = torch.empty(len(query), 0, dtype=torch.int64, device=query.device)
    for first in range(0, len(bank), _BANK):
        some = query @ bank[first : first + _BANK].T
        best = some.topk(min(k, some.shape[1]), dim=1)
        values = torch.cat([values, best.values], dim=1)
        rows = torch.cat([rows, best.indices + first], dim=1)
        values, kept = values.topk(min(k, values.shape[1]), dim=1)
        rows = rows.gather(1, kept)
    return values, rows


def knn_votes(similarity: Tensor, label: Tensor, classes: int, temperature: float) -> Tensor:
    """Votes of neighbours for their classes, each of weight ``exp(similarity / temperature)``.

    Args:
        similarity: Cosine of each neighbour, ``(Q, k)``.
        label: Its class, ``(Q, k)`` int64.
        classes: Number of classes C.
        temperature: Of the weights, positive.

    Returns:
        ``(Q, C)``, at most k.
    """
    # relative to the nearest: no weight overflows, and not all vanish
    weight = torch.exp((similarity - similarity.amax(dim=1, keepdim=True)) / temperature)
    votes = similarity.new_zeros(len(similarity), classes)
    return votes.scatter_add_(1, label, weight)


@dataclass(frozen=True)
class KNN(Evaluator):
    """Weighted k-nearest-neighbour classifier: ``knn_top1_k20``, ...

    The protocol of instance discrimination (arXiv 1805.01978, section 3.4) and DINO (arXiv
    2104.14294): neighbours by cosine among training views, which are of other objects than those
    judged; a neighbour votes for its class with weight ``exp(cosine / temperature)``.

    Args:
        k: Numbers of neighbours, one figure each.
        temperature: Of the votes.
        bank: Training views that are drawn, at most; None for all.
        queries: Judged views that are drawn, at most; None for all.
    """

    k: int | tuple[int, ...] = (1, 20)
    temperature: float = 0.07
    bank: int | None = 20_000
    queries: int | None = 5000

    def __call__(self, task: Task) -> list[Measurement]:
        """Judge every part of ``task``."""
        ks = (self.k,) if isinstance(self.k, int) else tuple(self.k)
        if min(ks, default=0) < 1 or self.temperature <= 0:
            raise UserError(
                f"k-NN with k={self.k} and temperature={self.temperature}: both must be positive"
            )
        task = with_classes(task, "k-NN")
        device = device_of(task)
        bank = draw_views(task.train, self.bank, device)
        if max(ks) > len(bank):
            raise NotApplicable(
                f"k-NN with k={max(ks)} has a bank of {len(bank)} training views: lower k"
            )
        found = []
        for split, views in task.judged():
            query = draw_views(views, self.queries, device)
            baseline = majority(task.train.labels, query.label)
            query = query.own_share()
            for part in task.parts:
                accuracy = self._accuracy(bank, query, slice(*task.train.columns(part)), ks, task)
                found += [
                    Measurement(f"knn_top1_k{k}", part, (value,), baseline, split)
                    for k, value in zip(ks, accuracy.tolist(), strict=True)
                ]
        return found

    def _accuracy(
        self, bank: Views, query: Views, columns: slice, ks: tuple[int, ...], task: Task
    ) -> Tensor:
        classes = len(task.train.class_names)
        metric = TopKAccuracy(1, (len(ks),)).to(bank.features.device)
        stored = normalize(bank.features[:, columns], dim=1)
        for features, label in zip(
            torch.split(query.features[:, columns], _QUERIES),
            torch.split(query.label, _QUERIES),
            strict=True,
        ):
            cosine, rows = nearest(normalize(features, dim=1), stored, max(ks))
            named = bank.label[rows]
            votes = [knn_votes(cosine[:, :k], named[:, :k], classes, self.temperature) for k in ks]
            metric.update(torch.stack(votes), label)
        return metric.compute().reshape(-1)  # torchmetrics drops the dimension of a single k


@dataclass(frozen=True)
class RetrievalOfClasses(Evaluator):
    """Other objects of a view's class, ranked by cosine: ``class_map``, ``class_recall1``, ...

    A judged view is the query, the judged views of all other objects are the bank, those of its
    class are to be found. ``class_map`` is the mean average precision, ``class_recall1`` how often
    the first is of the class (Recall@1 of metric learning), ``class_precision10`` the share of the
    first ten. Queries of classes that have no other object do not count.

    Args:
        k: Ranks whose precision is told and drawn.
        queries: Judged views that ask, at most; None for all.
        bank: Judged views that are ranked, at most; None for all.
    """

    k: int = 10
    queries: int | None = 1000
    bank: int | None = 5000

    def __call__(self, task: Task) -> list[Measurement]:
        """Judge every part of ``task``."""
        if self.k < 1:
            raise UserError(f"precision at rank {self.k}: k must be positive")
        return [
            measurement
            for split, views in task.judged()
            for measurement in self._judge(task, split, views)
        ]

    def _judge(self, task: Task, split: str, views: FeatureSet) -> list[Measurement]:
        device = device_of(task)
        bank = draw_views(views, self.bank, device)
        asked = draw_views(views, self.queries, device, seed=1)
        of_object = torch.bincount(bank.owner, minlength=views.num_objects)[asked.owner]
        of_class = torch.bincount(bank.label, minlength=len(views.class_names))[asked.label]
        to_find, candidates = of_class - of_object, len(bank) - of_object
        if not to_find.any():
            raise NotApplicable(
                f"no class has two {views.split} objects: there is nothing to retrieve; add objects"
            )
        fewest = int(candidates.min())
        if fewest < self.k:
            raise NotApplicable(
                f"precision at rank {self.k} of {fewest} {views.split} views of other objects: "
                "lower k or add objects"
            )
        chance = chance_retrieval(to_find, candidates)
        mine, found, curves = asked.own_share(), [], []
        for part in task.parts:
            columns = slice(*task.train.columns(part))
            metric = ClassRetrieval(self.k).to(device)
            stored = normalize(bank.features[:, columns], dim=1)
            for some in torch.split(
                torch.arange(len(mine), device=device), max(1, _RANKED // len(bank))
            ):
                metric.update(
                    normalize(mine.features[some][:, columns], dim=1) @ stored.T,
                    mine.label[some, None] == bank.label,
                    mine.owner[some, None] != bank.owner,
                )
            scores = metric.compute()
            precision = scores["precision"].tolist()
            curves.append(precision)
            for name, value, baseline in (
                ("map", scores["map"].item(), chance["map"]),
                ("recall1", precision[0], chance["precision"]),
                (f"precision{self.k}", precision[-1], chance["precision"]),
            ):
                found.append(Measurement(f"class_{name}", part, (value,), baseline, split))
        task.keep(
            Artifact(
                "curve",
                "class_retrieval" + (f"_{split}" if split else ""),
                "Retrieval of other objects of the class" + (f" ({split})" if split else ""),
                {"x": np.arange(1, self.k + 1), "y": np.array(curves)},
                caption="Share of a view's nearest neighbours among other objects that are of its "
                "class. A flat line high above chance: the class is a broad region. A steep fall: "
                "only single objects look alike.",
                meta={
                    "series": list(task.parts),
                    "x_label": "neighbours",
                    "y_label": "precision",
                    "baseline": chance["precision"],
                },
            )
        )
        return found

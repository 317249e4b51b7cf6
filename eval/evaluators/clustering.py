"""Clustering: whether classes are clumps that k-means finds without labels."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from eval.artifacts import Artifact
from eval.cache import FeatureSet
from eval.class_metrics import cluster_agreement, contingency
from eval.evaluators.views import centre_and_normalize, draw_views
from eval.processes import once
from eval.protocol import Evaluator, Measurement, NotApplicable, Task
from ssl_equiv.errors import UserError

_SHUFFLES = 10  # of the classes of objects, for chance
_SEEDED = 20  # points a cluster among which k-means++ seeds


@dataclass(frozen=True)
class Clustering(Evaluator):
    """k-means of judged views against their classes.

    ``cluster_nmi`` is the normalised mutual information, ``cluster_ari`` the adjusted Rand index,
    ``cluster_accuracy`` the accuracy of the best one-to-one naming of clusters by classes. Features
    are centred and brought to length 1 first. The baselines are what the same clusters get when
    classes are dealt anew to the objects: clusters that tell objects apart and know nothing of
    classes.

    Args:
        clusters: Number of clusters; None for the number of classes among the judged objects.
        views: Judged views that are drawn, at most; None for all.
        starts: Runs of k-means a seed, of which the tightest counts.
    """

    clusters: int | None = None
    views: int | None = 4000
    starts: int = 1

    @once
    def __call__(self, task: Task) -> list[Measurement]:
        """Judge every part of ``task``."""
        return [
            measurement
            for split, views in task.judged()
            for measurement in self._judge(task, split, views)
        ]

    def _judge(self, task: Task, split: str, views: FeatureSet) -> list[Measurement]:
        present = torch.unique(views.labels)
        if len(present) < 2:
            raise NotApplicable(
                f"all {views.num_objects} {views.split} objects are of the class "
                f"{views.class_names[int(present[0])]!r}: clustering needs two classes or more; "
                "leave it out or add objects"
            )
        drawn = draw_views(views, self.views)
        clusters = len(present) if self.clusters is None else self.clusters
        if not 2 <= clusters <= len(drawn):
            raise UserError(
                f"{clusters} clusters of {len(drawn)} {views.split} views asked for: choose from 2 "
                f"to {len(drawn)}"
            )
        classes = len(views.class_names)
        generator = torch.Generator().manual_seed(0)
        dealt = [
            views.labels[torch.randperm(views.num_objects, generator=generator)][drawn.owner]
            for _ in range(_SHUFFLES)
        ]
        found = []
        for part in task.parts:
            x = drawn.features[:, slice(*task.train.columns(part))]
            x = centre_and_normalize(x, x.mean(dim=0))
            assigned = [k_means(x, clusters, seed, self.starts) for seed in task.seeds]
            scores = [cluster_agreement(one, drawn.label, clusters, classes) for one in assigned]
            chance = [cluster_agreement(assigned[0], label, clusters, classes) for label in dealt]
            found += [
                Measurement(
                    f"cluster_{name}",
                    part,
                    tuple(score[name].item() for score in scores),
                    float(np.mean([score[name].item() for score in chance])),
                    split,
                )
                for name in scores[0]
            ]
            table = contingency(assigned[0], drawn.label, clusters, classes)[:, present]
            _plot(task, split, part, table.numpy())
        return found


def k_means(x: Tensor, clusters: int, seed: int, starts: int = 1) -> Tensor:
    """scikit-learn's k-means from k-means++ seeds, the tightest of some starts.

    Args:
        x: Points in random order, ``(N, D)``.
        clusters: Number of clusters.
        seed: Of the first start.
        starts: How many.

    Returns:
        Cluster of each point, ``(N,)`` int64.
    """
    points, random = x.numpy(), np.random.RandomState(seed)
    runs = []
    for _ in range(starts):
        # seeds among some of the points: among all, seeding takes longer than k-means
        centres, _ = kmeans_plusplus(points[: _SEEDED * clusters], clusters, random_state=random)
        with warnings.catch_warnings():
            # fewer distinct points than clusters: a collapsed model's, whose figures tell
            warnings.simplefilter("ignore", ConvergenceWarning)
            runs.append(KMeans(clusters, init=centres, n_init=1, max_iter=100).fit(points))
    return torch.from_numpy(min(runs, key=lambda run: run.inertia_).labels_).long()


def _plot(task: Task, split: str, part: str, table: np.ndarray) -> None:
    """Shares of the classes in clusters, each cluster beside the class it is named by."""
    clusters, classes = linear_sum_assignment(table, maximize=True)
    order = [*clusters[np.argsort(classes)], *np.setdiff1d(np.arange(len(table)), clusters)]
    share = table[order] / table.sum(axis=0).clip(1)
    task.keep(
        Artifact(
            "plane",
            "clusters" + (f"_{split}" if split else ""),
            "Classes in clusters" + (f" ({split})" if split else ""),
            {"x": np.arange(share.shape[1]), "y": np.arange(len(share)), "values": share},
            part=part,
            caption="Each column is a class and tells how its views fall to the clusters. A bright "
            "diagonal: every class is a cluster. A bright row: a cluster that swallows classes.",
            meta={"x_label": "class", "y_label": "cluster", "value_label": "share of the class"},
        )
    )

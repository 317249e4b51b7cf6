"""Few-shot classification: what a handful of labelled objects a class is enough for."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from eval.artifacts import Artifact
from eval.evaluators.views import (
    Views,
    centre_and_normalize,
    device_of,
    draw_views,
    with_classes,
)
from eval.metrics import TopKAccuracy
from eval.protocol import Evaluator, Measurement, NotApplicable, Task
from ssl_equiv.errors import UserError

log = logging.getLogger(__name__)
_CHUNK = 1024  # views that are judged at once
_MEAN_VIEWS = 20_000  # views whose mean the features are centred by


def draw_shots(
    labels: Tensor, classes: Tensor, shots: int, draws: int, generator: torch.Generator
) -> Tensor:
    """Distinct objects of each class, drawn anew each time.

    Args:
        labels: Class of each object, ``(N,)``.
        classes: Classes to draw from, ``(C,)``, each of ``shots`` objects or more.
        shots: Objects a class, n.
        draws: How often, M.
        generator: Of the draws; the first n of a draw are the draw of n.

    Returns:
        Object numbers ``(M, C, n)`` int64.
    """
    keys = torch.rand(draws, len(labels), generator=generator)
    drawn = []
    for label in classes:
        members = torch.nonzero(labels == label).squeeze(1)
        drawn.append(members[keys[:, members].argsort(dim=1)[:, :shots]])
    return torch.stack(drawn, dim=1)


def fit_logistic(x: Tensor, label: Tensor, classes: int, strength: float) -> tuple[Tensor, Tensor]:
    """Multinomial logistic regressions, M at once: scikit-learn's ``LogisticRegression``.

    Each minimises ``strength · Σ cross-entropy + |W|²/2`` by L-BFGS; the intercept is free.

    Args:
        x: ``(M, N, D)``.
        label: The same for all, ``(N,)``.
        classes: Number of classes C.
        strength: Inverse strength of the penalty, scikit-learn's ``C``.

    Returns:
        Weights ``(M, D, C)`` and intercepts ``(M, 1, C)``.
    """
    weight = x.new_zeros(len(x), x.shape[2], classes, requires_grad=True)
    bias = x.new_zeros(len(x), 1, classes, requires_grad=True)
    target, penalty = label.expand(x.shape[:2]), 1 / (2 * strength * len(label))
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=200,
        tolerance_grad=1e-4,  # scikit-learn's
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        logits = torch.baddbmm(bias, x, weight)
        entropy = F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="sum")
        loss = entropy / len(label) + penalty * weight.square().sum()
        torch.autograd.backward(loss)
        return loss

    with torch.enable_grad():
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach()


@dataclass(frozen=True)
class FewShot(Evaluator):
    """Logistic regression on n objects a class: ``few_shot_top1_n1``, ``few_shot_top1_n5``, ...

    Features are centred by the mean of the training views and brought to length 1 (CL2N, arXiv
    1911.04623), then classified by L2-regularised logistic regression (arXiv 2003.11539). A
    seed's figure is the mean over its draws of objects; views of all val objects are judged.

    Args:
        shots: Objects a class.
        views: Views of each that are shown, drawn with it; None for all. With 1, n shots are n
            labelled images a class, as in the literature.
        draws: Draws of objects a seed.
        strength: Inverse strength of the penalty, scikit-learn's ``C``.
        queries: Judged views that are drawn, at most; None for all.
    """

    shots: tuple[int, ...] = (1, 5, 10)
    views: int | None = 1
    draws: int = 3
    strength: float = 1.0
    queries: int | None = 5000

    def __call__(self, task: Task) -> list[Measurement]:
        """Judge every part of ``task``."""
        shown_views = 1 if self.views is None else self.views
        if not self.shots or min(*self.shots, self.draws, shown_views) < 1:
            raise UserError(
                f"few-shot with shots={self.shots}, views={self.views}, draws={self.draws}: each "
                "must be 1 or more"
            )
        if self.strength <= 0:
            raise UserError(f"few-shot with strength={self.strength}: it must be positive")
        task = with_classes(task, "few-shot classification")
        shots = self._possible(task)
        classes = torch.unique(task.train.labels)
        device = device_of(task)
        mean = draw_views(task.train, _MEAN_VIEWS).features.mean(dim=0)
        asked = {split: draw_views(views, self.queries, device) for split, views in task.judged()}
        chance = {
            split: torch.isin(views.label, classes.to(device)).double().mean().item() / len(classes)
            for split, views in asked.items()
        }
        asked = {split: views.own_share() for split, views in asked.items()}
        figures: dict[tuple[str, str, int], list[float]] = {}
        for seed in task.seeds:
            shown = self._draw(task, classes, max(shots), seed)
            for part in task.parts:
                columns = slice(*task.train.columns(part))
                x = centre_and_normalize(shown[..., columns], mean[columns]).to(device)
                for n in shots:
                    x_of_n = x[:, :, :n].flatten(1, 3)
                    label = torch.arange(len(classes), device=device)
                    label = label.repeat_interleave(x_of_n.shape[1] // len(classes))
                    fitted = fit_logistic(x_of_n, label, len(classes), self.strength)
                    for split, views in asked.items():
                        accuracy = _accuracy(views, columns, mean, classes, fitted)
                        figures.setdefault((split, part, n), []).append(accuracy)
        self._plot(task, shots, figures, chance)
        return [
            Measurement(f"few_shot_top1_n{n}", part, tuple(found), chance[split], split)
            for (split, part, n), found in figures.items()
        ]

    def _possible(self, task: Task) -> tuple[int, ...]:
        """Shots that every class has objects for; a line in the log names a class that has not."""
        counts = torch.bincount(task.train.labels)
        fewest = int(torch.where(counts > 0, counts, task.train.num_objects).argmin())
        has = int(counts[fewest])
        short = (
            f"the class {task.train.class_names[fewest]!r} has {has} training object"
            f"{'s' if has > 1 else ''}"
        )
        possible = tuple(n for n in sorted(set(self.shots)) if n <= has)
        if not possible:
            raise NotApplicable(f"{short}, fewer than the {min(self.shots)} shots: lower shots")
        if len(possible) < len(self.shots):
            left = ", ".join(str(n) for n in self.shots if n > has)
            log.warning("few-shot is not judged with shots of %s: %s", left, short)
        return possible

    def _draw(self, task: Task, classes: Tensor, shots: int, seed: int) -> Tensor:
        """Features of the objects of one seed, ``(draws, C, shots, views, D)``."""
        train, generator = task.train, torch.Generator().manual_seed(seed)
        objects = draw_shots(train.labels, classes, shots, self.draws, generator)
        # keys of all objects: what is drawn for few shots is a part of what is drawn for many
        keys = torch.rand(self.draws, train.num_objects, train.num_views, generator=generator)
        keys = keys[torch.arange(self.draws)[:, None, None], objects]
        views = keys.argsort(dim=-1)[..., : self.views]
        return train.features[objects[..., None], views].float()

    def _plot(
        self,
        task: Task,
        shots: tuple[int, ...],
        figures: dict[tuple[str, str, int], list[float]],
        chance: dict[str, float],
    ) -> None:
        for split, level in chance.items():
            table = np.array([[figures[split, part, n] for n in shots] for part in task.parts])
            task.keep(
                Artifact(
                    "curve",
                    "few_shot" + (f"_{split}" if split else ""),
                    "Accuracy by labelled objects of each class" + (f" ({split})" if split else ""),
                    {"x": np.array(shots), "y": table.mean(-1), "spread": table.std(-1)},
                    caption="Top-1 accuracy of a linear classifier that was shown so many objects "
                    "of each class. High from the left: classes are compact and apart.",
                    meta={
                        "series": list(task.parts),
                        "x_label": "objects of each class",
                        "y_label": "top-1 accuracy",
                        "log_x": True,
                        "baseline": level,
                    },
                )
            )


def _accuracy(
    views: Views, columns: slice, mean: Tensor, classes: Tensor, fitted: tuple[Tensor, Tensor]
) -> float:
    """Mean accuracy of the classifiers of all draws."""
    weight, bias = fitted
    # numbers among the classes that were shown; others are -1, which no guess hits
    same = views.label[:, None] == classes.to(views.label)
    known = torch.where(same.any(dim=1), same.int().argmax(dim=1), -1)
    metric = TopKAccuracy(1, (len(weight),)).to(weight.device)
    for features, label in zip(
        torch.split(views.features[:, columns], _CHUNK), torch.split(known, _CHUNK), strict=True
    ):
        x = centre_and_normalize(features, mean[columns].to(features))
        metric.update(x @ weight + bias, label)
    return metric.compute().mean().item()

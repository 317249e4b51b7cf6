"""The regressor: elements of views, or the actions between two, from frozen features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection

from eval.cache import FeatureSet
from eval.metrics import (
    EachDimR2,
    ErrorSummary,
    PerDimR2,
    PooledR2,
    regression_scores,
)
from eval.probe import ProbeRecipe, StackedProbe
from eval.stacked import fixed_pairs, stacked_mlp
from eval.targets import Target
from ssl_equiv.errors import UserError

_VAL_BATCH = 8192  # samples times targets that are judged at a time


class Regressor(StackedProbe):
    """Regress targets by MSE, each with networks of its own: one a target, part and seed.

    Relative targets take the concatenated features of two views, absolute ones those of one.
    Targets share a seed's draws, so each ends as it would have ended alone.

    Metrics of each target, under :meth:`eval.targets.Target.metric`'s names: ``r2_pooled``,
    ``r2_per_dim``, of more dimensions than one also each's own ``r2_NAME``; ``degrees_mean`` and
    ``degrees_median`` of rotations and angles, of all else ``distance_mean`` and
    ``distance_median`` in the factor's own unit.

    Args:
        train: Features to learn from.
        val: Features to be judged on.
        parts: Names of parts of one width.
        seeds: Seeds.
        recipe: How to train.
        targets: What is regressed, all relative or all absolute.
        pairs_per_object: Validation pairs of each object, capped at all ordered pairs.

    Raises:
        UserError: the data set lacks a factor, or objects have one view and targets are relative.
    """

    def __init__(
        self,
        train: FeatureSet,
        val: FeatureSet,
        parts: Sequence[str],
        seeds: Sequence[int],
        recipe: ProbeRecipe,
        targets: Sequence[Target],
        pairs_per_object: int = 32,
    ) -> None:
        self.targets, self.pairs_per_object = tuple(targets), pairs_per_object
        self.picks = 2 if targets[0].relative else 1
        self.val_batch = max(256, _VAL_BATCH // len(targets))
        for views in (train, val):
            self._check_views(views)
        super().__init__(train, val, parts, seeds, recipe)
        self.elements = {split: self._elements(views) for split, views in self.sets.items()}
        widths = [target.coordinates.width for target in targets]
        self.own = torch.arange(max(widths)) < torch.tensor(widths)[:, None]  # outputs in use
        each = len(self.parts) * len(self.seeds)
        self.net = stacked_mlp(
            [self.picks * self.width, *recipe.hidden, max(widths)],
            self.seeds * len(self.parts) * len(targets),
            outputs=[width for width in widths for _ in range(each)],
        )
        self.scores = nn.ModuleList([_collection(target, self.members) for target in targets])

    def judge_on(self, views: FeatureSet) -> None:
        """Judge on other features from now on."""
        self._check_views(views)
        super().judge_on(views)
        self.elements["val"] = self._elements(views)

    def forward(self, split: str, chosen: Tensor) -> Tensor:
        """Outputs ``(T, P, S, B, o)`` for samples ``(1 + picks, [S,] B)`` of a split."""
        x_PSBD = self.inputs(split, chosen)
        if torch.is_autocast_enabled(x_PSBD.device.type):  # once, not once a target
            x_PSBD = x_PSBD.to(torch.get_autocast_dtype(x_PSBD.device.type))
        output: Tensor = self.net(x_PSBD.flatten(0, 1))
        return torch.unflatten(output, 0, (len(self.targets), *self.members)).float()

    def answers(self, chosen: Tensor) -> Tensor:
        """Coordinates of each target, ``(S, B, T, o)``; zeros beyond its own."""
        values = self._values("train", chosen)
        wanted = torch.zeros(*chosen.shape[1:], *self.own.shape)
        for number, (target, value) in enumerate(zip(self.targets, values, strict=True)):
            wanted[..., number, : target.coordinates.width] = target.coordinates.encode(value)
        return wanted

    def loss(self, output: Tensor, answers: Tensor) -> Tensor:
        """Mean squared error, ``(T, P, S)``."""
        own = self.own.to(output)
        share = own / own.sum(dim=-1, keepdim=True)  # each target's loss is a mean over its own
        squares = (output - answers.movedim(-2, 0).unsqueeze(1)).square().mean(dim=-2)
        return (squares * share[:, None, None]).sum(dim=-1)

    def judge(self, output: Tensor, chosen: Tensor) -> None:
        """Update the metrics."""
        values = [value.to(output.device) for value in self._values("val", chosen)]
        each = zip(self._collections(), self.targets, output, values, strict=True)
        for scores, target, row, value in each:
            answers = row[..., : target.coordinates.width]
            scores.update(**_judged(target, answers, value))

    def results(self) -> dict[str, Tensor]:
        """The metrics under their full names."""
        return {
            target.metric(name): figure
            for target, scores in zip(self.targets, self._collections(), strict=True)
            for name, figure in scores.compute().items()
        }

    def baseline(self) -> dict[str, float]:
        """The mean of what is regressed over the training set, whatever the images."""
        train, val = (self._values(split, self._samples(split)) for split in ("train", "val"))
        found: dict[str, float] = {}
        for target, learnt, value in zip(self.targets, train, val, strict=True):
            answer = target.coordinates.encode(learnt.double()).mean(dim=0)
            judged = _judged(target, answer.expand(len(value), -1), value.double())
            scores = regression_scores(
                **judged, names=target.coordinates.dims, unit=target.coordinates.unit
            )
            found |= {target.metric(name): score.item() for name, score in scores.items()}
        return found

    def val_samples(self) -> Tensor:
        """The same samples for every model and seed, ``(1 + picks, n)``."""
        return self._samples("val")

    def _collections(self) -> list[MetricCollection]:
        """The metrics of each target."""
        return [scores for scores in self.scores if isinstance(scores, MetricCollection)]

    def _samples(self, split: str) -> Tensor:
        views = self.sets[split]
        if self.picks == 2:
            return fixed_pairs(views.num_objects, views.num_views, self.pairs_per_object)
        return torch.cartesian_prod(
            torch.arange(views.num_objects), torch.arange(views.num_views)
        ).T

    def _elements(self, views: FeatureSet) -> dict[str, Tensor]:
        return {t.quantity.name: t.quantity.elements(views) for t in self.targets}

    def _values(self, split: str, chosen: Tensor) -> list[Tensor]:
        """Elements ``([S,] B, d)`` of each target."""
        elements = self.elements[split]
        return [t.values(elements[t.quantity.name], chosen) for t in self.targets]

    def _check_views(self, views: FeatureSet) -> None:
        if views.num_views < self.picks:
            names = ", ".join(target.quantity.name for target in self.targets)
            raise UserError(
                f"the {views.split} objects have {views.num_views} view: relative {names} needs "
                "two or more; leave the regressor out or generate more views"
            )


def _collection(target: Target, members: tuple[int, ...]) -> MetricCollection:
    names, unit = target.coordinates.dims, target.coordinates.unit
    metrics = {
        "r2_pooled": PooledR2(len(names), members),
        "r2_per_dim": PerDimR2(len(names), members),
        "error": ErrorSummary(unit),
    }
    if len(names) > 1:
        metrics["each"] = EachDimR2(names, members)
    return MetricCollection(metrics)  # type: ignore[arg-type]


def _judged(target: Target, output: Tensor, value: Tensor) -> dict[str, Tensor]:
    """What metrics are updated with, from outputs ``(..., n, width)`` and values ``(n, d)``."""
    coordinates = target.coordinates
    return {
        "pred": coordinates.decode(output, value),
        "target": coordinates.count(value),
        "error": coordinates.error(output, value),
    }

"""The evaluation protocol: evaluators over cached features, every part, several seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Protocol

import torch

from eval.cache import FeatureSet
from eval.probe import ProbeRecipe, StackedProbe, fit
from eval.probes import ActionRegressor, LinearProbe
from eval.results import Result, code_commit, config_hash
from eval.targets import Convention
from ssl_equiv.errors import UserError
from ssl_equiv.groups import SO3

PUBLISHED = ProbeRecipe()
"""The papers' recipe, linear probe and regressor alike. It counts epochs, not steps: on a data set
of a thousand objects it stops far from convergence, the farther the smaller the features are."""
QUICK = ProbeRecipe(epochs=60, schedule="one_cycle", standardize=True, precision="auto")
"""A regressor in a fifth of the papers' steps."""
QUICK_LINEAR = replace(QUICK, epochs=300, batch_size=512, lr=2e-2)
"""A linear probe that converges on small data sets too: its problem is convex, steps are cheap."""


@dataclass(frozen=True)
class Measurement:
    """One metric of one part, over seeds.

    Args:
        metric: Its name.
        part: Part of the representation.
        values: One figure a seed.
        baseline: What a constant predictor gets.
    """

    metric: str
    part: str
    values: tuple[float, ...]
    baseline: float | None = None


@dataclass(frozen=True)
class Task:
    """What evaluators are given.

    Args:
        train: Features to learn from.
        val: Features to be judged on.
        parts: Parts of the representation.
        seeds: Seeds.
        trainer_options: Lightning Trainer arguments.
        progress: Show progress bars.
    """

    train: FeatureSet
    val: FeatureSet
    parts: tuple[str, ...]
    seeds: tuple[int, ...]
    trainer_options: Mapping[str, Any]
    progress: bool = False

    def parts_by_width(self) -> Iterable[tuple[str, ...]]:
        """Parts in groups of one width: what can train as one stack."""
        groups: dict[int, list[str]] = {}
        for part in self.parts:
            first, past = self.train.columns(part)
            groups.setdefault(past - first, []).append(part)
        return [tuple(group) for group in groups.values()]

    def run(self, probe: StackedProbe, prefix: str = "") -> list[Measurement]:
        """Fit a probe; its figures, ``prefix`` before the metrics' names."""
        values, baseline = fit(probe, self.trainer_options, self.progress), probe.baseline()
        return [
            Measurement(prefix + metric, part, tuple(table[number].tolist()), baseline.get(metric))
            for number, part in enumerate(probe.parts)
            for metric, table in values.items()
        ]


class Evaluator(Protocol):
    """One way to judge features; a frozen dataclass, its fields are its settings."""

    def __call__(self, task: Task) -> list[Measurement]:
        """Judge every part of ``task``."""
        ...


@dataclass(frozen=True)
class LinearClassification:
    """Linear probe: ``top1``, ``top5``.

    Args:
        recipe: How it is trained.
    """

    recipe: ProbeRecipe = PUBLISHED

    def __call__(self, task: Task) -> list[Measurement]:
        """Judge every part of ``task``."""
        return [
            measurement
            for parts in task.parts_by_width()
            for measurement in task.run(
                LinearProbe(task.train, task.val, parts, task.seeds, self.recipe)
            )
        ]


@dataclass(frozen=True)
class ActionRegression:
    """Regression of the relative action of two views: R² and, for rotations, degrees.

    Args:
        factor: Factor of variation.
        recipe: How it is trained.
        conventions: Signs of quaternions, each trained for; other factors have the canonical one.
        pairs_per_object: Validation pairs of each object.
    """

    factor: str = "rotation"
    recipe: ProbeRecipe = PUBLISHED
    conventions: tuple[Convention, ...] = ("canonical", "published")
    pairs_per_object: int = 32

    def __call__(self, task: Task) -> list[Measurement]:
        """Judge every part of ``task``."""
        rotation = isinstance(task.train.group(self.factor), SO3)
        conventions = self.conventions if rotation else ("canonical",)
        return [
            measurement
            for convention in conventions
            for parts in task.parts_by_width()
            for measurement in task.run(
                ActionRegressor(
                    task.train,
                    task.val,
                    parts,
                    task.seeds,
                    self.recipe,
                    self.factor,
                    convention,
                    self.pairs_per_object,
                ),
                prefix=f"{self.factor}_",
            )
        ]


def standard_evaluators(
    recipe: Literal["published", "quick"] = "published", factors: Sequence[str] = ("rotation",)
) -> list[Evaluator]:
    """The linear probe and a regressor for each factor, by the papers' recipe or the quick ones."""
    quick = recipe == "quick"
    return [
        LinearClassification(QUICK_LINEAR if quick else PUBLISHED),
        *(ActionRegression(factor, QUICK if quick else PUBLISHED) for factor in factors),
    ]


def evaluate(
    train: FeatureSet,
    val: FeatureSet,
    *,
    evaluators: Sequence[Evaluator] = (LinearClassification(), ActionRegression()),
    parts: Sequence[str] | None = None,
    seeds: int | Sequence[int] = 3,
    model: str = "",
    config: Mapping[str, Any] | None = None,
    trainer_options: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> list[Result]:
    """Judge frozen features.

    Args:
        train: Features to learn from.
        val: Features to be judged on, of the same model.
        evaluators: What to measure.
        parts: Parts of the representation; by default all that the model names.
        seeds: Seeds, or how many.
        model: Name of the model, for the rows.
        config: What else the figures depend on (a run's configuration); part of the hash.
        trainer_options: Lightning Trainer arguments for the probes.
        progress: Show progress bars.

    Returns:
        One row a metric, part and seed.

    Raises:
        UserError: features are not finite or not of one model, or an evaluator cannot judge them.
    """
    seeds = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    task = Task(
        train=train,
        val=val,
        parts=tuple(train.parts if parts is None else parts),
        seeds=seeds,
        trainer_options=trainer_options or {},
        progress=progress,
    )
    if not task.parts or not seeds:
        raise UserError("nothing to evaluate: name one part and one seed at least")
    for features in (train, val):
        _check_finite(features)
    if dict(train.parts) != dict(val.parts):
        raise UserError(
            f"the {train.split} features have the parts {dict(train.parts)}, those of {val.split} "
            f"{dict(val.parts)}: extract both with the same model"
        )
    commit = code_commit()
    rows = []
    for evaluator in evaluators:
        depends = {
            "evaluator": {"name": type(evaluator).__name__, **asdict(evaluator)},  # type: ignore[call-overload]
            "train": dict(train.key),
            "val": dict(val.key),
            "config": dict(config or {}),
        }
        digest = config_hash(depends)
        for found in evaluator(task):
            if not all(map(math.isfinite, found.values)):
                raise UserError(
                    f"{found.metric} of part {found.part!r} is not a number: training diverged; "
                    "lower the recipe's lr or set standardize"
                )
            rows += [
                Result(
                    metric=found.metric,
                    value=value,
                    part=found.part,
                    split=val.split,
                    seed=seed,
                    commit=commit,
                    config_hash=digest,
                    baseline=found.baseline,
                    model=model,
                )
                for seed, value in zip(seeds, found.values, strict=True)
            ]
    return rows


def _check_finite(features: FeatureSet) -> None:
    for first in range(0, features.num_objects, 1024):
        some = features.features[first : first + 1024]
        finite = torch.isfinite(some).flatten(1).all(dim=1)
        if not finite.all():
            index = features.index[first : first + 1024][~finite][0].item()
            raise UserError(
                f"the features of object {index} ({features.split}) are not finite: the model or "
                "the cache is damaged; extract them again from another checkpoint"
            )

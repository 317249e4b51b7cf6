"""The evaluation protocol: evaluators over cached features, every part, several seeds."""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from eval.artifacts import Artifact, write_artifact
from eval.cache import FeatureSet
from eval.errors import NotApplicable as NotApplicable  # where evaluators look for it
from eval.fitting import fit, judge
from eval.probe import StackedProbe
from eval.processes import is_first
from eval.results import Result, code_commit, config_hash
from ssl_equiv.data.module import ViewDataModule
from ssl_equiv.errors import UserError
from ssl_equiv.methods import Method

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measurement:
    """One metric of one part, over seeds.

    Args:
        metric: Its name.
        part: Part of the representation.
        values: One figure a seed; a figure that no seed changes may stand alone.
        baseline: What a constant predictor (or chance) gets.
        split: What was judged; "" is the validation split.
    """

    metric: str
    part: str
    values: tuple[float, ...]
    baseline: float | None = None
    split: str = ""


@dataclass(frozen=True)
class Task:
    """What evaluators are given.

    Args:
        train: Features to learn from.
        val: Features to be judged on.
        parts: Parts of the representation.
        seeds: Seeds.
        trainer_options: Where probes train, as of :func:`eval.fitting.fit`.
        progress: Show progress bars.
        others: Further features to be judged on, by the name that their figures get as split,
            such as ``ood``; of the same model, with the same factors.
        encoder: What made the features, a module with ``encode``; None where only they are at hand.
        method: The whole trained method with its predictor, in evaluation mode, where there is one.
        data: The images of ``train`` and ``val``, prepared as the model wants them.
        folder: Where artifacts and further features go; None keeps none.
        pass_options: Lightning Trainer arguments of further feature passes.
    """

    train: FeatureSet
    val: FeatureSet
    parts: tuple[str, ...]
    seeds: tuple[int, ...]
    trainer_options: Mapping[str, Any]
    progress: bool = False
    others: Mapping[str, FeatureSet] = field(default_factory=dict)
    encoder: nn.Module | None = None
    method: Method | None = None
    data: ViewDataModule | None = None
    folder: Path | None = None
    pass_options: Mapping[str, Any] = field(default_factory=dict)

    def parts_by_width(self) -> Iterable[tuple[str, ...]]:
        """Parts in groups of one width: what can train as one stack."""
        groups: dict[int, list[str]] = {}
        for part in self.parts:
            first, past = self.train.columns(part)
            groups.setdefault(past - first, []).append(part)
        return [tuple(group) for group in groups.values()]

    def judged(self) -> Iterator[tuple[str, FeatureSet]]:
        """What to judge on, by the split of :class:`Measurement`: "" first, then the others."""
        yield "", self.val
        yield from self.others.items()

    def run(self, probe: StackedProbe, prefix: str = "") -> list[Measurement]:
        """Fit a probe once, judge all; its figures, ``prefix`` before the metrics' names."""
        found = []
        for split, views in self.judged():
            if split == "":
                values = fit(probe, self.trainer_options, self.progress)
            else:
                values = judge(probe, views, self.trainer_options)
            baseline = probe.baseline()
            found += [
                Measurement(
                    prefix + metric,
                    part,
                    tuple(table[number].tolist()),
                    baseline.get(metric),
                    split,
                )
                for number, part in enumerate(probe.parts)
                for metric, table in values.items()
            ]
        return found

    def keep(self, artifact: Artifact) -> None:
        """Keep the data of a plot; of several processes the first does."""
        if self.folder is not None and is_first():
            write_artifact(self.folder, artifact)


class Evaluator(ABC):
    """One way to judge features; subclasses are frozen dataclasses, their fields the settings."""

    @abstractmethod
    def __call__(self, task: Task) -> list[Measurement]:
        """Judge every part of ``task``.

        Raises:
            NotApplicable: it cannot judge this model or these data.
            UserError: what it was given is damaged or its settings make no sense.
        """


def evaluate(
    train: FeatureSet,
    val: FeatureSet,
    *,
    evaluators: Sequence[Evaluator],
    parts: Sequence[str] | None = None,
    seeds: int | Sequence[int] = 3,
    model: str = "",
    config: Mapping[str, Any] | None = None,
    trainer_options: Mapping[str, Any] | None = None,
    progress: bool = False,
    skip_inapplicable: bool = False,
    **given: Any,
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
        trainer_options: Where probes train, as of :func:`eval.fitting.fit`.
        progress: Show progress bars.
        skip_inapplicable: Leave out evaluators that cannot judge this, with a line in the log,
            instead of stopping.
        **given: Further fields of :class:`Task`.

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
        **given,
    )
    if not task.parts or not seeds:
        raise UserError("nothing to evaluate: name one part and one seed at least")
    for features in (train, *(views for _, views in task.judged())):
        _check_finite(features)
        if dict(train.parts) != dict(features.parts):
            raise UserError(
                f"the {train.split} features have the parts {dict(train.parts)}, those of "
                f"{features.split} {dict(features.parts)}: extract both with the same model"
            )
    for part in task.parts:
        train.columns(part)  # the model lacks it: said before anything is computed
    commit = code_commit()
    rows = []
    for evaluator in evaluators:
        name = type(evaluator).__name__
        depends = {
            "evaluator": {"name": name, **asdict(evaluator)},  # type: ignore[call-overload]
            "train": dict(train.key),
            "val": dict(val.key),
            "others": {split: dict(views.key) for split, views in task.others.items()},
            "config": dict(config or {}),
        }
        digest = config_hash(depends)
        try:
            measured = evaluator(task)
        except NotApplicable as reason:
            if not skip_inapplicable:
                raise
            if is_first():
                log.warning("%s is left out: %s", name, reason)
            continue
        for found in measured:
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
                    split=found.split or val.split,
                    seed=seed,
                    commit=commit,
                    config_hash=digest,
                    baseline=found.baseline,
                    model=model,
                )
                # a figure that no seed changes has one row
                for seed, value in zip(seeds, found.values, strict=len(found.values) > 1)
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

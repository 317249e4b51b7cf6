"""Aggregates of sequences of views: seq-JEPA's invariant representation, judged at any length.

The aggregator works on features, so sequences are made from cached features of single views; no
image is encoded twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from eval.artifacts import Artifact
from eval.cache import FeatureSet
from eval.evaluators.views import with_classes
from eval.probes import LinearProbe
from eval.protocol import Evaluator, Measurement, NotApplicable, Task
from eval.recipes import Recipe, probe_recipe
from ssl_equiv.errors import UserError
from ssl_equiv.methods import PLS, SeqJEPA

Ablation = Literal["none", "views", "actions"]
PART = "aggregate"
_LENGTHS = 5  # lengths up to this one, and up to that of training, are judged
_CHUNK = 4096  # sequences at a time


def draw_sequences(
    num_objects: int, num_views: int, length: int, per_object: int, seed: int = 0
) -> Tensor:
    """Sequences of distinct views in random order, the same at every call.

    Returns:
        View numbers ``(num_objects, per_object, length)`` int64.

    Raises:
        UserError: objects have fewer views.
    """
    if not 1 <= length <= num_views:
        raise UserError(
            f"sequences of {length} views asked for, but each object has {num_views}: choose "
            f"lengths from 1 to {num_views}"
        )
    generator = torch.Generator().manual_seed(seed)
    keys = torch.rand(num_objects, per_object, num_views, generator=generator)
    return keys.argsort(dim=-1)[..., :length]


@torch.no_grad()
def aggregate_views(
    method: SeqJEPA,
    views: FeatureSet,
    length: int,
    per_object: int = 8,
    seed: int = 0,
    ablate: Ablation = "none",
) -> FeatureSet:
    """Aggregates of random sequences of each object's views.

    Args:
        method: The trained method, whose encoder made ``views``.
        views: Features of single views, ``(N, V, D)``.
        length: Views in a sequence, M.
        per_object: Sequences of each object, S.
        seed: Seed of the sequences.
        ablate: Take away the ``views`` (features are zeros) or the ``actions`` (each is the
            identity), to see what the other carries.

    Returns:
        Aggregates ``(N, S, T)``. The ``actions`` of a sequence are its displacements
        ``g_1⁻¹ g_M``: the pose of the last view as the first view sees it.

    Raises:
        UserError: too few views, features of another width, or the data lack one of the factors.
    """
    if views.features.shape[-1] != method.dim:
        raise UserError(
            f"features of width {views.features.shape[-1]} for an aggregator of {method.dim}: "
            "extract them with the method's own backbone"
        )
    chosen = draw_sequences(views.num_objects, views.num_views, length, per_object, seed)
    objects = torch.arange(views.num_objects)[:, None, None]
    training, device = method.training, method.device
    method.eval()
    groups = {factor: views.group(factor) for factor in method.factors}
    elements = {factor: views.actions[factor][objects, chosen] for factor in groups}
    steps = []
    for factor, group in groups.items():
        step = group.relative(elements[factor][:, :, :-1], elements[factor][:, :, 1:])
        if ablate == "actions":
            step = group.identity(step.shape[:-1]).to(step)
        steps.append(step)
    actions = torch.cat(steps, dim=-1).float().flatten(0, 1)
    made = []
    size = max(1, _CHUNK // per_object)
    for first in range(0, views.num_objects, size):
        some = slice(first, first + size)
        features = views.features[objects[some], chosen[some]].flatten(0, 1).to(device)
        if ablate == "views":
            features = torch.zeros_like(features)
        of_some = actions[first * per_object : first * per_object + len(features)].to(device)
        made.append(method.head.aggregate(features, of_some).float().cpu())
    method.train(training)
    aggregates = torch.unflatten(torch.cat(made), 0, (views.num_objects, per_object))
    return replace(
        views,
        features=aggregates,
        parts={"all": (0, aggregates.shape[-1]), PART: (0, aggregates.shape[-1])},
        actions={
            factor: group.relative(elements[factor][:, :, 0], elements[factor][:, :, -1])
            for factor, group in groups.items()
        },
        groups=groups,
        key={**views.key, "length": length, "per_object": per_object, "ablate": ablate},
    )


def aggregator(task: Task) -> SeqJEPA:
    """The method whose encoder made the features and which aggregates them.

    Raises:
        NotApplicable: there is none, or the data lack a factor whose action it is told.
    """
    method = task.method
    if not isinstance(method, SeqJEPA) or isinstance(method, PLS):
        raise NotApplicable(
            "sequences of views are aggregated by SeqJEPA alone: leave this evaluator out, or "
            "judge a run of that method"
        )
    missing = [factor for factor in method.factors if factor not in task.train.groups]
    if missing:
        raise NotApplicable(
            f"aggregates need the actions of {', '.join(missing)}, but the data set has "
            f"{', '.join(task.train.groups) or 'none'}: judge single views alone"
        )
    if torch.cuda.is_available():
        method.to("cuda")
    return method


def sequence_lengths(task: Task, lengths: Sequence[int] | None, least: int = 1) -> tuple[int, ...]:
    """The lengths asked for, or ``least`` to 5 (to those of training, where these are longer)."""
    if lengths is not None:
        return tuple(lengths)
    longest = max(_LENGTHS, aggregator(task).observations)
    return tuple(range(least, min(task.train.num_views, task.val.num_views, longest) + 1))


def over_lengths(
    task: Task, lengths: Sequence[int], per_object: int, ablate: Ablation = "none"
) -> Iterator[tuple[int, Task]]:
    """The task on aggregates of each length; training and validation sequences differ in seed."""
    method = aggregator(task)
    for length in lengths:
        train, val = (
            aggregate_views(method, views, length, per_object, seed, ablate)
            for seed, views in enumerate((task.train, task.val))
        )
        others = {
            split: aggregate_views(method, views, length, per_object, 1, ablate)
            for split, views in task.others.items()
        }
        yield length, replace(task, train=train, val=val, others=others, parts=(PART,))


def keep_curves(task: Task, found: Sequence[Measurement], name: str, title: str) -> None:
    """Keep each metric of the validation split as a curve over length."""
    curves: dict[str, dict[int, tuple[float, ...]]] = {}
    for measured in found:
        metric, _, length = measured.metric.rpartition("_length")
        if measured.split == "":
            curves.setdefault(metric, {})[int(length)] = measured.values
    for metric, points in curves.items():
        values = np.array(list(points.values()))
        task.keep(
            Artifact(
                kind="curve",
                name=f"{name}_{metric.removeprefix(name).strip('_')}",
                title=f"{title} ({metric.removeprefix(name).strip('_')})",
                part=PART,
                caption="Mean and deviation over the probe's seeds.",
                arrays={
                    "x": np.array(list(points)),
                    "y": values.mean(axis=1)[None],
                    "spread": values.std(axis=1)[None],
                },
                meta={"series": [metric], "x_label": "views in a sequence", "y_label": metric},
            )
        )


@dataclass(frozen=True)
class SequenceClassification(Evaluator):
    """Linear probe on aggregates as a function of their length: ``top1_length3``, ...

    Args:
        lengths: Views in a sequence; None for 1 to 5, or to as many as in training.
        per_object: Sequences of each object, fixed for all epochs of the probe.
        recipe: How the probe is trained.
    """

    lengths: tuple[int, ...] | None = None
    per_object: int = 8
    recipe: Recipe = "published"

    def __call__(self, task: Task) -> list[Measurement]:
        """Judge the aggregates; parts of single views are not looked at."""
        recipe = probe_recipe(self.recipe, linear=True)
        task = with_classes(task, "a linear probe")
        lengths = sequence_lengths(task, self.lengths)
        found = [
            replace(measurement, metric=f"{measurement.metric}_length{length}")
            for length, some in over_lengths(task, lengths, self.per_object)
            for measurement in some.run(
                LinearProbe(some.train, some.val, some.parts, some.seeds, recipe)
            )
        ]
        keep_curves(task, found, "aggregate", "Classes from aggregates of views")
        return found

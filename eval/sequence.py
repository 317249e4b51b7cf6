"""Aggregates of sequences of views: seq-JEPA's invariant representation, judged at any length.

The aggregator works on features, so sequences are made from cached features of single views; no
image is encoded twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from eval.cache import FeatureSet
from eval.probe import ProbeRecipe
from eval.probes import LinearProbe
from eval.protocol import PUBLISHED, Measurement, Task
from ssl_equiv.errors import UserError
from ssl_equiv.methods import PLS, SeqJEPA
from ssl_equiv.representation import Representation
from ssl_equiv.transforms.saccades import keyed_uniform

Ablation = Literal["none", "views", "actions"]
PART = "aggregate"
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


def over_lengths(
    method: SeqJEPA,
    task: Task,
    lengths: Sequence[int],
    per_object: int,
    ablate: Ablation = "none",
) -> Iterator[tuple[int, Task]]:
    """The task on aggregates of each length; training and validation sequences differ in seed."""
    for length in lengths:
        train, val = (
            aggregate_views(method, views, length, per_object, seed, ablate)
            for seed, views in enumerate((task.train, task.val))
        )
        yield length, replace(task, train=train, val=val, parts=(PART,))


@dataclass(frozen=True)
class SequenceClassification:
    """Linear probe on aggregates as a function of their length: ``top1_length3``, ...

    Args:
        method: The trained method, whose encoder made the features.
        lengths: Views in a sequence.
        per_object: Sequences of each object, fixed for all epochs of the probe.
        recipe: How the probe is trained.
    """

    method: SeqJEPA
    lengths: tuple[int, ...] = (1, 2, 3, 4, 5)
    per_object: int = 8
    recipe: ProbeRecipe = PUBLISHED

    def __call__(self, task: Task) -> list[Measurement]:
        """Judge the aggregates; parts of single views are not looked at."""
        return [
            replace(measurement, metric=f"{measurement.metric}_length{length}")
            for length, some in over_lengths(self.method, task, self.lengths, self.per_object)
            for measurement in some.run(
                LinearProbe(some.train, some.val, some.parts, some.seeds, self.recipe)
            )
        ]


class Scanpath(nn.Module):
    """PLS at test time: an image is looked at a number of times, its aggregate is its feature.

    Every image takes the same random numbers, so its fixations depend on nothing but itself and,
    for a method that was trained on a file of saliency maps, on its map.

    Args:
        method: The trained method.
        length: Fixations, any number; None for as many as in training.
    """

    def __init__(self, method: PLS, length: int | None = None) -> None:
        super().__init__()
        self.method, self.length = method, length or method.observations

    def encode(self, images: Tensor, saliency: Tensor | None = None) -> Representation:
        """The aggregate ``(B, T)`` of normalised images ``(B, C, H, W)``.

        Args:
            images: The images.
            saliency: Their maps ``(B, h, w)``, rows of the file for these very images; only for a
                method that was trained on such a file.

        Raises:
            UserError: maps are missing, or the method was trained without.
        """
        if (saliency is None) != (self.method.saliency is None):
            raise UserError(
                "the method was trained on the spectral residual: give it no saliency maps"
                if self.method.saliency is None
                else f"the method was trained on the saliency maps in {self.method.saliency}: give "
                "those of these images"
            )
        index = torch.zeros(len(images), dtype=torch.int64, device=images.device)
        uniform = keyed_uniform(index, self.length, seed=0)
        patches, centres = self.method.fixate(images, uniform, saliency)
        actions = centres[:, 1:] - centres[:, :-1]
        return Representation(self.method.aggregate(patches, actions), {})

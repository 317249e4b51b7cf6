"""What evaluators of classes share: drawn views with their labels, and what classes must be."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from eval.cache import FeatureSet
from eval.protocol import NotApplicable, Task
from ssl_equiv.errors import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Views:
    """Single views with what is known of them.

    Args:
        features: ``(n, D)`` float32.
        label: Class of each, ``(n,)`` int64.
        owner: Row of its object in the feature set, ``(n,)`` int64.
        number: Which of its object's views it is, ``(n,)`` int64.
    """

    features: Tensor
    label: Tensor
    owner: Tensor
    number: Tensor

    def __len__(self) -> int:
        return len(self.label)

    def own_share(self) -> Views:
        """The views that fall to this process: every n-th of n processes, all of one."""
        if not torch.distributed.is_initialized():
            return self
        mine = slice(torch.distributed.get_rank(), None, torch.distributed.get_world_size())
        return Views(self.features[mine], self.label[mine], self.owner[mine], self.number[mine])


def draw_views(
    source: FeatureSet,
    most: int | None,
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> Views:
    """Views of a feature set in random order: all of them, or as many as ``most``.

    The choice depends on the numbers of objects and views alone: the same pictures for every model.
    The order makes ties fair: equal features (a collapsed model's) come in no order of class.

    Args:
        source: The feature set.
        most: How many at most; None for all.
        device: Where they go.
        seed: Of the choice.

    Raises:
        UserError: ``most`` is not positive.
    """
    if most is not None and most < 1:
        raise UserError(f"{most} views asked for: take 1 or more, or null for all")
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(source.num_objects * source.num_views, generator=generator)[:most]
    owner, number = chosen // source.num_views, chosen % source.num_views
    return Views(
        source.features[owner, number].float().to(device),
        source.labels[owner].to(device),
        owner.to(device),
        number.to(device),
    )


def centre_and_normalize(features: Tensor, mean: Tensor) -> Tensor:
    """Features ``(..., D)`` less ``mean`` (D,), at length 1 (CL2N, arXiv 1911.04623)."""
    return normalize(features - mean, dim=-1)


def device_of(task: Task) -> str:
    """The accelerator where there is one and the trainer's options do not say otherwise."""
    on_cpu = task.trainer_options.get("accelerator") == "cpu"
    return "cuda" if torch.cuda.is_available() and not on_cpu else "cpu"


def with_classes(task: Task, who: str) -> Task:
    """The task of what asks for classes: labels of all that is judged number the training classes.

    Further data sets may have some of the classes, in any order. One with classes that were never
    learnt is left out, with a line in the log.

    Args:
        task: The task.
        who: What asks, such as ``a linear probe``.

    Raises:
        NotApplicable: there is one training class, or the validation data have other classes.
    """
    present = torch.unique(task.train.labels)
    if len(present) < 2:
        name = task.train.class_names[int(present[0])]
        raise NotApplicable(
            f"all {task.train.num_objects} training objects are of the class {name!r}: {who} "
            "needs two classes or more; leave it out or add objects"
        )
    judged = {}
    for split, views in task.judged():
        known = _renumbered(views, task.train)
        if known is not None:
            judged[split] = known
            continue
        mine, others = (sorted(set(s.class_names)) for s in (task.train, views))
        reason = (
            f"the {views.split} data have the classes {_some(others)}, the training data "
            f"{_some(mine)}: {who} needs classes that it has learnt"
        )
        if split == "":
            raise NotApplicable(f"{reason}; judge on other data")
        log.warning("%s is left out: %s", split, reason)
    return replace(task, val=judged.pop(""), others=judged)


def _renumbered(views: FeatureSet, train: FeatureSet) -> FeatureSet | None:
    """Views with the training classes' numbers as labels; None where one was not trained on."""
    if views.class_names == train.class_names:
        return views
    number = {name: label for label, name in enumerate(train.class_names)}
    table = torch.tensor([number.get(name, -1) for name in views.class_names])
    labels = table[views.labels]
    if (labels < 0).any():
        return None
    return replace(views, labels=labels, class_names=train.class_names)


def majority(train: Tensor, label: Tensor) -> float:
    """Accuracy on ``label`` of the most frequent class of ``train``."""
    return (label == torch.bincount(train).argmax().to(label)).double().mean().item()


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

"""What evaluators of classes share: drawn views with their labels, and what classes must be."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from eval.cache import FeatureSet
from eval.protocol import NotApplicable, Task
from ssl_equiv.errors import UserError


@dataclass(frozen=True)
class Views:
    """Single views with what is known of them.

    Args:
        features: ``(n, D)`` float32.
        label: Class of each, ``(n,)`` int64.
        owner: Row of its object in the feature set, ``(n,)`` int64.
    """

    features: Tensor
    label: Tensor
    owner: Tensor

    def __len__(self) -> int:
        return len(self.label)

    def own_share(self) -> Views:
        """The views that fall to this process: every n-th of n processes, all of one."""
        if not torch.distributed.is_initialized():
            return self
        mine = slice(torch.distributed.get_rank(), None, torch.distributed.get_world_size())
        return Views(self.features[mine], self.label[mine], self.owner[mine])


def draw_views(
    source: FeatureSet,
    most: int | None,
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> Views:
    """Views of a feature set in random order: all of them, or as many as ``most``.

    The order makes ties fair: equal features (a collapsed model's) come in no order of class.

    Args:
        source: The feature set.
        most: How many at most; None for all.
        device: Where they go.
        seed: Of the choice, which is the same for every model.

    Raises:
        UserError: ``most`` is not positive.
    """
    if most is not None and most < 1:
        raise UserError(f"{most} views asked for: take 1 or more, or null for all")
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(source.num_objects * source.num_views, generator=generator)[:most]
    owner = chosen // source.num_views
    return Views(
        source.features.flatten(0, 1)[chosen].float().to(device),
        source.labels[owner].to(device),
        owner.to(device),
    )


def centre_and_normalize(features: Tensor, mean: Tensor) -> Tensor:
    """Features ``(..., D)`` less ``mean`` (D,), at length 1 (CL2N, arXiv 1911.04623)."""
    return normalize(features - mean, dim=-1)


def device_of(task: Task) -> str:
    """The accelerator where there is one and the trainer's options do not say otherwise."""
    on_cpu = task.trainer_options.get("accelerator") == "cpu"
    return "cuda" if torch.cuda.is_available() and not on_cpu else "cpu"


def require_classes(task: Task, who: str) -> None:
    """Check that there are two training classes or more, the same in all that is judged.

    Args:
        task: The task.
        who: What asks, such as ``a linear probe``.

    Raises:
        NotApplicable: there are not.
    """
    present = torch.unique(task.train.labels)
    if len(present) < 2:
        name = task.train.class_names[int(present[0])]
        raise NotApplicable(
            f"all {task.train.num_objects} training objects are of the class {name!r}: {who} "
            "needs two classes or more; leave it out or add objects"
        )
    for _, views in task.judged():
        if views.class_names != task.train.class_names:
            mine, others = (sorted(set(s.class_names)) for s in (task.train, views))
            raise NotApplicable(
                f"the {views.split} data have the classes {_some(others)}, the training data "
                f"{_some(mine)}: {who} needs the same ones in the same order; judge on other data"
            )


def majority(train: Tensor, label: Tensor) -> float:
    """Accuracy on ``label`` of the most frequent class of ``train``."""
    return (label == torch.bincount(train).argmax().to(label)).double().mean().item()


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

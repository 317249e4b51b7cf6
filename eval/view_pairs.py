"""Views of one object by twos and threes, and errors against the size of the action between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eval.artifacts import Artifact
from eval.cache import FeatureSet
from eval.protocol import NotApplicable
from ssl_equiv.groups import SO2, SO3


def draw_tuples(num_objects: int, num_views: int, picks: int, count: int, seed: int = 0) -> Tensor:
    """Distinct views of one object, the same at every call.

    Args:
        num_objects: Objects, visited equally often (but for one visit).
        num_views: Views that they have, at least ``picks``.
        picks: Views of a sample.
        count: Samples n.
        seed: Seed of the draw.

    Returns:
        ``(1 + picks, n)`` int64: objects, then views.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(num_objects, generator=generator)
    objects = order[torch.arange(count) % num_objects]
    views = torch.rand(count, num_views, generator=generator).argsort(dim=1)[:, :picks]
    return torch.cat([objects[None], views.T])


def action_sizes(views: FeatureSet, factor: str, chosen: Tensor) -> tuple[Tensor, str]:
    """How large the action between two views is.

    Args:
        views: Features with their actions.
        factor: The factor of variation.
        chosen: Objects, first and second views, ``(3, n)`` int64.

    Returns:
        Distances in the factor's group ``(n,)``, degrees for rotations, and a label with the unit.
    """
    group, elements = views.group(factor), views.actions[factor]
    objects, first, second = chosen
    size = group.distance(elements[objects, first], elements[objects, second])
    if isinstance(group, SO2 | SO3):
        return torch.rad2deg(size), f"size of the {factor} (degrees)"
    return size, f"size of the {factor}"


def curve_over_sizes(
    name: str,
    title: str,
    sizes: tuple[Tensor, str],
    series: Mapping[str, tuple[Tensor, Tensor]],
    bins: int,
    *,
    y_label: str,
    caption: str,
    part: str,
    baseline: float | None = None,
    root: bool = False,
) -> Artifact:
    """The data of a plot over the size of the action, bins of equally many samples.

    Args:
        name: As of :class:`Artifact`.
        title: As of :class:`Artifact`.
        sizes: Size of each sample's action ``(n,)``, and its label.
        series: By name, what is averaged in each bin ``(n,)``, and what that is divided by (),
            the same for all bins.
        bins: How many; fewer samples make fewer bins.
        y_label: As of :class:`Artifact`.
        caption: As of :class:`Artifact`.
        part: As of :class:`Artifact`.
        baseline: A level to draw.
        root: Draw square roots.
    """
    size, x_label = sizes
    order = size.argsort()
    pieces = torch.tensor_split(order, min(bins, len(order)))
    x = torch.stack([size[piece].mean() for piece in pieces])
    rows = []
    for values, unit in series.values():
        level = torch.stack([values[piece].double().mean() for piece in pieces])
        level = level / unit.double().clamp_min(torch.finfo(torch.float64).tiny)
        rows.append(level.sqrt() if root else level)
    arrays = {"x": x.numpy(), "y": torch.stack(rows).numpy().astype(np.float64)}
    meta: dict[str, Any] = {"series": list(series), "x_label": x_label, "y_label": y_label}
    if baseline is not None:
        meta["baseline"] = baseline
    return Artifact("curve", name, title, arrays, part=part, caption=caption, meta=meta)


def square_distance(one: Tensor, other: Tensor) -> Tensor:
    """``|one - other|²`` of each row, ``(n,)``."""
    return (one - other).square().sum(dim=-1)


def mean_square_spread(embedding: Tensor) -> Tensor:
    """``mean |e - mean|²`` of embeddings ``(n, E)``, scalar."""
    return square_distance(embedding, embedding.mean(dim=0)).mean()


def need_views(sets: Sequence[FeatureSet], least: int, why: str) -> None:
    """Raise NotApplicable where objects have fewer than ``least`` views."""
    for views in sets:
        if views.num_views < least:
            raise NotApplicable(
                f"the {views.split} objects have {views.num_views} view{'s'[: views.num_views - 1]}"
                f", but {why} needs {least}: generate more views, or leave the evaluator out"
            )

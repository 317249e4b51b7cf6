"""Average precision by distance of centres, and what is wrong with what was found (nuScenes).

Written from the rules in Caesar et al., "nuScenes", CVPR 2020, section 3.1.
docs/lidar_detection.md states each of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from eval.detection.kitti import mean_of_known
from eval.detection.table import BoxTable, slots_within_frames

DISTANCES = (0.5, 1.0, 2.0, 4.0)
ERROR_DISTANCE = 2.0
"""Distance at which the errors of what was found are told, metres."""
LEAST = 0.1
"""Recall and precision up to here do not count: they are noise."""
_LEVELS = 100


def centre_distance_ap(
    predictions: BoxTable,
    truth: BoxTable,
    classes: Sequence[str],
    judged: Sequence[str] | None = None,
    distances: Sequence[float] = DISTANCES,
) -> dict[str, float]:
    """Average precision at each distance, and translation, scale and orientation errors.

    Objects that no point hits (``num_points`` is 0) do not count.

    Args:
        predictions: Detections with scores.
        truth: Annotations.
        classes: Name of each label.
        judged: Classes to judge; by default all. Those that ``classes`` lacks are left out.
        distances: Metres between centres, seen from above, within which an object is found.

    Returns:
        For each class in lower case ``{class}_centre_ap_{distance}m``, ``{class}_centre_ap`` (their
        mean), ``{class}_centre_ate`` (metres), ``.._ase`` (1 - IoU of the aligned boxes) and
        ``.._aoe`` (radians, in [0, π]); NaN where there is no object. ``mean_centre_..`` is the
        mean over classes that have objects.
    """
    predictions, truth = predictions.by_frame(), truth.by_frame()
    truth = truth[truth.num_points != 0]
    found: dict[str, float] = {}
    means: dict[str, list[float]] = {}
    for name in classes if judged is None else [name for name in judged if name in classes]:
        label = classes.index(name)
        figures = _of_class(
            predictions[predictions.label == label], truth[truth.label == label], distances
        )
        for figure, value in figures.items():
            found[f"{name.lower()}_centre_{figure}"] = value
            means.setdefault(f"mean_centre_{figure}", []).append(value)
    return found | {name: mean_of_known(values) for name, values in means.items()}


def _of_class(
    detections: BoxTable, objects: BoxTable, distances: Sequence[float]
) -> dict[str, float]:
    limits = torch.tensor([*distances, ERROR_DISTANCE], dtype=torch.float64)
    names = [f"ap_{distance:g}m" for distance in distances]
    errors = ("ate", "ase", "aoe")
    if not len(objects):
        return dict.fromkeys([*names, "ap", *errors], math.nan)
    # surest first; of equal scores, the earlier frame and row
    detections = detections[detections.score.argsort(descending=True, stable=True)]
    which = match_centres(detections, objects, limits)
    found = {}
    for name, hits in zip(names, which >= 0, strict=False):
        recall, precision = _curve(hits, len(objects))
        found[name] = _area(recall, precision)
    found["ap"] = sum(found.values()) / len(found)
    return found | dict(zip(errors, _errors(detections, objects, which[-1]), strict=True))


def match_centres(detections: BoxTable, objects: BoxTable, limits: Tensor) -> Tensor:
    """Every detection, the surest first, takes the nearest object that is left in its frame.

    Args:
        detections: Sorted by score, the highest first.
        objects: Sorted by frame.
        limits: Distances, metres, ``(T,)``.

    Returns:
        Object of each detection at each distance or -1, ``(T, N)``.
    """
    frames = torch.unique(objects.frame)
    place = torch.searchsorted(frames, objects.frame)
    slot = slots_within_frames(objects.frame)
    centres = torch.full((len(frames), int(slot.max()) + 1, 2), math.inf, dtype=torch.float64)
    centres[place, slot] = objects.boxes[:, :2].double()
    left = torch.ones(len(limits), *centres.shape[:2], dtype=torch.bool)
    which = torch.full((len(limits), len(detections)), -1)
    start = torch.searchsorted(objects.frame, frames)
    order = detections.frame.argsort(stable=True)
    rank = slots_within_frames(detections.frame[order])
    for number in range(int(rank.max()) + 1 if len(rank) else 0):
        rows = order[rank == number]  # one of each frame that has so many
        rows = rows[torch.isin(detections.frame[rows], frames)]
        at = torch.searchsorted(frames, detections.frame[rows])
        away = (centres[at] - detections.boxes[rows, None, :2].double()).norm(dim=-1)
        distance, nearest = torch.where(left[:, at], away, math.inf).min(dim=-1)
        near = distance < limits[:, None]
        which[:, rows] = torch.where(near, start[at] + nearest, -1)
        limit, row = near.nonzero(as_tuple=True)
        left[limit, at[row], nearest[limit, row]] = False
    return which


def _curve(hits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Recall and precision after each detection, ``(N,)`` each."""
    right = hits.double().cumsum(0)
    return right / count, right / torch.arange(1, len(hits) + 1, dtype=torch.float64)


def _area(recall: Tensor, precision: Tensor) -> float:
    """Mean of what precision exceeds :data:`LEAST` by, over recalls above it, as a share of 1."""
    if not len(recall):
        return 0.0
    levels = _levels()
    at = _interpolate(levels, recall, precision)
    at = torch.where(levels <= recall[-1], at, 0.0)
    return ((at - LEAST).clamp_min(0).mean() / (1 - LEAST)).item()


def _levels() -> Tensor:
    """Recalls that count: .11, .12, ..., 1."""
    first = round(LEAST * _LEVELS) + 1
    return torch.arange(first, _LEVELS + 1, dtype=torch.float64) / _LEVELS


def _interpolate(x: Tensor, known: Tensor, values: Tensor) -> Tensor:
    """Values at ``x``, linear between ``known`` ascending places; the last one of equal places."""
    right = torch.searchsorted(known, x, right=True)
    low, high = (right - 1).clamp_min(0), right.clamp_max(len(known) - 1)
    way = known[high] - known[low]
    share = torch.where(way > 0, (x - known[low]) / torch.where(way > 0, way, 1.0), 0.0)
    return values[low] + share.clamp(0, 1) * (values[high] - values[low])


def _errors(detections: BoxTable, objects: BoxTable, which: Tensor) -> list[float]:
    """Translation, scale and orientation errors: running means, averaged over recalls reached."""
    hits = which >= 0
    recall = torch.arange(1, int(hits.sum()) + 1, dtype=torch.float64) / len(objects)
    levels = _levels()
    levels = levels[levels <= recall[-1]] if len(recall) else levels[:0]
    if not len(levels):
        return [1.0, 1.0, 1.0]
    a, b = detections.boxes[hits].double(), objects.boxes[which[hits]].double()
    sizes, others = a[:, 3:6].clamp_min(0), b[:, 3:6].clamp_min(0)
    shared = torch.minimum(sizes, others).prod(1)
    union = sizes.prod(1) + others.prod(1) - shared
    turn = torch.remainder(a[:, 6] - b[:, 6] + math.pi, 2 * math.pi) - math.pi
    each = (
        (a[:, :2] - b[:, :2]).norm(dim=1),
        1 - torch.where(union > 0, shared / union, 0.0),
        turn.abs(),
    )
    running = [error.cumsum(0) / torch.arange(1, len(error) + 1) for error in each]
    return [_interpolate(levels, recall, mean).mean().item() for mean in running]

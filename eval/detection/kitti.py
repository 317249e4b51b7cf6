"""Average precision by KITTI's rules, at 40 or at 11 recalls.

Written from the benchmark's published rules (Geiger et al., CVPR 2012; Simonelli et al., ICCV 2019,
for 40 recalls). docs/lidar_detection.md states each of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from eval.detection.table import DONT_CARE, BoxTable, pairs_within_frames, slots_within_frames
from ssl_equiv.box_overlap import overlaps_of_pairs

Kind = Literal["image", "bev", "3d"]
KINDS: tuple[Kind, ...] = get_args(Kind)
RECALLS = 40
_ROUNDING = 1e-6  # .15 of a float32 is more than .15
_STEPS = 4_000_000  # entries of the largest array of a matching


@dataclass(frozen=True)
class Difficulty:
    """Which objects count; the others are neither to be found nor wrong to be found.

    Args:
        name: For people.
        min_height: Least height in the image, pixels, of objects and of detections.
        max_occlusion: Greatest occlusion level.
        max_truncation: Greatest truncation.
    """

    name: str
    min_height: float
    max_occlusion: float
    max_truncation: float

    def counts(self, truth: BoxTable) -> Tensor:
        """Which rows of ``truth`` count, ``(N,)`` bool."""
        return (
            (truth.height >= self.min_height)
            & (truth.occlusion <= self.max_occlusion)
            & (truth.truncation <= self.max_truncation + _ROUNDING)
        )


@dataclass(frozen=True)
class Judged:
    """A class that is judged.

    Args:
        name: Its name in the data.
        min_overlap: Overlap that a detection must exceed, in the image, from above and in 3D.
        neighbours: Classes whose objects are like it: finding one is neither right nor wrong.
    """

    name: str
    min_overlap: float
    neighbours: tuple[str, ...] = ()


DIFFICULTIES = (
    Difficulty("easy", 40, 0, 0.15),
    Difficulty("moderate", 25, 1, 0.30),
    Difficulty("hard", 25, 2, 0.50),
)
JUDGED = (
    Judged("Car", 0.7, ("Van",)),
    Judged("Pedestrian", 0.5, ("Person_sitting",)),
    Judged("Cyclist", 0.5),
)


def kitti_ap(
    predictions: BoxTable,
    truth: BoxTable,
    classes: Sequence[str],
    kinds: Sequence[Kind] = ("bev", "3d"),
    judged: Sequence[Judged] = JUDGED,
    difficulties: Sequence[Difficulty] = DIFFICULTIES,
) -> dict[str, float]:
    """Average precision of every class, kind of overlap and difficulty.

    Args:
        predictions: Detections with scores and heights in the image.
        truth: Annotations; rows labelled :data:`DONT_CARE` are image regions.
        classes: Name of each label.
        kinds: ``image`` needs both tables' image boxes.
        judged: Classes to judge; those that ``classes`` lacks are left out.
        difficulties: Which objects count.

    Returns:
        ``{class}_{kind}_ap40_{difficulty}`` and ``.._ap11_..`` in [0, 1], class in lower case;
        NaN where no object counts. ``mean_..`` is the mean over classes that have objects.
    """
    predictions, truth = predictions.by_frame(), truth.by_frame()
    found: dict[str, float] = {}
    means: dict[str, list[float]] = {}
    for judge in (judge for judge in judged if judge.name in classes):
        for kind in kinds:
            matching = _Matching(predictions, truth, classes, judge, kind)
            for difficulty in difficulties:
                precision = matching.precision(difficulty)
                for name, value in average_precision(precision).items():
                    figure = f"{kind}_{name}_{difficulty.name}"
                    found[f"{judge.name.lower()}_{figure}"] = value
                    means.setdefault(f"mean_{figure}", []).append(value)
    return found | {name: mean_of_known(values) for name, values in means.items()}


def mean_of_known(values: Sequence[float]) -> float:
    """Mean of the values that are numbers; NaN where none is."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def average_precision(precision: Tensor) -> dict[str, float]:
    """``ap40`` and ``ap11`` of the precision ``(41,)`` at recalls 0, 1/40, ..., 1.

    Interpolated precision is the greatest at the same or a higher recall. AP at 40 recalls leaves
    recall 0 out; at 11 recalls every fourth counts, 0 with them.
    """
    best = precision.flip(0).cummax(0).values.flip(0)
    return {"ap40": best[1:].mean().item(), "ap11": best[::4].mean().item()}


class _Matching:
    """Detections and objects of one class that overlap enough, frame by frame.

    Those that overlap nothing need no matching: such a detection is wrong at every threshold.
    """

    def __init__(
        self,
        predictions: BoxTable,
        truth: BoxTable,
        classes: Sequence[str],
        judge: Judged,
        kind: Kind,
    ) -> None:
        own = classes.index(judge.name)
        like = [classes.index(name) for name in judge.neighbours if name in classes]
        regions = truth[truth.label == DONT_CARE]
        self.detections = predictions[predictions.label == own]
        self.objects = truth[torch.isin(truth.label, truth.label.new_tensor([own, *like]))]
        self.is_own = self.objects.label == own
        rows, columns = pairs_within_frames(self.objects.frame, self.detections.frame)
        overlap = _overlap(kind, self.objects, self.detections, rows, columns)
        enough = overlap > judge.min_overlap
        rows, columns, overlap = rows[enough], columns[enough], overlap[enough]
        self.object_rows, which_object = torch.unique(rows, return_inverse=True)
        self.detection_rows, which_detection = torch.unique(columns, return_inverse=True)
        frames, place = torch.unique(self.objects.frame[self.object_rows], return_inverse=True)
        object_slot = slots_within_frames(self.objects.frame[self.object_rows])
        detection_frame = self.detections.frame[self.detection_rows]
        detection_slot = slots_within_frames(detection_frame)
        self.detection_place = (torch.searchsorted(frames, detection_frame), detection_slot)
        self.object_place = (place, object_slot)
        depth = [int(slot.max()) + 1 if len(slot) else 0 for slot in (object_slot, detection_slot)]
        self.overlap = overlap.new_zeros(len(frames), *depth)
        self.overlap[
            place[which_object], object_slot[which_object], detection_slot[which_detection]
        ] = overlap
        self.in_region = torch.zeros_like(self.detections.frame, dtype=torch.bool)
        if kind == "image":  # regions have no place in space
            rows, columns = pairs_within_frames(regions.frame, self.detections.frame)
            inside = _image_overlap(regions, self.detections, rows, columns, of_second=True)
            self.in_region[columns[inside > judge.min_overlap]] = True

    def precision(self, difficulty: Difficulty) -> Tensor:
        """Precision at recalls 0, 1/40, ..., 1, ``(41,)``; 0 where the recall is not reached."""
        counts = self.is_own & difficulty.counts(self.objects)
        precision = torch.zeros(RECALLS + 1, dtype=torch.float64)
        if not counts.any():
            return precision.fill_(math.nan)
        small = self.detections.height < difficulty.min_height
        score = self.detections.score.double()
        scores, counted = self._dense(score, torch.nan), counts[self.object_rows]
        smalls = self._dense(small, False)
        wanted = torch.zeros(self.overlap.shape[:2], dtype=torch.bool)
        wanted[self.object_place] = counted
        # recall is told by the surest detection of each object
        surest = torch.where(self.overlap > 0, scores[:, None], -math.inf)
        chosen = _choose(surest, torch.ones_like(scores, dtype=torch.bool)[None])[0]
        right = (chosen >= 0) & wanted & ~_at(smalls, chosen)
        thresholds = score_thresholds(_at(scores, chosen)[right], int(counts.sum()))
        # precision by the detection that overlaps each object most; small ones if need be
        order = -torch.arange(scores.shape[1], dtype=torch.float64).expand_as(scores)
        preference = torch.where(smalls[:, None], order[:, None], 1 + self.overlap)
        preference = torch.where(self.overlap > 0, preference, -math.inf)
        step = max(1, _STEPS // max(1, scores.numel()))
        for start in range(0, len(thresholds), step):
            some = thresholds[start : start + step]
            chosen = _choose(preference, scores >= some[:, None, None])
            taken = (chosen >= 0) & ~_at(smalls.expand(len(some), -1, -1), chosen)
            right = (taken & wanted).sum(dim=(1, 2))
            answers = (score >= some[:, None]) & ~small
            wrong = answers.sum(1) - taken.sum(dim=(1, 2))
            wrong -= self._excused(chosen, answers)
            precision[start : start + len(some)] = right.double() / (right + wrong).clamp_min(1)
        return precision

    def _excused(self, chosen: Tensor, answers: Tensor) -> Tensor | int:
        """Detections in regions that took no object, ``(T,)``."""
        if not self.in_region.any():
            return 0
        frames, depth = self.overlap.shape[0], self.overlap.shape[2]
        taken = torch.zeros(len(chosen), frames, depth + 1, dtype=torch.bool)
        taken.scatter_(2, torch.where(chosen < 0, depth, chosen), True)
        free = torch.ones_like(answers)
        free[:, self.detection_rows] = ~taken[:, self.detection_place[0], self.detection_place[1]]
        return (answers & free & self.in_region).sum(1)

    def _dense(self, column: Tensor, empty: float) -> Tensor:
        """A column of the detections that may match, by frame and slot."""
        shape = self.overlap.shape[0], self.overlap.shape[2]
        dense = torch.full(shape, empty, dtype=column.dtype)
        dense[self.detection_place] = column[self.detection_rows]
        return dense


def score_thresholds(scores: Tensor, count: int) -> Tensor:
    """Scores at which recall comes nearest to 0, 1/40, ..., as far as it goes.

    Recall k/40 is that of the i-th surest right detection (from 0) where i is the first for which
    i + 1 is as near to k/40 of the objects as i + 2 is. The first recall beyond the last detection
    is told by the last, the others by none. With 60 objects or fewer neighbouring recalls share
    detections, so that all found is 1, however few they are.

    Args:
        scores: Of the right detections, ``(N,)``.
        count: Objects.

    Returns:
        ``(T,)`` descending, T <= 41.
    """
    ordered, last = scores.sort(descending=True).values, len(scores) - 1
    if last < 0:
        return ordered
    recalls = torch.arange(RECALLS + 1, dtype=torch.float64)
    place = (recalls * count / RECALLS - 1.5).ceil().long().clamp_min(0)
    reached = int((place <= last).sum())
    if reached <= RECALLS and place[reached - 1] < last:
        reached += 1
    return ordered[place[:reached].clamp_max(last)]


def _choose(preference: Tensor, allowed: Tensor) -> Tensor:
    """Every object in turn takes the detection it prefers among those that are left.

    Args:
        preference: ``(F, G, D)``, -inf for detections that an object cannot take.
        allowed: Detections at each threshold, ``(T, F, D)`` bool.

    Returns:
        Detection of each object or -1, ``(T, F, G)``.
    """
    left, chosen = allowed.clone(), []
    for wishes in preference.unbind(1):
        best, which = torch.where(left, wishes, -math.inf).max(dim=-1)
        found = best > -math.inf
        left.scatter_(-1, which[..., None], left.gather(-1, which[..., None]) & ~found[..., None])
        chosen.append(torch.where(found, which, -1))
    if not chosen:
        return torch.zeros(*allowed.shape[:2], 0, dtype=torch.long)
    return torch.stack(chosen, dim=-1)


def _at(column: Tensor, chosen: Tensor) -> Tensor:
    """Entries ``(..., F, G)`` of ``(..., F, D)``; of no choice any entry."""
    if not column.shape[-1]:
        return column.new_zeros(chosen.shape)
    return column.gather(-1, chosen.clamp_min(0))


def _overlap(
    kind: Kind, first: BoxTable, second: BoxTable, rows: Tensor, columns: Tensor
) -> Tensor:
    if kind == "image":
        return _image_overlap(first, second, rows, columns)
    flat, solid = overlaps_of_pairs(first.boxes, second.boxes, rows, columns)
    return flat if kind == "bev" else solid


def _image_overlap(
    first: BoxTable, second: BoxTable, rows: Tensor, columns: Tensor, of_second: bool = False
) -> Tensor:
    """Intersection over union, or over the second box, of rectangles in the image, ``(K,)``."""
    a, b = first.image_box[rows], second.image_box[columns]
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    shared = (high - low).clamp_min(0).prod(1)
    area_a, area_b = ((box[:, 2:] - box[:, :2]).clamp_min(0).prod(1) for box in (a, b))
    whole = area_b if of_second else area_a + area_b - shared
    return torch.where(whole > 0, shared / whole, 0.0)

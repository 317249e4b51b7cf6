"""Annotated objects of other sweeps put into a sweep (SECOND, Yan et al., Sensors 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ssl_equiv.box_overlap import pairwise_overlaps
from ssl_equiv.boxes import Boxes, points_in_boxes
from ssl_equiv.data.draws import Draw
from ssl_equiv.data.lidar.source import LidarSource
from ssl_equiv.data.lidar.sweep import MARGIN, Sweep
from ssl_equiv.errors import UserError
from ssl_equiv.files import atomic_write

_PASTE = 5  # stream of the draws of objects
_FORMAT = "ssl-equiv-objects/1"
_COLUMNS = tuple(field.name for field in fields(Boxes) if field.name != "scores")


@dataclass(frozen=True)
class Objects:
    """Annotated objects with their points, where they were seen.

    Args:
        boxes: M annotations.
        points: Points within 0.05 m of each box, one object after another, ``(P, 4)`` float32.
        counts: Points of each, ``(M,)`` int64.
        sweeps: The sweep of each, its number in the source, ``(M,)`` int64.
    """

    boxes: Boxes
    points: Tensor
    counts: Tensor
    sweeps: Tensor

    @classmethod
    def gather(cls, source: LidarSource, sweeps: np.ndarray, min_points: int = 5) -> Objects:
        """The objects of some sweeps, and of no others.

        Args:
            source: The data set.
            sweeps: Numbers of the sweeps whose annotations may be used.
            min_points: Objects with fewer points are left out.
        """
        boxes, points, counts, numbers = [], [], [], []
        for number in sweeps.tolist():
            sweep = source.sweep(number, flow=False)
            if sweep.boxes is None or not len(sweep.boxes):
                continue
            inside = points_in_boxes(sweep.points, sweep.boxes.values, MARGIN)
            kept = inside.sum(1) >= min_points
            boxes.append(sweep.boxes[kept])
            points.append(sweep.points[inside[kept].nonzero()[:, 1]])
            counts.append(inside[kept].sum(1))
            numbers.append(torch.full((int(kept.sum()),), number))
        return cls(
            Boxes.cat(boxes),
            torch.cat([torch.zeros(0, 4), *points]),
            torch.cat([torch.zeros(0, dtype=torch.int64), *counts]),
            torch.cat([torch.zeros(0, dtype=torch.int64), *numbers]),
        )

    def __len__(self) -> int:
        return len(self.counts)

    def points_of(self, which: Tensor) -> Tensor:
        """The points of some objects, one after another."""
        past = self.counts.cumsum(0)
        parts = [self.points[past[n] - self.counts[n] : past[n]] for n in which.tolist()]
        return torch.cat([self.points[:0], *parts])

    def write(self, path: Path) -> None:
        """Keep them as an ``.npz`` file, whole or not at all."""
        columns = {name: getattr(self.boxes, name).numpy() for name in _COLUMNS}
        rest = {name: getattr(self, name).numpy() for name in ("points", "counts", "sweeps")}
        with atomic_write(path) as file:
            np.savez(file, format=_FORMAT, **columns, **rest)

    @classmethod
    def read(cls, path: Path) -> Objects:
        """Those that :meth:`write` kept.

        Raises:
            UserError: the file is damaged or of another version.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                if str(stored["format"]) != _FORMAT:
                    raise ValueError
                boxes = Boxes.make(**{name: stored[name] for name in _COLUMNS})
                rest = (torch.from_numpy(stored[n]) for n in ("points", "counts", "sweeps"))
                return cls(boxes, *rest)
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise UserError(f"{path} is damaged: remove it, and it is made again") from error


class PasteObjects:
    """Fills sweeps up with objects of others, each where it was seen.

    A class of which a sweep has n annotations gets up to ``most - n`` more, drawn without
    replacement. One whose footprint overlaps an annotation of the sweep, whatever its class, or an
    object that was pasted before it, is left out; points of the sweep that were in its place are
    removed. Draws are a function of seed, epoch and sweep.

    Args:
        objects: What may be pasted.
        most: Annotations of a class up to which sweeps are filled, by its label.
        seed: Of the draws.
    """

    def __init__(self, objects: Objects, most: Mapping[int, int], seed: int) -> None:
        self.objects, self.most, self.seed = objects, dict(most), seed
        self.of_class = {
            label: (objects.boxes.labels == label).nonzero()[:, 0].numpy() for label in most
        }

    def __call__(self, sweep: Sweep, draw: Draw) -> Sweep:
        """The sweep with more objects; as it is if it has no annotations."""
        if sweep.boxes is None:
            return sweep
        rng = np.random.default_rng([self.seed, _PASTE, draw.epoch, draw.item])
        drawn = [
            rng.permutation(numbers)[: max(0, self.most[label] - _count(sweep.boxes, label))]
            for label, numbers in self.of_class.items()
        ]
        chosen = torch.from_numpy(np.concatenate(drawn))
        chosen = chosen[self._free(sweep.boxes, chosen)]
        if not len(chosen):
            return sweep
        boxes, added = self.objects.boxes[chosen], self.objects.points_of(chosen)
        left = ~points_in_boxes(sweep.points, boxes.values, MARGIN).any(0)
        return replace(
            sweep,
            points=torch.cat([sweep.points[left], added]),
            boxes=Boxes.cat([sweep.boxes, boxes]),
            semantic=_extended(sweep.semantic, left, len(added)),
            instance=_extended(sweep.instance, left, len(added)),
            flow=None,
        )

    def _free(self, there: Boxes, chosen: Tensor) -> Tensor:
        """Which of the chosen objects overlap nothing, ``(K,)`` bool; earlier ones go first."""
        values = self.objects.boxes.values[chosen]
        free = ~(pairwise_overlaps(values, there.values)[0] > 0).any(1)
        meets = pairwise_overlaps(values, values)[0] > 0
        for number in range(1, len(chosen)):
            free[number] &= ~(meets[number, :number] & free[:number]).any()
        return free


def paste_from(
    source: LidarSource,
    sweeps: np.ndarray,
    most: Mapping[str, int],
    seed: int,
    path: Path,
) -> PasteObjects:
    """What pastes objects of some sweeps, which are gathered once and kept in a file.

    Args:
        source: The data set.
        sweeps: Numbers of the sweeps whose annotations may be used.
        most: Annotations up to which sweeps are filled, by class.
        seed: Of the draws.
        path: The file; it belongs to this source and these sweeps.

    Raises:
        UserError: the data have no such class, or a number is negative.
    """
    check_classes(most, source.classes)
    if not path.exists():
        Objects.gather(source, sweeps).write(path)
    labels = {source.classes.index(name): count for name, count in most.items()}
    return PasteObjects(Objects.read(path), labels, seed)


def check_classes(most: Mapping[str, int], known: Sequence[str]) -> None:
    """Raise UserError unless classes are known and numbers are not negative."""
    for name, count in most.items():
        if name not in known:
            raise UserError(
                f"gt_sampling: unknown class {name!r}: the data have {', '.join(known)}"
            )
        if count < 0:
            raise UserError(f"gt_sampling: {count} objects of {name}: give 0 or more")


def _count(boxes: Boxes, label: int) -> int:
    return int((boxes.labels == label).sum())


def _extended(column: Tensor | None, left: Tensor, more: int) -> Tensor | None:
    """What is known of points: of pasted ones nothing."""
    return None if column is None else torch.cat([column[left], column.new_full((more,), -1)])

"""The detection metrics as torchmetrics: frames arrive in any order, from any process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

from eval.detection.centre_distance import DISTANCES, centre_distance_ap
from eval.detection.kitti import DIFFICULTIES, JUDGED, Difficulty, Judged, Kind, kitti_ap
from eval.detection.table import WIDTH, BoxTable


class _Detection(Metric):
    """Keeps all boxes; a frame that several processes were given counts once."""

    full_state_update = False
    is_differentiable = False
    higher_is_better = True
    predictions: list[Tensor] | Tensor
    truth: list[Tensor] | Tensor
    frames: list[Tensor] | Tensor

    def __init__(self, classes: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.classes = tuple(classes)
        for name in ("predictions", "truth", "frames"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, predictions: BoxTable, truth: BoxTable, frames: Tensor) -> None:
        """Add whole frames.

        Args:
            predictions: All detections in the frames.
            truth: All annotations in the frames.
            frames: Numbers of the frames, ``(F,)``; some may have no boxes at all.
        """
        batch = float(_batch_number(self._update_count))
        for name, rows in (
            ("frames", frames.double().view(-1, 1)),
            ("predictions", predictions.pack()),
            ("truth", truth.pack()),
        ):
            column = rows.new_full((len(rows), 1), batch)
            getattr(self, name).append(torch.cat([column, rows], dim=1))

    def tables(self) -> tuple[BoxTable, BoxTable]:
        """Detections and annotations of all frames, each frame once."""
        self._fill()
        batch, frame = dim_zero_cat(self.frames).cpu().unbind(1)
        frames, where = torch.unique(frame, return_inverse=True)
        first = torch.full_like(frames, torch.inf).scatter_reduce(0, where, batch, "amin")

        def once(state: list[Tensor] | Tensor) -> BoxTable:
            rows = dim_zero_cat(state).cpu()
            table = BoxTable.unpack(rows[:, 1:])
            return table[rows[:, 0] == first[torch.searchsorted(frames, table.frame.double())]]

        return once(self.predictions), once(self.truth)

    def _fill(self) -> None:
        """Give states that hold nothing their number of columns: processes are to agree in it."""
        for name, width in (("frames", 1), ("predictions", WIDTH), ("truth", WIDTH)):
            if not len(getattr(self, name)):
                setattr(
                    self, name, [torch.zeros(0, 1 + width, dtype=torch.float64).to(self.device)]
                )

    def _sync_dist(self, *args: Any, **kwargs: Any) -> None:
        self._fill()
        super()._sync_dist(*args, **kwargs)


def _batch_number(update: int) -> int:
    """A number that no other update has, on any process."""
    ready = torch.distributed.is_available() and torch.distributed.is_initialized()
    world, rank = (
        (torch.distributed.get_world_size(), torch.distributed.get_rank()) if ready else (1, 0)
    )
    return update * world + rank


class KittiAP(_Detection):
    """Streaming :func:`eval.detection.kitti.kitti_ap`.

    Args:
        classes: Name of each label.
        kinds: Overlaps to judge by.
        judged: Classes to judge.
        difficulties: Which objects count.
    """

    def __init__(
        self,
        classes: Sequence[str],
        kinds: Sequence[Kind] = ("bev", "3d"),
        judged: Sequence[Judged] = JUDGED,
        difficulties: Sequence[Difficulty] = DIFFICULTIES,
        **kwargs: Any,
    ) -> None:
        super().__init__(classes, **kwargs)
        self.kinds, self.judged, self.difficulties = kinds, judged, difficulties

    def compute(self) -> dict[str, float]:
        """All figures; the same on every process."""
        tables = self.tables()
        return kitti_ap(*tables, self.classes, self.kinds, self.judged, self.difficulties)


class CentreDistanceAP(_Detection):
    """Streaming :func:`eval.detection.centre_distance.centre_distance_ap`.

    Args:
        classes: Name of each label.
        judged: Classes to judge; by default all.
        distances: Metres.
    """

    def __init__(
        self,
        classes: Sequence[str],
        judged: Sequence[str] | None = None,
        distances: Sequence[float] = DISTANCES,
        **kwargs: Any,
    ) -> None:
        super().__init__(classes, **kwargs)
        self.judged, self.distances = judged, distances

    def compute(self) -> dict[str, float]:
        """All figures; the same on every process."""
        return centre_distance_ap(*self.tables(), self.classes, self.judged, self.distances)

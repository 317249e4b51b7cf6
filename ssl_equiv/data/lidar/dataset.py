"""Batches of sweeps with their views, made by a loader's process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ssl_equiv.boxes import Boxes
from ssl_equiv.data.draws import Draw, uniforms
from ssl_equiv.data.lidar.batch import LidarBatch
from ssl_equiv.data.lidar.flow import ego_flow, estimate_flow
from ssl_equiv.data.lidar.source import LidarSource
from ssl_equiv.data.lidar.sweep import Sweep
from ssl_equiv.errors import UserError
from ssl_equiv.points import PointBatch
from ssl_equiv.transforms.points import PointMotions, identity, move_annotations, move_points

FlowSource = Literal["truth", "ego", "estimate", "off"]
_SUBSET = 4  # stream of the draws of points


@dataclass(frozen=True)
class Region:
    """Which points of a sweep are used.

    Args:
        bounds: Lowest x, y, z and highest x, y, z in the sensor's frame, metres; None for all.
        camera_only: Only what the camera's picture shows: KITTI annotates nothing else.
        max_points: At most so many points of a sweep, drawn anew in each epoch; None for all.

    Raises:
        UserError: bounds that enclose nothing, or less than one point.
    """

    bounds: tuple[float, float, float, float, float, float] | None = None
    camera_only: bool = False
    max_points: int | None = None

    def __post_init__(self) -> None:
        if self.bounds is not None and not all(
            low < high for low, high in zip(self.bounds[:3], self.bounds[3:], strict=True)
        ):
            raise UserError(
                f"data.region.bounds is {self.bounds}: give lowest x, y, z, then highest x, y, z"
            )
        if self.max_points is not None and self.max_points < 1:
            raise UserError(f"data.region.max_points is {self.max_points}: choose 1 or more")

    def keep(self, sweep: Sweep) -> Tensor:
        """The points' numbers, ascending, ``(N',)`` int64.

        Raises:
            UserError: none is left, or there is no camera where it is needed.
        """
        inside = torch.ones(len(sweep), dtype=torch.bool)
        if self.bounds is not None:
            box = torch.tensor(self.bounds)
            xyz = sweep.points[:, :3]
            inside &= ((xyz >= box[:3]) & (xyz < box[3:])).all(1)
        if self.camera_only:
            if sweep.camera is None:
                raise UserError(
                    f"{sweep.name} has no camera calibration: add it, or set "
                    "data.region.camera_only to false"
                )
            pixels, depth = sweep.camera.project(sweep.points.numpy())
            seen = (depth > 0) & ((pixels >= 0) & (pixels < np.array(sweep.camera.size))).all(1)
            inside &= torch.from_numpy(seen)
        if not inside.any():
            asked = "the camera's picture" if self.bounds is None else f"{self.bounds}"
            raise UserError(
                f"{sweep.name}: all {len(sweep)} points lie outside {asked}: widen "
                "data.region, or check that the sensor's frame is x forward, y left, z up"
            )
        return inside.nonzero().squeeze(1)


class LidarDataset(Dataset[LidarBatch]):
    """Reads batches of sweeps and moves their views.

    Args:
        source: Stored or simulated sweeps.
        sweeps: Indices that draws may name: those of one split.
        motions: What makes the views; None for a single view that is the sweep itself.
        num_views: Views of each sweep.
        flow: Where the flow from the sweep before comes from; ``off`` leaves that sweep out.
        boxes: Whether annotations are read, and moved with the views.
        region: Which points are used.
        seed: Seed of the elements, which are a function of it, epoch, sweep and view alone.
        skip_bad_sweeps: Put the next readable one of ``sweeps`` in the place of one that cannot
            be read, and count it, instead of raising.
        paste: Changes each sweep that a draw names before it is moved, such as
            :class:`~ssl_equiv.data.lidar.pasting.PasteObjects`.
    """

    def __init__(
        self,
        source: LidarSource,
        sweeps: np.ndarray,
        motions: PointMotions | None = None,
        num_views: int = 1,
        flow: FlowSource = "off",
        boxes: bool = False,
        region: Region = Region(),
        seed: int = 0,
        skip_bad_sweeps: bool = False,
        paste: Callable[[Sweep, Draw], Sweep] | None = None,
    ) -> None:
        self.source, self.sweeps, self.motions = source, np.sort(sweeps), motions
        self.num_views, self.flow, self.boxes = num_views, flow, boxes
        self.region, self.seed, self.skip_bad_sweeps = region, seed, skip_bad_sweeps
        self.paste = paste

    def __len__(self) -> int:
        return len(self.sweeps)

    def __getitem__(self, draw: Draw) -> LidarBatch:
        return self.__getitems__([draw])

    def __getitems__(self, draws: list[Draw]) -> LidarBatch:
        """One batch; ``draws`` name the epoch and the sweeps.

        Raises:
            UserError: a sweep cannot be read, or has no points in the region.
        """
        found = [self._read(draw) for draw in draws]
        sweeps, kept = [sweep for _, sweep, _, _, _ in found], [keep for _, _, keep, _, _ in found]
        read = [Draw(draw.epoch, row[0]) for draw, row in zip(draws, found, strict=True)]
        semantics = None
        if any(sweep.semantic is not None for sweep in sweeps):
            semantics = [_semantic(sweep)[keep] for sweep, keep in zip(sweeps, kept, strict=True)]
        points = [sweep.points[keep] for sweep, keep in zip(sweeps, kept, strict=True)]
        current = PointBatch.collate(points, source_indices=kept, semantics=semantics)
        elements = self._elements(read)
        motion = elements["motion"]
        views = [current]
        if self.motions is not None:
            views = [move_points(current, motion[:, view]) for view in range(self.num_views)]
        boxes = None
        if self.boxes:
            boxes = [
                [
                    move_annotations(s.boxes or Boxes.empty(), m)
                    for s, m in zip(sweeps, row, strict=True)
                ]
                for row in motion.unbind(1)
            ]
        return LidarBatch(
            views=views,
            actions=elements,
            groups=PointMotions().groups,
            current=current,
            index=torch.tensor([index for index, *_ in found]),
            previous=None if self.flow == "off" else _previous([row[3] for row in found]),
            boxes=boxes,
            cameras=[sweep.camera for sweep in sweeps],
            skipped=sum(row[4] for row in found),
        )

    def _elements(self, draws: Sequence[Draw]) -> dict[str, Tensor]:
        if self.motions is None:
            return identity((len(draws), 1))
        numbers = uniforms(self.seed, draws, self.num_views, self.motions.num_draws)
        drawn = self.motions.parameters(torch.from_numpy(numbers))
        return {name: element.float() for name, element in drawn.items()}

    def _read(self, draw: Draw) -> tuple[int, Sweep, Tensor, tuple[Tensor, ...], int]:
        """The sweep that was read with its number, its points' numbers, what comes before it, and
        how many sweeps in its place could not be read.
        """
        index, failures = draw.item, 0
        while True:
            try:
                sweep = self.source.sweep(index, boxes=self.boxes, flow=False)
                if self.paste is not None:
                    sweep = self.paste(sweep, Draw(draw.epoch, index))
                keep = self._some(self.region.keep(sweep), draw.epoch, index)
                before = self._before(sweep, index, draw.epoch) if self.flow != "off" else ()
                return index, sweep, keep, before, failures
            except UserError:
                if not self.skip_bad_sweeps or failures >= len(self):
                    raise
                failures += 1
                place = int(np.searchsorted(self.sweeps, index)) + 1
                index = int(self.sweeps[place % len(self)])

    def _some(self, keep: Tensor, epoch: int, index: int, which: int = 0) -> Tensor:
        limit = self.region.max_points
        if limit is None or len(keep) <= limit:
            return keep
        rng = np.random.default_rng([self.seed, _SUBSET, epoch, index, which])
        return keep[torch.from_numpy(np.sort(rng.permutation(len(keep))[:limit]))]

    def _before(self, sweep: Sweep, index: int, epoch: int) -> tuple[Tensor, ...]:
        """Points, flow, numbers and classes of the sweep before; nothing where there is none."""
        before = self.source.before(index, flow=self.flow == "truth")
        if before is None:
            return ()
        if self.flow == "truth":
            if before.flow is None:
                raise UserError(
                    f"{before.name} has no flow file: set data.flow to ego, estimate or off"
                )
            flow = before.flow
        elif self.flow == "ego":
            if before.pose is None or sweep.pose is None:
                raise UserError(
                    f"{before.name} or the sweep after it has no pose: set data.flow to estimate "
                    "or off"
                )
            flow = torch.from_numpy(ego_flow(before.points.numpy(), before.pose, sweep.pose))
        else:
            flow = torch.from_numpy(
                estimate_flow(before.points.numpy(), sweep.points.numpy(), before.pose, sweep.pose)
            )
        try:
            keep = self._some(self.region.keep(before), epoch, index, 1)
        except UserError:  # nothing of it in the region: as if there were none
            return ()
        return before.points[keep], flow[keep], keep, _semantic(before)[keep]


def _semantic(sweep: Sweep) -> Tensor:
    if sweep.semantic is not None:
        return sweep.semantic
    return torch.full((len(sweep),), -1)


def _previous(found: Sequence[tuple[Tensor, ...]]) -> PointBatch:
    none = (torch.zeros(0, 4), torch.zeros(0, 3), *2 * (torch.zeros(0, dtype=torch.int64),))
    points, flows, kept, semantics = zip(*(row or none for row in found), strict=True)
    return PointBatch.collate(points, flows, kept, semantics)

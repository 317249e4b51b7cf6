"""Batches of transformed sweeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ssl_equiv.boxes import Boxes, Camera
from ssl_equiv.errors import UserError
from ssl_equiv.groups import Group
from ssl_equiv.points import PointBatch

__all__ = ["LidarBatch", "PointBatch"]


@dataclass(frozen=True)
class LidarBatch:
    """V transformed views of each of B sweeps, and the sweeps before them.

    Args:
        views: V batches of B clouds: view v of sweep t, moved by ``actions[...][:, v]``. All views
            of a sweep are made of the same points, in the same order, unless points were dropped:
            ``source_index`` tells.
        actions: Elements that were applied, ``{factor: (B, V, dim)}``: ``flip`` (x, y signs),
            ``yaw``, ``scale`` and ``translation``, applied in this order, and ``motion``, their
            product as one element of :data:`ssl_equiv.transforms.points.MOTION`.
        groups: The group of each factor.
        previous: Sweep t-1, not transformed, with the flow to the untransformed sweep t; None
            where the flow is off. A sweep without predecessor has an empty cloud here.
        current: Sweep t itself, not transformed.
        boxes: Annotations of each view, ``boxes[v][b]``, moved with its points; None without.
        cameras: The camera of each sweep (of the untransformed sweep); None without.
        index: Number of sweep t in its source, ``(B,)`` int64.
        skipped: Sweeps that could not be read and were replaced.
    """

    views: list[PointBatch]
    actions: Mapping[str, Tensor]
    groups: Mapping[str, Group]
    current: PointBatch
    index: Tensor
    previous: PointBatch | None = None
    boxes: list[list[Boxes]] | None = None
    cameras: list[Camera | None] = field(default_factory=list)
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.index)

    @property
    def num_views(self) -> int:
        """V."""
        return len(self.views)

    @property
    def label(self) -> Tensor:
        """-100 for each sweep: none has a class, ``(B,)`` int64."""
        return torch.full_like(self.index, -100)

    def relative(self, factor: str, start: int, end: int) -> Tensor:
        """The element from view ``start`` to view ``end``: ``g_start^-1 g_end``, ``(B, dim)``.

        Raises:
            UserError: there is no such factor.
        """
        if factor not in self.actions:
            raise UserError(
                f"the method asks for the factor {factor!r}, but the data have "
                f"{', '.join(self.actions) or 'none'}: change the method's factors"
            )
        action = self.actions[factor]
        return self.groups[factor].relative(action[:, start], action[:, end])

    def to(self, device: torch.device | str, **kwargs: Any) -> LidarBatch:
        """The batch on another device; cameras stay where they are."""
        return self._map(lambda part: part.to(device, **kwargs))

    def pin_memory(self) -> LidarBatch:
        """The batch in page-locked memory."""
        return self._map(lambda part: part.pin_memory())

    def _map(self, function: Callable[[Any], Any]) -> LidarBatch:
        boxes = self.boxes
        return replace(
            self,
            views=[function(view) for view in self.views],
            actions={name: function(action) for name, action in self.actions.items()},
            current=function(self.current),
            previous=None if self.previous is None else function(self.previous),
            boxes=None if boxes is None else [[function(b) for b in view] for view in boxes],
            index=function(self.index),
        )

"""Point clouds of a batch in one tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class PointBatch:
    """B clouds, one after another in one tensor; sensor's frame, x forward, y left, z up, metres.

    Args:
        points: ``(N, 4)`` float32: x, y, z, intensity in [0, 1]; N is the sum over the clouds.
        batch_index: The cloud each point belongs to, ``(N,)`` int64, ascending.
        size: B; a cloud may be empty.
        flow: Displacement to the next sweep in that sweep's frame, ``(N, 3)`` float32, NaN where
            it is unknown; or None.
        source_index: The point's number in its untransformed sweep, ``(N,)`` int64, by which the
            same point is found in two views; or None.
        semantic: Class of each point, ``(N,)`` int64, -1 unlabelled; or None.
    """

    points: Tensor
    batch_index: Tensor
    size: int
    flow: Tensor | None = None
    source_index: Tensor | None = None
    semantic: Tensor | None = None

    @classmethod
    def collate(
        cls,
        clouds: Sequence[Tensor],
        flows: Sequence[Tensor] | None = None,
        source_indices: Sequence[Tensor] | None = None,
        semantics: Sequence[Tensor] | None = None,
    ) -> PointBatch:
        """A batch of clouds ``(N_i, 4)``; without ``source_indices`` points count from 0."""
        counts = torch.tensor([len(cloud) for cloud in clouds], device=clouds[0].device)
        index = torch.arange(len(clouds), device=counts.device).repeat_interleave(counts)
        if source_indices is None:
            source_indices = [torch.arange(len(cloud), device=cloud.device) for cloud in clouds]
        return cls(
            torch.cat(list(clouds)),
            index,
            len(clouds),
            None if flows is None else torch.cat(list(flows)),
            torch.cat(list(source_indices)),
            None if semantics is None else torch.cat(list(semantics)),
        )

    def __len__(self) -> int:
        return self.size

    @property
    def counts(self) -> Tensor:
        """Points of each cloud, ``(B,)`` int64."""
        return torch.bincount(self.batch_index, minlength=self.size)

    def select(self, which: Tensor) -> PointBatch:
        """The points of a mask ``(N,)`` or of ascending indices."""
        return self._map(lambda tensor: tensor[which])

    def cloud(self, number: int) -> Tensor:
        """The points ``(N_i, 4)`` of one cloud."""
        start = int(torch.searchsorted(self.batch_index, number))
        end = int(torch.searchsorted(self.batch_index, number, right=True))
        return self.points[start:end]

    def to(self, device: torch.device | str, **kwargs: Any) -> PointBatch:
        """The batch on another device."""
        return self._map(lambda tensor: tensor.to(device, **kwargs))

    def pin_memory(self) -> PointBatch:
        """The batch in page-locked memory."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, function: Callable[[Tensor], Tensor]) -> PointBatch:
        return replace(
            self,
            points=function(self.points),
            batch_index=function(self.batch_index),
            flow=None if self.flow is None else function(self.flow),
            source_index=None if self.source_index is None else function(self.source_index),
            semantic=None if self.semantic is None else function(self.semantic),
        )

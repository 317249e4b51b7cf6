"""Small random sweeps in batches with known elements and flow, and a data module of them."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from ssl_equiv.data.lidar.batch import LidarBatch
from ssl_equiv.points import PointBatch
from ssl_equiv.transforms.points import PointMotions, move_points

MOTIONS = PointMotions()


def sweep_batch(
    indices: list[int], views: int = 2, flow: bool = True, dtype: torch.dtype = torch.float32
) -> LidarBatch:
    """Sweeps that are functions of their index; every fourth has none before it.

    Each has another number of points, half a metre of motion from the sweep before, and moved
    views of which the second lacks some points.
    """
    clouds, befores, elements = [], [], []
    for index in indices:
        generator = torch.Generator().manual_seed(index)
        size = 300 + 13 * index
        spread = torch.tensor([5.5, 5.5, 1.5, 0.5], dtype=dtype)
        draw = torch.rand(size, 4, generator=generator, dtype=dtype)
        cloud = (2 * draw - 1) * spread + torch.tensor([0, 0, 0, 0.5], dtype=dtype)
        clouds.append(cloud)
        before = cloud - torch.tensor([0.5, 0, 0, 0], dtype=dtype)
        befores.append(before[: 0 if index % 4 == 0 else size])
        uniform = torch.rand(views, MOTIONS.num_draws, generator=generator, dtype=dtype)
        elements.append(MOTIONS.parameters(uniform))
    actions = {name: torch.stack([e[name] for e in elements]) for name in elements[0]}
    current = PointBatch.collate(clouds)
    moved = [move_points(current, actions["motion"][:, view]) for view in range(views)]
    if views > 1:
        assert current.source_index is not None
        moved[1] = moved[1].select(current.source_index % 7 != 0)
    flows = [torch.tensor([0.5, 0, 0], dtype=dtype).expand(len(b), 3) for b in befores]
    return LidarBatch(
        views=moved,
        actions=actions,
        groups=MOTIONS.groups,
        current=current,
        index=torch.tensor(indices),
        previous=PointBatch.collate(befores, flows) if flow else None,
    )


class Sweeps(pl.LightningDataModule):
    """One batch in double precision, of which each process has its share.

    Args:
        views: Views of each sweep.
        batch: Sweeps of a process.
        first: Index of the first.
    """

    seed = 0

    def __init__(self, views: int, batch: int, first: int = 1) -> None:
        super().__init__()
        self.views, self.batch, self.first = views, batch, first

    def train_dataloader(self) -> Any:
        """The batch."""
        assert self.trainer is not None
        first = self.first + self.trainer.global_rank * self.batch
        mine = list(range(first, first + self.batch))
        batch = sweep_batch(mine, self.views, dtype=torch.float64)
        return DataLoader(_One(batch), batch_size=None)


class _One(IterableDataset[LidarBatch]):
    def __init__(self, batch: LidarBatch) -> None:
        self.item = batch

    def __iter__(self) -> Any:
        yield self.item


def terms_of_sweeps(method: Any, batch: LidarBatch) -> dict[str, Tensor]:
    """The terms of one step."""
    batch = method.observe(batch)
    terms: dict[str, Tensor] = method.terms(method.encode_batch(batch), batch)
    return terms

"""Pooled features of moved views of sweeps, as the probes of images take them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from eval.cache import FeatureSet
from ssl_equiv.backbones.lidar import LidarEncoder
from ssl_equiv.data.lidar.batch import LidarBatch
from ssl_equiv.data.lidar.module import LidarDataModule
from ssl_equiv.errors import UserError
from ssl_equiv.transforms.points import PointMotions, move_points
from ssl_equiv.transforms.saccades import keyed_uniform

FACTORS = ("yaw", "translation")


def sweeps_of(
    data: LidarDataModule, split: str, device: torch.device, limit: int | None = None
) -> Iterator[LidarBatch]:
    """Batches of a split's sweeps as they are, in order, on a device.

    Args:
        data: Where they come from.
        split: ``train`` or ``val``.
        device: Where they go.
        limit: At most so many sweeps.
    """
    seen = 0
    for batch in data.all_views_dataloader(split):
        if limit is not None and seen >= limit:
            return
        seen += len(batch)
        yield batch.to(device)


@torch.inference_mode()
def pooled_features(
    encoder: LidarEncoder,
    data: LidarDataModule,
    split: str,
    motions: PointMotions,
    num_views: int = 4,
    seed: int = 0,
    limit: int | None = None,
) -> FeatureSet:
    """Mean features over the occupied cells of ``num_views`` moved views of each sweep.

    The elements depend on each sweep's number and the seed alone.

    Args:
        encoder: In evaluation mode.
        data: Sweeps.
        split: ``train`` or ``val``.
        motions: What moves them.
        num_views: Views of each sweep.
        seed: Of the elements.
        limit: At most so many sweeps.

    Raises:
        UserError: the split is empty.
    """
    device = next(encoder.parameters()).device
    features: list[Tensor] = []
    actions: dict[str, list[Tensor]] = {name: [] for name in FACTORS}
    numbers: list[Tensor] = []
    for batch in sweeps_of(data, split, device, limit):
        uniform = keyed_uniform(batch.index, num_views * motions.num_draws, seed)
        drawn = motions.parameters(uniform.view(len(batch), num_views, -1))
        views = [
            encoder(move_points(batch.current, drawn["motion"][:, view])).pooled()
            for view in range(num_views)
        ]
        features.append(torch.stack(views, dim=1).float().cpu())
        for name, rows in actions.items():
            rows.append(drawn[name].float().cpu())
        numbers.append(batch.index.cpu())
    if not features:
        raise UserError(f"{data.source.root} has no sweeps in the split {split!r} to be judged")
    found = torch.cat(features)[:limit]
    groups = motions.groups
    return FeatureSet(
        features=found,
        parts={"all": (0, found.shape[2])},
        actions={name: torch.cat(rows)[:limit] for name, rows in actions.items()},
        groups={name: groups[name] for name in FACTORS},
        labels=torch.zeros(len(found), dtype=torch.long),
        index=torch.cat(numbers)[:limit],
        split=split,
        class_names=("sweep",),
        key={},
    )

"""The point-wise linear probe: the class of each point from the map above it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from eval.cache import FeatureSet
from eval.lidar.pooled import sweeps_of
from eval.probe import ProbeRecipe
from eval.probes import LinearProbe
from ssl_equiv.backbones.lidar import LidarEncoder
from ssl_equiv.data.lidar.module import LidarDataModule
from ssl_equiv.errors import UserError
from ssl_equiv.transforms.saccades import keyed_uniform

_STEP = 1_000_003  # keeps the points of one sweep apart from those of another


@torch.inference_mode()
def point_features(
    encoder: LidarEncoder,
    data: LidarDataModule,
    split: str,
    per_sweep: int = 1024,
    seed: int = 0,
    limit: int | None = None,
) -> FeatureSet:
    """Features of labelled points: the map at the point, its height and intensity.

    Args:
        encoder: In evaluation mode.
        data: Sweeps with classes of points.
        split: ``train`` or ``val``.
        per_sweep: Labelled points of each sweep, at most; which ones depends on the sweep's number
            and the seed alone.
        seed: Of the choice.
        limit: At most so many sweeps.

    Returns:
        A set whose objects are points; parts ``all``, ``map`` and ``raw`` (height and intensity).

    Raises:
        UserError: no point in the grid has a class.
    """
    device = next(encoder.parameters()).device
    rows, labels, numbers = [], [], []
    for batch in sweeps_of(data, split, device, limit):
        cloud = batch.current
        if cloud.semantic is None:
            break
        kept = (cloud.semantic >= 0) & encoder.grid.contains(cloud.points)
        cloud = cloud.select(kept)
        assert cloud.source_index is not None
        assert cloud.semantic is not None
        identity = batch.index[cloud.batch_index] * _STEP + cloud.source_index
        order = keyed_uniform(identity, 1, seed)[:, 0].argsort(stable=True)
        order = order[cloud.batch_index[order].argsort(stable=True)]
        start = cloud.counts.cumsum(0) - cloud.counts
        rank = torch.arange(len(order), device=device) - start[cloud.batch_index[order]]
        chosen = order[rank < per_sweep]
        points, sweep = cloud.points[chosen], cloud.batch_index[chosen]
        features = encoder(batch.current).at(points, sweep).float()
        rows.append(torch.cat([features, points[:, 2:4].float()], dim=1).cpu())
        labels.append(cloud.semantic[chosen].cpu())
        numbers.append(batch.index[sweep].cpu())
    if not rows or not sum(map(len, rows)):
        raise UserError(
            f"{data.source.root}: no point of the split {split!r} in the encoder's grid has a "
            "class: leave the probe of points out"
        )
    found, label = torch.cat(rows), torch.cat(labels)
    width = found.shape[1]
    return FeatureSet(
        features=found[:, None],
        parts={"all": (0, width), "map": (0, width - 2), "raw": (width - 2, width)},
        actions={},
        groups={},
        labels=label,
        index=torch.cat(numbers),
        split=split,
        class_names=tuple(data.source.point_classes),
        key={},
    )


class PointProbe(LinearProbe):
    """Linear classification of points: ``top1``, ``top5``, and ``miou``, the mean over classes.

    Arguments as :class:`eval.probe.StackedProbe`.
    """

    def __init__(
        self,
        train: FeatureSet,
        val: FeatureSet,
        parts: Sequence[str],
        seeds: Sequence[int],
        recipe: ProbeRecipe,
    ) -> None:
        super().__init__(train, val, parts, seeds, recipe)
        self.overlap = MetricCollection({"miou": MeanIoU(self.num_classes, self.members)})

    def judge(self, output: Tensor, chosen: Tensor) -> None:
        """Count hits and confusions."""
        super().judge(output, chosen)
        label = self.sets["val"].labels[chosen[0]].to(output.device)
        self.overlap.update(output.argmax(dim=-1), label)

    def results(self) -> dict[str, Tensor]:
        """``top1``, ``top5``, ``miou``."""
        return {**super().results(), **self.overlap.compute()}

    def baseline(self) -> dict[str, float]:
        """The most frequent training class everywhere."""
        most = torch.bincount(self.sets["train"].labels).argmax()
        label = self.sets["val"].labels
        figure = mean_iou(most.expand(len(label)), label, self.num_classes)
        return {**super().baseline(), "miou": figure.item()}


class MeanIoU(Metric):
    """Streaming :func:`mean_iou`.

    Args:
        num_classes: Number of classes.
        members: Shape of the leading dimensions of the answers.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True
    confusion: Tensor

    def __init__(self, num_classes: int, members: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.num_classes = num_classes
        zeros = torch.zeros((*members, num_classes, num_classes), dtype=torch.float64)
        self.add_state("confusion", default=zeros, dist_reduce_fx="sum")

    def update(self, answer: Tensor, label: Tensor) -> None:
        """Add answers ``(*members, N)`` to labels ``(N,)``."""
        self.confusion = self.confusion + _confusion(answer, label, self.num_classes)

    def compute(self) -> Tensor:
        """Figure of each member, ``(*members)`` float64 in [0, 1]."""
        return _mean_iou(self.confusion)


def mean_iou(answer: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """Intersection over union of each class that occurs among the labels, averaged.

    Args:
        answer: Classes that were told, ``(..., N)``.
        label: Those that are right, ``(N,)``.
        num_classes: Number of classes.

    Returns:
        ``(...)`` float64 in [0, 1].
    """
    return _mean_iou(_confusion(answer, label, num_classes))


def _confusion(answer: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """How often each label was told as each class, ``(..., label, answer)`` float64."""
    pair = (label * num_classes + answer).reshape(-1, answer.shape[-1])
    counts = [torch.bincount(row, minlength=num_classes**2) for row in pair]
    square = torch.stack(counts).double()
    return square.reshape(*answer.shape[:-1], num_classes, num_classes)


def _mean_iou(confusion: Tensor) -> Tensor:
    right = confusion.diagonal(dim1=-2, dim2=-1)
    told, there = confusion.sum(dim=-2), confusion.sum(dim=-1)
    occurs = there > 0
    each = torch.where(occurs, right / (told + there - right).clamp_min(1), 0.0)
    mean: Tensor = each.sum(dim=-1) / occurs.sum(dim=-1)
    return mean

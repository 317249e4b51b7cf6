"""The probes: linear classification of views, regression of the action between two views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MetricCollection

from eval.cache import FeatureSet
from eval.metrics import (
    PerDimR2,
    PooledR2,
    RotationError,
    TopKAccuracy,
    constant_baseline,
    top_k_accuracy,
)
from eval.probe import ProbeRecipe, StackedProbe
from eval.stacked import fixed_pairs
from eval.targets import Convention, RelativeAction
from ssl_equiv.errors import UserError


class LinearProbe(StackedProbe):
    """Linear classification of single views: ``top1`` and ``top5`` in [0, 1].

    Arguments as :class:`StackedProbe`; ``recipe.hidden`` is not used.

    Raises:
        UserError: all training objects have one class.
    """

    picks = 1

    def __init__(
        self,
        train: FeatureSet,
        val: FeatureSet,
        parts: Sequence[str],
        seeds: Sequence[int],
        recipe: ProbeRecipe,
    ) -> None:
        super().__init__(train, val, parts, seeds, recipe)
        present = torch.unique(train.labels)
        if len(present) < 2:
            name = train.class_names[int(present[0])]
            raise UserError(
                f"all {train.num_objects} training objects are of the class {name!r}: a linear "
                "probe needs two classes or more; leave it out or add objects"
            )
        self.num_classes = len(train.class_names)
        self.build(self.width, (), self.num_classes)
        self.metrics = MetricCollection(
            {f"top{k}": TopKAccuracy(k, self.members) for k in (1, 5)}, compute_groups=False
        )

    def loss(self, output: Tensor, chosen: Tensor) -> Tensor:
        """Cross-entropy."""
        label = (
            self.sets["train"].labels[chosen[0].cpu()].to(output.device).expand(output.shape[:-1])
        )
        return F.cross_entropy(output.movedim(-1, 1), label, reduction="none").mean(dim=-1)

    def judge(self, output: Tensor, chosen: Tensor) -> None:
        """Count hits."""
        self.metrics.update(output, self.sets["val"].labels[chosen[0].cpu()].to(output.device))

    def results(self) -> dict[str, Tensor]:
        """``top1``, ``top5``."""
        return self.metrics.compute()

    def baseline(self) -> dict[str, float]:
        """The most frequent training classes, whatever the image."""
        frequency = torch.bincount(self.sets["train"].labels, minlength=self.num_classes).float()
        answers = frequency.expand(len(self.sets["val"].labels), -1)
        return {
            f"top{k}": top_k_accuracy(answers, self.sets["val"].labels, k).item() for k in (1, 5)
        }


class ActionRegressor(StackedProbe):
    """Regress the relative action of two views from their concatenated features, by MSE.

    Metrics: ``r2_pooled`` and ``r2_per_dim``, for rotations ``degrees_mean`` and
    ``degrees_median`` too; all with the suffix ``_published`` in that convention
    (see :class:`eval.targets.RelativeAction`).

    Args:
        train: Features to learn from.
        val: Features to be judged on.
        parts: Names of parts of one width.
        seeds: Seeds.
        recipe: How to train.
        factor: Factor of variation whose action is regressed.
        convention: Sign of quaternions.
        pairs_per_object: Validation pairs of each object, capped at all ordered pairs.

    Raises:
        UserError: the data set lacks the factor, or objects have one view.
    """

    picks = 2

    def __init__(
        self,
        train: FeatureSet,
        val: FeatureSet,
        parts: Sequence[str],
        seeds: Sequence[int],
        recipe: ProbeRecipe,
        factor: str = "rotation",
        convention: Convention = "canonical",
        pairs_per_object: int = 32,
    ) -> None:
        self.action = RelativeAction(factor, train.group(factor), convention)
        self.pairs_per_object = pairs_per_object
        for features in (train, val):
            if features.num_views < 2:
                raise UserError(
                    f"the {features.split} objects have {features.num_views} view: relative "
                    f"{factor} needs two or more; leave the regressor out or generate more views"
                )
        super().__init__(train, val, parts, seeds, recipe)
        dim = self.action.group.dim
        self.build(2 * self.width, recipe.hidden, dim)
        metrics: dict[str, Any] = {
            "r2_pooled": PooledR2(dim, self.members),
            "r2_per_dim": PerDimR2(dim, self.members),
        }
        if self.action.is_rotation:
            metrics["degrees"] = RotationError()
        self.metrics = MetricCollection(metrics)

    def targets(self, split: str, chosen: Tensor) -> Tensor:
        """``([S,] B, dim)`` of samples ``(3, [S,] B)``."""
        return self.action(self.sets[split].actions, chosen.cpu()).to(self.device)

    def loss(self, output: Tensor, chosen: Tensor) -> Tensor:
        """Mean squared error."""
        return (output - self.targets("train", chosen)).square().mean(dim=(-2, -1))

    def judge(self, output: Tensor, chosen: Tensor) -> None:
        """Update the metrics."""
        self.metrics.update(output, self.targets("val", chosen))

    def results(self) -> dict[str, Tensor]:
        """The metrics under their names."""
        return {name + self.action.suffix: value for name, value in self.metrics.compute().items()}

    def baseline(self) -> dict[str, float]:
        """The mean training target, whatever the images."""
        train, val = (self.targets(split, self._pairs(split)) for split in ("train", "val"))
        scores = constant_baseline(val, train, rotation=self.action.is_rotation)
        return {name + self.action.suffix: value for name, value in scores.items()}

    def val_samples(self) -> Tensor:
        """The same pairs for every model and seed, ``(3, N k)``."""
        return self._pairs("val")

    def _pairs(self, split: str) -> Tensor:
        features = self.sets[split]
        return fixed_pairs(features.num_objects, features.num_views, self.pairs_per_object)

"""Path integration: how far has the object turned over a whole sequence of views?

From the aggregate of M views and the M - 1 actions between them, an MLP regresses the whole
displacement ``g_1⁻¹ g_M`` (seq-JEPA, arXiv 2505.03176, asks for the displacement of a sequence
too; the definition here is ours where its text is brief: the last view is one of those seen, so
the aggregate knows every step, and sequences of the validation objects are new). A figure for each
length tells how the error grows with the path; with the views or the actions taken away, what
each contributes. A sequence of one view has no displacement: lengths start at 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from torchmetrics import MetricCollection

from eval.cache import FeatureSet
from eval.evaluators.sequence import (
    Ablation,
    aggregator,
    keep_curves,
    over_lengths,
    sequence_lengths,
)
from eval.metrics import PerDimR2, PooledR2, RotationError, constant_baseline
from eval.probe import ProbeRecipe, StackedProbe
from eval.protocol import Evaluator, Measurement, NotApplicable, Task
from eval.recipes import Recipe, probe_recipe
from ssl_equiv.errors import UserError
from ssl_equiv.groups import SO3


class DisplacementRegressor(StackedProbe):
    """Regress the element that belongs to each feature, by MSE.

    Metrics: ``r2_pooled``, ``r2_per_dim`` and, for rotations, ``degrees_mean`` and
    ``degrees_median``; quaternions have w >= 0.

    Args:
        train: Aggregates to learn from, with their displacements as actions.
        val: Aggregates to be judged on.
        parts: Names of parts of one width.
        seeds: Seeds.
        recipe: How to train.
        factor: Factor whose displacement is regressed.
    """

    picks = 1

    def __init__(
        self,
        train: FeatureSet,
        val: FeatureSet,
        parts: Sequence[str],
        seeds: Sequence[int],
        recipe: ProbeRecipe,
        factor: str = "rotation",
    ) -> None:
        group = train.group(factor)
        super().__init__(train, val, parts, seeds, recipe)
        self.is_rotation, self.factor = isinstance(group, SO3), factor
        self.build(self.width, recipe.hidden, group.dim)
        metrics: dict[str, Any] = {
            "r2_pooled": PooledR2(group.dim, self.members),
            "r2_per_dim": PerDimR2(group.dim, self.members),
        }
        if self.is_rotation:
            metrics["degrees"] = RotationError()
        self.metrics = MetricCollection(metrics)

    def targets(self, split: str, chosen: Tensor) -> Tensor:
        """``([S,] B, dim)`` of samples ``(2, [S,] B)``."""
        objects, sequences = chosen
        return self.sets[split].actions[self.factor][objects, sequences].float()

    def answers(self, chosen: Tensor) -> Tensor:
        """Displacements, ``(S, B, dim)``."""
        return self.targets("train", chosen)

    def loss(self, output: Tensor, answers: Tensor) -> Tensor:
        """Mean squared error."""
        return (output - answers).square().mean(dim=(-2, -1))

    def judge(self, output: Tensor, chosen: Tensor) -> None:
        """Update the metrics."""
        self.metrics.update(output, self.targets("val", chosen).to(output.device))

    def results(self) -> dict[str, Tensor]:
        """The metrics."""
        return self.metrics.compute()

    def baseline(self) -> dict[str, float]:
        """The mean training target, whatever the sequence."""
        train, val = (self._elements(split) for split in ("train", "val"))
        return constant_baseline(val, train, rotation=self.is_rotation)

    def _elements(self, split: str) -> Tensor:
        return self.sets[split].actions[self.factor].flatten(0, 1).float()


@dataclass(frozen=True)
class PathIntegration(Evaluator):
    """R² and degrees of the displacement over lengths: ``path_rotation_r2_pooled_length3``, ...

    Args:
        factor: Factor whose displacement is regressed; one that the method is given.
        lengths: Views in a sequence, 2 or more each; None for 2 to 5, or to as many as in training.
        per_object: Sequences of each object, fixed for all epochs of the regressor.
        ablations: What is taken away; those but ``none`` are told in the metric's name, such as
            ``path_rotation_no_views_r2_pooled_length3``.
        recipe: How the regressor is trained.
    """

    factor: str = "rotation"
    lengths: tuple[int, ...] | None = None
    per_object: int = 8
    ablations: tuple[Ablation, ...] = ("none",)
    recipe: Recipe = "published"

    def __call__(self, task: Task) -> list[Measurement]:
        """Judge the aggregates; parts of single views are not looked at."""
        method, lengths = aggregator(task), sequence_lengths(task, self.lengths, least=2)
        if min(lengths, default=0) < 2:
            raise UserError("path integration needs sequences of 2 views or more: raise lengths")
        if self.factor not in method.factors:
            raise NotApplicable(
                f"path integration of {self.factor!r}, but the method is told the actions of "
                f"{', '.join(method.factors)}: choose one of these"
            )
        recipe, found = probe_recipe(self.recipe), []
        for ablation in self.ablations:
            without = "" if ablation == "none" else f"_no_{ablation}"
            for length, some in over_lengths(task, lengths, self.per_object, ablation):
                probe = DisplacementRegressor(
                    some.train, some.val, some.parts, some.seeds, recipe, self.factor
                )
                found += [
                    replace(measured, metric=f"{measured.metric}_length{length}")
                    for measured in some.run(probe, prefix=f"path_{self.factor}{without}_")
                ]
        keep_curves(task, found, f"path_{self.factor}", "Path integration: error against length")
        return found

"""Regression of the relative action of two views from their features."""

from __future__ import annotations

from dataclasses import dataclass

from eval.probes import ActionRegressor
from eval.protocol import Evaluator, Measurement, Task
from eval.recipes import Recipe, probe_recipe
from eval.targets import Convention
from ssl_equiv.groups import SO3


@dataclass(frozen=True)
class ActionRegression(Evaluator):
    """Regression of the relative action of two views: R² and, for rotations, degrees.

    Args:
        factor: Factor of variation.
        recipe: How it is trained.
        conventions: Signs of quaternions, each trained for; other factors have the canonical one.
        pairs_per_object: Validation pairs of each object.
    """

    factor: str = "rotation"
    recipe: Recipe = "published"
    conventions: tuple[Convention, ...] = ("canonical", "published")
    pairs_per_object: int = 32

    def __call__(self, task: Task) -> list[Measurement]:
        """Judge every part of ``task``."""
        rotation = isinstance(task.train.group(self.factor), SO3)
        conventions = self.conventions if rotation else ("canonical",)
        recipe = probe_recipe(self.recipe)
        return [
            measurement
            for convention in conventions
            for parts in task.parts_by_width()
            for measurement in task.run(
                ActionRegressor(
                    task.train,
                    task.val,
                    parts,
                    task.seeds,
                    recipe,
                    self.factor,
                    convention,
                    self.pairs_per_object,
                ),
                prefix=f"{self.factor}_",
            )
        ]

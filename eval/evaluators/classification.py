"""Classification of single views from frozen features: the linear probe, and an MLP."""

from __future__ import annotations

from dataclasses import dataclass

from eval.probes import LinearProbe
from eval.protocol import Evaluator, Measurement, Task
from eval.recipes import Recipe, probe_recipe


@dataclass(frozen=True)
class LinearClassification(Evaluator):
    """Linear probe: ``top1``, ``top5``.

    Args:
        recipe: How it is trained.
    """

    recipe: Recipe = "published"

    def __call__(self, task: Task) -> list[Measurement]:
        """Judge every part of ``task``."""
        recipe = probe_recipe(self.recipe, linear=True)
        return [
            measurement
            for parts in task.parts_by_width()
            for measurement in task.run(
                LinearProbe(task.train, task.val, parts, task.seeds, recipe)
            )
        ]

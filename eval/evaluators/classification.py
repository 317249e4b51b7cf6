"""Classification of single views from frozen features: the linear probe, and an MLP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from eval.evaluators.views import with_classes
from eval.probe import ProbeRecipe
from eval.probes import EquiangularProbe, LinearProbe
from eval.protocol import Evaluator, Measurement, Task
from eval.recipes import PUBLISHED, QUICK, Recipe, probe_recipe
from ssl_equiv.errors import UserError

Head = Literal["linear", "ebv"]
_MLP = {
    "published": replace(PUBLISHED, hidden=(512,)),
    "quick": replace(QUICK, hidden=(512,), epochs=40, lr=3e-3),
}


@dataclass(frozen=True)
class LinearClassification(Evaluator):
    """Linear probe: ``top1``, ``top5``; with equiangular vectors ``ebv_top1``, ``ebv_top5``.

    Args:
        recipe: How it is trained.
        head: ``linear`` is a softmax layer; ``ebv`` a linear map to fixed equiangular basis
            vectors, the cosines with which are the logits.
    """

    recipe: Recipe = "published"
    head: Head = "linear"

    def __call__(self, task: Task) -> list[Measurement]:
        """Judge every part of ``task``."""
        task = with_classes(task, "a linear probe")
        recipe = probe_recipe(self.recipe, linear=True)
        if self.head not in get_args(Head):
            raise UserError(
                f"LinearClassification: head is {self.head!r}: choose {' or '.join(get_args(Head))}"
            )
        ebv = self.head == "ebv"
        probe, prefix = (EquiangularProbe, "ebv_") if ebv else (LinearProbe, "")
        return [
            measurement
            for parts in task.parts_by_width()
            for measurement in task.run(
                probe(task.train, task.val, parts, task.seeds, recipe), prefix=prefix
            )
        ]


class MLPProbe(LinearProbe):
    """Classification of single views by perceptrons of the widths ``recipe.hidden``."""

    def build(self, inputs: int, hidden: Sequence[int], outputs: int) -> None:
        """Make the networks."""
        super().build(inputs, self.recipe.hidden, outputs)


@dataclass(frozen=True)
class MLPClassification(Evaluator):
    """MLP probe: ``mlp_top1``, ``mlp_top5``.

    What it gets beyond the linear probe is class information that a linear map does not reach.

    Args:
        recipe: How it is trained. ``published`` is the papers' recipe of a linear probe, as none
            has an MLP; both named recipes have one hidden layer of 512.
    """

    recipe: Recipe = "quick"

    def __call__(self, task: Task) -> list[Measurement]:
        """Judge every part of ``task``."""
        task = with_classes(task, "an MLP probe")
        recipe = self.recipe if isinstance(self.recipe, ProbeRecipe) else _MLP[self.recipe]
        return [
            measurement
            for parts in task.parts_by_width()
            for measurement in task.run(
                MLPProbe(task.train, task.val, parts, task.seeds, recipe), prefix="mlp_"
            )
        ]

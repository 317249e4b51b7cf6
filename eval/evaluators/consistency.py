"""Does the method's predictor compose as the group does?"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from eval.cache import FeatureSet
from eval.equivariance import discrepancy
from eval.predictor import PART, OwnPredictor
from eval.processes import once
from eval.protocol import Evaluator, Measurement, Task
from eval.targets import Convention
from eval.view_pairs import (
    action_sizes,
    curve_over_sizes,
    draw_tuples,
    mean_square_spread,
    need_views,
    square_distance,
)
from ssl_equiv.errors import UserError

_UNRELATED = 2**0.5  # distance of two embeddings drawn anew, in standard deviations
_CAPTION = (
    "How far the predictor is from the law of the group, in standard deviations of its embeddings: "
    "two steps against one (over the size of the whole), a step and back against staying (over "
    "the size of the step). 0 is exact; the line is the distance of two unrelated embeddings."
)


@dataclass(frozen=True)
class Consistency(Evaluator):
    """``consistency_composition``, ``_inverse``, ``_identity`` of the method's own predictor.

    For views 1, 2, 3 of an object with embedding e of the first, a = g_1⁻¹ g_2, b = g_2⁻¹ g_3:
    the root mean square of ``P(b) P(a) e - P(a b) e``, of ``P(a⁻¹) P(a) e - e`` and of
    ``P(1) e - e``, each over the standard deviation of the embeddings. They vanish where P is an
    action of the group, whether or not it is the one that the features follow: P = 1 has no
    error here, so read it beside :class:`EquivarianceError`.

    Args:
        triples: Triples of views that are judged.
        bins: Points of the curves.
        convention: Sign of the quaternions that the predictor is told: that of its training.
        seed: Seed of the choice.
    """

    triples: int = 1024
    bins: int = 12
    convention: Convention = "canonical"
    seed: int = 0

    @once
    def __call__(self, task: Task) -> list[Measurement]:
        """Judge the predictor; parts are not looked at."""
        for name in ("triples", "bins"):
            if getattr(self, name) < 1:
                raise UserError(f"Consistency: {name} is {getattr(self, name)}: choose 1 or more")
        predictor = OwnPredictor(task, self.convention)
        need_views([views for _, views in task.judged()], 3, "a composition")
        found = []
        for split, views in task.judged():
            chosen = draw_tuples(views.num_objects, views.num_views, 3, self.triples, self.seed)
            start, pairs = laws(predictor, views, chosen)
            found += [
                Measurement(
                    f"consistency_{name}",
                    PART,
                    (discrepancy(*pair, start).item(),),
                    _UNRELATED,
                    split,
                )
                for name, pair in pairs.items()
            ]
            if split == "":
                self._keep_curves(task, predictor, chosen, start, pairs)
        return found

    def _keep_curves(
        self,
        task: Task,
        predictor: OwnPredictor,
        chosen: Tensor,
        start: Tensor,
        pairs: dict[str, tuple[Tensor, Tensor]],
    ) -> None:
        unit = mean_square_spread(start)
        views_of = {"composition": [0, 1, 3], "inverse": [0, 1, 2]}  # rows of chosen
        for factor in predictor.factors:
            for law, rows in views_of.items():
                task.keep(
                    curve_over_sizes(
                        f"consistency_{law}_{factor}",
                        f"Consistency ({law}) against the size of the {factor}",
                        action_sizes(task.val, factor, chosen[rows]),
                        {law: (square_distance(*pairs[law]), unit)},
                        self.bins,
                        y_label="distance / standard deviation",
                        caption=_CAPTION,
                        part=PART,
                        baseline=_UNRELATED,
                        root=True,
                    )
                )


def laws(
    predictor: OwnPredictor, views: FeatureSet, chosen: Tensor
) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]:
    """What should be equal if the predictor were an action of its group.

    Args:
        predictor: The predictor.
        views: Features with their actions.
        chosen: Objects and three views of each, ``(4, n)`` int64.

    Returns:
        Embeddings of the first views ``(n, E)``, and the two sides of each law, as compared.
    """
    group, (objects, *places) = predictor.group, chosen
    start = predictor.embed(views, objects, places[0])
    first, second, third = (predictor.elements(views, objects, view) for view in places)
    a, b = group.relative(first, second), group.relative(second, third)
    moved = predictor.move_once(start, a)
    one = group.identity(a.shape[:-1]).to(a)
    pairs = {
        "composition": (
            predictor.move_once(moved, b),
            predictor.move_once(start, group.compose(a, b)),
        ),
        "inverse": (predictor.move_once(moved, group.inverse(a)), start),
        "identity": (predictor.move_once(start, one), start),
    }
    compared = predictor.compared
    return compared(start), {n: (compared(x), compared(y)) for n, (x, y) in pairs.items()}

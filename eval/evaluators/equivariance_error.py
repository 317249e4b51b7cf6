"""How far features are from moving as the action says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from eval.cache import FeatureSet
from eval.equivariance import prediction_errors
from eval.linear_action import action_code, fit_linear_action
from eval.predictor import PART, OwnPredictor
from eval.processes import once
from eval.protocol import Evaluator, Measurement, NotApplicable, Task
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

_USUAL = "rotation"
_CAPTION = (
    "Squared error of the moved features over their variance, against the size of the action: 0 is "
    "exact, 1 the best constant. Where a map is below the copy of the first view, it knows what "
    "the action does."
)


@dataclass(frozen=True)
class EquivarianceError(Evaluator):
    """``predictor_error_vs_*`` of a method's predictor, ``linear_map_error_vs_*`` of any model.

    With e, e' the embeddings of two views of an object and P_g e the first one moved by their
    relative action: ``Σ|P_g e - e'|²`` over ``Σ|e - e'|²`` (``vs_identity``: 1 is a copy of the
    first view) and over ``Σ|e' - mean|²`` (``vs_constant``: 1 - R²).

    The linear maps are the best ones fitted to the training features of each part, for all
    actions at once (see :mod:`eval.linear_action`); their baseline is the best map that is not
    told the action.

    Args:
        factors: Factors of variation that the linear map is told; a method's predictor is told
            its own. None for the rotation, where the data have none for all that have inverses;
            empty leaves the linear maps out.
        pairs: Pairs of views that are judged.
        fit_pairs: Pairs of views that a linear map is fitted to.
        components: Principal components of the features that it moves.
        bins: Points of the curves.
        convention: Sign of the quaternions that the method's predictor is told: that of its
            training.
        seed: Seed of the choices.
    """

    factors: tuple[str, ...] | None = None
    pairs: int = 2048
    fit_pairs: int = 16384
    components: int = 48
    bins: int = 12
    convention: Convention = "canonical"
    seed: int = 0

    @once
    def __call__(self, task: Task) -> list[Measurement]:
        """Judge the predictor, where there is one, and every part of ``task``."""
        for name in ("pairs", "fit_pairs", "components", "bins"):
            if getattr(self, name) < 1:
                raise UserError(f"EquivarianceError: {name} is {getattr(self, name)}: choose >= 1")
        sets = [task.train, *(views for _, views in task.judged())]
        factors = self._factors(task.train)
        for factor in factors:
            for views in sets:
                _check_invertible(views, factor)  # before anything is computed
        need_views(sets, 2, "an error between two views")
        found: list[Measurement] = []
        try:
            found += self._own(task, OwnPredictor(task, self.convention))
        except NotApplicable:
            if not factors:
                raise
        if factors:
            found += [
                measured for part in task.parts for measured in self._linear(task, part, factors)
            ]
        return found

    def _factors(self, train: FeatureSet) -> tuple[str, ...]:
        if self.factors is not None:
            return self.factors
        if _USUAL in train.groups:
            return (_USUAL,)
        return tuple(name for name, group in train.groups.items() if group.invertible)

    def _own(self, task: Task, predictor: OwnPredictor) -> list[Measurement]:
        """The method's own predictor."""
        found = []
        for split, views in task.judged():
            chosen = self._draw(views, self.pairs)
            objects, first, second = chosen
            start, target = (predictor.embed(views, objects, view) for view in (first, second))
            ends = [predictor.elements(views, objects, view) for view in (first, second)]
            moved = predictor.move_once(start, predictor.group.relative(*ends))
            start, target, moved = map(predictor.compared, (start, target, moved))
            found += [
                Measurement(f"predictor_error_{name}", PART, (error.item(),), 1.0, split)
                for name, error in prediction_errors(moved, target, start).items()
            ]
            if split == "":
                told = {"predictor": moved, "copy of the first view": start}
                self._keep_curves(task, predictor.factors, chosen, told, target, PART)
        return found

    def _linear(self, task: Task, part: str, factors: Sequence[str]) -> list[Measurement]:
        """The best linear maps of a part, told the action and not."""
        start, target, chosen = self._features(task.train, part, self.fit_pairs)
        codes = [action_code(task.train, told, chosen) for told in (factors, ())]
        maps = fit_linear_action(start, target, codes, chosen[0], self.components, self.seed)
        found = []
        for split, views in task.judged():
            start, target, chosen = self._features(views, part, self.pairs)
            moved, blind = (
                linear(start, action_code(views, told, chosen))
                for linear, told in zip(maps, (factors, ()), strict=True)
            )
            errors, without = (prediction_errors(m, target, start) for m in (moved, blind))
            found += [
                Measurement(
                    f"linear_map_error_{name}", part, (error.item(),), without[name].item(), split
                )
                for name, error in errors.items()
            ]
            if split == "":
                told = {
                    "linear map of the action": moved,
                    "linear map without it": blind,
                    "copy of the first view": start,
                }
                self._keep_curves(task, factors, chosen, told, target, part)
        return found

    def _draw(self, views: FeatureSet, count: int) -> Tensor:
        return draw_tuples(views.num_objects, views.num_views, 2, count, self.seed)

    def _features(self, views: FeatureSet, part: str, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Features of the first and second views of pairs, and the pairs."""
        chosen = self._draw(views, count)
        begin, past = views.columns(part)
        objects, first, second = chosen
        start, target = (views.features[objects, v, begin:past].float() for v in (first, second))
        return start, target, chosen

    def _keep_curves(
        self,
        task: Task,
        factors: Sequence[str],
        chosen: Tensor,
        predictions: Mapping[str, Tensor],
        target: Tensor,
        part: str,
    ) -> None:
        """Errors against the size of each factor's action, on the validation split."""
        spread = mean_square_spread(target)
        name = "predictor_error" if part == PART else "linear_map_error"
        for factor in factors:
            task.keep(
                curve_over_sizes(
                    f"{name}_{factor}",
                    f"Equivariance error against the size of the {factor}",
                    action_sizes(task.val, factor, chosen),
                    {n: (square_distance(p, target), spread) for n, p in predictions.items()},
                    self.bins,
                    y_label="squared error / variance",
                    caption=_CAPTION,
                    part=part,
                    baseline=1.0,
                )
            )


def _check_invertible(views: FeatureSet, factor: str) -> None:
    """Raise NotApplicable where views lack a factor, or it has no matrices."""
    if not views.group(factor).invertible:
        raise NotApplicable(
            f"EquivarianceError: {factor} is of {views.group(factor)}, a semigroup, whose "
            "actions have no matrix to tell a linear map: choose factors with inverses"
        )

"""Regression of what views differ in: the action between two views, and the pose of one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from eval.probe import ProbeRecipe
from eval.protocol import Evaluator, Measurement, NotApplicable, Task
from eval.recipes import QUICK_REGRESSOR, Recipe, probe_recipe
from eval.regressor import Regressor
from eval.targets import EVERY, Convention, Head, Target, is_constant, make_targets

log = logging.getLogger(__name__)
Depth = Literal["mlp", "linear"]


@dataclass(frozen=True)
class ActionRegression(Evaluator):
    """Regression of the relative action of two views: R², and the error in degrees or lengths.

    Metrics are named after the factor, such as ``rotation_r2_pooled`` and
    ``translation_distance_median``; see :class:`eval.regressor.Regressor` for their endings.
    Linear probes' begin with ``linear_``.

    Args:
        factors: One or several factors of variation, or ``all``: every one that varies, and what
            is made of them (see :func:`eval.targets.quantities`).
        recipe: How it is trained.
        conventions: Signs of quaternions, each trained for; ``published`` also lets colours be
            regressed as published. Other factors have the canonical one.
        pairs_per_object: Validation pairs of each object.
        heads: Outputs for a rotation: its quaternion, the 6-D columns (Zhou et al. 2019), or both;
            figures of the latter end in ``_6d``.
        depths: ``mlp`` with the hidden layers of the recipe, ``linear`` without, or both.
    """

    factors: str | tuple[str, ...] = "rotation"
    recipe: Recipe = "published"
    conventions: tuple[Convention, ...] = ("canonical", "published")
    pairs_per_object: int = 32
    heads: tuple[Head, ...] = ("quaternion",)
    depths: tuple[Depth, ...] = ("mlp",)

    def __call__(self, task: Task) -> list[Measurement]:
        """Judge every part of ``task``."""
        for _, views in (("", task.train), *task.judged()):
            if views.num_views < 2:
                raise NotApplicable(
                    f"the {views.split} objects have one view: relative actions need two or more; "
                    "regress absolute ones (PoseRegression) or generate more views"
                )
        factors = _as_tuple(self.factors)
        targets = make_targets(task.train, factors, conventions=self.conventions, heads=self.heads)
        return _measure(task, factors, targets, self.recipe, self.depths, self.pairs_per_object)


@dataclass(frozen=True)
class PoseRegression(Evaluator):
    """Regression of the pose of a single view: each factor's element itself.

    Figures are those of :class:`ActionRegression`, with ``absolute_`` before their names. Absolute
    poses have no published convention; angles count from the mean of the training views.

    Args:
        factors: As of :class:`ActionRegression`.
        recipe: How it is trained.
        heads: As of :class:`ActionRegression`.
        depths: As of :class:`ActionRegression`.
    """

    factors: str | tuple[str, ...] = EVERY
    recipe: Recipe = "published"
    heads: tuple[Head, ...] = ("quaternion",)
    depths: tuple[Depth, ...] = ("mlp",)

    def __call__(self, task: Task) -> list[Measurement]:
        """Judge every part of ``task``."""
        factors = _as_tuple(self.factors)
        targets = make_targets(task.train, factors, relative=False, heads=self.heads)
        return _measure(task, factors, targets, self.recipe, self.depths)


def _measure(
    task: Task,
    factors: Sequence[str],
    targets: Sequence[Target],
    recipe: Recipe,
    depths: Sequence[Depth],
    pairs_per_object: int = 32,
) -> list[Measurement]:
    varying = []
    for target in targets:
        if not is_constant(target, task.train):
            varying.append(target)
            continue
        reason = (
            f"{target.quantity.name} is the same in all training views"
            f"{' of an object' if target.relative else ''}: there is nothing to regress"
        )
        if EVERY not in factors:
            raise NotApplicable(f"{reason}; leave it out or generate views that differ in it")
        log.info("%s", reason)
    if not varying:
        raise NotApplicable(
            f"{task.train.split} has no factor that varies among {', '.join(factors)}: generate "
            "views that differ in one"
        )
    return [
        measurement
        for depth in depths
        for parts in task.parts_by_width()
        for measurement in task.run(
            Regressor(
                task.train,
                task.val,
                parts,
                task.seeds,
                _of_depth(recipe, depth),
                varying,
                pairs_per_object,
            ),
            prefix="linear_" if depth == "linear" else "",
        )
    ]


def _of_depth(recipe: Recipe, depth: Depth) -> ProbeRecipe:
    if depth == "linear":
        return replace(probe_recipe(recipe, linear=True), hidden=())
    return QUICK_REGRESSOR if recipe == "quick" else probe_recipe(recipe)


def _as_tuple(factors: str | tuple[str, ...]) -> tuple[str, ...]:
    return (factors,) if isinstance(factors, str) else tuple(factors)

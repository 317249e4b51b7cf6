"""The evaluators of a bare ``ssl-equiv eval``; ``configs/eval`` lists more."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from eval.cache import FeatureSet
from eval.evaluators.classification import LinearClassification
from eval.evaluators.path_integration import PathIntegration
from eval.evaluators.regression import ActionRegression
from eval.evaluators.scanpath import ScanpathClassification
from eval.evaluators.sequence import SequenceClassification
from eval.protocol import Evaluator
from eval.recipes import Recipe
from ssl_equiv.methods import PLS, Method, SeqJEPA

log = logging.getLogger(__name__)


def standard_evaluators(
    recipe: Recipe = "published", factors: Sequence[str] = ("rotation",)
) -> list[Evaluator]:
    """The linear probe and regressors of the factors, by the papers' recipe or the quick ones."""
    # all factors in one evaluator: their regressors train as one stack
    regression = [ActionRegression(tuple(factors), recipe)] if factors else []
    return [LinearClassification(recipe), *regression]


def sequence_evaluators(
    method: Method | None,
    features: FeatureSet,
    recipe: Recipe = "published",
    factors: Sequence[str] = ("rotation",),
) -> list[Evaluator]:
    """What can be asked of a method that aggregates views beside its features; none of others.

    Args:
        method: The trained method.
        features: Features of single views that it made.
        recipe: As of :func:`standard_evaluators`.
        factors: Factors whose displacement is regressed, where the method is told their actions.
    """
    if isinstance(method, PLS):
        if method.saliency is None:
            return [ScanpathClassification(recipe=recipe)]
        log.warning(
            "scanpaths are not judged: the method looks where the saliency maps in %s tell",
            method.saliency,
        )
    elif isinstance(method, SeqJEPA):
        missing = [factor for factor in method.factors if factor not in features.groups]
        if not missing:
            told = [factor for factor in factors if factor in method.factors]
            paths = told if features.num_views > 1 else []
            return [
                SequenceClassification(recipe=recipe),
                *(PathIntegration(factor, recipe=recipe) for factor in paths),
            ]
        log.warning(
            "aggregates of views are not judged: they need the actions of %s, which the data lack",
            ", ".join(missing),
        )
    return []

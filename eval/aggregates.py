"""Everything about a run whose method aggregates views (SeqJEPA, PLS), with lengths that fit."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch

from eval.cache import FeatureSet
from eval.features import extract
from eval.path_integration import PathIntegration
from eval.protocol import (
    PUBLISHED,
    QUICK,
    QUICK_LINEAR,
    Evaluator,
    LinearClassification,
    evaluate,
)
from eval.results import Result
from eval.sequence import PART, Scanpath, SequenceClassification
from ssl_equiv.data.module import ViewDataModule
from ssl_equiv.errors import UserError
from ssl_equiv.methods import PLS, SeqJEPA

log = logging.getLogger(__name__)
_LENGTHS = 5  # lengths up to this one, and up to that of training, are judged


def sequence_evaluators(
    method: SeqJEPA,
    features: FeatureSet,
    recipe: Literal["published", "quick"] = "published",
    factors: Sequence[str] = ("rotation",),
) -> list[Evaluator]:
    """Classes from aggregates, and the displacement over a path, by length.

    Lengths go from 1 (paths: 2) to 5, to the method's own number of observations where that is
    greater, and never beyond the views of an object.

    Args:
        method: The trained method; it is put on the accelerator where there is one.
        features: Features of single views that it made.
        recipe: As ``standard_evaluators``'.
        factors: Factors whose displacement is regressed, where the method is told their actions.

    Raises:
        UserError: the data lack a factor whose action the method is told.
    """
    missing = [factor for factor in method.factors if factor not in features.groups]
    if missing:
        raise UserError(
            f"aggregates need the actions of {', '.join(missing)}, but the data set has "
            f"{', '.join(features.groups) or 'none'}: judge single views alone, with --sequences "
            "false"
        )
    if torch.cuda.is_available():
        method.to("cuda")
    longest = min(features.num_views, max(_LENGTHS, method.observations))
    lengths, quick = tuple(range(1, longest + 1)), recipe == "quick"
    evaluators: list[Evaluator] = [
        SequenceClassification(method, lengths, recipe=QUICK_LINEAR if quick else PUBLISHED)
    ]
    if longest > 1:
        evaluators += [
            PathIntegration(method, factor, lengths[1:], recipe=QUICK if quick else PUBLISHED)
            for factor in factors
            if factor in method.factors
        ]
    return evaluators


def judge_scanpaths(
    method: PLS,
    data: ViewDataModule,
    cache_dir: str | Path,
    *,
    recipe: Literal["published", "quick"] = "published",
    seeds: int = 3,
    model: str = "",
    trainer_options: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> list[Result]:
    """Classes from one look at each image and from as many as in training: ``top1_length4``, ...

    Args:
        method: The trained method.
        data: The data set.
        cache_dir: Where features are kept.
        recipe: As ``standard_evaluators``'.
        seeds: Number of seeds.
        model: Name of the model, for the rows.
        trainer_options: Lightning Trainer arguments of the feature pass.
        progress: Show progress bars.

    Returns:
        Rows of the part ``aggregate``; none for a method that was trained on saliency maps, which
        these images may not have (a warning tells).
    """
    if method.saliency is not None:
        log.warning(
            "scanpaths are not judged: the method looks where the saliency maps in %s tell; "
            "eval.sequence.Scanpath takes maps of these images",
            method.saliency,
        )
        return []
    rows = []
    for length in sorted({1, method.observations}):
        train, val = (
            replace(found, parts={PART: (0, found.features.shape[-1])})
            for found in (
                extract(
                    Scanpath(method, length),
                    data,
                    cache_dir,
                    split=split,
                    name=f"scanpath{length}",
                    trainer_options=trainer_options,
                    progress=progress,
                )
                for split in ("train", "val")
            )
        )
        rows += [
            replace(row, metric=f"{row.metric}_length{length}")
            for row in evaluate(
                train,
                val,
                evaluators=[LinearClassification(QUICK_LINEAR if recipe == "quick" else PUBLISHED)],
                seeds=seeds,
                model=model,
                config={"length": length},
                progress=progress,
            )
        ]
    return rows

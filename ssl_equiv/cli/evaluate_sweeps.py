"""The part of ``ssl-equiv eval`` that judges encoders of LiDAR sweeps."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from eval.lidar.encoder import open_encoder
from eval.lidar.judge import LidarRecipe, judge_encoder
from eval.lidar.pooled import FACTORS
from eval.results import Result
from ssl_equiv.data.lidar.module import LidarDataModule
from ssl_equiv.errors import UserError

# options that only networks on images have a use for
_OF_IMAGES = (
    *("evaluators", "skip_inapplicable", "recipe", "head", "ood", "orbits", "by_range"),
    *("pretrained", "devices", "precision", "train_views"),
)
_BATCH = 8


def refuse_options(command: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Raise UserError where options are set that have no meaning for sweeps.

    Args:
        command: Tells the options' defaults.
        given: Its arguments.
    """
    defaults = inspect.signature(command).parameters
    for name in _OF_IMAGES:
        if given[name] != defaults[name].default:
            hint = " (--sweeps.regression tells how probes learn)" if name == "recipe" else ""
            raise UserError(
                f"{name} is for networks on images, and {given['model']} sees LiDAR sweeps: leave "
                f"it out{hint}"
            )


def judge_sweeps(
    model: str,
    data: str,
    recipe: LidarRecipe | None,
    *,
    parts: Sequence[str] | None,
    factors: Sequence[str] | None,
    seeds: int,
    name: str,
    batch_size: int | None,
    num_workers: int | None,
    skip_bad_sweeps: bool,
    progress: bool,
) -> list[Result]:
    """Judge the encoder that ``model`` names on the sweeps in ``data``.

    Arguments as of ``ssl-equiv eval``; ``recipe`` is its ``sweeps``.

    Raises:
        UserError: no such encoder, no sweeps there, or no such part or factor.
    """
    recipe = recipe or LidarRecipe()
    encoder = open_encoder(model)
    if torch.cuda.is_available():
        encoder = encoder.cuda()
    module = LidarDataModule(
        data,
        1,
        _BATCH if batch_size is None else batch_size,
        region=recipe.region,
        num_workers=num_workers,
        skip_bad_sweeps=skip_bad_sweeps,
    )
    return judge_encoder(
        encoder,
        module,
        recipe,
        parts=parts,
        factors=FACTORS if factors is None else factors,
        seeds=seeds,
        model=name,
        progress=progress,
    )

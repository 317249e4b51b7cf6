"""All figures of an encoder of sweeps but detection's, from one data module."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from eval.fitting import fit
from eval.lidar.equivariance import bev_equivariance
from eval.lidar.points import PointProbe, point_features
from eval.lidar.pooled import FACTORS, pooled_features, sweeps_of
from eval.probe import ProbeRecipe, StackedProbe
from eval.regressor import Regressor
from eval.results import Result, code_commit, config_hash
from eval.targets import is_constant, make_targets
from ssl_equiv.backbones.lidar import LidarEncoder
from ssl_equiv.data.lidar.dataset import Region
from ssl_equiv.data.lidar.module import LidarDataModule
from ssl_equiv.errors import UserError
from ssl_equiv.transforms.points import PointMotions

log = logging.getLogger(__name__)
PARTS = ("all", "map", "raw")
_REGRESSION = ProbeRecipe(60, 256, 1e-3, "one_cycle", standardize=True, hidden=(256, 256))
_CLASSIFICATION = ProbeRecipe(20, 1024, 3e-2, "one_cycle", standardize=True, hidden=())


@dataclass(frozen=True)
class LidarRecipe:
    """How encoders of sweeps are judged, and how long probes learn.

    Args:
        num_views: Moved views of each sweep.
        motions: What moves them: the ranges in which yaw and translation are regressed.
        per_sweep: Labelled points of each sweep, at most.
        limit: At most so many sweeps of each split; None for all.
        region: Which points are used.
        regression: How the regressors of elements learn.
        classification: How the probe of points learns.
    """

    num_views: int = 4
    motions: PointMotions = PointMotions()  # noqa: RUF009 (frozen)
    per_sweep: int = 1024
    limit: int | None = None
    region: Region = Region()  # noqa: RUF009 (frozen)
    regression: ProbeRecipe = _REGRESSION
    classification: ProbeRecipe = _CLASSIFICATION


def judge_encoder(
    encoder: LidarEncoder,
    data: LidarDataModule,
    recipe: LidarRecipe | None = None,
    *,
    parts: Sequence[str] | None = None,
    factors: Sequence[str] = FACTORS,
    seeds: int = 3,
    model: str = "",
    trainer_options: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> list[Result]:
    """R² of yaw and translation, equivariance errors of the map, and the linear probe of points.

    Features are made by this process alone. Probes learn from the split ``train`` and are judged on
    ``val``. The figures of a constant answer stand beside theirs; of an equivariance error, that of
    a map that had stood still. What the data do not allow is left out, with a warning.

    Args:
        encoder: What is judged; it is put in evaluation mode.
        data: Sweeps, within the recipe's region; its batch size counts.
        recipe: How it is judged.
        parts: Those to judge; by default all. ``all``: regression from pooled features, and points
            by the map with height and intensity; ``map``: equivariance errors, and points by the
            map alone; ``raw``: points by height and intensity alone.
        factors: What is regressed: ``yaw``, ``translation``.
        seeds: Number of seeds of the probes.
        model: Name for the rows.
        trainer_options: Where probes train, as of :func:`eval.fitting.fit`.
        progress: Show the probes' progress bars.

    Returns:
        Rows: ``yaw_r2_pooled``, ``translation_r2_per_dim``, ... of two views, ``absolute_...`` of
        one; ``equivariance_error_...``; ``points_top1``, ``points_miou``.

    Raises:
        UserError: no such part or factor, or a split is empty.
    """
    recipe = recipe or LidarRecipe()
    parts = PARTS if parts is None else parts
    for name in parts:
        if name not in PARTS:
            raise UserError(f"parts: no part {name!r}: an encoder of sweeps has {', '.join(PARTS)}")
    encoder = encoder.eval()
    rows = _Rows(model, recipe, data, tuple(range(seeds)), trainer_options, progress)
    if "all" in parts and factors:
        _regression(rows, encoder, data, recipe, factors)
    if "map" in parts:
        device = next(encoder.parameters()).device
        errors = bev_equivariance(encoder, sweeps_of(data, "val", device, recipe.limit))
        for name, value in errors.items():
            if name.startswith("equivariance"):
                still = errors[name.replace("equivariance", "unmoved", 1)]
                rows.add(name, value, "map", 0, still)
    try:
        train, val = (
            point_features(encoder, data, split, recipe.per_sweep, limit=recipe.limit)
            for split in ("train", "val")
        )
        for part in parts:
            probe = PointProbe(train, val, [part], rows.seeds, recipe.classification)
            rows.add_probe(probe, "points_")
    except UserError as error:
        log.warning("%s", error)
    return rows.rows


def _regression(
    rows: _Rows,
    encoder: LidarEncoder,
    data: LidarDataModule,
    recipe: LidarRecipe,
    factors: Sequence[str],
) -> None:
    train, val = (
        pooled_features(encoder, data, split, recipe.motions, recipe.num_views, limit=recipe.limit)
        for split in ("train", "val")
    )
    for relative in (True, False):
        if relative and recipe.num_views < 2:
            continue
        targets = make_targets(train, factors, relative=relative)
        targets = [target for target in targets if not is_constant(target, train)]
        if targets:
            rows.add_probe(Regressor(train, val, ["all"], rows.seeds, recipe.regression, targets))


class _Rows:
    """Rows of one encoder."""

    def __init__(
        self,
        model: str,
        recipe: LidarRecipe,
        data: LidarDataModule,
        seeds: tuple[int, ...],
        trainer_options: Mapping[str, Any] | None,
        progress: bool,
    ) -> None:
        self.rows: list[Result] = []
        self.model, self.commit, self.seeds = model, code_commit(), seeds
        self.trainer_options, self.progress = trainer_options, progress
        self.hash = config_hash({"recipe": asdict(recipe), "data": data.source.fingerprint})

    def add(self, metric: str, value: float, part: str, seed: int, baseline: float | None) -> None:
        """Add a figure."""
        row = Result(metric, value, part, "val", seed, self.commit, self.hash, baseline, self.model)
        self.rows.append(row)

    def add_probe(self, probe: StackedProbe, prefix: str = "") -> None:
        """Train a probe and add its figures."""
        with torch.random.fork_rng():
            values = fit(probe, self.trainer_options, self.progress)
        baseline = probe.baseline()
        for metric, figures in values.items():
            for part, of_part in zip(probe.parts, figures.tolist(), strict=True):
                for seed, value in zip(probe.seeds, of_part, strict=True):
                    self.add(f"{prefix}{metric}", value, part, seed, baseline.get(metric))

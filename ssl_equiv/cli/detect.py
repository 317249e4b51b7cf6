"""``ssl-equiv detect``: fine-tune an encoder of sweeps to find objects, and judge it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table
from torch import Tensor

from eval.artifacts import Artifact, write_artifact
from eval.detection.finetune import MOTIONS, OPTIMIZER, Judged, Recipe, finetune
from eval.processes import is_first
from eval.results import (
    RESULTS,
    Result,
    Summary,
    code_commit,
    summarise,
    write_provenance,
    write_results,
)
from ssl_equiv.backbones.lidar import EncoderConfig
from ssl_equiv.data.lidar.dataset import Region
from ssl_equiv.data.lidar.open import open_lidar
from ssl_equiv.detection import DetectorConfig
from ssl_equiv.detection.pretrained import pretrained_encoder
from ssl_equiv.errors import UserError
from ssl_equiv.files import make_directory
from ssl_equiv.methods.optimizer import OptimizerConfig
from ssl_equiv.parsing import call
from ssl_equiv.transforms.points import PointMotions

RANDOM, SCRATCH = "random:", "scratch"
_SHOWN = (
    *("mean_3d_ap40_easy", "mean_3d_ap40_moderate", "mean_3d_ap40_hard"),
    *("mean_bev_ap40_moderate", "car_3d_ap40_moderate", "pedestrian_3d_ap40_moderate"),
    *("cyclist_3d_ap40_moderate", "mean_centre_ap"),
)


def main(args: list[str]) -> None:
    """Run ``ssl-equiv detect`` with command-line arguments ``args``."""
    folders, data = call(detect, args, "detect", advanced=("optimizer", "detector"))
    command = shlex.join(["ssl-equiv", "detect", *args])
    for folder, model in folders.items() if is_first() else ():
        write_provenance(folder, command=command, model=model, data=data)


def detect(
    model: str,
    data: str,
    out: str | None = None,
    fractions: list[float] = [0.05],  # noqa: B006 (shown by --help, never changed)
    seeds: int = 1,
    first_seed: int = 0,
    beside_scratch: bool = True,
    encoder: EncoderConfig | None = None,
    classes: list[str] = ["Car", "Pedestrian", "Cyclist"],  # noqa: B006 (as above)
    steps: int = 1000,
    batch_size: int = 4,
    optimizer: OptimizerConfig = OPTIMIZER,
    detector: DetectorConfig = DetectorConfig(),  # noqa: B008 (frozen; shown by --help)
    motions: PointMotions = MOTIONS,
    region: Region = Region(),  # noqa: B008 (as above)
    gt_sampling: dict[str, int] = {},  # noqa: B006 (as above)
    label_seed: int = 0,
    name: str | None = None,
    pictures: int = 4,
    checkpoint_every_n_steps: int = 500,
    devices: int = 1,
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true",
    num_workers: int | None = None,
    progress: bool = True,
) -> tuple[dict[Path, str], str]:
    """Fine-tune a pretrained encoder of LiDAR sweeps on a share of the labels; judge detections.

    Beside it the same network is trained from random weights, on the same labels. Average precision
    by KITTI's rules and by distance of centres goes to results.json, detections to text files in
    KITTI's format, pictures to the report. What is there already is kept: run again to continue.

    Args:
        model: A run directory of ssl-equiv pretrain or its .ckpt file; random:RUN for its network
            with random weights; scratch for the network of --encoder with random weights.
        data: Root of a data set with annotated boxes.
        out: Where detectors and results are kept; by default RUN/detect of a run directory,
            detections/NAME else. What starts from random weights goes beside it, to OUT-scratch.
        fractions: Shares of the labels in (0, 1]; whole sequences are labelled.
        seeds: Number of seeds of fine-tuning.
        first_seed: The first of them.
        beside_scratch: Train from random weights as well.
        encoder: The encoder, for --model scratch alone.
        classes: Classes to be found.
        steps: Optimiser steps of each detector.
        batch_size: Sweeps a step and process.
        optimizer: Optimiser and schedule.
        detector: The head, its losses and how it is read.
        motions: Motions that sweeps are trained under.
        region: Which points are used.
        gt_sampling: Annotations up to which each sweep is filled with objects of other labelled
            sweeps, by class, as in '{Car: 15, Pedestrian: 10, Cyclist: 10}'; off by default.
        label_seed: Decides which sequences are labelled.
        name: What results call the model.
        pictures: Sweeps to draw for the report.
        checkpoint_every_n_steps: Optimiser steps between checkpoints.
        devices: Number of devices.
        precision: Of training.
        num_workers: Processes that read; by default the cores, at most 8.
        progress: Show progress bars.
    """
    if seeds < 1 or not fractions or steps < 1:
        raise UserError("seeds, steps and the number of fractions must be at least 1")
    starts, built, folder = _starts(model, encoder, out, beside_scratch, name)
    source = open_lidar(data)
    recipe = Recipe(
        tuple(classes), steps, batch_size, optimizer, detector, motions, region, gt_sampling
    )
    rows: list[Result] = []
    for place, (told, weights) in starts.items():
        make_directory(place)
        own, shown = [], []
        for fraction in fractions:
            for seed in range(first_seed, first_seed + seeds):
                if is_first():
                    Console().print(f"{told}: {_percent(fraction)} of the labels, seed {seed}")
                found = finetune(
                    place / f"{fraction:g}-seed{seed}",
                    source,
                    built,
                    weights,
                    recipe,
                    fraction,
                    seed,
                    label_seed=label_seed,
                    num_workers=num_workers,
                    pictures=pictures,
                    checkpoint_every_n_steps=checkpoint_every_n_steps,
                    trainer_options={"devices": devices, "precision": precision},
                    progress=progress,
                )
                own += _rows(found, told, fraction, seed)
                shown.append((fraction, seed, found))
        rows += own
        if is_first():
            write_results(place / RESULTS, own)
            for fraction, seed, found in shown:
                if seed == first_seed and len(found.pictures):
                    write_artifact(place, _gallery(found, fraction))
    if is_first():
        show(rows)
        report = " ".join(str(place) for place in starts)
        Console().print(f"results in {folder / RESULTS}; 'ssl-equiv report {report}' draws them")
    return {place: told for place, (told, _) in starts.items()}, data


Start = tuple[str, Mapping[str, Tensor] | None]


def _starts(
    model: str, encoder: EncoderConfig | None, out: str | None, beside: bool, name: str | None
) -> tuple[dict[Path, Start], EncoderConfig, Path]:
    """What is trained: by folder the model's name and its weights, scratch first; the encoder; and
    the folder of the model that was asked for.
    """
    if model == SCRATCH:
        folder = Path(out or Path("detections") / SCRATCH)
        return {folder: (name or SCRATCH, None)}, encoder or EncoderConfig(), folder
    if encoder is not None:
        raise UserError("encoder: a run has its own; give --encoder with --model scratch alone")
    run = model.removeprefix(RANDOM)
    built, weights = pretrained_encoder(run)
    is_run = (Path(run) / "checkpoints").is_dir()
    folder = Path(out) if out else Path(run) / "detect" if is_run else _named(run)
    scratch = folder.with_name(f"{folder.name}-{SCRATCH}")
    if model.startswith(RANDOM):
        return {folder: (name or model, None)}, built, folder
    starts: dict[Path, Start] = {scratch: (f"{RANDOM}{run}", None)} if beside else {}
    return {**starts, folder: (name or model, weights)}, built, folder


def _named(file: str) -> Path:
    return Path("detections") / Path(file).stem


def _percent(fraction: float) -> str:
    return f"{100 * fraction:g}%"


def _rows(found: Judged, model: str, fraction: float, seed: int) -> list[Result]:
    """Results of one detector, less those that nothing can be told of."""
    commit, part = code_commit(), f"{_percent(fraction)} of labels"
    return [
        Result(metric, value, part, "val", seed, commit, found.shared_hash, None, model)
        for metric, value in found.figures.items()
        if not math.isnan(value)
    ]


def _gallery(found: Judged, fraction: float) -> Artifact:
    return Artifact(
        "gallery",
        "detections",
        f"Detections: {_percent(fraction)} of labels",
        {"images": found.pictures},
        part=f"{_percent(fraction)} of labels",
        caption="Sweeps of the validation split from above, forward upwards: points by height, "
        "annotations coloured by class, detections in white with their scores (from 0.3 on). "
        "The first seed's.",
        meta={"captions": list(found.captions), "width": 400},
    )


def show(rows: Sequence[Result]) -> None:
    """Print average precision, models side by side."""
    models = list(dict.fromkeys(row.model for row in rows))
    for part in dict.fromkeys(row.part for row in rows):
        summaries = {
            (summary.metric, summary.model): summary
            for summary in summarise(row for row in rows if row.part == part)
        }
        table = Table("average precision, %", *models, title=part)
        for metric in _SHOWN:
            cells = [_told(summaries.get((metric, model))) for model in models]
            if any(cells):
                table.add_row(metric, *cells)
        Console().print(table)


def _told(summary: Summary | None) -> str:
    if summary is None:
        return ""
    spread = "" if summary.std is None else f" ± {100 * summary.std:.1f}"
    return f"{100 * summary.mean:.1f}{spread}"

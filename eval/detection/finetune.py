"""One detector: an encoder fine-tuned on a share of the labels, and judged."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor

from eval.detection.judge import JudgeDetections
from eval.results import config_hash
from eval.runner import make_trainer, quiet
from ssl_equiv.backbones.lidar import EncoderConfig
from ssl_equiv.callbacks import SaveCheckpoints, StepProgress
from ssl_equiv.checkpoint import CHECKPOINTS, load_weights
from ssl_equiv.checkpoint_files import CheckpointFiles
from ssl_equiv.checkpoint_io import BackgroundCheckpointIO
from ssl_equiv.data.lidar.dataset import Region
from ssl_equiv.data.lidar.module import LidarDataModule
from ssl_equiv.data.lidar.pasting import check_classes, paste_from
from ssl_equiv.data.lidar.source import LidarSource
from ssl_equiv.detection import Detector, DetectorConfig, labelled_subset
from ssl_equiv.errors import UserError
from ssl_equiv.files import atomic_write, make_directory, read_json, write_json
from ssl_equiv.methods.optimizer import OptimizerConfig
from ssl_equiv.transforms.points import PointMotions

DONE = "done.json"
DETECTOR = "detector.ckpt"
FORMAT = "ssl-equiv-detector/1"
MOTIONS = PointMotions(
    yaw=(-np.pi / 8, np.pi / 8), translation=(-0.2, 0.2), scale=(0.95, 1.05), flip=(0.0, 0.5)
)
OPTIMIZER = OptimizerConfig("adamw", lr=3e-3, weight_decay=0.01, schedule="cosine", warmup_steps=50)


@dataclass(frozen=True)
class Recipe:
    """How detectors are fine-tuned.

    Args:
        classes: Names of the classes to be found.
        steps: Optimiser steps.
        batch_size: Sweeps a step and process.
        optimizer: Optimiser and schedule.
        detector: The head, its losses and how it is read.
        motions: What sweeps are trained under.
        region: Which points are used.
        gt_sampling: Annotations up to which each sweep is filled with objects of other labelled
            sweeps, by class; none is pasted by default.
    """

    classes: tuple[str, ...] = ("Car", "Pedestrian", "Cyclist")
    steps: int = 1000
    batch_size: int = 4
    optimizer: OptimizerConfig = OPTIMIZER
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    motions: PointMotions = MOTIONS
    region: Region = field(default_factory=Region)
    gt_sampling: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Judged:
    """What a detector is worth.

    Args:
        figures: Name to figure; NaN where nothing can be told.
        sweeps: Annotated sweeps that it learnt from.
        config_hash: Digest of what the figures depend on besides the code.
        shared_hash: The same without the seed.
        pictures: ``(N, H, W, 3)`` uint8.
        captions: Of the pictures.
    """

    figures: Mapping[str, float]
    sweeps: int
    config_hash: str
    shared_hash: str
    pictures: np.ndarray
    captions: Sequence[str]


def finetune(
    folder: Path,
    source: LidarSource,
    encoder: EncoderConfig,
    weights: Mapping[str, Tensor] | None,
    recipe: Recipe,
    fraction: float,
    seed: int,
    *,
    label_seed: int = 0,
    num_workers: int | None = None,
    pictures: int = 4,
    checkpoint_every_n_steps: int = 500,
    trainer_options: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> Judged:
    """Train a detector and judge it on the split ``val``; what is done already is read.

    ``folder`` gets the detector, its detections in KITTI's format, its training curves and its
    figures. An interrupted training goes on where it stopped.

    Args:
        folder: Of this detector alone.
        source: The data set.
        encoder: How the encoder is built.
        weights: Of the encoder; None for random ones.
        recipe: Everything about training.
        fraction: Share of the labels.
        seed: Of random weights, order and motions.
        label_seed: Decides which sequences are labelled.
        num_workers: Processes that read; by default the cores, at most 8.
        pictures: Sweeps to draw.
        checkpoint_every_n_steps: Optimiser steps between checkpoints.
        trainer_options: Lightning Trainer arguments.
        progress: Show a progress bar.

    Raises:
        UserError: the folder holds a detector of another configuration, or the data do not fit.
    """
    subset = labelled_subset(source, fraction, label_seed)
    told = {
        **asdict(recipe),
        "encoder": asdict(encoder),
        "weights": None if weights is None else _digest(weights),
        "data": source.fingerprint,
        "subset": subset.tolist(),
    }
    if not recipe.gt_sampling:  # detectors that are there already stay valid
        del told["gt_sampling"]
    check_classes(recipe.gt_sampling, source.classes)
    shared, digest = config_hash(told), config_hash({**told, "seed": seed})
    if (folder / DONE).exists():
        return _read(folder, digest, shared)
    if not len(source.split.get("val", ())):
        raise UserError(f"{source.root} has no sweeps in its split 'val' to judge detectors on")
    make_directory(folder)
    pl.seed_everything(seed, verbose=False)
    detector = Detector(encoder, recipe.classes, source.classes, recipe.optimizer, recipe.detector)
    if weights is not None:
        load_weights(detector.encoder, weights, "the pretrained encoder")
    data = _Labelled(source, subset, recipe, seed, num_workers)
    if recipe.gt_sampling:
        labelled = config_hash({"data": source.fingerprint, "subset": subset.tolist()})
        objects = folder.parent / f"objects-{labelled}.npz"
        data.paste = paste_from(source, subset, recipe.gt_sampling, seed, objects)
    judge = JudgeDetections(source, recipe.classes, folder, pictures, _reach(encoder))
    files, io = CheckpointFiles(folder, keep=1), BackgroundCheckpointIO()
    trainer = make_trainer(
        trainer_options or {},
        max_steps=recipe.steps,
        max_epochs=-1,
        limit_val_batches=0,
        logger=CSVLogger(folder, name="curves"),
        log_every_n_steps=max(1, min(20, recipe.steps // 5)),
        enable_checkpointing=True,
        enable_progress_bar=True,  # ours counts steps, and logs the speed where it draws nothing
        callbacks=[StepProgress(progress), SaveCheckpoints(files, io, checkpoint_every_n_steps)],
        plugins=[io],
    )
    resumed = files.last if files.last.exists() else None
    with quiet():
        trainer.fit(detector, datamodule=data, ckpt_path=resumed, weights_only=True)
        judging = make_trainer(
            trainer_options or {}, callbacks=[judge], enable_progress_bar=progress
        )
        judging.validate(detector, datamodule=data, verbose=False)
    images = [image for image, _ in judge.drawn]
    found = Judged(
        judge.figures,
        len(subset),
        digest,
        shared,
        np.stack(images) if images else np.zeros((0, 1, 1, 3), np.uint8),
        [caption for _, caption in judge.drawn],
    )
    if trainer.is_global_zero:
        _write(folder, found, detector)
    trainer.strategy.barrier()
    return found


class _Labelled(LidarDataModule):
    """A share of the split ``train`` with annotations, and all of ``val``."""

    def __init__(
        self,
        source: LidarSource,
        subset: np.ndarray,
        recipe: Recipe,
        seed: int,
        num_workers: int | None,
    ) -> None:
        some = copy(source)
        some.split = {**source.split, "train": subset}
        super().__init__(
            num_views=1,
            batch_size=recipe.batch_size,
            motions=recipe.motions,
            boxes=True,
            region=recipe.region,
            num_workers=num_workers,
            seed=seed,
            source=some,
        )

    def val_dataloader(self) -> Any:
        """Every sweep to be judged."""
        return self.all_views_dataloader("val")


def _reach(encoder: EncoderConfig) -> float:
    return max(abs(side) for side in (*encoder.range[:2], *encoder.range[3:5]))


def _digest(weights: Mapping[str, Tensor]) -> str:
    return config_hash({name: value.double().sum().item() for name, value in weights.items()})


def _write(folder: Path, found: Judged, detector: Detector) -> None:
    with atomic_write(folder / "pictures.npz") as file:
        np.savez_compressed(file, images=found.pictures, captions=np.array(found.captions, str))
    with atomic_write(folder / DETECTOR) as file:
        torch.save({"format": FORMAT, "state_dict": detector.state_dict()}, file)
    figures = {name: None if value != value else value for name, value in found.figures.items()}
    told = {"format": FORMAT, "config_hash": found.config_hash, "sweeps": found.sweeps}
    write_json(folder / DONE, {**told, "figures": figures})
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def _read(folder: Path, digest: str, shared: str) -> Judged:
    told = read_json(folder / DONE)
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise UserError(f"{folder / DONE} is damaged: remove {folder}, and it is made again")
    if told["config_hash"] != digest:
        raise UserError(
            f"{folder} holds a detector of another configuration or data set: choose another "
            "--out, or remove it"
        )
    with np.load(folder / "pictures.npz", allow_pickle=False) as stored:
        images, captions = stored["images"], [str(text) for text in stored["captions"]]
    figures = {k: float("nan") if v is None else v for k, v in told["figures"].items()}
    return Judged(figures, told["sweeps"], digest, shared, images, captions)

"""Lightning for evaluation: nothing logged, nothing saved, no chatter."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

from ssl_equiv import cluster
from ssl_equiv.memory import keep_freed_memory

_IRRELEVANT = (  # beginnings of messages, as patterns
    ".*does not have many workers",  # as many as were asked for, or as are quickest
    "You are using a custom batch sampler",  # that is ours, and leaves no sample out
    "The number of training batches",  # few labels are few batches: logs count steps
    "predict returned None",  # results go to disk
    ".*srun. command is available",  # true of every machine with Slurm on it
    "`isinstance.treespec, LeafSpec.` is deprecated",  # in Lightning's own code
)


def make_trainer(options: Mapping[str, Any], **defaults: Any) -> pl.Trainer:
    """A trainer with the user's options over ours.

    Args:
        options: Lightning Trainer arguments (accelerator, devices, strategy, precision, ...).
        **defaults: Arguments that ``options`` may override.
    """
    plugins = [*(defaults.pop("plugins", None) or []), *_plugins(options)]
    with quiet():
        trainer = pl.Trainer(
            **{
                "logger": False,
                "enable_checkpointing": False,
                "enable_model_summary": False,
                "use_distributed_sampler": False,  # who does what is decided by our own samplers
                "num_sanity_val_steps": 0,
                "devices": 1,
                **defaults,
                **options,
                "plugins": plugins,
            }
        )
    if trainer.strategy.root_device.type == "cpu":
        keep_freed_memory()
    return trainer


def make_fabric(options: Mapping[str, Any]) -> Fabric:
    """What launches, places and wraps a loop of our own, with the user's options.

    Args:
        options: Lightning Fabric arguments (accelerator, devices, strategy, precision, ...).
    """
    with quiet():
        fabric = Fabric(**{"devices": 1, **options, "plugins": _plugins(options)})
        fabric.launch()
    if fabric.device.type == "cpu":
        keep_freed_memory()
    return fabric


def _plugins(options: Mapping[str, Any]) -> list[Any]:
    plugins = list(options.get("plugins") or [])
    if cluster.size() is not None:  # a signal ends an evaluation: there is nothing to requeue for
        plugins.append(SLURMEnvironment(auto_requeue=False))
    return plugins


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning's notes about hardware and loaders to itself; its warnings remain."""
    names = ("pytorch_lightning.utilities.rank_zero", "lightning_fabric.utilities.rank_zero")
    notes = [logging.getLogger(name) for name in names]
    levels = [note.level for note in notes]
    for note in notes:
        note.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in _IRRELEVANT:
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        for note, level in zip(notes, levels, strict=True):
            note.setLevel(level)

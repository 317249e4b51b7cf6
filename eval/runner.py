"""Lightning trainers for evaluation: nothing logged, nothing saved, no chatter."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

from ssl_equiv import cluster
from ssl_equiv.memory import keep_freed_memory

_IRRELEVANT = (  # beginnings of messages, as patterns
    ".*does not have many workers",  # features are gathered from memory: there is nothing to fetch
    "Your `IterableDataset` has `__len__`",  # which is exact, as there are no loader workers
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
    plugins = [*(defaults.pop("plugins", None) or []), *(options.get("plugins") or [])]
    if cluster.size() is not None:  # a signal ends an evaluation: there is nothing to requeue for
        plugins.append(SLURMEnvironment(auto_requeue=False))
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


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning's notes about hardware and loaders to itself; its warnings remain."""
    notes = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    level = notes.level
    notes.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in _IRRELEVANT:
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        notes.setLevel(level)

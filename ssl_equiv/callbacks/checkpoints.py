"""Writes the run's newest state every so many steps and at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

from ssl_equiv.checkpoint import CHECKPOINTS, LAST


class SaveCheckpoints(Checkpoint):
    """Keep ``RUN/checkpoints/last.ckpt`` up to date.

    The one before stays beside it as ``previous.ckpt`` (so a run takes the disk space of two, and
    of three while one is written), for when the last one's next step shows that it is broken.

    Being a ``Checkpoint``, it runs after all other callbacks: their state is that of the same step.

    Args:
        run: Run directory.
        every_n_steps: Optimiser steps between two checkpoints.
    """

    def __init__(self, run: Path, every_n_steps: int) -> None:
        self.path, self.every_n_steps = run / CHECKPOINTS / LAST, every_n_steps
        self._saved_step = -1

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The state at the start is saved already, or nothing: do not save it in mid-step."""
        self._saved_step = trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Save where the step count says so, once per optimiser step, and after the last."""
        step = trainer.global_step
        # the last state is saved here rather than at the end of training: Lightning continues
        # exactly from a state in the middle of its loop, not from one it has already left
        last = step == trainer.max_steps or (
            trainer.is_last_batch and trainer.current_epoch + 1 == trainer.max_epochs
        )
        if (last or step % self.every_n_steps == 0) and step != self._saved_step:
            self._save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save where something else ended the run."""
        if trainer.global_step != self._saved_step:
            self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        trainer.save_checkpoint(self.path)
        self._saved_step = trainer.global_step

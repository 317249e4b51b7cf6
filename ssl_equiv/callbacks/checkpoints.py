"""Writes the run's newest state every so many steps and at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from ssl_equiv.checkpoint import CHECKPOINTS, LAST


class SaveCheckpoints(pl.Callback):
    """Keep ``RUN/checkpoints/last.ckpt`` up to date.

    Args:
        run: Run directory.
        every_n_steps: Optimiser steps between two checkpoints.
    """

    def __init__(self, run: Path, every_n_steps: int) -> None:
        self.path, self.every_n_steps = run / CHECKPOINTS / LAST, every_n_steps
        self._saved_step = -1

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Save where the step count says so, once per optimiser step."""
        step = trainer.global_step
        if step % self.every_n_steps == 0 and step != self._saved_step:
            self._save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the final state."""
        if trainer.global_step != self._saved_step:
            self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        trainer.save_checkpoint(self.path)
        self._saved_step = trainer.global_step

"""Progress in steps, with the loss and views per second."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ssl_equiv.data.views import ViewBatch


class StepProgress(ProgressBar):
    """A bar over the run's steps; ``views_per_s`` of all processes also goes to the loggers.

    Args:
        shown: Whether to draw the bar.
    """

    def __init__(self, shown: bool = True) -> None:
        super().__init__()
        self.shown = shown
        self._bar: Progress | None = None

    def disable(self) -> None:
        """Draw nothing: what Lightning asks of every process but the first."""
        self.shown = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock and draw the bar."""
        self._views, self._since = 0, time.perf_counter()
        steps = trainer.estimated_stepping_batches
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps  {task.fields[figures]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            disable=not self.shown,
        )
        self._task = self._bar.add_task(
            type(pl_module).__name__,
            total=None if steps == float("inf") else int(steps),
            completed=trainer.global_step,
            figures="",
        )
        self._bar.start()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: ViewBatch,
        batch_idx: int,
    ) -> None:
        """Count; show and log the figures whenever the loggers log."""
        assert self._bar is not None
        self._views += len(batch.index) * batch.num_views * trainer.world_size
        self._bar.update(self._task, completed=trainer.global_step)
        if (batch_idx + 1) % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            now = time.perf_counter()
            speed = self._views / (now - self._since)
            self._views, self._since = 0, now
            pl_module.log("views_per_s", speed)
            self._bar.update(self._task, figures=f"loss {outputs['loss']:.3f}  {speed:.0f} views/s")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the bar as it stands."""
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Give the terminal back."""
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()

"""Writes the run's newest state every so often, at its end, and when a signal asks it to end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

from ssl_equiv import signals
from ssl_equiv.agreement import Agreement, Wish
from ssl_equiv.callbacks.best import Best
from ssl_equiv.checkpoint_files import CheckpointFiles
from ssl_equiv.checkpoint_io import BackgroundCheckpointIO
from ssl_equiv.errors import Preempted, UserError


class SaveCheckpoints(Checkpoint):
    """Keep ``RUN/checkpoints`` up to date, at the ends of optimiser steps only.

    SIGUSR1 and SIGTERM save and end the run by :class:`~ssl_equiv.errors.Preempted`, at a step
    that all processes agree upon; in a validation too.

    Being a ``Checkpoint``, it runs after all other callbacks: their state is that of the same step.

    Args:
        files: Where checkpoints lie, and which are kept.
        io: What writes them; the trainer's plugin.
        every_n_steps: Optimiser steps between two checkpoints.
        every_minutes: Minutes between two, by the first process's clock; None for steps alone.
        best: Which checkpoint is the best; None for none.
    """

    def __init__(
        self,
        files: CheckpointFiles,
        io: BackgroundCheckpointIO,
        every_n_steps: int,
        every_minutes: float | None = None,
        best: Best | None = None,
    ) -> None:
        self.files, self.io, self.best = files, io, best
        self.every_n_steps, self.every_minutes = every_n_steps, every_minutes
        self.agreement = Agreement()
        self._seen_step = self._saved_step = -1
        io.written = self._written

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lightning installs handlers of its own next, which act in the middle of a step."""
        signals.hold()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The state at the start is saved already, or nothing: do not save it in mid-step."""
        signals.watch()
        self._seen_step = self._saved_step = trainer.global_step
        self._saved_time = time.monotonic()
        self.agreement.open()
        if Wish.END in self.agreement.ask_now(self._wish(trainer)):
            self._end(trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Save where the step count or the clock says so, after the last step, and on a signal."""
        if self.best is not None:
            self.best.note(trainer)
        step = trainer.global_step
        if step == self._seen_step:  # gradients are being accumulated
            return
        self._seen_step = step
        agreed = self.agreement.ask(self._wish(trainer))
        # the last state is saved here rather than at the end of training: Lightning continues
        # exactly from a state in the middle of its loop, not from one it has already left
        last = step == trainer.max_steps or (
            trainer.is_last_batch and trainer.current_epoch + 1 == trainer.max_epochs
        )
        if last or step % self.every_n_steps == 0 or agreed & (Wish.SAVE | Wish.END):
            self._save(trainer)
        self._obey(agreed & ~Wish.END if last else agreed, trainer)

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Validations are long: a signal does not wait for their end."""
        if not trainer.sanity_checking:
            agreed = self.agreement.ask(self._wish(trainer))
            if Wish.END in agreed:
                self._save(trainer)
            self._obey(agreed, trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save where something else ended the run; the last file is whole before it is over."""
        self._save(trainer)
        self.io.wait()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """What is being written becomes whole."""
        self.io.teardown()

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Lightning counts batches: where they are of another size now, its counts are too."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        if getattr(data, "redistribute", False):
            done = data.batches_done(checkpoint.get(type(data).__qualname__, {}))
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
            if done is not None:
                # as at the end of a step, which is not counted as completed yet
                progress.update(ready=done, started=done, processed=done, completed=done - 1)

    def state_dict(self) -> dict[str, Any]:
        """The best so far."""
        return {} if self.best is None else self.best.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        if self.best is not None:
            self.best.load_state_dict(state_dict)

    def _wish(self, trainer: pl.Trainer) -> Wish:
        wish = Wish.NOTHING
        if signals.noted() is not None:
            wish |= Wish.END
        if trainer.is_global_zero:  # whose clock counts, and who writes
            since = time.monotonic() - self._saved_time
            if self.every_minutes is not None and since >= 60 * self.every_minutes:
                wish |= Wish.SAVE
            if self.io.failure is not None:
                wish |= Wish.FAIL
        return wish

    def _save(self, trainer: pl.Trainer) -> None:
        step = trainer.global_step
        if step != self._saved_step:
            if self.best is not None:
                self.best.judge(step)
            trainer.save_checkpoint(self.files.path(step))
            self._saved_step, self._saved_time = step, time.monotonic()

    def _written(self, path: Path) -> None:
        """In the background: a file is whole."""
        step = self.files.step(path)
        if step is not None:
            self.files.publish(step, best=self.best is not None and self.best.step == step)

    def _obey(self, agreed: Wish, trainer: pl.Trainer) -> None:
        if Wish.FAIL in agreed:
            self._fail()
        if Wish.END in agreed:
            self._end(trainer)

    def _end(self, trainer: pl.Trainer) -> None:
        """End all processes, once the file is whole."""
        failure = Wish.NOTHING
        try:
            self.io.wait()
        except Exception as error:
            failure, reason = Wish.FAIL, error
        if Wish.FAIL in self.agreement.ask_now(failure):
            if failure:
                raise reason
            self._fail()
        number = signals.noted()
        name = "a signal to another process" if number is None else number.name
        raise Preempted(name, trainer.global_step, bool(self.files.steps()))

    def _fail(self) -> None:
        self.io.wait()  # raises where it failed
        raise UserError("the first process could not write a checkpoint: its message tells why")

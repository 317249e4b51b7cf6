"""Stops a run whose loss is no number, and tells of representations that collapse."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_utilities.core.rank_zero import rank_zero_warn
from torch import Tensor

from ssl_equiv.checkpoint_files import CheckpointFiles
from ssl_equiv.checkpoint_io import BackgroundCheckpointIO
from ssl_equiv.collapse import effective_rank, spread
from ssl_equiv.data.views import ViewBatch
from ssl_equiv.errors import UserError

_ROWS = 256  # enough to tell a collapse, few enough for a singular value decomposition
_COLLAPSED = 0.02  # spread of the whole representation
# spread of a part, which may by nature lie in one direction: the activations of capsules are near
# uniform for long (0.002 after ten steps), and tell much all the same
_PART_COLLAPSED = 0.001
_FLAT = 2.0  # effective rank, where rows and columns would allow more
_ENOUGH = 8
_MEASUREMENTS = 5  # in a row: some parts spread only once training has begun


class WatchHealth(pl.Callback):
    """Log how far each part of the representation spreads; stop at a loss that is no number.

    ``collapse/spread`` and ``collapse/rank`` are those of the whole representation,
    ``collapse/<part>/spread`` and ``collapse/<part>/rank`` those of a part. Whatever stays
    collapsed in several measurements is told once.

    The loss of a step is looked at in the same step on a CPU and in the next one on a GPU, where
    looking at once would stall it. Must stand before the callback that saves.

    Args:
        files: The run's checkpoints, of which the last good one remains.
        io: What writes them.
    """

    def __init__(self, files: CheckpointFiles, io: BackgroundCheckpointIO) -> None:
        self.files, self.io = files, io
        self._start = 0  # optimiser steps behind the weights that this batch's loss is of
        self._before: tuple[int, int, Any] | None = None
        self._collapsed: Counter[str] = Counter()

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Remember whose loss comes next."""
        self._start = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: ViewBatch,
        batch_idx: int,
    ) -> None:
        """Check the loss; where the loggers log, measure the spread."""
        step = trainer.global_step
        if outputs["loss"].is_cuda:
            if self._before is not None:
                self.check(*self._before)
            self._before = (step, self._start, outputs)
        else:
            self.check(step, self._start, outputs)
        if (batch_idx + 1) % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self.measure(pl_module, outputs["features"][:_ROWS, 0], step)

    def measure(self, pl_module: pl.LightningModule, features: Tensor, step: int) -> None:
        """Log spread and rank of ``features (N, D)`` and of their parts."""
        parts: dict[str, tuple[int, int]] = getattr(pl_module, "parts", {})
        names, found = ["", *parts], []
        for first, past_last in ((0, features.shape[1]), *parts.values()):
            columns = features[:, first:past_last]
            found.append(torch.stack([spread(columns), effective_rank(columns)]))
        for name, part in zip(names, found, strict=True):
            prefix = f"collapse/{name}/" if name else "collapse/"
            pl_module.log_dict({f"{prefix}spread": part[0], f"{prefix}rank": part[1]})
        for name, (far, rank) in zip(names, torch.stack(found).tolist(), strict=True):
            first, past_last = parts.get(name, (0, features.shape[1]))
            flat = rank < _FLAT and min(len(features) - 1, past_last - first) >= _ENOUGH
            dead = flat or far < (_PART_COLLAPSED if name else _COLLAPSED)
            self._collapsed[name] = self._collapsed[name] + 1 if dead else 0
            if self._collapsed[name] == _MEASUREMENTS:
                self.tell(name, far, rank, step)

    @staticmethod
    def tell(part: str, far: float, rank: float, step: int) -> None:
        """Warn of a part that has collapsed."""
        what = f"the part {part} of the representation" if part else "the representation"
        rank_zero_warn(
            f"step {step}: {what} has collapsed (its spread is {far:.3f} of 1, its effective rank "
            f"{rank:.1f}): raise the variance's or the contrast's weight, or lower the learning "
            "rate"
        )

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Nothing that follows a broken step is saved, nor weights that are no numbers."""
        if self._before is not None:
            self.check(*self._before)
        # parameters alone: a buffer may say by NaN that it has seen nothing yet
        finite = [torch.isfinite(p).all() for p in pl_module.parameters()]
        if finite and not torch.stack(finite).all():
            self.stop(trainer.global_step, -1, "the weights are no numbers any more")

    def check(self, step: int, start: int, outputs: Any) -> None:
        """Raise UserError unless the loss of ``step`` is finite, naming the terms that are not.

        Args:
            step: Optimiser steps after the batch.
            start: Optimiser steps before it, whose weights gave the loss.
            outputs: What the training step returned.
        """
        if torch.isfinite(outputs["loss"]):
            return
        broken = [name for name, term in outputs["terms"].items() if not torch.isfinite(term)]
        terms = ", ".join(broken) or "the sum of the terms"
        self.stop(step, start, f"the loss is {outputs['loss'].item()} (from {terms})")

    def stop(self, step: int, start: int, reason: str) -> None:
        """Raise UserError, telling what remains; the state ``start`` is not good any more."""
        self.io.wait()  # the state before this step may still be on its way
        kept = self.files.discard(start)
        remains = "no good state was saved: the same command starts anew"
        if kept is not None:
            remains = (
                f"the last good state is {kept}, and the same command continues there (another "
                "run starts from it with --init_from)"
            )
        raise UserError(
            f"step {step}: {reason}: lower model.optimizer.lr or use --trainer.precision 32-true "
            f"in another --out; {remains}"
        )

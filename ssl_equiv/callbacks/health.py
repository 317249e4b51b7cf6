"""Stops a run whose loss is no number, and tells of representations that collapse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_utilities.core.rank_zero import rank_zero_warn
from torch import Tensor

from ssl_equiv.checkpoint import CHECKPOINTS, LAST
from ssl_equiv.data.views import ViewBatch
from ssl_equiv.errors import UserError

_ROWS = 256  # enough to tell a collapse, few enough for a singular value decomposition
_COLLAPSED = 0.02


def spread(features: Tensor) -> Tensor:
    """How far features spread: 1 where no direction is preferred, 0 where all are one.

    Args:
        features: ``(N, D)``.

    Returns:
        Scalar, the mean standard deviation of the normalised features' columns times √D (SimSiam,
        arXiv 2011.10566, Sec. 4.1).
    """
    normal = torch.nn.functional.normalize(features.float(), dim=1)
    found: Tensor = normal.std(dim=0).mean() * features.shape[1] ** 0.5
    return found


def effective_rank(features: Tensor) -> Tensor:
    """The exponential of the entropy of the singular values (RankMe, arXiv 2210.02885, Eq. 1).

    Args:
        features: ``(N, D)``; they are centred first.

    Returns:
        Scalar between 1 and min(N - 1, D).
    """
    values = torch.linalg.svdvals(features.float() - features.float().mean(dim=0))
    share = values / values.sum().clamp_min(1e-12) + 1e-7
    rank: Tensor = (-(share * share.log()).sum()).exp()
    return rank


class WatchHealth(pl.Callback):
    """Log ``collapse/spread`` and ``collapse/rank``; stop at a loss that is NaN or infinite.

    The loss of a step is looked at in the same step on a CPU and in the next one on a GPU, where
    looking at once would stall it. Must stand before the callback that saves.

    Args:
        run: Run directory, which holds the last good checkpoint.
    """

    def __init__(self, run: Path) -> None:
        self.checkpoint = run / CHECKPOINTS / LAST
        self._before: tuple[int, Any] | None = None
        self._warned = False

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
            self._before = (step, outputs)
        else:
            self.check(step, outputs)
        if (batch_idx + 1) % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            features = outputs["features"][:_ROWS, 0]
            found = spread(features)
            pl_module.log_dict(
                {"collapse/spread": found, "collapse/rank": effective_rank(features)}
            )
            if found < _COLLAPSED and not self._warned:
                self._warned = True
                rank_zero_warn(
                    f"step {step}: the representation has collapsed (its spread is {found:.3f} of "
                    "1): raise the variance's or the contrast's weight, or lower the learning rate"
                )

    def on_save_checkpoint(self, trainer: pl.Trainer, *_: Any) -> None:
        """Nothing that follows a broken step is saved."""
        if self._before is not None:
            self.check(*self._before)

    def check(self, step: int, outputs: Any) -> None:
        """Raise UserError unless the loss of ``step`` is finite, naming the terms that are not."""
        if torch.isfinite(outputs["loss"]):
            return
        broken = [name for name, term in outputs["terms"].items() if not torch.isfinite(term)]
        kept = (
            f"the last good state is {self.checkpoint}, and the same command continues there"
            if self.checkpoint.exists()
            else "no checkpoint was written yet"
        )
        raise UserError(
            f"step {step}: the loss is {outputs['loss'].item()} (from "
            f"{', '.join(broken) or 'the sum of the terms'}): lower model.optimizer.lr or use "
            f"--trainer.precision 32-true; {kept}"
        )

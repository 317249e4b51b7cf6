"""Which checkpoint is the best by a metric that training logs."""

from __future__ import annotations

from typing import Any, Literal

import pytorch_lightning as pl
from torch import Tensor

from ssl_equiv.errors import UserError


class Best:
    """The checkpoint with the best mean of a metric since the checkpoint before.

    The first process's metric counts: it is the one that writes.

    Args:
        metric: Name of what is logged, such as ``probe/top1``.
        mode: Whether more or less of it is better.
    """

    def __init__(self, metric: str, mode: Literal["max", "min"] = "max") -> None:
        self.metric, self.mode = metric, mode
        self.step: int | None = None
        self.value: float | None = None
        self._sum: Tensor | float = 0.0
        self._count = 0

    def note(self, trainer: pl.Trainer) -> None:
        """Add this batch's value.

        Raises:
            UserError: nothing of that name is logged.
        """
        logged = trainer.callback_metrics
        if self.metric not in logged:
            raise UserError(
                f"best_metric is {self.metric!r}, but what is logged is "
                f"{', '.join(sorted(logged)) or 'nothing'}: choose one of these"
            )
        self._sum = self._sum + logged[self.metric].detach().float()  # read only when judged
        self._count += 1

    def judge(self, step: int) -> None:
        """Compare the mean of what was noted with the best before; begin a new mean."""
        mean = float(self._sum) / max(1, self._count)
        better = self.value is None or (mean > self.value) == (self.mode == "max")
        if self._count and better and mean != self.value:
            self.step, self.value = step, mean
        self._sum, self._count = 0.0, 0

    def state_dict(self) -> dict[str, Any]:
        """The best so far."""
        return {"metric": self.metric, "step": self.step, "value": self.value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`, of the same metric."""
        if state.get("metric") == self.metric:
            self.step, self.value = state["step"], state["value"]

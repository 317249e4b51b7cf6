"""The optimiser and the course of its learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ssl_equiv.errors import UserError


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimiser and its schedule, counted in optimiser steps.

    Args:
        name: ``adam`` (weight decay in the gradient, as the papers') or ``adamw`` (decoupled).
        lr: Peak learning rate.
        weight_decay: Weight decay.
        schedule: ``constant``, or ``cosine`` to zero over the whole run; both after the warm-up.
            ``one_cycle``: from a tenth of the peak up to it, then down to a ten-thousandth of it,
            each by half a cosine, as LiDAR detectors are trained (momentum stays as it is).
        warmup_steps: Steps of linear warm-up; of ``one_cycle`` those of the way up, 0 for 40% of
            the run.
    """

    name: Literal["adam", "adamw"] = "adam"
    lr: float = 1e-3
    weight_decay: float = 1e-6
    schedule: Literal["constant", "cosine", "one_cycle"] = "constant"
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        for name in ("lr", "weight_decay", "warmup_steps"):
            if getattr(self, name) < 0:
                raise UserError(f"model.optimizer.{name} is {getattr(self, name)}: it must be >= 0")


def schedule_factor(config: OptimizerConfig, steps: float) -> Callable[[int], float]:
    """The learning rate over its peak as a function of the optimiser step.

    Raises:
        UserError: a cosine or a cycle over a run without an end.
    """
    if config.schedule != "constant" and not 0 < steps < float("inf"):
        raise UserError(
            f"model.optimizer.schedule {config.schedule} needs an end: set trainer.max_steps or "
            "max_epochs"
        )

    def factor(step: int) -> float:
        if step < config.warmup_steps:
            return (step + 1) / config.warmup_steps
        if config.schedule == "constant":
            return 1.0
        done = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    def cycle(step: int) -> float:
        up = config.warmup_steps or max(1, round(0.4 * steps))
        start, end, done = 0.1, 1.0, step / up
        if step >= up:
            start, end, done = 1.0, 1e-4, (step - up) / max(1, steps - up)
        return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    return cycle if config.schedule == "one_cycle" else factor

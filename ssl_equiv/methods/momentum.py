"""Target networks: moving averages of an online network that no gradient reaches."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from lightly.models.utils import update_momentum
from lightly.utils.scheduler import cosine_schedule
from torch import nn

from ssl_equiv.errors import UserError


@dataclass(frozen=True)
class MomentumConfig:
    """How slowly a target network follows the online one.

    Args:
        start: Share of its old weights that the target keeps at the first optimiser step.
        end: The same at the last step; 1 leaves the target as it is.
        schedule: ``cosine`` from start to end over the whole run (BYOL, arXiv 2006.07733,
            Sec. 3.2), or ``constant`` at ``start``.
    """

    start: float = 0.996
    end: float = 1.0
    schedule: Literal["constant", "cosine"] = "cosine"

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(
                    f"model.momentum.{name} is {getattr(self, name)}: it must be in [0, 1]"
                )

    def at(self, step: int, steps: float) -> float:
        """The momentum after optimiser step ``step`` (from 0) of a run of ``steps``.

        Raises:
            UserError: a cosine over a run without an end.
        """
        if self.schedule == "constant":
            return self.start
        if not 0 < steps < float("inf"):
            raise UserError(
                "model.momentum.schedule cosine needs an end: set trainer.max_steps or max_epochs"
            )
        last = int(steps) - 1
        momentum: float = cosine_schedule(min(step, last), int(steps), self.start, self.end)
        return momentum


class MomentumTarget(nn.Module):
    """A copy of a network whose parameters are a moving average of the original's.

    Parameters only are averaged. Buffers are the copy's own, as in the published code of BYOL and
    its descendants: in training mode its BatchNorms normalise by the statistics of the batch that
    they see, and count their own running ones, which nothing reads.

    Args:
        online: The network to follow; its weights are the start.
        config: Momentum.

    Raises:
        UserError: there is none, which a configuration may say.
    """

    def __init__(self, online: nn.Module, config: MomentumConfig | None) -> None:
        super().__init__()
        if config is None:
            raise UserError(
                "model.momentum is null, but this method needs a moving average of its network as "
                "target: leave it out, or give start, end and schedule"
            )
        self.network = copy.deepcopy(online).requires_grad_(False)
        self.config = config

    @torch.no_grad()
    def forward(self, *args: Any) -> Any:
        """The network's output, without gradient."""
        return self.network(*args)

    def update(self, online: nn.Module, step: int, steps: float) -> None:
        """Follow ``online`` after optimiser step ``step`` (from 0) of ``steps``.

        A pure function of the step: a resumed run goes on exactly.
        """
        update_momentum(online, self.network, self.config.at(step, steps))

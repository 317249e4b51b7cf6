"""What the processes of a run agree upon at the end of a step, at next to no cost."""

from __future__ import annotations

import enum

import torch
import torch.distributed as dist

from ssl_equiv.distributed import is_distributed


class Wish(enum.IntFlag):
    """What a process asks for."""

    NOTHING = 0
    END = enum.auto()  # a signal came
    SAVE = enum.auto()  # it is time for a checkpoint
    FAIL = enum.auto()  # this process cannot go on


class Agreement:
    """The union of all processes' wishes.

    Of several processes it is known one step late: what was asked at a step is reduced beside the
    next one, on a group of its own, so nobody waits for a slow process here, and all act at the
    same step.
    """

    def __init__(self) -> None:
        self._group: dist.ProcessGroup | None = None
        self._pending: tuple[dist.Work, torch.Tensor] | None = None

    def open(self) -> None:
        """Make the group; on all processes together."""
        self._pending = None
        group = dist.new_group(backend="gloo") if is_distributed() else None
        assert not isinstance(group, int)  # that of a process outside the group
        self._group = group

    def ask(self, wish: Wish) -> Wish:
        """Ask now; returns what all processes asked the call before (one process: now)."""
        if self._group is None:
            return wish
        agreed = self._settle()
        self._reduce(wish)
        return agreed

    def ask_now(self, wish: Wish) -> Wish:
        """Ask, and wait for all processes' answer."""
        if self._group is None:
            return wish
        agreed = self._settle()
        self._reduce(wish)
        return agreed | self._settle()

    def _reduce(self, wish: Wish) -> None:
        flags = torch.tensor([bool(wish & each) for each in Wish], dtype=torch.uint8)
        work = dist.all_reduce(flags, dist.ReduceOp.MAX, group=self._group, async_op=True)
        assert work is not None
        self._pending = work, flags

    def _settle(self) -> Wish:
        if self._pending is None:
            return Wish.NOTHING
        (work, flags), self._pending = self._pending, None
        work.wait()
        return Wish(sum(each for each, asked in zip(Wish, flags.tolist(), strict=True) if asked))

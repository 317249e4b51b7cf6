"""Work that one of several processes does for all."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch.distributed as dist

from ssl_equiv.distributed import is_distributed
from ssl_equiv.errors import UserError

P = ParamSpec("P")
T = TypeVar("T")


def is_first() -> bool:
    """Whether this process is the first of several, or the only one."""
    return not is_distributed() or dist.get_rank() == 0


def once(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate what one process does for all: the first one runs it and tells the others.

    All processes get its result, or its :class:`UserError`. Where it fails in another way the first
    process raises that, the others a RuntimeError of the same words. It must take part in no
    collective: metrics in it are made with ``sync_on_compute=False``.
    """

    @wraps(function)
    def told(*args: P.args, **kwargs: P.kwargs) -> T:
        if not is_distributed():
            return function(*args, **kwargs)
        found: list[T | Exception | None] = [None]
        failed: Exception | None = None
        if dist.get_rank() == 0:
            try:
                found = [function(*args, **kwargs)]
            except UserError as error:
                found = [error]
            except Exception as error:  # the others must not wait for an answer
                failed, found = error, [RuntimeError(f"{type(error).__name__}: {error}")]
        dist.broadcast_object_list(found, src=0)
        if failed is not None:
            raise failed
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]  # type: ignore[return-value]

    return told

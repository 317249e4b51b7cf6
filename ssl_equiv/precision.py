"""Single precision where half would lose what a computation is about."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar, cast

import torch
from torch import Tensor

_Loss = TypeVar("_Loss", bound=Callable[..., Tensor])


def at_least_float32(x: Tensor) -> Tensor:
    """``x`` as float32 where it is a float of less."""
    return x.float() if x.is_floating_point() and x.dtype.itemsize < 4 else x


def in_float32(loss: _Loss) -> _Loss:
    """A loss whose tensors are made float32, if they are of less, with autocast switched off."""

    @wraps(loss)
    def wrapped(x: Tensor, *args: Tensor | float) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            single = [at_least_float32(a) if isinstance(a, Tensor) else a for a in (x, *args)]
            return loss(*single)

    return cast(_Loss, wrapped)

"""One clear line for a tensor of the wrong width."""

from __future__ import annotations

from torch import Tensor


def check_last(tensor: Tensor, expected: tuple[int, ...], what: str) -> None:
    """ValueError naming ``what`` unless the last dimensions of ``tensor`` are ``expected``."""
    if tuple(tensor.shape[-len(expected) :]) != expected:
        wanted = ", ".join(map(str, expected))
        raise ValueError(f"{what}: expected shape (..., {wanted}), got {tuple(tensor.shape)}")

"""Random draws for object families: the same on every machine and NumPy version."""

from __future__ import annotations

import colorsys
import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

_VALUES = (0.1, 0.32, 0.62, 0.92)  # HSV values of a palette: far enough apart to tell parts


class Draws:
    """A stream of draws keyed by an identity, for example ``Draws("chair", 3, 0)``.

    It reads raw Philox words, whose stream NumPy guarantees, and makes numbers of them itself,
    as NumPy's ``Generator`` methods may change between versions. The key is a hash of the
    identity's text, so that streams of different objects have nothing in common.
    """

    def __init__(self, *identity: str | int):
        text = "/".join(str(part) for part in identity)
        digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
        self._bits = np.random.Philox(key=int.from_bytes(digest, "little"))

    def random(self) -> float:
        """A number in [0, 1)."""
        return (int(self._bits.random_raw()) >> 11) * 2.0**-53

    def uniform(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self.random()

    def integer(self, low: int, high: int) -> int:
        """A whole number in [low, high], both included."""
        return low + int(self.random() * (high - low + 1))

    def flag(self, probability: float = 0.5) -> bool:
        """True with this probability."""
        return self.random() < probability

    def side(self) -> int:
        """-1 or 1."""
        return 1 if self.flag() else -1

    def pick(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[self.integer(0, len(options) - 1)]

    def order(self, count: int) -> list[int]:
        """A random order of ``range(count)``."""
        order = list(range(count))
        for last in range(count - 1, 0, -1):
            other = self.integer(0, last)
            order[last], order[other] = order[other], order[last]
        return order


def palette(draws: Draws) -> NDArray[np.float32]:
    """Draw four colours that can be told apart, ``(4, 3)`` linear RGB in [0, 1].

    The colours are exchangeable: each place of the palette has the same distribution, and no
    family draws its own, so that colour says nothing about the class.
    """
    colors = []
    for place in draws.order(len(_VALUES)):
        value = _VALUES[place] * draws.uniform(0.85, 1.08)
        saturation = 0.9 * draws.random() ** 0.7
        colors.append(colorsys.hsv_to_rgb(draws.random(), saturation, value))
    return np.round(np.array(colors), 4).astype(np.float32)

"""One feature vector with named parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Representation:
    """A backbone's output and the names of its columns.

    Args:
        features: ``(..., D)``.
        parts: Name to ``(first, past_last)`` column; parts may overlap. ``all`` is added.

    Raises:
        ValueError: a part has columns that the features lack.
    """

    features: Tensor
    parts: Mapping[str, tuple[int, int]]

    def __post_init__(self) -> None:
        width = self.features.shape[-1]
        for name, (first, past_last) in self.parts.items():
            if not 0 <= first < past_last <= width:
                raise ValueError(f"part {name} is [{first}, {past_last}) of {width} columns")
        object.__setattr__(self, "parts", {"all": (0, width), **self.parts})

    def __getitem__(self, part: str) -> Tensor:
        """The columns of ``part``, ``(..., width)``; KeyError where there is no such part."""
        first, past_last = self.parts[part]
        return self.features[..., first:past_last]

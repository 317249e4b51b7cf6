"""What writers of rendered objects have in common, whichever the layout.

Both are resumable by their names alone: a shard or an object's folder appears by a rename once it
is whole, so what is there under its final name is finished. An object that failed keeps its place:
a description that tells why, and no views.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_gen.work import RenderedObject
from ssl_equiv.data.record import (
    Shard,
    describe,
)
from ssl_equiv.files import (
    make_directory,
)


def array_bytes(array: np.ndarray) -> bytes:
    """An array as the bytes of a ``.npy`` file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def description(item: RenderedObject, **more: Any) -> bytes:
    """The description record of a rendered object."""
    told = {**item.told, **({} if item.failed is None else {"failed": item.failed}), **more}
    return describe(item.index, item.class_name, item.object_id, item.label, **told)


class Writer(ABC):
    """Writes units of consecutive objects; a unit is what a kill can cost.

    Args:
        root: Folder of the data set.
        num_objects: Objects in the data set.
        num_views: Views of each.
        unit: Objects per unit.
        outputs: What is stored beside each view.
    """

    def __init__(
        self,
        root: Path,
        num_objects: int,
        num_views: int,
        unit: int,
        outputs: Sequence[str] = (),
    ) -> None:
        self.root = make_directory(root)
        self.num_objects, self.num_views, self.unit = num_objects, num_views, unit
        self.outputs = tuple(outputs)

    def units(self) -> list[range]:
        """Object indices of every unit."""
        starts = range(0, self.num_objects, self.unit)
        return [range(start, min(start + self.unit, self.num_objects)) for start in starts]

    @abstractmethod
    def present(self, unit: range, names: Sequence[str]) -> bool:
        """Whether a unit has been written; ``names`` are its objects' ``class/object``."""

    @abstractmethod
    def done(self, unit: range, names: Sequence[str]) -> bool:
        """Whether a unit is finished and undamaged."""

    @abstractmethod
    def descriptions(self, unit: range, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What is told of the objects of a written unit, by ``class/object``."""

    def failures(self, unit: range, names: Sequence[str]) -> dict[str, str]:
        """The objects of a written unit that failed, and why."""
        told = self.descriptions(unit, names)
        return {name: str(told[name]["failed"]) for name in names if "failed" in told[name]}

    @abstractmethod
    def write(self, objects: Iterable[RenderedObject]) -> None:
        """Write a unit, whole or not at all; one object is held at a time."""

    @abstractmethod
    def shards(self) -> tuple[Shard, ...]:
        """The finished shards, for the manifest; none in the folder layout."""

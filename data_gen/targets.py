"""What a conversion writes: shards or the published folder, kept as far as an earlier run came."""

from __future__ import annotations

import json
import os
import tarfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from data_gen.folder_writer import RECORD, FolderWriter
from data_gen.shard_writer import ShardWriter
from data_gen.stored import StoredObject
from data_gen.work import RenderedObject
from ssl_equiv.data.record import Shard, description_member, index_name
from ssl_equiv.data.sources import published_objects
from ssl_equiv.errors import UserError
from ssl_equiv.files import load_array, read_json, writing

_LATER = 999_999
"""Stands for a label that is not known before everything is read; longer than any label."""


class Target(ABC):
    """What is written: objects that are there already, and more.

    Attributes:
        done: Names of the objects that are there already, in order.
        num_views: Their views; 0 where there are none.
        names: All names so far.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.done: list[str] = []
        self.num_views = 0
        self.names: list[str] = []

    @abstractmethod
    def write(self, items: Iterator[StoredObject], classes: tuple[str, ...] | None) -> None:
        """Write objects as they come; None: the classes are not known yet."""

    @abstractmethod
    def finish(
        self, order: tuple[str, ...] | None, num_views: int, classes: tuple[str, ...]
    ) -> tuple[tuple[str, ...], tuple[Shard, ...]]:
        """Put the labels right; returns the names in order, and the shards."""

    def _next(self, item: StoredObject, classes: tuple[str, ...] | None) -> RenderedObject:
        class_name, _, object_id = item.name.partition("/")
        self.names.append(item.name)
        return RenderedObject(
            index=len(self.names) - 1,
            class_name=class_name,
            object_id=object_id,
            label=_LATER if classes is None else classes.index(class_name),
            latents=item.latents,
            images=item.images,
            told=item.told,
        )


class ShardTarget(Target):
    """Shards; whole ones at the start are kept."""

    def __init__(self, out: Path, unit: int) -> None:
        super().__init__(out)
        self.unit = unit
        while self._kept(len(self.done)):
            pass
        self.names = list(self.done)

    def _path(self, first: int) -> Path:
        return self.out / f"shard-{first // self.unit:06d}.tar"

    def _kept(self, first: int) -> bool:
        path = self._path(first)
        try:
            table = load_array(self.out / index_name(path.name))
        except UserError:
            return False
        views = table.shape[1] - 1 if table.ndim == 3 else 0
        places = range(first, first + self.unit)
        if views < 1 or not ShardWriter(self.out, places.stop, views, self.unit).done(places, []):
            return False
        self.num_views = views
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if member.name.endswith(".json"):
                    stream = tar.extractfile(member)
                    assert stream is not None
                    stored = json.load(stream)
                    self.done.append(f"{stored['class']}/{stored['object']}")
        return True

    def write(self, items: Iterator[StoredObject], classes: tuple[str, ...] | None) -> None:
        """See :class:`Target`; one object is held at a time."""
        for first in items:
            writer = ShardWriter(self.out, self.unit, len(first.images), self.unit)
            unit = chain([first], islice(items, self.unit - 1))
            writer.write(self._next(item, classes) for item in unit)

    def finish(
        self, order: tuple[str, ...] | None, num_views: int, classes: tuple[str, ...]
    ) -> tuple[tuple[str, ...], tuple[Shard, ...]]:
        """See :class:`Target`."""
        for first in range(0, len(self.names), self.unit):
            names = self.names[first : first + self.unit]
            _relabel(self._path(first), first, names, classes)
        writer = ShardWriter(self.out, len(self.names), num_views, self.unit)
        return tuple(self.names), writer.shards()


class FolderTarget(Target):
    """The published folder; whole objects are kept."""

    def __init__(self, out: Path, _: int) -> None:
        super().__init__(out)
        there = {name: _whole_files(out / name) for name in published_objects(out)}
        if there:  # a crash of the machine may have left some incomplete
            ((files, _),) = Counter(there.values()).most_common(1)
            self.num_views = (files - 1) // 2
            self.done = [name for name, count in there.items() if files and count == files]
        self.names = list(self.done)

    def write(self, items: Iterator[StoredObject], classes: tuple[str, ...] | None) -> None:
        """See :class:`Target`."""
        for item in items:
            writer = FolderWriter(self.out, 1, len(item.images), 1, records=True)
            writer.write([self._next(item, classes)])

    def finish(
        self, order: tuple[str, ...] | None, num_views: int, classes: tuple[str, ...]
    ) -> tuple[tuple[str, ...], tuple[Shard, ...]]:
        """See :class:`Target`; names in ``order`` or, without one, sorted."""
        kept = set(self.names)
        names = tuple(name for name in order or sorted(kept) if name in kept)
        for index, name in enumerate(names):
            _renumber(self.out / name, index, classes.index(name.partition("/")[0]))
        return names, ()


def _whole_files(folder: Path) -> int:
    """Files that are not empty; 0 where their record is missing."""
    sizes = {entry.name: entry.stat().st_size for entry in os.scandir(folder)}
    return sum(size > 0 for size in sizes.values()) if sizes.get(RECORD) else 0


def _renumber(folder: Path, index: int, label: int) -> None:
    """Put index and label into the record of an object that was written before they were known."""
    record = read_json(folder / RECORD)
    if (record["index"], record["label"]) == (index, label):
        return
    temporary = folder.with_name(f".{folder.name}.{RECORD}.partial")  # where leftovers are swept
    with writing(folder / RECORD):
        temporary.write_text(json.dumps(record | {"index": index, "label": label}))
        os.replace(temporary, folder / RECORD)


def _relabel(path: Path, first: int, names: Sequence[str], classes: tuple[str, ...]) -> None:
    """Put the labels into the descriptions of a shard that was written before they were known.

    Each is replaced in its place: a label is no longer than what stands for it, and the blocks of
    a tar file leave room. Run again it changes nothing.
    """
    with tarfile.open(path, "r:") as tar:
        places = {m.name: (m.offset_data, m.size) for m in tar if m.name.endswith(".json")}
    with writing(path), open(path, "r+b") as file:
        for index, name in enumerate(names, first):
            offset, size = places[description_member(index)]
            file.seek(offset)
            old = file.read(size)
            label = classes.index(name.partition("/")[0])
            new = json.dumps(json.loads(old) | {"label": label}).encode()
            if old == new:
                continue
            room = -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
            new = new.ljust(room - tarfile.BLOCKSIZE + 1)  # spaces keep the number of blocks
            file.seek(offset - tarfile.BLOCKSIZE)
            header = bytearray(file.read(tarfile.BLOCKSIZE))
            header[124:136] = b"%011o\0" % len(new)
            header[148:156] = b" " * 8
            header[148:156] = b"%06o\0 " % sum(header)
            file.seek(offset - tarfile.BLOCKSIZE)
            file.write(header + new.ljust(room, b"\0"))
        file.flush()
        os.fsync(file.fileno())

"""Rendered objects as WebDataset shards, and what can be read of a shard again."""

from __future__ import annotations

import json
import mmap
import os
import tarfile
import zlib
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
import webdataset

from data_gen.work import RenderedObject
from data_gen.writers import Writer, array_bytes, description
from ssl_equiv.data.record import (
    Shard,
    description_member,
    index_members,
    index_name,
    object_key,
)
from ssl_equiv.errors import UserError
from ssl_equiv.files import (
    atomic_write,
    file_sha256,
    load_array,
)


class ShardWriter(Writer):
    """``shard-000000.tar`` with one WebDataset record per object, and an index beside each."""

    def path(self, unit: range) -> Path:
        """The tar of a unit."""
        return self.root / f"shard-{unit.start // self.unit:06d}.tar"

    def present(self, unit: range, names: Sequence[str]) -> bool:
        """Whether tar and index are there and fit each other."""
        path = self.path(unit)
        table = self._table(path, unit)
        if table is None or not path.exists():
            return False
        end = int((table[..., 0] + table[..., 1]).max(initial=0))
        blocks = -(-end // tarfile.BLOCKSIZE) + 2  # two of zeros are a tar's end
        least = -(-blocks * tarfile.BLOCKSIZE // tarfile.RECORDSIZE) * tarfile.RECORDSIZE
        size = path.stat().st_size
        return size >= least and size % tarfile.RECORDSIZE == 0

    def done(self, unit: range, names: Sequence[str]) -> bool:
        """Whether, besides, every member has the index's checksum."""
        table = self._table(self.path(unit), unit)
        return (
            table is not None
            and self.present(unit, names)
            and not damaged_members(self.path(unit), table)
        )

    def descriptions(self, unit: range, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """See :meth:`Writer.descriptions`."""
        return dict(zip(names, shard_descriptions(self.path(unit), unit), strict=True))

    def write(self, objects: Iterable[RenderedObject]) -> None:
        """Write one shard; equal objects give equal bytes."""
        rest = iter(objects)
        first = next(rest)
        start = first.index - first.index % self.unit
        path = self.path(range(start, start + self.unit))
        sums: list[tuple[list[str], list[int]]] = []
        with atomic_write(path) as file:
            # fixed owner and time: the bytes depend on the objects alone
            with webdataset.TarWriter(file, user="", group="", mtime=0.0, encoder=False) as tar:
                for item in chain([first], rest):
                    members = self._members(item)
                    sums.append((list(members), [zlib.crc32(data) for data in members.values()]))
                    record: dict[str, object] = {"__key__": object_key(item.index)}
                    record["json"] = description(item)
                    for name, data in members.items():
                        record[name.partition(".")[2]] = data
                    tar.write(record)
            # the index comes first: a tar that is there has one
            with atomic_write(self.root / index_name(path.name)) as index:
                index.write(array_bytes(self._index(file, sums)))

    def shards(self) -> tuple[Shard, ...]:
        """Name, extent and SHA-256 of every shard."""
        found = []
        for unit in self.units():
            path = self.path(unit)
            size, digest = path.stat().st_size, file_sha256(path)
            found.append(Shard(path.name, unit.start, len(unit), size, digest))
        return tuple(found)

    def _members(self, item: RenderedObject) -> dict[str, bytes]:
        """Names and bytes in the order of the index; none where the object failed."""
        if item.failed is not None:
            return {}
        names = index_members(item.index, self.num_views, self.outputs)
        files = [array_bytes(item.latents), *item.images]
        for output in self.outputs:
            files += item.outputs[output]
        return dict(zip(names, files, strict=True))

    def _index(self, file: IO[bytes], sums: list[tuple[list[str], list[int]]]) -> np.ndarray:
        """Offset, size and CRC-32 of the members, ``(objects, rows, 3)``."""
        file.flush()
        # read through the descriptor: the file has no name yet that is its own
        with os.fdopen(os.dup(file.fileno()), "rb") as again:
            again.seek(0)
            with tarfile.open(fileobj=again, mode="r:") as tar:
                places = {member.name: (member.offset_data, member.size) for member in tar}
        table = np.zeros((len(sums), 1 + self.num_views * (1 + len(self.outputs)), 3), np.int64)
        for rows, (names, checksums) in zip(table, sums, strict=True):
            for row, name, checksum in zip(rows, names, checksums, strict=False):
                row[:] = (*places[name], checksum)
        return table

    def _table(self, path: Path, unit: range) -> np.ndarray | None:
        """A shard's index, or None where it is missing or unusable."""
        try:
            table = load_array(self.root / index_name(path.name))
        except UserError:
            return None
        rows = 1 + self.num_views * (1 + len(self.outputs))
        fits = table.shape == (len(unit), rows, 3) and table.dtype == np.int64
        return table if fits else None


def shard_descriptions(path: Path, objects: Iterable[int]) -> list[dict[str, Any]]:
    """What is told of objects in a shard; raises UserError where it cannot be read."""
    found = []
    try:
        with tarfile.open(path, "r:") as tar:
            for index in objects:
                file = tar.extractfile(description_member(index))
                assert file is not None
                found.append(json.load(file))
    except (OSError, KeyError, ValueError, tarfile.TarError) as error:
        raise UserError(f"{path} is damaged ({error}): delete it and make it again") from error
    return found


def damaged_members(path: Path, table: np.ndarray) -> list[tuple[int, int]]:
    """(object, row) of the members of a tar that lack the checksum of its index ``table``."""
    if not path.stat().st_size:  # which cannot be mapped
        return [(item, row) for item in range(len(table)) for row in range(table.shape[1])]
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return [
            (item, row)
            for item, rows in enumerate(table.tolist())
            for row, (offset, size, checksum) in enumerate(rows)
            if zlib.crc32(data[offset : offset + size]) != checksum
        ]

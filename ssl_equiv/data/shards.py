"""Random access to WebDataset shards through memory maps."""

from __future__ import annotations

import hashlib
import mmap
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssl_equiv.data.decode import ArrayReader
from ssl_equiv.data.record import (
    MANIFEST,
    Manifest,
    index_members,
    index_name,
    latents_member,
    view_member,
)
from ssl_equiv.data.source import Source, check_found, on_paths
from ssl_equiv.errors import UserError
from ssl_equiv.files import load_array

_UNCHECKED = -1  # no checksum known


class ShardSource(Source):
    """WebDataset shards with a manifest, read by memory map: only the bytes of the views asked for.

    Raises:
        UserError: a shard is missing or its size differs from the manifest's.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        manifest = Manifest.read(self.root)
        self.schema, self.classes, self.objects = (
            manifest.schema,
            manifest.classes,
            manifest.objects,
        )
        self.num_views = manifest.num_views
        self.split = {k: np.array(v, dtype=np.int64) for k, v in manifest.split.items()}
        self.outputs, self.failed = manifest.outputs, manifest.failed
        self.paths = on_paths(manifest)
        self.ranges = {
            factor.name: manifest.recipe[factor.name]
            for factor in manifest.schema.factors
            if factor.name in manifest.recipe
        }
        self.shards = manifest.shards
        for shard in self.shards:
            path = self.root / shard.name
            found = path.stat().st_size if path.exists() else None
            if found != shard.bytes:
                what = "is missing" if found is None else f"has {found} bytes, not {shard.bytes}"
                raise UserError(f"{path} {what}: copy it again or run the generator again")
        self._first = np.array([shard.first for shard in self.shards])
        self._open: dict[int, tuple[str, mmap.mmap, np.ndarray]] = {}
        self._array = ArrayReader()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}  # memory maps are opened anew in each process

    @property
    def fingerprint(self) -> str:
        """Digest of the manifest, which holds every shard's SHA-256."""
        return hashlib.sha256((self.root / MANIFEST).read_bytes()).hexdigest()

    def name_of(self, index: int, view: int) -> str:
        """Shard and member."""
        shard = int(np.searchsorted(self._first, index, side="right")) - 1
        return f"{self.root / self.shards[shard].name}:{view_member(index, view)}"

    def read(self, index: int, views: Sequence[int]) -> tuple[list[bytes], np.ndarray]:
        """See :meth:`Source.read`; every member read is checked against its CRC-32."""
        shard, members = self._members(index, [0, *(1 + view for view in views)])
        where = f"{shard}:{latents_member(index)}"
        latents = self._array(members[0], where)[list(views)]
        return members[1:], check_found(latents, self.schema, where)

    def read_output(self, index: int, views: Sequence[int], name: str) -> list[bytes]:
        """See :meth:`Source.read_output`; checked against the CRC-32 too."""
        self._check_output(name)
        first = 1 + self.num_views * (1 + self.outputs.index(name))
        return self._members(index, [first + view for view in views])[1]

    def _members(self, index: int, entries: Sequence[int]) -> tuple[str, list[bytes]]:
        """The shard of an object, and the members that some rows of the index place in it."""
        self._check_rendered(index)
        number = int(np.searchsorted(self._first, index, side="right")) - 1
        path, data, table = self._shard(number)
        rows = table[index - self.shards[number].first, entries].tolist()
        members = []
        for entry, (offset, size, checksum) in zip(entries, rows, strict=True):
            member = data[offset : offset + size]
            if checksum != _UNCHECKED and zlib.crc32(member) != checksum:
                name = index_members(index, self.num_views, self.outputs)[entry]
                raise UserError(
                    f"{path}:{name} does not match its checksum: the shard is damaged; copy it "
                    "again or run the generator again"
                )
            members.append(member)
        return path, members

    def _shard(self, number: int) -> tuple[str, mmap.mmap, np.ndarray]:
        if number not in self._open:
            path = self.root / self.shards[number].name
            with open(path, "rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            beside = self.root / index_name(path.name)
            table = load_array(beside) if beside.exists() else self._scan(number, path)
            rows = 1 + self.num_views * (1 + len(self.outputs))
            expected = (self.shards[number].objects, rows, 3)
            if table.shape != expected:
                raise UserError(
                    f"{beside} has shape {table.shape}, not {expected}: delete it, the tar's own "
                    "headers will be read instead"
                )
            self._open[number] = (str(path), data, table)
        return self._open[number]

    def _scan(self, number: int, path: Path) -> np.ndarray:
        # without its index a shard is checked as a whole, once
        if hashlib.sha256(path.read_bytes()).hexdigest() != self.shards[number].sha256:
            raise UserError(
                f"{path} does not match its checksum: the shard is damaged; copy it again or run "
                "the generator again"
            )
        with tarfile.open(path, "r:") as tar:
            found = {m.name: (m.offset_data, m.size, _UNCHECKED) for m in tar}
        shard = self.shards[number]
        numbers = range(shard.first, shard.first + shard.objects)
        members = {i: index_members(i, self.num_views, self.outputs) for i in numbers}
        for i in numbers:
            if self.objects[i] in self.failed:
                found |= dict.fromkeys(members[i], (0, 0, 0))
        try:
            return np.array([[found[m] for m in members[i]] for i in numbers], dtype=np.int64)
        except KeyError as error:
            raise UserError(f"{path} lacks {error}: run the generator again") from error

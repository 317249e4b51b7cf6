"""The published tarball, read once from start to end and never unpacked."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Set
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from data_gen.folder_writer import RECORD
from data_gen.stored import Checker, Damaged, Member, Reader, StoredObject, file_name, parse_member
from ssl_equiv.data.record import MANIFEST, Manifest
from ssl_equiv.data.splits import SPLIT_FILES, parse_splits
from ssl_equiv.errors import UserError
from ssl_equiv.files import load_array, writing

_MEMORY = 256 * 2**20
"""Bytes of objects not yet whole that are kept in memory; what goes beyond lies on disk."""
_LARGEST = 256 * 2**20
"""Bytes of the largest member that is read."""
_BLOCK = 2**20
"""Bytes read at a time."""


class ArchiveReader(Reader):
    """Objects from ``SYNSET/OBJ/image_{i}.jpg, latent_{i}.npy`` in a ``.tar`` or ``.tar.gz``.

    Members may come in any order below any folders. Objects come out in the order in which they
    become whole. One at a time is held where the members of an object follow each other; others
    wait in memory and, beyond 256 MB, in one temporary file.

    Args:
        path: The archive.
        num_views: Views of each object. None takes those of the first object whose members follow
            each other.
        spill: Folder of the temporary file, which has no name and vanishes with the process.
        memory: Bytes of waiting objects that are kept in memory.

    See :class:`data_gen.stored.Reader` for the rest; ``splits`` and ``manifest`` are known once
    everything is read.
    """

    def __init__(
        self, path: Path, num_views: int | None, spill: Path, memory: int = _MEMORY
    ) -> None:
        self.path = path
        self.checker = Checker(num_views)
        self.size = path.stat().st_size
        self.description = {
            "from": path.name,
            "layout": "tar",
            "bytes": self.size,
        }
        self._raw: _Counted | None = None
        self._shelf = _Shelf(spill, memory)
        self._waiting: dict[str, dict[Member, _Place]] = {}
        self._finished: set[str] = set()
        self._others: list[str] = []  # the first few
        self._num_others = 0
        self._aside: set[str] = set()

    def progress(self) -> tuple[int, int, str]:
        """See :class:`data_gen.stored.Reader`."""
        return (self._raw.count if self._raw else 0), self.size, "bytes"

    def notes(self) -> list[str]:
        """See :class:`data_gen.stored.Reader`."""
        notes = super().notes()
        if self._aside:
            spilled = f", {self._shelf.spilled / 1e6:.0f} MB of them on disk" * (
                self._shelf.spilled > 0
            )
            notes.append(
                f"{len(self._aside)} objects were not whole when the archive went on to the next, "
                f"and waited{spilled}"
            )
        if self._others:
            listed = ", ".join(self._others[:3]) + (", ..." if len(self._others) > 3 else "")
            notes.append(f"{self._num_others} other files were left out: {listed}")
        return notes

    def read(self, skip: Set[str]) -> Iterator[StoredObject | Damaged]:
        """See :class:`data_gen.stored.Reader`.

        Raises:
            UserError: it is not an archive, is cut short, holds a path that leads out of it, a
                link, or a member twice, or holds no objects.
        """
        extra: dict[str, bytes] = {}
        current = ""
        for member, data in self._members(skip, extra):
            name, key = member
            if name != current:
                yield from self._left(current)
                current = name
            if name in self._finished:
                raise UserError(self._late(name, key))
            slot = self._waiting.setdefault(name, {})
            if key in slot:
                raise UserError(f"{self._where(name)}/{file_name(key)} is there twice: repack it")
            slot[key] = self._shelf.put(data)
            if self._whole(slot):
                yield self._finish(name)
        yield from self._left(current)
        for name in list(self._waiting):
            yield self._finish(name)
        if not self._finished:
            raise UserError(
                f"{self.path} holds no SYNSET/OBJ/image_0.jpg with latent_0.npy: is it the data "
                "set's archive?"
            )
        self._read_extra(extra)

    def _left(self, name: str) -> Iterator[StoredObject | Damaged]:
        """What is whole once the archive goes on to another object than ``name``."""
        slot = self._waiting.get(name)
        if slot is None:
            return
        if self.checker.num_views is None:
            views = range(len(slot) // 2)
            if set(slot) == {(what, view) for what in ("image", "latent") for view in views}:
                yield self._finish(name)  # which tells the number of views
                for other in [n for n, s in self._waiting.items() if self._whole(s)]:
                    yield self._finish(other)
                return
        self._aside.add(name)

    def _whole(self, slot: dict[Member, _Place]) -> bool:
        views = self.checker.num_views
        return (
            views is not None and len(slot) == 2 * views and all(view < views for _, view in slot)
        )

    def _finish(self, name: str) -> StoredObject | Damaged:
        self._finished.add(name)
        slot = {key: self._shelf.take(place) for key, place in self._waiting.pop(name).items()}
        if not self._waiting:
            self._shelf.clear()
        return self.checker.assemble(name, slot, self._where(name))

    def _where(self, name: str) -> str:
        return f"{self.path}:{name}"

    def _late(self, name: str, key: Member) -> str:
        views = self.checker.num_views
        if views is not None and key[1] >= views:
            return (
                f"{self._where(name)}/{file_name(key)} comes after the {views} views that the "
                "first whole object has: say with --num_views how many there are"
            )
        return f"{self._where(name)}/{file_name(key)} is there twice: repack it"

    def _members(
        self, skip: Set[str], extra: dict[str, bytes]
    ) -> Iterator[tuple[tuple[str, Member], bytes]]:
        """Object, key and bytes of every view's files; other files of use go to ``extra``."""
        last: str | None = None
        with open(self.path, "rb") as file:
            self._raw = _Counted(file)
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            stream: Any = gzip.GzipFile(fileobj=cast(Any, self._raw)) if packed else self._raw
            try:
                with tarfile.open(
                    fileobj=stream, mode="r|", bufsize=_BLOCK, tarinfo=_StrictHeader
                ) as tar:
                    while (info := tar.next()) is not None:
                        tar.members = []  # type: ignore[attr-defined]  # else every header stays in memory
                        last = info.name
                        found = self._member(tar, info, skip, extra)
                        if found is not None:
                            yield found
            except (tarfile.ReadError, EOFError, gzip.BadGzipFile, zlib.error) as error:
                if last is None and isinstance(error, tarfile.ReadError):
                    raise UserError(
                        f"{self.path} is not a .tar or .tar.gz archive ({error}): give the "
                        "published tarball or folder, or a data set of shards"
                    ) from error
                raise UserError(
                    f"{self.path} is damaged or cut short after {last or 'its start'}: copy it "
                    "again and convert it into an empty folder"
                ) from error

    def _member(
        self,
        tar: tarfile.TarFile,
        info: tarfile.TarInfo,
        skip: Set[str],
        extra: dict[str, bytes],
    ) -> tuple[tuple[str, Member], bytes] | None:
        parts = _parts(info.name, self.path)
        if info.isdir():
            return None
        hidden = any(part.startswith(".") for part in parts[-3:])
        key = parse_member(parts[-1]) if len(parts) >= 3 and not hidden else None
        if key is None:
            if parts[-1] in SPLIT_FILES:
                data = self._data(tar, info)
                if extra.setdefault(parts[-1], data) != data:
                    raise UserError(
                        f"{self.path} holds two different {parts[-1]}: leave one of them out"
                    )
            elif parts[-1] == MANIFEST:
                self._read_manifest(self._data(tar, info), info.name)
            elif parts[-1] != RECORD:
                self._others[3:] = [info.name]
                self._num_others += 1
            return None
        name = "/".join(parts[-3:-1])
        if name in skip:
            self._finished.add(name)
            return None
        return (name, key), self._data(tar, info)

    def _data(self, tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
        if not info.isfile():
            raise UserError(
                f"{self.path}:{info.name} is a link or a device, not a file: repack it with "
                "tar --dereference --hard-dereference"
            )
        if info.size > _LARGEST:
            raise UserError(f"{self.path}:{info.name} has {info.size} bytes: that is no view")
        stream = tar.extractfile(info)
        assert stream is not None
        data = stream.read()
        if len(data) != info.size:
            raise EOFError(f"{info.name} is cut short")
        return data

    def _read_extra(self, extra: dict[str, bytes]) -> None:
        arrays: dict[str, np.ndarray] = {
            name: load_array(io.BytesIO(data), f"{self.path}:{name}")
            for name, data in extra.items()
            if name in SPLIT_FILES
        }
        self.splits = parse_splits(arrays, f"{self.path}:")

    def _read_manifest(self, data: bytes, name: str) -> None:
        where = f"{self.path}:{name}"
        try:
            manifest = Manifest.parse(json.loads(data), where)
        except ValueError as error:
            raise UserError(f"{where} is not readable JSON ({error}): leave it out") from error
        known = self.checker.schema
        if known is not None and known.width != manifest.schema.width:
            raise UserError(
                f"{where} has latents of {manifest.schema.width} numbers, the objects before it "
                f"of {known.width}: leave it out"
            )
        self.manifest, self.checker.schema = manifest, manifest.schema


class _StrictHeader(tarfile.TarInfo):
    """A header; one that is cut or damaged is an error, which tarfile takes for the end."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> _StrictHeader:
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error


def _parts(name: str, path: Path) -> list[str]:
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise UserError(
            f"{path} holds the path {name!r}, which leads out of it: such an archive is refused; "
            "repack it with plain relative paths"
        )
    return [part for part in parts if part not in ("", ".")] or ["."]


class _Counted:
    """A stream that counts what was read from it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        data = self.stream.read(size)
        self.count += len(data)
        return data


_Place = bytes | tuple[int, int]


class _Shelf:
    """Bytes that wait: in memory up to a bound, then in one temporary file."""

    def __init__(self, folder: Path, memory: int) -> None:
        self.folder, self.memory = folder, memory
        self.spilled = 0
        self._held = 0
        self._file: IO[bytes] | None = None

    def put(self, data: bytes) -> _Place:
        """Keep ``data``; returns where it is."""
        if self._held + len(data) <= self.memory:
            self._held += len(data)
            return data
        with writing(self.folder):
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115
            offset = self._file.seek(0, 2)
            self._file.write(data)
        self.spilled += len(data)
        return offset, len(data)

    def take(self, place: _Place) -> bytes:
        """What was put there; it may be taken once."""
        if isinstance(place, bytes):
            self._held -= len(place)
            return place
        assert self._file is not None
        self._file.seek(place[0])
        return self._file.read(place[1])

    def clear(self) -> None:
        """Give back the disk: nothing waits any more."""
        if self._file is not None:
            self._file.truncate(0)

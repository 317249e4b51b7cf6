"""Writers of rendered objects: WebDataset shards, or the published 3DIEBench folder.

Both are resumable by their names alone: a shard or an object's folder appears by a rename once it
is whole, so what is there under its final name is finished. An object that failed keeps its place:
a description that tells why, and no views.
"""

from __future__ import annotations

import errno
import io
import json
import mmap
import os
import shutil
import tarfile
import tempfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
import webdataset

from data_gen.work import RenderedObject
from ssl_equiv.data.record import (
    Shard,
    describe,
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
    make_directory,
    read_json,
    writing,
)

RECORD = "object.json"
"""In the folder layout: an object's description and its files' CRC-32."""


def array_bytes(array: np.ndarray) -> bytes:
    """An array as the bytes of a ``.npy`` file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def description(item: RenderedObject, **more: Any) -> bytes:
    """The description record of a rendered object."""
    told = {"mesh_sha256": item.mesh_sha256, "failed": item.failed, **more}
    known = {name: value for name, value in told.items() if value is not None}
    return describe(item.index, item.class_name, item.object_id, item.label, **known)


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
    def failures(self, unit: range, names: Sequence[str]) -> dict[str, str]:
        """The objects of a written unit that failed, and why."""

    @abstractmethod
    def write(self, objects: Iterable[RenderedObject]) -> None:
        """Write a unit, whole or not at all; one object is held at a time."""

    @abstractmethod
    def shards(self) -> tuple[Shard, ...]:
        """The finished shards, for the manifest; none in the folder layout."""


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
        return bool((table[..., 0] + table[..., 1]).max(initial=0) <= path.stat().st_size)

    def done(self, unit: range, names: Sequence[str]) -> bool:
        """Whether, besides, every member has the index's checksum."""
        table = self._table(self.path(unit), unit)
        return (
            table is not None
            and self.present(unit, names)
            and not damaged_members(self.path(unit), table)
        )

    def failures(self, unit: range, names: Sequence[str]) -> dict[str, str]:
        """See :meth:`Writer.failures`."""
        table = self._table(self.path(unit), unit)
        if table is None:
            return {}
        failed = [i for i, rows in zip(unit, table, strict=True) if not rows[0, 1]]
        if not failed:
            return {}
        with tarfile.open(self.path(unit), "r:") as tar:
            found = {}
            for index in failed:
                file = tar.extractfile(description_member(index))
                assert file is not None
                found[names[index - unit.start]] = str(json.load(file)["failed"])
        return found

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


class FolderWriter(Writer):
    """The published layout: ``CLASS/OBJECT/image_{i}.jpg`` and ``latent_{i}.npy``.

    Args:
        records: Write ``object.json`` beside them: the description, and every file's CRC-32.
    """

    def __init__(
        self,
        root: Path,
        num_objects: int,
        num_views: int,
        unit: int,
        outputs: Sequence[str] = (),
        records: bool = False,
    ) -> None:
        super().__init__(root, num_objects, num_views, unit, outputs)
        self.records = records

    def present(self, unit: range, names: Sequence[str]) -> bool:
        """Whether all of the unit's folders are there: they appear when they are whole."""
        return all((self.root / name).is_dir() for name in names)

    def done(self, unit: range, names: Sequence[str]) -> bool:
        """Whether all of the unit's files are there, with the record's checksums if there is one,
        and else none of them empty.
        """
        return all(self._done(self.root / name) for name in names)

    def _done(self, folder: Path) -> bool:
        if not self.records:
            paths = [folder / name for name in self.files()]
            return all(path.is_file() and path.stat().st_size > 0 for path in paths)
        try:
            record = read_json(folder / RECORD)
            wanted = [] if "failed" in record else self.files()
            return sorted(record["crc32"]) == sorted(wanted) and not damaged_files(folder, record)
        except (UserError, TypeError, KeyError):
            return False

    def failures(self, unit: range, names: Sequence[str]) -> dict[str, str]:
        """See :meth:`Writer.failures`."""
        if not self.records:
            return {}
        found = {name: read_json(self.root / name / RECORD).get("failed") for name in names}
        return {name: str(reason) for name, reason in found.items() if reason is not None}

    def files(self) -> list[str]:
        """Names of an object's files."""
        views = range(self.num_views)
        both = [name for v in views for name in (f"image_{v}.jpg", f"latent_{v}.npy")]
        return both + [f"{output}_{view}.png" for output in self.outputs for view in views]

    def write(self, objects: Iterable[RenderedObject]) -> None:
        """Write each object's folder under a temporary name, then rename it."""
        for item in objects:
            final = self.root / item.class_name / item.object_id
            with writing(final):
                final.parent.mkdir(parents=True, exist_ok=True)
                temporary = Path(tempfile.mkdtemp(".partial", f".{final.name}.", dir=final.parent))
                try:
                    for name, data in self._contents(item).items():
                        (temporary / name).write_bytes(data)
                    # mkdtemp makes private folders, as mkstemp makes private files
                    temporary.chmod(final.parent.stat().st_mode)
                    if final.exists():  # damaged, else it would not be written
                        shutil.rmtree(final)
                    _rename(temporary, final)
                finally:  # gone by now, unless something failed
                    shutil.rmtree(temporary, ignore_errors=True)

    def _contents(self, item: RenderedObject) -> dict[str, bytes]:
        files: dict[str, bytes] = {}
        for view, image in enumerate(item.images):
            files[f"image_{view}.jpg"] = image
            files[f"latent_{view}.npy"] = array_bytes(item.latents[view])
        for output, images in item.outputs.items():
            files |= {f"{output}_{view}.png": image for view, image in enumerate(images)}
        if self.records:
            sums = {name: zlib.crc32(data) for name, data in files.items()}
            files[RECORD] = description(item, crc32=sums)
        return files

    def shards(self) -> tuple[Shard, ...]:
        """None."""
        return ()


def _rename(folder: Path, final: Path) -> None:
    try:
        os.replace(folder, final)
    except OSError as error:
        # another run of the same job was quicker; its bytes are the same
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


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


def damaged_files(folder: Path, record: dict[str, Any]) -> list[str]:
    """Files of an object's folder that are missing or lack the checksum of its record."""
    found = []
    for name, checksum in record["crc32"].items():
        try:
            if zlib.crc32((folder / name).read_bytes()) != checksum:
                found.append(name)
        except OSError:
            found.append(name)
    return found

"""Writers of rendered objects: WebDataset shards, or the published 3DIEBench folder.

Both are resumable by their names alone: a shard or an object's folder appears by a rename once it
is whole, so what is there under its final name is finished.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import webdataset

from ssl_equiv.data.record import (
    Shard,
    describe,
    index_name,
    latents_member,
    object_key,
    view_member,
)
from ssl_equiv.errors import UserError
from ssl_equiv.files import atomic_write, load_array, make_directory, writing


@dataclass(frozen=True)
class RenderedObject:
    """One object as it is stored.

    Args:
        index: Position in the data set.
        class_name: Its class.
        object_id: Its name within the class.
        label: Class number.
        latents: ``(V, L)`` float64.
        images: V encoded JPEG files.
    """

    index: int
    class_name: str
    object_id: str
    label: int
    latents: np.ndarray
    images: Sequence[bytes]


def array_bytes(array: np.ndarray) -> bytes:
    """An array as the bytes of a ``.npy`` file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


class Writer(ABC):
    """Writes units of consecutive objects; a unit is what a kill can cost.

    Args:
        root: Folder of the data set.
        num_objects: Objects in the data set.
        num_views: Views of each.
        unit: Objects per unit.
    """

    def __init__(self, root: Path, num_objects: int, num_views: int, unit: int) -> None:
        self.root = make_directory(root)
        self.num_objects, self.num_views, self.unit = num_objects, num_views, unit

    def units(self) -> list[range]:
        """Object indices of every unit."""
        starts = range(0, self.num_objects, self.unit)
        return [range(start, min(start + self.unit, self.num_objects)) for start in starts]

    @abstractmethod
    def done(self, unit: range, names: Sequence[str]) -> bool:
        """Whether a unit is finished; ``names`` are its objects' ``class/object``."""

    @abstractmethod
    def write(self, objects: Sequence[RenderedObject]) -> None:
        """Write a unit, whole or not at all."""

    @abstractmethod
    def shards(self) -> tuple[Shard, ...]:
        """The finished shards, for the manifest; none in the folder layout."""


class ShardWriter(Writer):
    """``shard-000000.tar`` with one WebDataset record per object, and an index beside each."""

    def _path(self, first: int) -> Path:
        return self.root / f"shard-{first // self.unit:06d}.tar"

    def done(self, unit: range, names: Sequence[str]) -> bool:
        """Whether tar and index are there and every member has the index's checksum."""
        path = self._path(unit.start)
        index = self.root / index_name(path.name)
        if not (path.exists() and index.exists()):
            return False
        try:
            table = load_array(index)
        except UserError:
            return False
        data = memoryview(path.read_bytes())
        return table.shape == (len(unit), 1 + self.num_views, 3) and all(
            zlib.crc32(data[offset : offset + size]) == checksum
            for offset, size, checksum in table.reshape(-1, 3).tolist()
        )

    def write(self, objects: Sequence[RenderedObject]) -> None:
        """Write one shard; equal objects give equal bytes."""
        path = self._path(objects[0].index)
        with (
            atomic_write(path) as file,
            # fixed owner and time: the bytes depend on the objects alone
            webdataset.TarWriter(file, user="", group="", mtime=0.0, encoder=False) as tar,
        ):
            for item in objects:
                name = describe(item.index, item.class_name, item.object_id, item.label)
                record: dict[str, object] = {"__key__": object_key(item.index), "json": name}
                record["latents.npy"] = array_bytes(item.latents)
                for view, image in enumerate(item.images):
                    record[f"{view:03d}.jpg"] = image
                tar.write(record)
        table = _index(path, objects)
        with atomic_write(self.root / index_name(path.name)) as file:
            file.write(array_bytes(table))

    def shards(self) -> tuple[Shard, ...]:
        """Name, extent and SHA-256 of every shard."""
        found = []
        for unit in self.units():
            path = self._path(unit.start)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found.append(Shard(path.name, unit.start, len(unit), path.stat().st_size, digest))
        return tuple(found)


class FolderWriter(Writer):
    """The published layout: ``CLASS/OBJECT/image_{i}.jpg`` and ``latent_{i}.npy``."""

    def done(self, unit: range, names: Sequence[str]) -> bool:
        """Whether all of the unit's files are there, none of them empty."""
        files = [
            self.root / name / file
            for name in names
            for view in range(self.num_views)
            for file in (f"image_{view}.jpg", f"latent_{view}.npy")
        ]
        return all(path.is_file() and path.stat().st_size > 0 for path in files)

    def write(self, objects: Sequence[RenderedObject]) -> None:
        """Write each object's folder under a temporary name, then rename it."""
        for item in objects:
            final = self.root / item.class_name / item.object_id
            temporary = final.with_name(f".{final.name}.partial")
            with writing(final):
                shutil.rmtree(temporary, ignore_errors=True)
                temporary.mkdir(parents=True)
                try:
                    for view, image in enumerate(item.images):
                        (temporary / f"image_{view}.jpg").write_bytes(image)
                        latent = array_bytes(item.latents[view])
                        (temporary / f"latent_{view}.npy").write_bytes(latent)
                    if final.exists():  # incomplete, else it would not be written
                        shutil.rmtree(final)
                    os.replace(temporary, final)
                except BaseException:
                    shutil.rmtree(temporary, ignore_errors=True)
                    raise

    def shards(self) -> tuple[Shard, ...]:
        """None."""
        return ()


def _index(path: Path, objects: Sequence[RenderedObject]) -> np.ndarray:
    """Offset, size and CRC-32 of every object's latents and views, ``(objects, 1 + V, 3)``."""
    with tarfile.open(path, "r:") as tar:
        places = {member.name: (member.offset_data, member.size) for member in tar}
    rows = []
    for item in objects:
        members = [(latents_member(item.index), array_bytes(item.latents))]
        members += [(view_member(item.index, v), image) for v, image in enumerate(item.images)]
        rows.append([(*places[name], zlib.crc32(data)) for name, data in members])
    return np.array(rows, dtype=np.int64)

"""The two layouts of a data set as its verification reads them: everything, damaged or not."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from data_gen.folder_writer import RECORD, FolderWriter, damaged_files
from data_gen.shard_writer import damaged_members
from ssl_equiv.data.record import (
    Manifest,
    Shard,
    description_member,
    index_members,
    index_name,
    latents_member,
)
from ssl_equiv.errors import UserError
from ssl_equiv.files import file_sha256, load_array, read_json

Description = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Stored:
    """What is told of an object: its description, and its latents ``(V, L)`` unless it failed."""

    index: int
    description: Description
    latents: np.ndarray | None


class Layout(Protocol):
    """What a verification asks of a data set."""

    def counts(self) -> list[str]:
        """What is missing or too much."""
        ...

    def damage(self) -> tuple[list[str], str, int]:
        """What lacks its checksum, what was compared, and how many checksums there are."""
        ...

    def objects(self) -> Iterator[Stored]:
        """Every object that can be read."""
        ...


def layout_of(root: Path, manifest: Manifest) -> Layout:
    """The layout of the data set in ``root``."""
    return Shards(root, manifest) if manifest.shards else Folders(root, manifest)


class Shards:
    """Shards with their indices; see :class:`Layout`."""

    def __init__(self, root: Path, manifest: Manifest) -> None:
        self.root, self.manifest = root, manifest

    def counts(self) -> list[str]:
        """See :class:`Layout`."""
        wrong, due = [], 0
        for shard in self.manifest.shards:
            path = self.root / shard.name
            if shard.first != due:
                wrong.append(f"{shard.name} begins with object {shard.first}, not {due}")
            due = shard.first + shard.objects
            if not path.is_file():
                wrong.append(f"{shard.name} is missing")
            elif path.stat().st_size != shard.bytes:
                wrong.append(f"{shard.name} has {path.stat().st_size} bytes, not {shard.bytes}")
            if self._table(shard) is None:
                wrong.append(f"{index_name(shard.name)} is missing, or not this shard's index")
        named = {shard.name for shard in self.manifest.shards}
        found = {path.name for path in self.root.glob("shard-*.tar")}
        wrong += [f"{name} is too much" for name in sorted(found - named)]
        if due != len(self.manifest.objects):
            wrong.append(f"the shards hold {due} of {len(self.manifest.objects)} objects")
        return wrong

    def damage(self) -> tuple[list[str], str, int]:
        """See :class:`Layout`."""
        wrong, total, members = [], 0, 0
        for shard in self.manifest.shards:
            path, table = self.root / shard.name, self._table(shard)
            if not path.is_file():
                continue  # which the counts tell
            total += path.stat().st_size
            if file_sha256(path) != shard.sha256:
                wrong.append(f"{shard.name} is not the file whose SHA-256 the manifest has")
            if table is not None:
                members += table.shape[0] * table.shape[1]
                for item, row in damaged_members(path, table):
                    name = self._members(shard.first + item)[row]
                    wrong.append(f"{shard.name}:{name} lacks the checksum in its index")
        shards = len(self.manifest.shards)
        told = f"SHA-256 of {shards} shards ({total / 1e6:.1f} MB)"
        return wrong, f"{told}, CRC-32 of {members} parts", shards

    def objects(self) -> Iterator[Stored]:
        """See :class:`Layout`."""
        for shard in self.manifest.shards:
            try:
                with tarfile.open(self.root / shard.name, "r:") as tar:
                    members = {member.name: member for member in tar}
                    for index in range(shard.first, shard.first + shard.objects):
                        told = json.loads(_content(tar, members[description_member(index)]))
                        latents = None
                        if latents_member(index) in members:
                            data = _content(tar, members[latents_member(index)])
                            latents = load_array(io.BytesIO(data), f"{shard.name}:{index}")
                        yield Stored(index, told, latents)
            except (OSError, KeyError, ValueError, tarfile.TarError, UserError):
                continue  # the rest of this shard cannot be read

    def _members(self, index: int) -> list[str]:
        return index_members(index, self.manifest.num_views, self.manifest.outputs)

    def _table(self, shard: Shard) -> np.ndarray | None:
        try:
            table = load_array(self.root / index_name(shard.name))
        except UserError:
            return None
        fits = table.shape == (shard.objects, len(self._members(0)), 3) and table.dtype == np.int64
        return table if fits else None


class Folders:
    """The published layout with ``object.json`` in every object's folder; see :class:`Layout`."""

    def __init__(self, root: Path, manifest: Manifest) -> None:
        self.root, self.manifest = root, manifest
        views, outputs = manifest.num_views, manifest.outputs
        self.files = FolderWriter(root, len(manifest.objects), views, 1, outputs).files()

    def counts(self) -> list[str]:
        """See :class:`Layout`."""
        wrong = []
        for name in self.manifest.objects:
            folder = self.root / name
            try:
                found = {path.name for path in folder.iterdir()} - {RECORD}
            except OSError:
                wrong.append(f"{name} is missing")
                continue
            wanted = set() if name in self.manifest.failed else set(self.files)
            wrong += [f"{name}/{file} is missing" for file in sorted(wanted - found)]
            wrong += [f"{name}/{file} is too much" for file in sorted(found - wanted)]
        return wrong

    def damage(self) -> tuple[list[str], str, int]:
        """See :class:`Layout`."""
        wrong, files, unknown = [], 0, 0
        for name in self.manifest.objects:
            record = self._record(name)
            if record is None or "crc32" not in record:
                unknown += 1
                continue
            files += len(record["crc32"])
            for file in damaged_files(self.root / name, record):
                wrong.append(f"{name}/{file} lacks the checksum in its {RECORD}")
        without = f"; {unknown} objects have no {RECORD} to compare with" if unknown else ""
        return wrong, f"CRC-32 of {files} files{without}", files

    def objects(self) -> Iterator[Stored]:
        """See :class:`Layout`."""
        for index, name in enumerate(self.manifest.objects):
            record = self._record(name)
            if record is None:
                continue
            latents = None
            if "failed" not in record:
                try:
                    views = range(self.manifest.num_views)
                    paths = [self.root / name / f"latent_{view}.npy" for view in views]
                    latents = np.stack([load_array(path).reshape(-1) for path in paths])
                except (UserError, ValueError):
                    continue
            yield Stored(index, record, latents)

    def _record(self, name: str) -> Description | None:
        try:
            record = read_json(self.root / name / RECORD)
        except UserError:
            return None
        return record if isinstance(record, dict) else None


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    if file is None:
        raise KeyError(member.name)
    return file.read()

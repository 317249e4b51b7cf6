"""Random access to stored views: WebDataset shards through memory maps, or the published folder."""

from __future__ import annotations

import hashlib
import io
import mmap
import os
import tarfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssl_equiv.data.record import (
    MANIFEST,
    LatentSchema,
    Manifest,
    check_latents,
    index_name,
    latents_member,
    published_schema,
    split_objects,
    view_member,
)
from ssl_equiv.errors import UserError
from ssl_equiv.files import load_array

_UNCHECKED = -1  # no checksum known


class Source(ABC):
    """A multi-view data set at rest.

    Attributes:
        root: Its folder.
        schema: What the latent vectors mean.
        classes: Class names; ``labels[i]`` indexes them.
        objects: ``class/object`` of every object.
        num_views: Views per object.
        split: Split name to indices of its objects.
    """

    root: Path
    schema: LatentSchema
    classes: tuple[str, ...]
    objects: tuple[str, ...]
    num_views: int
    split: dict[str, np.ndarray]

    @property
    def labels(self) -> np.ndarray:
        """Class label of every object, ``(N,)`` int64."""
        of_class = {name: label for label, name in enumerate(self.classes)}
        return np.array([of_class[name.split("/")[0]] for name in self.objects], dtype=np.int64)

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """A digest that changes when the data set does; keys of feature caches contain it."""

    @abstractmethod
    def name_of(self, index: int, view: int) -> str:
        """Where a view is stored, for messages."""

    @abstractmethod
    def read(self, index: int, views: Sequence[int]) -> tuple[list[bytes], np.ndarray]:
        """Encoded images of some views of an object and their latents ``(len(views), L)``."""


def _check_found(latents: np.ndarray, schema: LatentSchema, where: str) -> np.ndarray:
    if latents.dtype.kind not in "fiu":
        raise UserError(f"{where} holds {latents.dtype} values, not numbers: generate it again")
    check_latents(torch.from_numpy(latents), schema.width, where)
    return latents


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
        self.shards = manifest.shards
        for shard in self.shards:
            path = self.root / shard.name
            found = path.stat().st_size if path.exists() else None
            if found != shard.bytes:
                what = "is missing" if found is None else f"has {found} bytes, not {shard.bytes}"
                raise UserError(f"{path} {what}: copy it again or run the generator again")
        self._first = np.array([shard.first for shard in self.shards])
        self._open: dict[int, tuple[mmap.mmap, np.ndarray]] = {}

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
        number = int(np.searchsorted(self._first, index, side="right")) - 1
        data, table = self._shard(number)
        rows = table[index - self.shards[number].first]
        members = []
        for entry in (0, *(1 + view for view in views)):
            offset, size, checksum = rows[entry].tolist()
            member = data[offset : offset + size]
            if checksum != _UNCHECKED and zlib.crc32(member) != checksum:
                name = latents_member(index) if entry == 0 else view_member(index, entry - 1)
                raise UserError(
                    f"{self.root / self.shards[number].name}:{name} does not match its checksum: "
                    "the shard is damaged; copy it again or run the generator again"
                )
            members.append(member)
        where = f"{self.root / self.shards[number].name}:{latents_member(index)}"
        latents = load_array(io.BytesIO(members[0]), where)[list(views)]
        return members[1:], _check_found(latents, self.schema, where)

    def _shard(self, number: int) -> tuple[mmap.mmap, np.ndarray]:
        if number not in self._open:
            path = self.root / self.shards[number].name
            with open(path, "rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            beside = self.root / index_name(path.name)
            table = load_array(beside) if beside.exists() else self._scan(number, path)
            expected = (self.shards[number].objects, 1 + self.num_views, 3)
            if table.shape != expected:
                raise UserError(
                    f"{beside} has shape {table.shape}, not {expected}: delete it, the tar's own "
                    "headers will be read instead"
                )
            self._open[number] = (data, table)
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
        try:
            return np.array(
                [
                    [found[latents_member(i)]]
                    + [found[view_member(i, v)] for v in range(self.num_views)]
                    for i in range(shard.first, shard.first + shard.objects)
                ],
                dtype=np.int64,
            )
        except KeyError as error:
            raise UserError(f"{path} lacks {error}: run the generator again") from error


class FolderSource(Source):
    """The published layout ``SYNSET/OBJ/image_{i}.jpg`` with ``latent_{i}.npy``.

    Split files ``{train,val}_images.npy`` in the root (arrays of ``SYNSET/OBJ``) are honoured;
    without them a fifth of each class, by a hash of the names, is for validation. A
    ``manifest.json``, where present, names the latents; else their width decides between
    3DIEBench and 3DIEBench-T.

    Raises:
        UserError: no objects, or a split names an object that is not there.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.split = {}
        named = {s: self.root / f"{s}_images.npy" for s in ("train", "val")}
        absent = [path for path in named.values() if not path.exists()]
        if len(absent) == 1:
            raise UserError(
                f"{absent[0]} is missing beside the other split file: give both or none"
            )
        if not absent:
            lists = {split: self._read_split(path) for split, path in named.items()}
            self.objects = tuple(sorted({name for names in lists.values() for name in names}))
            position = {name: i for i, name in enumerate(self.objects)}
            for split, names in lists.items():
                self.split[split] = np.array([position[n] for n in names], dtype=np.int64)
        else:
            self.objects = tuple(
                sorted(f"{a.name}/{b.name}" for a in _folders(self.root) for b in _folders(a))
            )
            held_out = split_objects(self.objects, 0.2, seed=0)
            self.split = {name: np.array(i, dtype=np.int64) for name, i in held_out.items()}
        if not self.objects:
            raise UserError(
                f"{self.root} holds no {MANIFEST} and no SYNSET/OBJ folders with image_0.jpg: "
                "give the root of a data set, or make one with 'ssl-equiv generate'"
            )
        self.classes = tuple(sorted({name.split("/")[0] for name in self.objects}))
        first = self.root / self.objects[0]
        self.num_views = sum(1 for _ in first.glob("image_*.jpg"))
        if self.num_views == 0:
            raise UserError(f"{first} holds no image_0.jpg: is {self.root} the data set's root?")
        if (self.root / MANIFEST).exists():
            self.schema = Manifest.read(self.root).schema
        else:
            path = first / "latent_0.npy"
            self.schema = published_schema(load_array(path).size, str(path))

    @property
    def fingerprint(self) -> str:
        """Digest of the object names, the splits, and the first object's bytes and time stamps."""
        digest = hashlib.sha256("\n".join(self.objects).encode())
        for name in sorted(self.split):
            digest.update(name.encode() + self.split[name].tobytes())
        for name in (self.objects[0], self.objects[-1]):
            for path in sorted((self.root / name).iterdir()):
                stat = path.stat()
                digest.update(f"{path.name} {stat.st_size} {stat.st_mtime_ns}".encode())
        return digest.hexdigest()

    def name_of(self, index: int, view: int) -> str:
        """The image file."""
        return str(self.root / self.objects[index] / f"image_{view}.jpg")

    def read(self, index: int, views: Sequence[int]) -> tuple[list[bytes], np.ndarray]:
        """See :meth:`Source.read`."""
        folder = self.root / self.objects[index]
        images, latents = [], []
        for view in views:
            path = folder / f"image_{view}.jpg"
            try:
                images.append(path.read_bytes())
            except OSError as error:
                raise UserError(
                    f"cannot read {path} ({error.strerror}): every object needs image_0 .. "
                    f"image_{self.num_views - 1}; complete it or set data.skip_bad_images"
                ) from error
            where = folder / f"latent_{view}.npy"
            latents.append(_check_found(load_array(where).reshape(-1), self.schema, str(where)))
        return images, np.stack(latents)

    def _read_split(self, path: Path) -> list[str]:
        found = load_array(path)
        if found.ndim != 1 or found.dtype.kind != "U":
            raise UserError(f"{path} is not a list of SYNSET/OBJ names: write it as one")
        names = ["/".join(str(name).strip("/").split("/")[-2:]) for name in found]
        for name in names:
            if not (self.root / name).is_dir():
                raise UserError(f"{path} names {name}, which is not in {self.root}: complete it")
        return names


def open_source(root: str | os.PathLike[str]) -> Source:
    """The data set in ``root``: shards where its manifest lists some, else the published folder."""
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"data.root: {root} is not a folder: give a data set's root")
    if (root / MANIFEST).exists() and Manifest.read(root).shards:
        return ShardSource(root)
    return FolderSource(root)


def _folders(parent: Path) -> list[Path]:
    return [path for path in parent.iterdir() if path.is_dir() and not path.name.startswith(".")]

"""Random access to stored views: WebDataset shards through memory maps, or the published folder."""

from __future__ import annotations

import hashlib
import mmap
import os
import tarfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from ssl_equiv.data.decode import ArrayReader
from ssl_equiv.data.draws import Draw, choose_views
from ssl_equiv.data.record import (
    MANIFEST,
    LatentSchema,
    Manifest,
    check_latents,
    index_members,
    index_name,
    latents_member,
    published_schema,
    split_objects,
    view_member,
)
from ssl_equiv.data.splits import read_splits
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
        outputs: What is stored beside each view, such as ``depth``.
        failed: ``class/object`` without views, which is in no split, to the reason.
        image_size: Width and height of every image where that is known without reading one.
    """

    root: Path
    schema: LatentSchema
    classes: tuple[str, ...]
    objects: tuple[str, ...]
    num_views: int
    split: dict[str, np.ndarray]
    outputs: tuple[str, ...] = ()
    failed: Mapping[str, str] = MappingProxyType({})
    image_size: int | None = None

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

    def choose(
        self, seed: int, draws: Sequence[Draw], num_views: int, consecutive: bool = False
    ) -> np.ndarray:
        """Views for training, by the numbers that :meth:`read` takes: ``(len(draws), num_views)``;
        such as follow one another if they are to be ``consecutive``.

        A pure function of seed, epoch and object, so that a resumed run sees the same.

        Raises:
            UserError: more views are asked for than an object has.
        """
        return choose_views(seed, draws, self.num_views, num_views, consecutive)

    @abstractmethod
    def read(
        self, index: int, views: Sequence[int]
    ) -> tuple[Sequence[bytes | np.ndarray], np.ndarray]:
        """Some views of an object, as JPEG or as uint8 pixels ``(H, W, 3)``, and their latents
        ``(len(views), L)``.
        """

    def read_output(self, index: int, views: Sequence[int], name: str) -> list[bytes]:
        """What is stored beside some views of an object, PNG bytes that
        :func:`ssl_equiv.data.geometry.decode` reads.

        Raises:
            UserError: the data set has no such output, or the object no views.
        """
        self._check_output(name)
        raise NotImplementedError

    def _check_output(self, name: str) -> None:
        if name not in self.outputs:
            stored = ", ".join(self.outputs) or "none"
            raise UserError(
                f"{self.root} has no output {name!r} (it has {stored}): generate with "
                f"--outputs '[{name}]'"
            )

    def _check_rendered(self, index: int) -> None:
        if (name := self.objects[index]) in self.failed:
            raise UserError(
                f"{self.root}: object {index} ({name}) has no views, it failed when the data set "
                f"was generated ({self.failed[name]}): leave it out, as the splits do"
            )


def _check_found(latents: np.ndarray, schema: LatentSchema, where: str) -> np.ndarray:
    if latents.dtype.kind not in "fiu":
        raise UserError(f"{where} holds {latents.dtype} values, not numbers: generate it again")
    if latents.shape[-1:] != (schema.width,) or not np.isfinite(latents).all():
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
        self.outputs, self.failed = manifest.outputs, manifest.failed
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
        return members[1:], _check_found(latents, self.schema, where)

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


class FolderSource(Source):
    """The published layout ``SYNSET/OBJ/image_{i}.jpg`` with ``latent_{i}.npy``.

    A ``manifest.json``, where present, names objects, classes and latents. Split files
    ``{train,val}_images.npy`` in the root are honoured, and ``{train,val}_labels.npy`` beside them
    number the classes. Without either, objects and classes are sorted, a fifth of each class, by
    a hash of the names, is for validation, and the latents' width decides between 3DIEBench and
    3DIEBench-T.

    Raises:
        UserError: no objects, a split names an object that is not there, or labels contradict
            the classes.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        manifest = Manifest.read(self.root) if (self.root / MANIFEST).exists() else None
        splits = read_splits(self.root)
        if manifest is not None:
            self.objects, self.classes = manifest.objects, manifest.classes
            if splits:
                splits.check_order(self.classes, MANIFEST)
        elif splits is not None:
            self.objects = tuple(sorted({n for names in splits.members.values() for n in names}))
            self.classes = splits.class_order({name.split("/")[0] for name in self.objects})
        else:
            self.objects = published_objects(self.root)
            self.classes = tuple(sorted({name.split("/")[0] for name in self.objects}))
        if not self.objects:
            raise UserError(
                f"{self.root} holds no {MANIFEST} and no SYNSET/OBJ folders with image_0.jpg: "
                "give the root of a data set, or make one with 'ssl-equiv generate'"
            )
        if splits is not None:
            self.split = {s: self._places(s, names) for s, names in splits.members.items()}
        else:
            held = manifest.split if manifest else split_objects(self.objects, 0.2, seed=0)
            self.split = {name: np.array(i, dtype=np.int64) for name, i in held.items()}
        first = self.root / self.objects[0]
        if manifest is not None:
            self.schema, self.num_views = manifest.schema, manifest.num_views
            self.outputs, self.failed = manifest.outputs, manifest.failed
            return
        self.num_views = sum(1 for _ in first.glob("image_*.jpg"))
        if self.num_views == 0:
            raise UserError(f"{first} holds no image_0.jpg: is {self.root} the data set's root?")
        path = first / "latent_0.npy"
        self.schema = published_schema(load_array(path).size, str(path))

    def _places(self, split: str, names: Sequence[str]) -> np.ndarray:
        place = {name: i for i, name in enumerate(self.objects)}
        for name in names:
            if name not in place or not (self.root / name).is_dir():
                raise UserError(
                    f"{self.root / split}_images.npy names {name}, which is not in {self.root}: "
                    "complete it"
                )
        return np.array([place[name] for name in names], dtype=np.int64)

    @property
    def fingerprint(self) -> str:
        """Digest of the object names, the splits, and the first object's bytes and time stamps."""
        digest = hashlib.sha256("\n".join(self.objects).encode())
        for name in sorted(self.split):
            digest.update(name.encode() + self.split[name].tobytes())
        there = [
            name for name in (self.objects[0], self.objects[-1]) if (self.root / name).is_dir()
        ]
        for name in there:  # one that failed to render has no folder
            for path in sorted((self.root / name).iterdir()):
                stat = path.stat()
                digest.update(f"{path.name} {stat.st_size} {stat.st_mtime_ns}".encode())
        return digest.hexdigest()

    def name_of(self, index: int, view: int) -> str:
        """The image file."""
        return str(self.root / self.objects[index] / f"image_{view}.jpg")

    def read(self, index: int, views: Sequence[int]) -> tuple[list[bytes], np.ndarray]:
        """See :meth:`Source.read`."""
        self._check_rendered(index)
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

    def read_output(self, index: int, views: Sequence[int], name: str) -> list[bytes]:
        """See :meth:`Source.read_output`."""
        self._check_output(name)
        self._check_rendered(index)
        paths = [self.root / self.objects[index] / f"{name}_{view}.png" for view in views]
        try:
            return [path.read_bytes() for path in paths]
        except OSError as error:
            raise UserError(
                f"cannot read {error.filename} ({error.strerror}): complete it, or run the "
                "generator again"
            ) from error


def open_source(root: str | os.PathLike[str]) -> Source:
    """The data set in ``root``: shards where its manifest lists some, else the published folder."""
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"data.root: {root} is not a folder: give a data set's root")
    if (root / MANIFEST).exists() and Manifest.read(root).shards:
        return ShardSource(root)
    return FolderSource(root)


def published_objects(root: Path) -> tuple[str, ...]:
    """Sorted ``SYNSET/OBJ`` of the folders in ``root``; hidden ones are not objects."""
    return tuple(sorted(f"{a.name}/{b.name}" for a in _folders(root) for b in _folders(a)))


def _folders(parent: Path) -> list[Path]:
    return [path for path in parent.iterdir() if path.is_dir() and not path.name.startswith(".")]

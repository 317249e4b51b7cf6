"""Stored objects as a conversion reads them: whole, checked, and never decoded or re-encoded."""

from __future__ import annotations

import io
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data_gen.folder_writer import RECORD
from data_gen.shard_writer import shard_descriptions
from data_gen.work import TOLD
from ssl_equiv.data.record import (
    MANIFEST,
    LatentSchema,
    Manifest,
    published_schema,
)
from ssl_equiv.data.sources import ShardSource, published_objects
from ssl_equiv.data.splits import Splits, read_splits
from ssl_equiv.errors import UserError
from ssl_equiv.files import load_array, read_json

_NUMBER = re.compile(r"0|[1-9][0-9]{0,5}")

Member = tuple[str, int]
"""What a published file holds: ``("image", view)`` or ``("latent", view)``."""


@dataclass(frozen=True, eq=False)
class StoredObject:
    """One object: ``class/object``, its V JPEG files, its latent vectors ``(V, L)``, and what else
    its description tells, see :attr:`data_gen.work.RenderedObject.told`.
    """

    name: str
    images: Sequence[bytes]
    latents: np.ndarray
    told: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Damaged:
    """An object that cannot be used, and why: one line that names the file."""

    name: str
    reason: str


def file_name(member: Member) -> str:
    """The published name of a member's file."""
    what, view = member
    return f"image_{view}.jpg" if what == "image" else f"latent_{view}.npy"


class Checker:
    """Whether objects are whole and alike; the first whole object sets what the others must be.

    Args:
        num_views: Views of each object, or None for those of the first.
        schema: Meaning of the latent vectors, or None for what the first one's width tells.

    Attributes:
        num_views, schema: As above, once known.
        image_size: Width and height of every picture, once known.
    """

    def __init__(self, num_views: int | None = None, schema: LatentSchema | None = None) -> None:
        self.num_views, self.schema = num_views, schema
        self.image_size: int | None = None

    def assemble(
        self, name: str, members: Mapping[Member, bytes], where: str
    ) -> StoredObject | Damaged:
        """An object from the bytes of its published files; ``where`` is their place."""
        views = self.num_views or sum(what == "image" for what, _ in members)
        wanted = [(what, view) for view in range(views) for what in ("image", "latent")]
        absent = [file_name(member) for member in wanted if member not in members]
        if absent or not views:
            listed = ", ".join(absent[:3]) + (", ..." if len(absent) > 3 else "")
            return Damaged(name, f"{where} lacks {listed or 'image_0.jpg'}: complete it")
        if extra := [file_name(member) for member in sorted(members) if member[1] >= views]:
            return Damaged(
                name, f"{where} holds {extra[0]} where others have {views} views: take it out"
            )
        try:
            latents = [
                load_array(
                    io.BytesIO(members["latent", v]), f"{where}/{file_name(('latent', v))}"
                ).reshape(-1)
                for v in range(views)
            ]
            places = [f"{where}/image_{v}.jpg" for v in range(views)]
            of_latents = [f"{where}/latent_{v}.npy" for v in range(views)]
            images = [members["image", v] for v in range(views)]
            return self._checked(name, images, latents, places, of_latents)
        except UserError as error:
            return Damaged(name, str(error))

    def check(self, stored: StoredObject, where: str) -> StoredObject | Damaged:
        """An object that was read as a whole from ``where``."""
        if self.num_views is not None and len(stored.images) != self.num_views:
            return Damaged(
                stored.name, f"{where} has {len(stored.images)} views, not {self.num_views}"
            )
        views = range(len(stored.images))
        try:
            return self._checked(
                stored.name,
                stored.images,
                list(stored.latents),
                [f"{where} view {v}" for v in views],
                [f"{where} latents of view {v}" for v in views],
            )
        except UserError as error:
            return Damaged(stored.name, str(error))

    def _checked(
        self,
        name: str,
        images: Sequence[bytes],
        latents: Sequence[np.ndarray],
        places: Sequence[str],
        of_latents: Sequence[str],
    ) -> StoredObject:
        size, schema = self.image_size, self.schema
        for data, place in zip(images, places, strict=True):
            found = jpeg_size(data, place)
            size = size or found[0]
            if found != (size, size):
                raise UserError(
                    f"{place} has {found[0]}x{found[1]} pixels where {size}x{size} are expected: "
                    "all pictures must be square and of one size"
                )
        for latent, place in zip(latents, of_latents, strict=True):
            if latent.dtype.kind not in "fiu":
                raise UserError(f"{place} holds {latent.dtype} values, not numbers: make it again")
            schema = schema or published_schema(latent.size, place)
            if latent.size != schema.width:
                raise UserError(
                    f"{place} holds {latent.size} numbers where others hold {schema.width}: copy "
                    "it again, or leave the object out"
                )
            if not np.isfinite(latent).all():
                raise UserError(f"{place} holds numbers that are not finite: make it again")
        # all is well: now it may set what the others must be
        self.num_views, self.image_size, self.schema = len(images), size, schema
        return StoredObject(name, images, np.stack(latents))


def jpeg_size(data: bytes, where: str) -> tuple[int, int]:
    """Width and height of a JPEG file that begins and ends as it should; it is not decoded.

    Raises:
        UserError: it is empty, cut short, or not a JPEG file.
    """
    mend = "copy it again, or leave the object out"
    if not data:
        raise UserError(f"{where} is empty: {mend}")
    if data[:2] != b"\xff\xd8":
        raise UserError(f"{where} is not a JPEG image: {mend}")
    if b"\xff\xd9" not in data[-64:]:
        raise UserError(f"{where} is not a whole JPEG image (it is cut short): {mend}")
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            return image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{where} is not a readable JPEG image ({error}): {mend}") from error


class Reader(ABC):
    """Where a conversion reads from, once and in order.

    Attributes:
        checker: What its objects are checked with.
        names: All objects in order, or None where they are not known before they are read.
        manifest, splits: What lies beside the objects; None where there is no such thing, and,
            where ``names`` is None, before everything is read.
        description: Where the data come from, for the new manifest.
    """

    checker: Checker
    names: tuple[str, ...] | None = None
    manifest: Manifest | None = None
    splits: Splits | None = None
    description: dict[str, object]
    _done = 0

    @abstractmethod
    def read(self, skip: Set[str]) -> Iterator[StoredObject | Damaged]:
        """The objects but those in ``skip``, whose files need not be read."""

    def progress(self) -> tuple[int, int, str]:
        """How much is read, of how much, and in which unit (``bytes`` or ``objects``)."""
        return self._done, len(self.names or ()), "objects"

    def notes(self) -> list[str]:
        """What the user should know about what was read."""
        if self.manifest is None or not self.manifest.outputs:
            return []
        return [f"{', '.join(self.manifest.outputs)} are not converted: only views and latents are"]


class FolderReader(Reader):
    """The published folder; see :class:`Reader`."""

    def __init__(self, root: Path, num_views: int | None) -> None:
        self.root = root
        self.manifest = Manifest.read(root) if (root / MANIFEST).exists() else None
        self.splits = read_splits(root)
        self.names = present(self.manifest) if self.manifest else published_objects(root)
        if not self.names:
            raise UserError(
                f"{root} holds no SYNSET/OBJ folders: give a published tarball or folder, or a "
                "data set of shards"
            )
        if self.manifest is None:
            self.checker = Checker(num_views)
        else:
            self.checker = Checker(self.manifest.num_views, self.manifest.schema)
        self.description = {"from": root.resolve().name, "layout": "folder"}

    def read(self, skip: Set[str]) -> Iterator[StoredObject | Damaged]:
        """See :class:`Reader`."""
        for name in self.names or ():
            self._done += 1
            if name not in skip:
                folder = self.root / name
                try:
                    files = {
                        member: path.read_bytes()
                        for path in folder.iterdir()
                        if (member := parse_member(path.name)) is not None
                    }
                except OSError as error:
                    yield Damaged(name, f"cannot read {error.filename} ({error.strerror})")
                else:
                    item = self.checker.assemble(name, files, str(folder))
                    if isinstance(item, StoredObject) and (folder / RECORD).is_file():
                        item = replace(item, told=_told(read_json(folder / RECORD)))
                    yield item


class ShardReader(Reader):
    """A data set of shards; see :class:`Reader`."""

    def __init__(self, root: Path) -> None:
        self.root, self.source = root, ShardSource(root)
        self.manifest = manifest = Manifest.read(root)
        self._shards, self._descriptions = manifest.shards, dict[int, dict[str, Any]]()
        self.names = present(manifest)
        self.checker = Checker(self.manifest.num_views, self.manifest.schema)
        self.description = {
            "from": root.resolve().name,
            "layout": "shards",
            "bytes": sum(shard.bytes for shard in self.manifest.shards),
        }

    def read(self, skip: Set[str]) -> Iterator[StoredObject | Damaged]:
        """See :class:`Reader`; every member is checked against its checksum."""
        place = {name: i for i, name in enumerate(self.source.objects)}
        for name in self.names or ():
            index = place[name]
            self._done += 1
            if name in skip:
                continue
            where = self.source.name_of(index, 0).rpartition(".")[0].removesuffix(".000")
            try:
                images, latents = self.source.read(index, range(self.source.num_views))
                told = self._described(index)
            except UserError as error:
                yield Damaged(name, str(error))
            else:
                item = self.checker.check(StoredObject(name, images, latents), where)
                yield replace(item, told=told) if isinstance(item, StoredObject) else item

    def _described(self, index: int) -> dict[str, Any]:
        """What is told of an object; the descriptions of its shard are read at once."""
        if index not in self._descriptions:
            (shard,) = (s for s in self._shards if s.first <= index < s.first + s.objects)
            members = range(shard.first, shard.first + shard.objects)
            found = shard_descriptions(self.root / shard.name, members)
            self._descriptions = dict(zip(members, found, strict=True))
        return _told(self._descriptions[index])


def _told(description: Mapping[str, Any]) -> dict[str, Any]:
    """What a description tells beside the object's place, name and files."""
    return {key: description[key] for key in TOLD if key in description}


def present(manifest: Manifest) -> tuple[str, ...]:
    """The objects of a data set that have views."""
    return tuple(name for name in manifest.objects if name not in manifest.failed)


def parse_member(file: str) -> Member | None:
    """``image_3.jpg`` as ``("image", 3)``, ``latent_3.npy`` as ``("latent", 3)``, else None."""
    what, _, rest = file.partition("_")
    number, _, ending = rest.partition(".")
    if (what, ending) not in (("image", "jpg"), ("latent", "npy")) or not _NUMBER.fullmatch(number):
        return None
    return what, int(number)

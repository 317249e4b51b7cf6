"""Single images at rest: raw pixels in arrays, image files, WebDataset shards."""

from __future__ import annotations

import hashlib
import mmap
import tarfile
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.io import ImageReadMode  # importing it registers torch.ops.image

from ssl_equiv.data.record import LatentSchema
from ssl_equiv.data.sources import Source
from ssl_equiv.errors import UserError

UNLABELED = -100
"""The label of an image without one: what cross-entropy leaves out."""
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png")


class ImageSource(Source):
    """Objects with one view each and no factors; actions come from augmentations.

    Attributes:
        image_labels: Class of every image, ``(N,)`` int64, :data:`UNLABELED` where unknown.
    """

    num_views = 1
    schema = LatentSchema(())
    image_labels: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """See :class:`Source`."""
        return self.image_labels

    @abstractmethod
    def image(self, index: int) -> Tensor:
        """The picture, uint8 ``(3, H, W)``; UserError if it cannot be read."""

    def read(self, index: int, views: Sequence[int]) -> tuple[list[np.ndarray], np.ndarray]:
        """See :meth:`Source.read`: pixels, and latents of width 0."""
        pixels = self.image(index).permute(1, 2, 0).numpy()
        return [pixels for _ in views], np.zeros((len(views), 0))


class ArraySource(ImageSource):
    """Raw pixels in files of equal records, memory-mapped.

    Args:
        root: Folder of the data set.
        parts: Split name to pixels ``(N, 3, H, W)``, any strides, and labels ``(N,)``.
        classes: Class names.
    """

    def __init__(
        self, root: Path, parts: dict[str, tuple[np.ndarray, np.ndarray]], classes: tuple[str, ...]
    ) -> None:
        self.root, self.classes = root, classes
        self.pixels = [pixels for pixels, _ in parts.values()]
        self.image_labels = np.concatenate([labels for _, labels in parts.values()])
        ends = np.cumsum([0] + [len(pixels) for pixels in self.pixels])
        self.first = ends[:-1]
        self.split = {
            name: np.arange(start, end)
            for name, start, end in zip(parts, ends[:-1], ends[1:], strict=True)
        }
        self.objects = tuple(
            f"{classes[label] if label >= 0 else 'unlabeled'}/{index}"
            for index, label in enumerate(self.image_labels.tolist())
        )

    @property
    def fingerprint(self) -> str:
        """Digest of the labels and of a thousand images, evenly spread over each file."""
        digest = hashlib.sha256(self.image_labels.tobytes())
        for pixels in self.pixels:
            digest.update(repr(pixels.shape).encode())
            digest.update(pixels[:: max(1, len(pixels) // 1000)].tobytes())
        return digest.hexdigest()

    def name_of(self, index: int, view: int) -> str:
        """The number of the image in its split."""
        part = int(np.searchsorted(self.first, index, side="right")) - 1
        return f"{self.root}: {list(self.split)[part]} image {index - self.first[part]}"

    def image(self, index: int) -> Tensor:
        """See :meth:`ImageSource.image`."""
        part = int(np.searchsorted(self.first, index, side="right")) - 1
        return torch.from_numpy(np.array(self.pixels[part][index - self.first[part]]))


class FileSource(ImageSource):
    """Image files, found by :func:`~ssl_equiv.data.image_sets.image_folder` or its like.

    Args:
        root: Folder of the data set.
        parts: Split name to (path under ``root``, label) of its images.
        classes: Class names.
    """

    def __init__(
        self, root: Path, parts: dict[str, list[tuple[str, int]]], classes: tuple[str, ...]
    ) -> None:
        self.root, self.classes = root, classes
        found = [pair for pairs in parts.values() for pair in pairs]
        self.objects = tuple(path for path, _ in found)
        self.image_labels = np.array([label for _, label in found], dtype=np.int64)
        ends = np.cumsum([0] + [len(pairs) for pairs in parts.values()])
        self.split = {
            name: np.arange(start, end)
            for name, start, end in zip(parts, ends[:-1], ends[1:], strict=True)
        }

    @property
    def fingerprint(self) -> str:
        """Digest of names, labels, and sizes and time stamps of up to a thousand files."""
        digest = hashlib.sha256("\n".join(self.objects).encode() + self.image_labels.tobytes())
        for name in self.objects[:: max(1, len(self.objects) // 1000)]:
            stat = (self.root / name).stat()
            digest.update(f"{stat.st_size} {stat.st_mtime_ns}".encode())
        return digest.hexdigest()

    def name_of(self, index: int, view: int) -> str:
        """The file."""
        return str(self.root / self.objects[index])

    def image(self, index: int) -> Tensor:
        """See :meth:`ImageSource.image`."""
        path = self.root / self.objects[index]
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UserError(
                f"cannot read {path} ({error.strerror}): put it back or set data.skip_bad_images"
            ) from error
        return decode(data, str(path))


class TarSource(ImageSource):
    """WebDataset shards of single images: ``KEY.jpg`` (or jpeg, png) with ``KEY.cls``.

    The class is a number in ASCII; an image without is unlabelled. Shards whose name has "val" or
    "test" in it are for validation, all others for training. The tars' headers are read once at
    the start, the images through memory maps.

    Raises:
        UserError: a tar is damaged, holds no images, or a class is no number.
    """

    def __init__(self, root: Path, shards: Sequence[Path]) -> None:
        self.root, self.shards = root, tuple(shards)
        rows: list[tuple[int, int, int]] = []
        names, labels, held_out = [], [], []
        for number, shard in enumerate(self.shards):
            val = any(word in str(shard.relative_to(root)) for word in ("val", "test"))
            for key, (offset, size), label in _members(shard):
                rows.append((number, offset, size))
                names.append(f"{label if label >= 0 else 'unlabeled'}/{shard.stem}/{key}")
                labels.append(label)
                held_out.append(val)
        if not rows:
            raise UserError(f"{root}: its tar files hold no jpg, jpeg or png images")
        self.table, self.objects = np.array(rows, dtype=np.int64), tuple(names)
        self.image_labels = np.array(labels, dtype=np.int64)
        self.classes = tuple(str(c) for c in range(max(0, int(self.image_labels.max()) + 1)))
        val_mask = np.array(held_out)
        self.split = {"train": np.flatnonzero(~val_mask), "val": np.flatnonzero(val_mask)}
        self._open: dict[int, mmap.mmap] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}  # memory maps are opened anew in each process

    @property
    def fingerprint(self) -> str:
        """Digest of the shards' names, sizes and time stamps, and of what is where in them."""
        digest = hashlib.sha256(self.table.tobytes() + self.image_labels.tobytes())
        for shard in self.shards:
            stat = shard.stat()
            digest.update(f"{shard.name} {stat.st_size} {stat.st_mtime_ns}".encode())
        return digest.hexdigest()

    def name_of(self, index: int, view: int) -> str:
        """Shard and key."""
        shard = self.shards[self.table[index, 0]]
        return f"{shard}:{self.objects[index].rsplit('/', 1)[-1]}"

    def image(self, index: int) -> Tensor:
        """See :meth:`ImageSource.image`."""
        number, offset, size = self.table[index].tolist()
        if number not in self._open:
            with open(self.shards[number], "rb") as file:
                self._open[number] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return decode(self._open[number][offset : offset + size], self.name_of(index, 0))


def decode(data: bytes, name: str) -> Tensor:
    """A JPEG or PNG as uint8 ``(3, H, W)``; ``name`` is told where it is damaged."""
    try:
        if not data:
            raise RuntimeError("it is empty")
        buffer = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        image: Tensor = torch.ops.image.decode_image(buffer, ImageReadMode.RGB.value, False)
        if data[:2] == b"\xff\xd8" and b"\xff\xd9" not in data[-64:]:
            raise RuntimeError("it is cut short")  # libjpeg fills what is missing with grey
        return image
    except RuntimeError as error:
        raise UserError(
            f"{name} is not a whole JPEG or PNG image ({str(error).splitlines()[0]}): replace it "
            "or set data.skip_bad_images"
        ) from error


def _members(shard: Path) -> list[tuple[str, tuple[int, int], int]]:
    """Key, place and label of every image of a tar."""
    images: dict[str, tuple[int, int]] = {}
    labels: dict[str, int] = {}
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                key, _, ending = member.name.rpartition(".")
                if f".{ending.lower()}" in IMAGE_ENDINGS:
                    images[key] = (member.offset_data, member.size)
                elif ending == "cls":
                    file = tar.extractfile(member)
                    assert file is not None
                    labels[key] = int(file.read())
    except ValueError as error:
        raise UserError(f"{shard}:{member.name} is no number ({error}): write a class") from error
    except (tarfile.TarError, OSError) as error:
        raise UserError(f"{shard} is not a whole tar file ({error}): copy it again") from error
    size = shard.stat().st_size
    if any(offset + length > size for offset, length in images.values()):
        raise UserError(f"{shard} is cut short: copy it again")
    return [(key, place, labels.get(key, UNLABELED)) for key, place in images.items()]

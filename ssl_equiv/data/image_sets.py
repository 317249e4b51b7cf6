"""Image sets by their files: CIFAR-100, STL-10, Tiny-ImageNet, folders, WebDataset shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ssl_equiv.data.image_sources import (
    IMAGE_ENDINGS,
    UNLABELED,
    ArraySource,
    FileSource,
    ImageSource,
    TarSource,
)
from ssl_equiv.data.record import MANIFEST, split_objects
from ssl_equiv.errors import UserError


def holds_images(root: str | Path) -> bool:
    """Whether ``root`` is an image set rather than multi-view data, as far as its names tell."""
    root = Path(root)
    if (root / MANIFEST).exists() or next(root.glob("*/*/image_0.jpg"), None) is not None:
        return False
    known = ("*/*.bin", "*.bin", "wnids.txt", "*/wnids.txt", "*.tar", "*/*.tar")
    if any(next(root.glob(pattern), None) is not None for pattern in known):
        return True
    files = (path for pattern in ("*/*", "train/*/*") for path in root.glob(pattern))
    return any(path.suffix.lower() in IMAGE_ENDINGS for path in files)


def open_images(root: str | Path) -> ImageSource:
    """The image set in ``root``, whatever its kind; nothing is downloaded.

    ======================== ==========================================================
    kind                     what it is known by
    ======================== ==========================================================
    CIFAR-100, binary        ``train.bin`` and ``test.bin``
    STL-10, binary           ``train_X.bin``, ``train_y.bin``, ``test_X.bin``, ...
    Tiny-ImageNet            ``wnids.txt``
    WebDataset shards        ``*.tar``, also one folder down
    folders                  ``train/CLASS/`` and ``val/CLASS/``, or ``CLASS/`` alone,
                             of which a fifth is then for validation
    ======================== ==========================================================

    Raises:
        UserError: there is none, or it is damaged; where to get it is told.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"data.root: {root} is not a folder: give an image set's root")
    for inner in ("cifar-100-binary", "stl10_binary", "tiny-imagenet-200"):
        if (root / inner).is_dir():
            root = root / inner
    if (root / "cifar-100-python").is_dir() or (root / "meta").is_file():
        raise UserError(
            f"{root} holds CIFAR-100 as pickles, which are never loaded: unpack "
            "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz there instead"
        )
    if (root / "train.bin").exists():
        return cifar100(root)
    if (root / "train_X.bin").exists():
        return stl10(root)
    if (root / "wnids.txt").exists():
        return tiny_imagenet(root)
    if shards := sorted([*root.glob("*.tar"), *root.glob("*/*.tar")]):
        return TarSource(root, shards)
    return image_folder(root)


def cifar100(root: Path) -> ArraySource:
    """CIFAR-100's binary version: records of coarse label, fine label and 3x32x32 pixels."""
    names = root / "fine_label_names.txt"
    classes = (
        tuple(names.read_text().split()) if names.exists() else tuple(str(i) for i in range(100))
    )
    parts = {}
    for split, name in (("train", "train.bin"), ("val", "test.bin")):
        records = _records(root / name, 2 + 3072)
        labels = _labels(records[:, 1].astype(np.int64), classes, root / name)
        parts[split] = (records[:, 2:].reshape(-1, 3, 32, 32), labels)
    return ArraySource(root, parts, classes)


def stl10(root: Path) -> ArraySource:
    """STL-10's binary version: 96x96 pixels by columns, labels from 1; ``unlabeled`` is a split."""
    names = root / "class_names.txt"
    classes = (
        tuple(names.read_text().split()) if names.exists() else tuple(str(i) for i in range(10))
    )
    parts = {}
    for split, name in (("train", "train"), ("val", "test"), ("unlabeled", "unlabeled")):
        if name == "unlabeled" and not (root / "unlabeled_X.bin").exists():
            continue
        pixels = _records(root / f"{name}_X.bin", 3 * 96 * 96).reshape(-1, 3, 96, 96)
        labels = np.full(len(pixels), UNLABELED, np.int64)
        if name != "unlabeled":
            stored = _records(root / f"{name}_y.bin", 1)[:, 0].astype(np.int64) - 1
            labels = _labels(stored, classes, root / f"{name}_y.bin")
        if len(labels) != len(pixels):
            raise UserError(
                f"{root}: {len(pixels)} images in {name}_X.bin, {len(labels)} labels in "
                f"{name}_y.bin: unpack the data set again"
            )
        parts[split] = (pixels.transpose(0, 1, 3, 2), labels)
    return ArraySource(root, parts, classes)


def tiny_imagenet(root: Path) -> FileSource:
    """Tiny-ImageNet: ``train/WNID/images/`` and ``val/images/`` with ``val_annotations.txt``."""
    classes = tuple(sorted((root / "wnids.txt").read_text().split()))
    label = {name: i for i, name in enumerate(classes)}
    train = [(path, label[name]) for name in classes for path in _images(root, f"train/{name}")]
    annotations = root / "val" / "val_annotations.txt"
    if not annotations.exists():
        raise UserError(f"{annotations} does not exist: unpack tiny-imagenet-200.zip again")
    val = []
    for line in annotations.read_text().splitlines():
        name, wnid = line.split("\t")[:2]
        if wnid not in label:
            raise UserError(f"{annotations} names the class {wnid!r}, which wnids.txt lacks")
        val.append((f"val/images/{name}", label[wnid]))
    if not train:
        raise UserError(f"{root} has no images in train/WNID/images: unpack the data set again")
    return FileSource(root, {"train": train, "val": val}, classes)


def image_folder(root: Path) -> FileSource:
    """``SPLIT/CLASS/**/IMAGE`` for the splits train and val, or ``CLASS/**/IMAGE``."""
    split = (root / "train").is_dir()
    top = root / "train" if split else root
    classes = tuple(sorted(p.name for p in top.iterdir() if p.is_dir() and p.name[0] != "."))
    prefix = {"train": "train/", "val": "val/"} if split else {"train": ""}
    parts = {
        name: [(path, i) for i, c in enumerate(classes) for path in _images(root, f"{before}{c}")]
        for name, before in prefix.items()
    }
    if not parts["train"]:
        raise UserError(
            f"{root} holds no image set: expected CIFAR-100 or STL-10 in their binary versions "
            "(cifar-100-binary.tar.gz, stl10_binary.tar.gz), tiny-imagenet-200, *.tar shards, or "
            "folders CLASS/ or train/CLASS/ of jpg, jpeg or png files; nothing is downloaded"
        )
    if not split:
        every = parts["train"]
        held_out = split_objects([path for path, _ in every], 0.2, seed=0)
        parts = {name: [every[i] for i in chosen] for name, chosen in held_out.items()}
    return FileSource(root, parts, classes)


def _records(path: Path, size: int) -> np.ndarray:
    """A file of records as a memory map, ``(N, size)`` uint8."""
    length = path.stat().st_size if path.exists() else 0
    if length == 0 or length % size:
        what = "does not exist or is empty" if length == 0 else f"has {length} bytes"
        raise UserError(f"{path} {what}: expected records of {size} bytes; unpack it again")
    return np.memmap(path, np.uint8, mode="r", shape=(length // size, size))


def _labels(labels: np.ndarray, classes: tuple[str, ...], path: Path) -> np.ndarray:
    if labels.min() < 0 or labels.max() >= len(classes):
        raise UserError(
            f"{path} has labels {labels.min()} to {labels.max()} for {len(classes)} classes: it is "
            "damaged or of another version; unpack it again"
        )
    return labels


def _images(root: Path, folder: str) -> list[str]:
    found = (path for path in (root / folder).rglob("*") if path.suffix.lower() in IMAGE_ENDINGS)
    return sorted(str(path.relative_to(root)) for path in found)

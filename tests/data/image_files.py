"""Tiny image sets in the formats of the real ones."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from tests.conftest import jpeg


def write_cifar100(root: Path, train: int = 20, test: int = 6) -> Path:
    folder = root / "cifar-100-binary"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, count in (("train", train), ("test", test)):
        records = rng.integers(0, 256, (count, 3074), dtype=np.uint8)
        records[:, 0], records[:, 1] = np.arange(count) % 20, np.arange(count) % 100
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    names = "\n".join(f"class{i}" for i in range(100))
    (folder / "fine_label_names.txt").write_text(names + "\n")
    return root


def write_stl10(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name, count in (("train", 6), ("test", 3), ("unlabeled", 8)):
        pixels = rng.integers(0, 256, (count, 3, 96, 96), dtype=np.uint8)
        (root / f"{name}_X.bin").write_bytes(pixels.tobytes())
        if name != "unlabeled":
            labels = (np.arange(count) % 10 + 1).astype(np.uint8)
            (root / f"{name}_y.bin").write_bytes(labels.tobytes())
    return root


def write_tiny_imagenet(root: Path) -> Path:
    names = ("n02", "n01")
    (root / "val" / "images").mkdir(parents=True)
    (root / "wnids.txt").write_text("\n".join(names))
    for number, name in enumerate(names):
        folder = root / "train" / name / "images"
        folder.mkdir(parents=True)
        for i in range(3):
            (folder / f"{name}_{i}.JPEG").write_bytes(jpeg(10 * number + i, 64))
        (root / "val" / "images" / f"val_{number}.JPEG").write_bytes(jpeg(100 + number, 64))
    gray = Image.fromarray(np.full((64, 64), 77, np.uint8))
    gray.save(root / "val" / "images" / "val_1.JPEG")  # some of the real ones are grey
    lines = [f"val_{i}.JPEG\t{name}\t0\t0\t9\t9" for i, name in enumerate(names)]
    (root / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n")
    return root


def write_image_folder(root: Path, sizes: tuple[tuple[int, int], ...] = ((16, 16),)) -> Path:
    """Eight images of two classes, their sizes (width, height) in turn; one is a PNG."""
    for c in ("cat", "dog"):
        folder = root / "train" / c
        folder.mkdir(parents=True)
        (root / "val" / c).mkdir(parents=True)
        for i in range(4):
            image = Image.open(io.BytesIO(jpeg(hash((c == "cat", i)) % 1000, 24)))
            image = image.resize(sizes[i % len(sizes)])
            image.save(folder / (f"{i}.png" if i == 0 else f"{i}.jpg"))
        image.save(root / "val" / c / "0.jpg")
    return root


def write_shards(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(("train-0", "train-1", "val-0")):
        with tarfile.open(root / f"{name}.tar", "w") as tar:
            for i in range(4):
                members = {f"{i:04d}.jpg": jpeg(10 * number + i), f"{i:04d}.cls": b"%d\n" % (i % 3)}
                if name == "train-1" and i == 3:
                    del members["0003.cls"]
                for member, data in members.items():
                    info = tarfile.TarInfo(member)
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return root

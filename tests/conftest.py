"""Small data sets that every part's tests share."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

torch.set_num_threads(1)


def jpeg(seed: int, size: int = 16) -> bytes:
    """A random smooth image as JPEG bytes."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((size, size), Image.Resampling.BILINEAR).save(buffer, "JPEG")
    return buffer.getvalue()


def write_folder(
    root: Path, classes: int = 3, objects: int = 6, views: int = 5, size: int = 16, width: int = 7
) -> Path:
    """A data set in the published layout."""
    for c in range(classes):
        for o in range(objects):
            folder = root / f"0{c}" / f"obj{o}"
            folder.mkdir(parents=True)
            rng = np.random.default_rng(1000 * c + o)
            for v in range(views):
                (folder / f"image_{v}.jpg").write_bytes(jpeg(v + 100 * o + 10000 * c, size))
                np.save(folder / f"latent_{v}.npy", rng.uniform(-1.5, 1.5, width))
    return root


@pytest.fixture(scope="session")
def folder_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """18 objects of 3 classes, 5 views each; read only."""
    return write_folder(tmp_path_factory.mktemp("published"))

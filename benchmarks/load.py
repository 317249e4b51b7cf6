"""Reading two-view batches: shards, against a plain Dataset that opens two files by path.

``python -m benchmarks.load`` writes ``benchmarks/results/load.json``. The data, 128-pixel views of
procedural objects, are rendered into a temporary folder in both layouts first. The plain side does
what the papers' evaluators do for each sample: open two JPEGs with Pillow and two ``.npy`` files by
path, and compute the relative rotation with scipy.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.spatial.transform import Rotation
from torch.utils.data import DataLoader, Dataset

from benchmarks.common import write
from data_gen.generate import generate
from data_gen.procedural import CLASSES
from data_gen.recipe import Recipe
from data_gen.sources import ProceduralSource
from ssl_equiv.data.module import ViewDataModule

OBJECTS, VIEWS, SIZE, BATCH, WORKERS, ROUNDS = 512, 12, 128, 64, 2, 5


class PlainPairs(Dataset[Any]):
    """Two random views of an object, by path."""

    def __init__(self, root: Path) -> None:
        self.folders = sorted(path for path in root.glob("*/*") if path.is_dir())

    def __len__(self) -> int:
        return len(self.folders)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        views = np.random.permutation(VIEWS)[:2]
        folder = self.folders[index]
        images = [np.asarray(Image.open(folder / f"image_{v}.jpg").convert("RGB")) for v in views]
        latents = [np.load(folder / f"latent_{v}.npy") for v in views]
        first, second = (Rotation.from_euler("xyz", latent[:3]) for latent in latents)
        relative = (first.inv() * second).as_quat().astype(np.float32)
        pixels = [torch.from_numpy(image.transpose(2, 0, 1).copy()) for image in images]
        return pixels[0], pixels[1], torch.from_numpy(relative)


def views_per_second(loader: Iterable[Any]) -> list[float]:
    """Speed of whole epochs; the first, in which workers start, is left out."""
    speeds = []
    for _ in range(1 + ROUNDS):
        start, batches = time.perf_counter(), 0
        for batch in loader:
            if not isinstance(batch, list):
                batch.relative("rotation", 0, 1)  # the plain side has computed it
            batches += 1
        speeds.append(2 * batches * BATCH / (time.perf_counter() - start))
    return speeds[1:]


def main() -> None:
    torch.set_num_threads(1)
    source = ProceduralSource(OBJECTS, CLASSES)
    recipe = Recipe.from_dict({"num_views": VIEWS, "image_size": SIZE})
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for layout in ("shards", "folder"):
            generate(source, recipe, root / layout, layout=layout, val_fraction=0.0)  # type: ignore[arg-type]
        plain = DataLoader(
            PlainPairs(root / "folder"),
            batch_size=BATCH,
            shuffle=True,
            num_workers=WORKERS,
            drop_last=True,
            persistent_workers=True,
        )
        sides: dict[str, Iterable[Any]] = {"plain": plain}
        for layout in ("shards", "folder"):
            data = ViewDataModule(str(root / layout), batch_size=BATCH, num_workers=WORKERS)
            sides[layout] = data.train_dataloader()
        speeds = {name: views_per_second(loader) for name, loader in sides.items()}
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    write(
        "load",
        {
            "setting": {
                "objects": OBJECTS,
                "views": VIEWS,
                "image_size": SIZE,
                "batch": BATCH,
                "workers": WORKERS,
            },
            "views_per_second": medians,
            "all_rounds": speeds,
            "shards_over_plain": medians["shards"] / medians["plain"],
        },
    )


if __name__ == "__main__":
    main()

"""Reading two-view batches: shards, against a plain Dataset that opens two files by path.

``python -m benchmarks.load`` writes ``benchmarks/results/load.json``. The data, 128-pixel views of
procedural objects, are rendered into a temporary folder in both layouts first. The plain side does
what the papers' evaluators do for each sample: open two JPEGs with Pillow and two ``.npy`` files by
path, and compute the relative rotation with scipy.

Beside the speed of both with loader processes stand processor microseconds a view without them,
which other programs on the machine hardly change, and those of decoding alone: the floor.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
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
from ssl_equiv.data.decode import decode_into
from ssl_equiv.data.module import ViewDataModule
from ssl_equiv.data.sources import Source, open_source

VIEWS, WORKERS = 12, 2


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


def loaders(root: Path, batch: int, workers: int) -> dict[str, Iterable[Any]]:
    """The plain side and ours on both layouts."""
    sides: dict[str, Iterable[Any]] = {
        "plain": DataLoader(
            PlainPairs(root / "folder"),
            batch_size=batch,
            shuffle=True,
            num_workers=workers,
            drop_last=True,
            persistent_workers=workers > 0,
        )
    }
    for layout in ("shards", "folder"):
        data = ViewDataModule(str(root / layout), batch_size=batch, num_workers=workers)
        sides[layout] = data.train_dataloader()
    return sides


def epoch(loader: Iterable[Any]) -> int:
    """Take every batch with the relative rotation; the number of views."""
    views = 0
    for batch in loader:
        if isinstance(batch, list):  # the plain side has computed the rotation
            views += 2 * len(batch[0])
        else:
            batch.relative("rotation", 0, 1)
            views += 2 * len(batch.index)
    return views


def in_turns(sides: dict[str, Iterable[Any]], rounds: int, clock: Any) -> dict[str, list[float]]:
    """Seconds a view, each side's epochs in turn; the first, in which workers start, left out."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(1 + rounds):
        for name, loader in sides.items():
            start = clock()
            views = epoch(loader)
            if turn:
                seconds[name].append((clock() - start) / views)
    return seconds


def floor(source: Source, size: int, rounds: int) -> float:
    """Processor seconds a view of decoding alone, from memory into one piece of memory."""
    images = [data for i in range(len(source.objects)) for data in source.read(i, [0, 1])[0]]
    pixels = np.zeros((128, size, size, 3), np.uint8)
    seconds = []
    for _ in range(1 + rounds):
        start = time.process_time()
        for number, data in enumerate(images):
            decode_into(data, pixels[number % 128])
        seconds.append((time.process_time() - start) / len(images))
    return statistics.median(seconds[1:])


def measure(objects: int, size: int, batch: int, rounds: int) -> dict[str, Any]:
    """Everything that is written."""
    recipe = Recipe.from_dict({"num_views": VIEWS, "image_size": size})
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for layout in ("shards", "folder"):
            generate(
                ProceduralSource(objects, CLASSES),
                recipe,
                root / layout,
                layout=layout,  # type: ignore[arg-type]
                val_fraction=0.0,
                progress=False,
            )
        wall = in_turns(loaders(root, batch, WORKERS), rounds, time.perf_counter)
        cpu = in_turns(loaders(root, batch, 0), rounds, time.process_time)
        decoding = floor(open_source(root / "shards"), size, rounds)
    speed = {name: 1 / statistics.median(values) for name, values in wall.items()}
    cost = {name: 1e6 * statistics.median(values) for name, values in cpu.items()}
    return {
        "setting": {
            "objects": objects,
            "views": VIEWS,
            "image_size": size,
            "batch": batch,
            "workers": WORKERS,
        },
        "views_per_second": speed,
        "all_rounds": {name: [1 / value for value in values] for name, values in wall.items()},
        "shards_over_plain": speed["shards"] / speed["plain"],
        "cpu_us_per_view": cost | {"decoding_alone": 1e6 * decoding},
        "shards_over_plain_cpu": cost["plain"] / cost["shards"],
        "shards_over_decoding_cpu": cost["shards"] / (1e6 * decoding),
    }


def main(args: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny, and print: writes nothing")
    quick = parser.parse_args(args).quick
    torch.set_num_threads(1)
    results = measure(16, 32, 4, 1) if quick else measure(512, 128, 64, 5)
    if quick:
        print(results)
    else:
        write("load", results)


if __name__ == "__main__":
    main()

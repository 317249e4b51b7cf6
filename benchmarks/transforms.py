"""Augmented views at 64 px: batched transforms against torchvision's v2, sample by sample.

``python -m benchmarks.transforms`` writes ``benchmarks/results/transforms.json``. Both sides take
the same uint8 images in memory through SimCLR's augmentation (crop, flip, jitter, grayscale, blur)
to float views: in one thread, then in a DataLoader of two processes, as training uses either. The
torchvision side runs on float images, as ours does, and on uint8, whichever is faster counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from benchmarks.common import timed, write
from ssl_equiv.transforms import Augmentation, presets

SIDES = ("batched", "torchvision_float", "torchvision_uint8")


def torchvision(size: int, uint8: bool) -> Callable[[Tensor], Tensor]:
    """SimCLR's augmentation of one image, as torchvision's documentation composes it."""
    steps: list[Any] = [
        v2.RandomResizedCrop(size, antialias=True),
        v2.RandomHorizontalFlip(),
        v2.RandomApply([v2.ColorJitter(0.8, 0.8, 0.8, 0.2)], 0.8),
        v2.RandomGrayscale(0.2),
        v2.RandomApply([v2.GaussianBlur(size // 10 // 2 * 2 + 1, (0.1, 2.0))], 0.5),
    ]
    to_float = v2.ToDtype(torch.float32, scale=True)
    composed: Callable[[Tensor], Tensor] = v2.Compose(
        [*steps, to_float] if uint8 else [to_float, *steps]
    )
    return composed


class Samples(Dataset[Tensor]):
    """Two views of an image, one after another."""

    def __init__(self, images: Tensor, transform: Callable[[Tensor], Tensor]) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return torch.stack([self.transform(self.images[index]) for _ in range(2)])


class Batches(Dataset[Tensor]):
    """Two views of every image of a batch at once."""

    def __init__(self, images: Tensor, augmentation: Augmentation) -> None:
        self.images, self.augmentation = images, augmentation

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> Tensor:
        images = self.images[indices].float().div_(255)
        uniform = torch.rand(len(indices), 2, self.augmentation.num_draws, dtype=torch.float64)
        size = (images.shape[-2], images.shape[-1])
        return self.augmentation.apply(images, self.augmentation.parameters(uniform, size))


def _whole(batch: Any) -> Any:
    return batch


def main(args: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--dry", action="store_true", help="print, leave no file")
    options = parser.parse_args(args)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    size = options.size
    coarse = torch.rand(options.images, 3, 8, 8)
    images = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp_(0, 1)
    images = (images * 255).to(torch.uint8)
    sides: dict[str, Dataset[Tensor]] = {
        "batched": Batches(images, presets.simclr(size)),
        "torchvision_float": Samples(images, torchvision(size, uint8=False)),
        "torchvision_uint8": Samples(images, torchvision(size, uint8=True)),
    }
    few = list(range(options.batch))
    one_thread: dict[str, Any] = {}
    for name, side in sides.items():
        call: Callable[[], object]
        if isinstance(side, Batches):
            call = lambda side=side: side.__getitems__(few)  # type: ignore[misc]  # noqa: E731
        else:
            call = lambda side=side: torch.stack([side[i] for i in few])  # type: ignore[misc]  # noqa: E731
        seconds = timed(call, repeats=options.rounds)
        one_thread[name] = {
            **seconds,
            "views_per_cpu_second": 2 * options.batch / seconds["cpu"],
        }
    loaders = {
        name: DataLoader(
            side,
            options.batch,
            num_workers=options.workers,
            persistent_workers=options.workers > 0,
            collate_fn=_whole if isinstance(side, Batches) else None,
        )
        for name, side in sides.items()
    }
    speeds: dict[str, list[float]] = {name: [] for name in loaders}
    for turn in range(1 + options.rounds):  # the sides in turn, so that both meet the same load
        for name, loader in loaders.items():
            start = time.perf_counter()
            views = sum(2 * len(batch) for batch in loader)
            if turn > 0:  # workers start in the first
                speeds[name].append(views / (time.perf_counter() - start))
    medians = {name: sorted(values)[len(values) // 2] for name, values in speeds.items()}
    fastest = max(medians["torchvision_float"], medians["torchvision_uint8"])
    cpu = [one_thread[name]["views_per_cpu_second"] for name in SIDES]
    results = {
        "setting": vars(options),
        "one_thread": one_thread,
        "loader_views_per_second": medians,
        "all_rounds": speeds,
        "loader_ratio": medians["batched"] / fastest,
        "one_thread_ratio": cpu[0] / max(cpu[1:]),
    }
    if options.dry:
        print(results["loader_views_per_second"], results["loader_ratio"])
        print({name: round(side["views_per_cpu_second"]) for name, side in one_thread.items()})
        print(results["one_thread_ratio"])
    else:
        write("transforms", results)


if __name__ == "__main__":
    main()

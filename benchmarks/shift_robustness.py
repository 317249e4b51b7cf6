"""Shift-equivariant transformers and stock ones under shifts, turns and mirror images.

``python -m benchmarks.shift_robustness [--seeds 3] [--epochs 5]``: small models of both kinds are
trained to classify procedural objects that always stand in the middle, then shown held-out ones
that were moved: circularly by whole pixels and by fractions of one (band-limited, by the Fourier
transform), with the mirror image entering, by quarter turns, and mirrored. Accuracy of what was
moved, and consistency: how often its class is that of the picture as found. About 20 minutes for
three seeds on two cores.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn

import ssl_equiv.backbones  # noqa: F401 (registers the models)
from benchmarks.common import write
from data_gen.generate import generate
from data_gen.procedural import DEMO_CLASSES
from data_gen.recipe import Recipe
from data_gen.sources import ProceduralSource
from ssl_equiv.backbones.anchoring import anchor_offsets, roll
from ssl_equiv.data.module import ViewDataModule

DEMO = Path(__file__).parents[1] / "configs" / "data" / "demo.yaml"
SIZE = 64
VIT = {"img_size": SIZE, "patch_size": 8, "embed_dim": 64, "depth": 3, "num_heads": 2}
TWINS = {
    "img_size": SIZE,
    "embed_dims": [32, 48, 64, 96],
    "depths": [1, 1, 2, 1],
    "num_heads": [1, 2, 2, 3],
    "wss": [4, 4, 4, 2],
    "sr_ratios": [4, 2, 2, 1],
}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "ViT": ("vit_tiny_patch16_224", VIT),
    "shift ViT": ("shift_vit_tiny_patch16_224", VIT),
    "shift ViT, smoothed": ("shift_vit_tiny_patch16_224", {**VIT, "smoothing": 2}),
    "shift ViT, smoothed, oriented": (
        "shift_vit_tiny_patch16_224",
        {**VIT, "smoothing": 2, "turns": True, "flips": True},
    ),
    "Twins": ("twins_svt_small", TWINS),
    "shift Twins": ("shift_twins_svt_small", TWINS),
    "shift Twins, smoothed": ("shift_twins_svt_small", {**TWINS, "smoothing": 2}),
}


def data(root: Path, objects: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Pictures ``(N, 3, 64, 64)`` of mean 0 and labels, by split."""
    recipe = {**yaml.safe_load(DEMO.read_text())["recipe"], "num_views": 6, "image_size": SIZE}
    source = ProceduralSource(objects, DEMO_CLASSES, class_colors=True)
    generate(source, Recipe.from_dict(recipe), root, val_fraction=0.25, progress=False)
    module = ViewDataModule(str(root), batch_size=64, num_workers=0)
    found = {}
    for split in ("train", "val"):
        batches = list(module.all_views_dataloader(split))
        images = torch.cat([batch.images.flatten(0, 1) for batch in batches])
        labels = torch.cat([b.label.repeat_interleave(b.images.shape[1]) for b in batches])
        found[split] = (images.float() / 127.5 - 1, labels)
    return found


def fourier_shift(images: Tensor, shifts: Tensor) -> Tensor:
    """Circular shifts by any fractions of pixels, each image's own ``(B, 2)``."""
    height, width = images.shape[-2:]
    rows = torch.fft.fftfreq(height)[:, None] * shifts[:, 0].view(-1, 1, 1)
    columns = torch.fft.rfftfreq(width) * shifts[:, 1].view(-1, 1, 1)
    turn = torch.exp(-2j * torch.pi * (rows + columns))[:, None]
    return torch.fft.irfft2(torch.fft.rfft2(images) * turn, s=(height, width))


def ordinary(images: Tensor, shifts: Tensor) -> Tensor:
    padded = F.pad(images, (8,) * 4, mode="reflect")
    return roll(padded, shifts)[..., 8:-8, 8:-8]


def whole(images: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randint(-8, 9, (len(images), 2), generator=generator)


def fraction(images: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(len(images), 2, generator=generator) - 0.5


CHANGES: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "circular": lambda x, g: roll(x, whole(x, g)),
    "fraction": lambda x, g: fourier_shift(x, fraction(x, g)),
    "ordinary": lambda x, g: ordinary(x, whole(x, g)),
    "turn": lambda x, g: x.rot90(int(torch.randint(1, 4, (), generator=g)), (2, 3)),
    "mirror": lambda x, g: x.flip(3),
}


def train(model: nn.Module, images: Tensor, labels: Tensor, epochs: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    steps = epochs * (len(images) // 64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    model.train()
    for _ in range(epochs):
        order = torch.randperm(len(images), generator=generator)
        for some in order[: len(order) // 64 * 64].view(-1, 64):
            loss = F.cross_entropy(model(images[some]), labels[some])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()


@torch.inference_mode()
def judge(model: nn.Module, images: Tensor, labels: Tensor, draws: int) -> dict[str, float]:
    model.eval()

    def predict(x: Tensor) -> Tensor:
        return torch.cat([model(some).argmax(dim=1) for some in torch.split(x, 128)])

    found = predict(images)
    figures = {"accuracy": (found == labels).float().mean().item()}
    for name, change in CHANGES.items():
        generator = torch.Generator().manual_seed(0)
        times = draws if name not in ("mirror",) else 1
        moved = torch.stack([predict(change(images, generator)) for _ in range(times)])
        figures[f"{name}_accuracy"] = (moved == labels).float().mean().item()
        figures[f"{name}_worst"] = (moved == labels).all(dim=0).float().mean().item()
        figures[f"{name}_consistency"] = (moved == found).float().mean().item()
    return figures


def jumps(images: Tensor, period: int, smoothing: int) -> float:
    """How often half a pixel or less takes the anchor further than the next pixel."""
    generator = torch.Generator().manual_seed(0)
    shifts = fraction(images, generator)
    before = anchor_offsets(images, period, smoothing=smoothing)
    after = anchor_offsets(fourier_shift(images, shifts), period, smoothing=smoothing)
    way = (after - before + period // 2) % period - period // 2
    return (way.abs() > 1).any(dim=1).float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--objects", type=int, default=480)
    parser.add_argument("--draws", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory() as folder:
        sets = data(Path(folder) / "data", asked.objects)
    images, labels = sets["val"]
    results: dict[str, Any] = {
        "seeds": asked.seeds,
        "epochs": asked.epochs,
        "jumps": {
            f"{period}, smoothing {s}": jumps(images, period, s)
            for period in (4, 8, 16)
            for s in (0, 1, 2, 4)
        },
        "models": {},
    }
    print(results["jumps"], flush=True)
    for name in asked.models:
        runs = []
        for seed in range(asked.seeds):
            torch.manual_seed(seed)
            entry, options = MODELS[name]
            model = timm.create_model(entry, num_classes=len(DEMO_CLASSES), **options)
            start = time.perf_counter()
            train(model, *sets["train"], asked.epochs, seed)
            runs.append(judge(model, images, labels, asked.draws))
            print(name, seed, f"{time.perf_counter() - start:.0f} s", runs[-1], flush=True)
        results["models"][name] = {
            metric: {
                "mean": statistics.mean(run[metric] for run in runs),
                "std": statistics.stdev(run[metric] for run in runs) if len(runs) > 1 else None,
            }
            for metric in runs[0]
        }
    print(write("shift_robustness", results))


if __name__ == "__main__":
    main()

"""Shift-equivariant transformers beside timm's of the same size, and anchoring by itself.

``python -m benchmarks.shift_vit [--batch 32] [--device cuda] [--compile] [--models ...]``: forward
pass and training step, both sides in turn; the target is 1.05 times the stock model's. Anchoring
alone is compared with finding the phase, padding the image around its border and sampling it on a
shifted grid.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ssl_equiv.backbones  # noqa: F401 (registers the models)
from benchmarks.common import write
from ssl_equiv.backbones.anchoring import anchor

STOCK = {
    "shift_vit_small_patch16_224": "vit_small_patch16_224",
    "shift_twins_svt_small": "twins_svt_small",
    "shift_swin_tiny": "swin_tiny_patch4_window7_224",
}
_CALLS = 10


def in_turn(sides: dict[str, Callable[[], Any]], rounds: int, device: str) -> dict[str, float]:
    """Median seconds of each side, which take turns: load falls on all alike."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 2):
        for name, fn in sides.items():
            start = time.perf_counter()
            fn()
            if device == "cuda":
                torch.cuda.synchronize()
            if number > 1:  # the first rounds warm up, and compile
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def step(model: nn.Module, images: Tensor) -> None:
    model.zero_grad()
    model(images).square().mean().backward()


def forward(model: nn.Module, images: Tensor) -> None:
    with torch.inference_mode():
        model(images)


def compare(name: str, images: Tensor, rounds: int, compiled: bool = False) -> dict[str, float]:
    models: dict[str, Any] = {}
    for side, full in (("ours", name), ("stock", STOCK[name])):
        model = timm.create_model(full, num_classes=0).to(images.device)
        models[side] = torch.compile(model) if compiled else model
    figures = {}
    for what, fn in (("forward", forward), ("step", step)):
        for model in models.values():
            model.train(what == "step")
        sides = {side: lambda m=model, f=fn: f(m, images) for side, model in models.items()}
        times = in_turn(sides, rounds, images.device.type)
        figures[f"{what}_ms"] = 1000 * times["ours"]
        figures[f"{what}_stock_ms"] = 1000 * times["stock"]
        figures[f"{what}_ratio"] = times["ours"] / times["stock"]
    return figures


@torch.inference_mode()
def grid_sample(images: Tensor, period: int) -> Tensor:
    """The anchored images by padding and sampling: what a translation layer would do."""
    batch, channels, height, width = images.shape
    phases = F.pixel_unshuffle(images, period).view(batch, channels, period**2, -1)
    strongest = phases.norm(dim=(1, 3)).argmax(dim=1)
    rows, columns = (strongest // period).float(), (strongest % period).float()
    padded = F.pad(images, (0, period, 0, period), mode="circular")
    theta = torch.zeros(batch, 2, 3, device=images.device)
    theta[:, 0, 0], theta[:, 1, 1] = width / padded.shape[3], height / padded.shape[2]
    # the centre of the window of the anchored image, in the padded one's units
    theta[:, 0, 2] = (2 * columns + width) / padded.shape[3] - 1
    theta[:, 1, 2] = (2 * rows + height) / padded.shape[2] - 1
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(padded, grid, mode="nearest", align_corners=False)


@torch.inference_mode()
def anchored(images: Tensor, period: int) -> Tensor:
    return anchor(images, period)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--models", nargs="+", default=list(STOCK), choices=list(STOCK))
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    images = torch.randn(asked.batch, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    images = images.to(asked.device)
    assert torch.equal(grid_sample(images[:2], 16), anchored(images[:2], 16))
    both: dict[str, Callable[..., Tensor]] = {"ours": anchored, "grid_sample": grid_sample}
    # several calls a turn: the first finds neither its memory nor its caches warm
    sides = {name: lambda f=f: [f(images, 16) for _ in range(_CALLS)] for name, f in both.items()}
    alone = {side: one / _CALLS for side, one in in_turn(sides, 9, asked.device).items()}
    results: dict[str, Any] = {
        "batch": asked.batch,
        "threads": asked.threads,
        "device": asked.device,
        "compiled": asked.compile,
        "anchoring_ms": 1000 * alone["ours"],
        "grid_sample_ms": 1000 * alone["grid_sample"],
        "models": {},
    }
    print({key: round(value, 2) for key, value in results.items() if key.endswith("_ms")})
    for name in asked.models:
        figures = compare(name, images, asked.rounds, asked.compile)
        results["models"][name] = figures
        print(name, {key: round(value, 3) for key, value in figures.items()}, flush=True)
    kind = ("_cuda" if asked.device == "cuda" else "") + ("_compiled" if asked.compile else "")
    print(write(f"shift_vit{kind}", results))


if __name__ == "__main__":
    main()

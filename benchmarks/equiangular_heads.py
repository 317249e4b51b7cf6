"""Heads of fixed vectors beside learnt ones: accuracy, parameters, memory and time of a step.

``python -m benchmarks.equiangular_heads [--seeds 3]``: these heads end the same small network:

* ``ebv``: cosines with equiangular basis vectors, fixed, behind a learnt projection or not;
* ``linear``: a softmax layer;
* ``cosine``: cosines with learnt vectors;
* ``simplex``: cosines with the K corners of a regular simplex, fixed, which lie in as many
  dimensions and need a learnt projection of the features to them.

Accuracy is of two sets: procedural objects, rendered, and a made-up set like CIFAR (32 px, 100
classes, each a random smooth pattern that is seen moved, mirrored and under noise). Parameters,
memory and time are those of the head alone with K = 1e3, 1e4 and 1e5 classes, 512 features and a
batch of 256, forward, backward and SGD; memory is what the process's peak grows by.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.common import RESULTS, peak_mib, resident_mib, write
from benchmarks.shift_robustness import data
from ssl_equiv.errors import UserError
from ssl_equiv.heads import EquiangularHead
from ssl_equiv.losses import equiangular_loss

HEADS = ("ebv", "ebv, no projection", "linear", "cosine", "simplex")
TAU, SMOOTHING = 0.07, 0.1


class Fixed(nn.Module):
    """Cosines with fixed vectors ``(K, d)``, or learnt ones."""

    def __init__(self, features: int, vectors: Tensor, learnt: bool) -> None:
        super().__init__()
        self.vectors = nn.Parameter(vectors, requires_grad=learnt)
        dim = vectors.shape[1]
        self.project = nn.Identity() if dim == features else nn.Linear(features, dim, bias=False)

    def loss(self, x: Tensor, label: Tensor) -> Tensor:
        """Cross-entropy of features ``(B, D)``."""
        return F.cross_entropy(self(x), label, label_smoothing=SMOOTHING)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        unit = F.normalize(self.project(x), dim=1)
        return unit @ F.normalize(self.vectors, dim=1).T / TAU


class Linear(nn.Linear):
    """A softmax layer."""

    def loss(self, x: Tensor, label: Tensor) -> Tensor:
        """Cross-entropy of features ``(B, D)``."""
        return F.cross_entropy(self(x), label, label_smoothing=SMOOTHING)


class Equiangular(EquiangularHead):
    """Ours."""

    def loss(self, x: Tensor, label: Tensor) -> Tensor:
        """Cross-entropy of features ``(B, D)``."""
        return equiangular_loss(self.project(x), label, self.basis, TAU, SMOOTHING, block=8192)


def make(head: str, features: int, classes: int) -> nn.Module:
    if head.startswith("ebv"):
        return Equiangular(features, classes, projection=head == "ebv")
    if head == "linear":
        return Linear(features, classes)
    if head == "cosine":
        return Fixed(features, torch.randn(classes, features), learnt=True)
    corners = torch.eye(classes) - 1 / classes
    return Fixed(features, F.normalize(corners, dim=1), learnt=False)


def cost(head: str, classes: int, threads: int, batch: int = 256, features: int = 512) -> None:
    """Print parameters, bytes held, peak MiB and milliseconds of a step, of a fresh process."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    x = torch.randn(batch, features, requires_grad=True)
    label = torch.randint(classes, (batch,))
    model: Any = make(head, features, classes)
    start = resident_mib()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD([x, *trained], lr=1e-3, momentum=0.9)
    times = []
    for _ in range(4):
        begun = time.perf_counter()
        optimizer.zero_grad()
        model.loss(x, label).backward()
        optimizer.step()
        times.append(time.perf_counter() - begun)
    held = sum(tensor.nbytes for tensor in model.state_dict().values()) / 2**20
    count = sum(p.numel() for p in trained)
    print(count, held, peak_mib() - start, 1000 * statistics.median(times[1:]))


def costs(classes: int, threads: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for head in HEADS:
        if head == "simplex" and classes > 10_000:
            gib = classes**2 * 4 / 2**30
            found[head] = {"refused": f"its vectors alone have {gib:.0f} GiB"}
            continue
        code = (
            f"from benchmarks.equiangular_heads import cost; cost({head!r}, {classes}, {threads})"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        if done.returncode:
            raise UserError(f"{head} with {classes} classes: {done.stderr.strip()[-300:]}")
        names = ("parameters", "held_mib", "step_mib", "step_ms")
        found[head] = dict(zip(names, map(float, done.stdout.split()[-4:]), strict=True))
        print(classes, head, found[head], flush=True)
    return found


def like_cifar(each: int, classes: int = 100) -> dict[str, tuple[Tensor, Tensor]]:
    """``each`` pictures a class to train on and a fifth as many to judge, ``(N, 3, 32, 32)``."""
    generator = torch.Generator().manual_seed(0)
    smooth = torch.randn(classes, 3, 8, 8, generator=generator)
    patterns = F.interpolate(smooth, (32, 32), mode="bicubic")
    found = {}
    for split, number in (("train", each), ("val", max(1, each // 5))):
        label = torch.arange(classes).repeat_interleave(number)
        images = patterns[label]
        flipped = torch.rand(len(label), generator=generator) < 0.5
        images[flipped] = images[flipped].flip(3)
        scale = 0.5 + torch.rand(len(label), 3, 1, 1, generator=generator)
        shift = torch.randint(-4, 5, (len(label), 2), generator=generator)
        images = torch.stack(
            [x.roll(s, (1, 2)) for x, s in zip(images, shift.tolist(), strict=True)]
        )
        found[split] = (
            images * scale + 1.5 * torch.randn(images.shape, generator=generator),
            label,
        )
    return found


class Network(nn.Sequential):
    """A small convolutional network, ``(B, 3, H, W)`` to ``(B, 128)``."""

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        for inner, outer in ((3, 32), (32, 64), (64, 128)):
            layers += [
                nn.Conv2d(inner, outer, 3, 2, 1, bias=False), nn.BatchNorm2d(outer), nn.ReLU(),
            ]  # fmt: skip
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def accuracy(head: str, sets: dict[str, tuple[Tensor, Tensor]], epochs: int, seed: int) -> float:
    torch.manual_seed(seed)
    images, labels = sets["train"]
    network, model = Network(), make(head, 128, int(labels.max()) + 1)
    weights = [*network.parameters(), *(p for p in model.parameters() if p.requires_grad)]
    steps = epochs * (len(images) // 64)
    optimizer = torch.optim.AdamW(weights, weight_decay=1e-3)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    for _ in range(epochs):
        order = torch.randperm(len(images))
        for some in order[: len(order) // 64 * 64].view(-1, 64):
            loss = model.loss(network(images[some]), labels[some])  # type: ignore[operator]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
    network.eval()
    images, labels = sets["val"]
    with torch.inference_mode():
        found = torch.cat([model(network(x)).argmax(dim=1) for x in images.split(256)])
    return (found == labels).float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--each", type=int, default=100, help="pictures a class like CIFAR's")
    parser.add_argument("--objects", type=int, default=480)
    parser.add_argument("--classes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=["costs", "accuracy"], help="keep the other's figures")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    path = RESULTS / "equiangular_heads.json"
    results: dict[str, Any] = json.loads(path.read_text())["results"] if path.exists() else {}
    if asked.only != "accuracy":
        results["costs"] = {str(k): costs(k, asked.threads) for k in asked.classes}
        write("equiangular_heads", results)
    if asked.only != "costs":
        results |= {"seeds": asked.seeds, "epochs": asked.epochs, "accuracy": {}}
        with tempfile.TemporaryDirectory() as folder:
            sets = {
                "like CIFAR, 100 classes": like_cifar(asked.each),
                "procedural, 12 classes": data(Path(folder) / "data", asked.objects),
            }
        for name, some in sets.items():
            results["accuracy"][name] = {}
            for head in HEADS:
                runs = [accuracy(head, some, asked.epochs, seed) for seed in range(asked.seeds)]
                results["accuracy"][name][head] = {
                    "mean": statistics.mean(runs),
                    "std": statistics.stdev(runs) if len(runs) > 1 else None,
                }
                print(name, head, runs, flush=True)
        write("equiangular_heads", results)
    print(f"written to {path}")


if __name__ == "__main__":
    main()

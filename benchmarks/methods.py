"""Training steps of every method over the backbone work that they ask for.

    python -m benchmarks.methods [--device cuda --size 256 --batch 1024 --precision bf16 --compile]

A method is each file of ``configs/pretrain`` with a ResNet-18. Its floor replays what its step does
with backbones, on the same pictures: the same calls forward, backward where there are gradients,
and the fused optimiser; nothing else. The two take turns, so that a drift of the machine meets
both. Peak memory is the growth of the process (CPU) or the allocator's peak (GPU); each method runs
in a process of its own. ``benchmarks/results/methods.json``, or ``methods_gpu.json``.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import multiprocessing
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentParser
from torch import Tensor, nn

from benchmarks.common import peak_mib, resident_mib, write
from ssl_equiv.data.views import ViewBatch
from ssl_equiv.groups import SO3, Hue, Translation
from ssl_equiv.memory import keep_freed_memory
from ssl_equiv.methods import Method

CONFIGS = Path(__file__).parents[1] / "configs" / "pretrain"


def configs() -> dict[str, dict[str, Any]]:
    """The model of every configuration that uses a ResNet-18, by the file's name."""
    found = {}
    for path in sorted(CONFIGS.glob("*.yaml")):
        config = yaml.safe_load(path.read_text())
        model = config["model"]
        # a regularizer beside the method would not be measured: its row would mislead
        backbone = model["init_args"]["backbone"].get("name")
        if backbone == "resnet18" and "regularizers" not in config:
            found[path.stem] = model
    return found


def make(model: dict[str, Any], size: int, compile: bool) -> Method:
    """The method of a configuration, for pictures of ``size`` pixels."""
    model = copy.deepcopy(model)
    if "image_size" in model["init_args"]:
        model["init_args"]["image_size"] = size
    model["init_args"]["compile"] = compile
    parser = ArgumentParser()
    parser.add_subclass_arguments(Method, "model")
    method: Method = parser.instantiate(parser.parse_object({"model": model})).model
    method._trainer = SimpleNamespace(estimated_stepping_batches=1000)  # type: ignore[assignment]
    return method.train()


def views(method: Method, batch: int, size: int, device: str) -> ViewBatch:
    """Noise pictures with random elements of every factor."""
    groups = {
        "rotation": SO3(),
        "floor_hue": Hue(),
        "light_hue": Hue(),
        "translation": Translation(3),
    }
    shape = (batch, method.num_views)
    return ViewBatch(
        images=torch.randn(*shape, 3, size, size, device=device),
        actions={name: group.sample(shape, device=device) for name, group in groups.items()},
        groups=groups,
        label=torch.arange(batch, device=device) % 50,
        index=torch.arange(batch, device=device),
    )


def adam(module: nn.Module) -> torch.optim.Optimizer:
    weights = [p for p in module.parameters() if p.requires_grad]
    return torch.optim.Adam(weights, lr=1e-4, weight_decay=1e-6, fused=True)


def method_step(method: Method, batch: ViewBatch, cast: Callable[[], Any]) -> Callable[[], None]:
    """A whole training step."""
    optimizer = adam(method)

    def step() -> None:
        optimizer.zero_grad()
        with cast():
            seen = method.observe(batch)
            loss = method.total(method.terms(method.encode_views(seen.images), seen))
        loss.backward()
        optimizer.step()
        method.after_optimizer_step(0)

    return step


def calls_of(method: Method, step: Callable[[], None]) -> list[tuple[Tensor, bool]]:
    """What a step gives to backbones: the pictures, and whether gradients are wanted."""
    calls: list[tuple[Tensor, bool]] = []
    target = getattr(method, "target", None)
    networks = [method.backbone] + ([] if target is None else list(target.network.modules()))
    for network in networks:
        if not hasattr(network, "forward_features"):
            continue
        inner = network.forward_features

        def wrapped(x: Tensor, *args: Any, inner: Any = inner, network: Any = network) -> Any:
            wanted = torch.is_grad_enabled() and next(network.parameters()).requires_grad
            calls.append((x.detach().clone(memory_format=torch.preserve_format), wanted))
            return inner(x, *args)

        network.forward_features = wrapped  # type: ignore[assignment]
    step()
    for network in networks:
        network.__dict__.pop("forward_features", None)
    return calls


def floor_step(
    backbone: nn.Module, calls: list[tuple[Tensor, bool]], cast: Callable[[], Any]
) -> Callable[[], None]:
    """The same work of backbones, with nothing around it."""
    backbone = copy.deepcopy(backbone).requires_grad_()
    optimizer = adam(backbone)

    def step() -> None:
        optimizer.zero_grad()
        losses = []
        for pictures, wanted in calls:
            with torch.set_grad_enabled(wanted), cast():
                out = backbone(pictures)
            if wanted:
                losses.append(out.float().square().mean())
        torch.stack(losses).sum().backward()
        optimizer.step()

    return step


def precision(options: argparse.Namespace) -> Callable[[], Any]:
    """The context of a forward pass in the precision asked for."""
    if options.precision == "bf16":
        return partial(torch.autocast, options.device, torch.bfloat16)
    return contextlib.nullcontext


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Time a method and its floor, in turns."""
    torch.manual_seed(0)
    device, cuda = options.device, options.device == "cuda"
    if not cuda:
        torch.set_num_threads(options.threads)
        keep_freed_memory()  # as training does
    method = make(configs()[name], options.size, options.compile).to(device)
    batch = views(method, options.batch, options.size, device)
    calls = calls_of(method, method_step(method, batch, precision(options)))
    floor = floor_step(method.backbone, calls, precision(options))
    step = method_step(method, batch, precision(options))
    times: dict[str, list[float]] = {"floor": [], "method": []}
    for turn in range(options.warmup + options.rounds):
        for side, run in (("floor", floor), ("method", step)):
            start = time.perf_counter()
            run()
            if cuda:
                torch.cuda.synchronize()
            if turn >= options.warmup:
                times[side].append(time.perf_counter() - start)
    seconds = {side: statistics.median(values) for side, values in times.items()}
    return {
        "method_ms": 1000 * seconds["method"],
        "floor_ms": 1000 * seconds["floor"],
        "ratio": seconds["method"] / seconds["floor"],
        "images_per_second": sum(len(x) for x, _ in calls) / seconds["method"],
        "backbone_calls": [f"{len(x)} {'trained' if g else 'target'}" for x, g in calls],
    }


def step_mib(name: str, options: argparse.Namespace) -> float:
    """What the first step asks for beyond weights and pictures; to be called in a fresh process."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    method = make(configs()[name], options.size, compile=False).to(options.device)
    batch = views(method, options.batch, options.size, options.device)
    step = method_step(method, batch, precision(options))
    if options.device == "cuda":
        before = torch.cuda.memory_allocated()
        step()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    before = resident_mib()
    step()
    return peak_mib() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--precision", choices=["float32", "bf16"], default="float32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--only", nargs="*", help="names of configurations")
    options = parser.parse_args()
    suffix = ("_gpu" if options.device == "cuda" else "") + (
        "_bf16" if options.precision == "bf16" else ""
    )
    file = f"methods{suffix}{'_compiled' if options.compile else ''}"
    results: dict[str, Any] = {}
    context = multiprocessing.get_context("spawn")
    for name in options.only or configs():
        with context.Pool(1, maxtasksperchild=1) as pool:  # a fresh process for each
            results[name] = pool.apply(measure, (name, options))
            results[name]["peak_mib"] = pool.apply(step_mib, (name, options))
        r = results[name]
        print(
            f"{name:<32} {r['method_ms']:8.1f} ms  floor {r['floor_ms']:8.1f} ms  "
            f"{r['ratio']:5.2f}x  {r['images_per_second']:8.0f} images/s  {r['peak_mib']:7.0f} MiB",
            flush=True,
        )
        if not options.only:
            path = write(file, {"setting": vars(options), "methods": results})
    if not options.only:
        print(f"written to {path}")


if __name__ == "__main__":
    main()

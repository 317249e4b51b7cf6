"""Training of probes in a bare loop: their steps are short beside what a trainer adds to each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import torch
from lightning_fabric import Fabric
from rich.progress import track
from torch import Tensor

from eval.cache import FeatureSet
from eval.probe import StackedProbe
from eval.processes import is_first
from eval.runner import make_fabric, quiet

_BLOCK = 16  # steps whose answers are looked up at once


def fit(
    probe: StackedProbe, options: Mapping[str, Any] | None = None, progress: bool = False
) -> Mapping[str, Tensor]:
    """Train a probe and judge it once at the end.

    Args:
        probe: A fresh probe.
        options: Lightning Fabric arguments (accelerator, devices, strategy, precision, ...), as a
            Trainer's of the same names; ``precision`` goes before the recipe's.
        progress: Show a progress bar.

    Returns:
        ``{metric: (parts, seeds)}`` float64.
    """
    options = _options(probe, options)
    fabric = make_fabric(options)
    optimizer, schedule = _optimizer(probe)
    with quiet():
        network, stepper = fabric.setup(probe, optimizer)
    probe.make_ready(str(options["precision"]))
    name = f"{type(probe).__name__} ({', '.join(probe.parts)})"
    shown = progress and is_first()
    steps = track(_batches(probe, fabric), name, len(probe.draws), disable=not shown)
    for chosen, answers, share in steps:
        stepper.zero_grad()
        output = network("train", chosen)
        # a last batch may be smaller than the number of processes
        empty = chosen.shape[-1] == 0
        loss = 0 * output.sum() if empty else share * probe.loss(output, answers).sum()
        fabric.backward(loss)
        stepper.step()
        if schedule is not None:
            schedule.step()
    return _figures(probe, fabric)


def judge(
    probe: StackedProbe, views: FeatureSet, options: Mapping[str, Any] | None = None
) -> Mapping[str, Tensor]:
    """Judge a probe that was fitted on other features too; result as of :func:`fit`.

    The probe stays with these features: its ``baseline`` is theirs.
    """
    probe.judge_on(views)
    fabric = make_fabric(_options(probe, options))
    return _figures(fabric.to_device(probe), fabric)  # type: ignore[arg-type]


def _batches(probe: StackedProbe, fabric: Fabric) -> Iterator[tuple[Tensor, Tensor, float]]:
    """This process's slice of each batch, the answers to it, and what its mean loss weighs.

    Weights are such that the mean over processes is that over the batch: slices may differ by one.
    """
    rank, world, draws = fabric.global_rank, fabric.world_size, iter(probe.draws)
    while block := tuple(islice(draws, _BLOCK)):
        slices = [chosen[..., rank::world] for chosen in block]
        answers = probe.answers(torch.cat(slices, dim=-1)).to(probe.device)
        each = torch.split(answers, [some.shape[-1] for some in slices], dim=1)
        for whole, some, answer in zip(block, slices, each, strict=True):
            yield some, answer, some.shape[-1] * world / whole.shape[-1]


def _figures(probe: StackedProbe, fabric: Fabric) -> Mapping[str, Tensor]:
    samples = probe.val_samples()[:, fabric.global_rank :: fabric.world_size]
    with torch.inference_mode(), fabric.autocast():
        for chosen in torch.split(samples, probe.val_batch, dim=-1):
            probe.judge(probe("val", chosen), chosen)
        results = probe.results()
    probe.cpu()  # a probe on an accelerator would keep its memory from the next
    # torchmetrics drops dimensions where there is one figure
    return {name: value.cpu().reshape(probe.members) for name, value in results.items()}


def _options(probe: StackedProbe, given: Mapping[str, Any] | None) -> dict[str, Any]:
    options = {"precision": _precision(probe.recipe.precision), **(given or {})}
    if not torch.cuda.is_available():
        options.setdefault("accelerator", "cpu")  # metrics count in float64, which MPS lacks
    return options


def _precision(wanted: str) -> str:
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # without these instructions bf16 is emulated, slower than float32
        capabilities = getattr(torch.cpu, "get_capabilities", dict[str, bool])()
        native = bool(capabilities.get("avx512_bf16", False))
    return "bf16-mixed" if native else "32-true"


class _Adam(torch.optim.Adam):
    """Adam that does not look for an accelerator at each step.

    torch does, to refuse some captures of CUDA graphs, of which there are none here. A CUDA build
    on a machine without a driver searches its folders for one: 1.3 ms, a third of a step of a
    linear probe. Where torch calls the check otherwise it is as slow as it was.
    """

    def _accelerator_graph_capture_health_check(self) -> None: ...

    _cuda_graph_capture_health_check = _accelerator_graph_capture_health_check  # before torch 2.9


def _optimizer(
    probe: StackedProbe,
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler | None]:
    """Adam over the stack, and its schedule."""
    recipe, steps = probe.recipe, len(probe.draws)
    optimizer = _Adam(probe.net.parameters(), lr=recipe.lr, fused=True)
    if recipe.schedule == "constant" or steps < 4:
        return optimizer, None
    # without the warm-up a short recipe loses most of what it gains
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=recipe.lr,
        total_steps=steps,
        pct_start=max(0.1, 2.5 / steps),  # its warm-up must last more than one step
        cycle_momentum=False,
    )

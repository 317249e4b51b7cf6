"""The tables of the building blocks' pages, of made-up figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import blocks_table, equiangular, equiangular_heads, shift_robustness, shift_vit
from ssl_equiv.heads.frames import welch_bound


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks_table, "RESULTS", tmp_path)


def keep(folder: Path, name: str, results: dict[str, Any]) -> None:
    machine = {"gpu": None, "cpu": "Abacus", "cores": 2, "torch": "2", "date": "2026-11-21T00"}
    found = {"command": f"python -m benchmarks.{name}", "environment": machine, "results": results}
    (folder / f"{name}.json").write_text(json.dumps(found))


def test_nothing_is_told_of_what_was_not_measured() -> None:
    for tables in blocks_table.TABLES.values():
        assert {make() for make in tables.values()} == {blocks_table.NONE}


def test_figures_are_the_files(tmp_path: Path) -> None:
    row = {"forward_ms": 10.0, "forward_ratio": 1.04, "step_ms": 30.0, "step_ratio": 0.98}
    keep(
        tmp_path,
        "shift_vit",
        {"models": {"shift_x": row}, "anchoring_ms": 1.0, "grid_sample_ms": 4.0},
    )
    assert "| `shift_x` | 10 | 1.04× | 30 | 0.98× |" in blocks_table.shift_speed()
    points = [{"seconds": 1.0, "coherence": 0.5}, {"seconds": 2.0, "coherence": 0.4}]
    size = {"bound": 0.25, "ours": points, "hinge": points, "random_coherence": 0.75}
    keep(tmp_path, "equiangular", {"sizes": {"20x10": size}})
    wanted = (
        "| 20 × 10 | 0.2500 | 1.0 s → 2.000, 2.0 s → 1.600 | 1.0 s → 2.000, 2.0 s → 1.600 | 3.00 |"
    )
    assert wanted in blocks_table.bases()
    figure = {"parameters": 1000.0, "held_mib": 2.0, "step_mib": 3.0, "step_ms": 4.0}
    accuracy = {
        "like CIFAR": {"ebv": {"mean": 0.5, "std": 0.01}, "linear": {"mean": 0.6, "std": None}}
    }
    costs = {"1000": {"ebv": figure, "simplex": {"refused": "too large"}}}
    keep(
        tmp_path,
        "equiangular_heads",
        {"costs": costs, "accuracy": accuracy, "seeds": 3, "epochs": 2},
    )
    heads = blocks_table.heads()
    assert "| 1,000 | ebv | 1,000 | 2 | 3 | 4 |" in heads
    assert "| like CIFAR | 50.0 ± 1.0 | 60.0 |" in heads
    assert "too large" in heads


def test_both_sides_of_the_anchoring_benchmark_do_the_same() -> None:
    images = torch.randn(3, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    for period in (4, 8, 16):
        wanted = shift_vit.anchored(images, period)
        assert torch.equal(shift_vit.grid_sample(images, period), wanted)


def test_the_hinge_goes_down() -> None:
    margin = 1.4 * welch_bound(30, 10)
    found = [equiangular.hinge(30, 10, 0.5, lr, margin) for lr in equiangular.LRS]
    curve = min(found, key=lambda curve: curve[-1][1])
    assert curve[-1][1] < curve[0][1]
    assert curve[-1][1] > welch_bound(30, 10)


def test_changes_of_pictures() -> None:
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    whole = torch.tensor([[3.0, -2.0], [0.0, 5.0]])
    moved = shift_robustness.fourier_shift(images, whole)
    for image, found, shift in zip(images, moved, whole.int().tolist(), strict=True):
        torch.testing.assert_close(found, image.roll(shift, (1, 2)), atol=1e-4, rtol=0)
    halves = shift_robustness.fourier_shift(moved, torch.full((2, 2), 0.5))
    back = shift_robustness.fourier_shift(halves, torch.full((2, 2), -0.5))
    inner = (moved - back).abs().mean()  # what lies at the highest frequency is lost
    assert inner < 0.15 < moved.abs().mean()
    keys = set(shift_robustness.CHANGES)
    assert {"circular", "fraction", "ordinary", "turn", "mirror"} == keys


@pytest.mark.parametrize("head", equiangular_heads.HEADS)
def test_heads_learn(head: str) -> None:
    torch.manual_seed(0)
    centres = torch.randn(6, 16)
    label = torch.arange(120) % 6
    x = centres[label] + 0.1 * torch.randn(120, 16)
    body = torch.nn.Linear(16, 16)
    model: Any = equiangular_heads.make(head, 16, 6)
    weights = [*body.parameters(), *(p for p in model.parameters() if p.requires_grad)]
    optimizer = torch.optim.Adam(weights, lr=0.02)
    for _ in range(80):
        optimizer.zero_grad()
        model.loss(body(x), label).backward()
        optimizer.step()
    assert (model(body(x)).argmax(dim=1) == label).float().mean() > 0.95
    fixed = head.startswith("ebv") or head == "simplex"
    learnt = [p for p in model.parameters() if p.requires_grad]
    assert any(p.shape == (6, 16) for p in learnt) != fixed or head == "simplex"

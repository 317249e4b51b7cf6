"""Run directories as ``ssl-equiv pretrain`` and ``eval`` leave them, made up in no time."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from eval.artifacts import Artifact, write_artifact
from eval.results import RESULTS, Result, write_results

PARTS = {"VICReg": ("all",), "SIE": ("all", "inv", "equi"), "EquiMod": ("all", "inv", "equi")}
CLASSES = ("bed", "camera", "car", "chair", "house")
# mean by method and part; the difference of SIE and EquiMod is within the spread
_LEVELS = {
    ("top1", "VICReg"): 0.93,
    ("top1", "SIE"): 0.94,
    ("top1", "EquiMod"): 0.80,
    ("rotation_r2_pooled", "VICReg"): 0.46,
    ("rotation_r2_pooled", "SIE"): 0.630,
    ("rotation_r2_pooled", "EquiMod"): 0.629,
    ("rotation_degrees_median", "VICReg"): 41.0,
    ("rotation_degrees_median", "SIE"): 22.0,
    ("rotation_degrees_median", "EquiMod"): 30.0,
}
_METRICS: Mapping[str, tuple[float, float, float | None]] = {  # level, spread, baseline
    "top1": (0.9, 0.004, 0.2),
    "top5": (0.99, 0.001, 1.0),
    "knn_top1_k20": (0.85, 0.0, 0.2),
    "rotation_r2_pooled": (0.5, 0.01, 0.229),
    "rotation_r2_per_dim": (0.4, 0.01, 0.0),
    "rotation_degrees_median": (30.0, 0.6, 93.0),
    "equivariance_error": (0.21, 0.01, 1.0),
    "orbit_rotation_accuracy": (0.7, 0.02, 0.2),
    "top1_length3": (0.91, 0.01, 0.2),
    "rankme": (61.3, 0.5, 1.0),
    "uniformity": (-2.1, 0.02, 0.0),
    "something_new": (3.2e-5, 1e-6, None),
}


def config(method: str, seed: int, root: str) -> dict[str, Any]:
    """A configuration as ``config.yaml`` holds it."""
    own = {"predictor": "linear", "action_dim": 4} if method != "VICReg" else {}
    return {
        "seed_everything": seed,
        "trainer": {"max_steps": 200, "precision": "32-true"},
        "model": {
            "class_path": f"ssl_equiv.methods.{method}",
            "init_args": {
                "backbone": {"name": "resnet18", "options": {}},
                "optimizer": {"lr": 1e-3},
                **own,
            },
        },
        "data": {"root": root, "batch_size": 64, "num_workers": seed},
        "out": f"runs/{method}-seed{seed}",
    }


def results(
    method: str, seed: int, model: str, splits: Sequence[str] = ("val", "ood")
) -> list[Result]:
    """Figures of one network over three seeds of its probes."""
    rng = np.random.default_rng([seed, *map(ord, method)])
    rows = []
    for split in splits:
        for metric, (level, spread, baseline) in _METRICS.items():
            level = _LEVELS.get((metric, method), level)
            for part in PARTS[method]:
                here = level * (1 if part != "inv" else 0.9) * (1 if split == "val" else 0.8)
                here += spread * rng.standard_normal()
                for probe in range(3 if spread else 1):
                    rows.append(
                        Result(
                            metric,
                            here + 0.3 * spread * rng.standard_normal(),
                            part,
                            split,
                            probe,
                            "0123456789abcdef0123456789abcdef01234567",
                            f"{method}{seed}{metric}",
                            baseline,
                            model,
                        )
                    )
    return rows


def artifacts(method: str, seed: int, size: int = 400) -> list[Artifact]:
    """One of every kind."""
    rng = np.random.default_rng([seed, *map(ord, method)])
    shift = len(method) / 10
    x = np.linspace(-90, 90, 19)
    parts = list(PARTS[method])
    y = np.stack([(n + 0.3) * np.abs(np.sin(np.radians(x))) * shift for n in range(len(parts))])
    found = [
        Artifact(
            "curve",
            "orbit_so2_distance",
            "Feature distance along SO(2)",
            {"x": x, "y": y, "spread": 0.1 * y + 0.01},
            caption="An invariant part stays low; an equivariant part moves.",
            meta={
                "series": parts,
                "x_label": "rotation [°]",
                "y_label": "distance",
                "baseline": 1.0,
            },
        ),
        Artifact(
            "gallery",
            "worst_orbit_points",
            "Worst orbit points",
            {"images": rng.integers(0, 255, (5, 32, 32, 3), dtype=np.uint8)},
            caption="The views that are most often mistaken.",
            meta={"captions": [f"chair at {n * 30}°: taken for a bed" for n in range(5)]},
        ),
    ]
    number = np.arange(300)
    z = 1 - 2 * (number + 0.5) / len(number)
    turn = number * np.pi * (3 - np.sqrt(5))
    ring = np.sqrt(1 - z**2)
    directions = np.stack([ring * np.cos(turn), ring * np.sin(turn), z], axis=1)
    grid = np.arange(-8, 9)
    bump = np.exp(-np.add.outer(grid**2, grid**2) / 60)
    waves = 0.1 * np.sin(3 * turn)
    for place, part in enumerate(parts):
        points = rng.standard_normal((size, 2))
        found += [
            Artifact(
                "curve",
                "spectrum",
                f"Spectrum of {part}",
                {"x": np.arange(1, 65), "y": np.exp(-np.arange(64) / (9 + 9 * place))[None]},
                part,
                "The flatter the line, the more directions are used.",
                {"x_label": "principal component", "y_label": "deviation / largest", "log_y": True},
            ),
            Artifact(
                "plane",
                "orbit_shift_accuracy",
                f"Accuracy along shifts: {part}",
                {"x": grid, "y": grid, "values": bump / (1 + place)},
                part,
                "Accuracy where the image is shifted by so many pixels.",
                {"x_label": "right [px]", "y_label": "down [px]", "value_label": "accuracy"},
            ),
            Artifact(
                "sphere",
                "orbit_so3_accuracy",
                f"Accuracy along SO(3): {part}",
                {
                    "directions": directions,
                    "values": 0.5 + 0.4 * z / (1 + place) + waves,
                },
                part,
                "Accuracy by where the camera looks from.",
                {"value_label": "accuracy"},
            ),
            Artifact(
                "scatter",
                "pca_class",
                f"PCA of {part}, by class",
                {"points": points, "color": rng.integers(0, 5, size)},
                part,
                "Classes should be clouds of their own.",
                {"color_kind": "class", "classes": list(CLASSES), "color_label": "class"},
            ),
            Artifact(
                "scatter",
                "pca_rotation",
                f"PCA of {part}, by rotation",
                {"points": points, "color": np.arctan2(points[:, 1], points[:, 0])},
                part,
                "An equivariant part has the colours in order.",
                {"color_kind": "angle", "color_label": "rotation about z"},
            ),
            Artifact(
                "scatter",
                "pca_norm",
                f"PCA of {part}, by norm",
                {"points": points, "color": np.linalg.norm(points, axis=1)},
                part,
                meta={"color_kind": "value", "color_label": "norm"},
            ),
        ]
    return found


def write_run(
    run: Path, method: str, seed: int, *, root: str = "absent", judged: bool = True
) -> Path:
    """A run directory."""
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "last.ckpt").write_bytes(b"")
    (run / "config.yaml").write_text(yaml.safe_dump(config(method, seed, root), sort_keys=False))
    log = run / "metrics" / "version_0" / "metrics.csv"
    log.parent.mkdir(parents=True)
    with open(log, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", "step", "train/invariance", "train/loss", "probe/top1"])
        for step in range(0, 200, 10):
            loss = (1 + seed / 10) * np.exp(-step / 80) + len(method) / 10
            writer.writerow([0, step, loss / 2, loss, 1 - loss / 3 if step % 20 else ""])
    if judged:
        write_results(run / "eval" / RESULTS, results(method, seed, str(run)))
        for artifact in artifacts(method, seed):
            write_artifact(run / "eval", artifact)
    return run


def write_runs(folder: Path, seeds: Sequence[int] = (0, 1), root: str = "absent") -> Path:
    """Three methods, each from several seeds."""
    for method in PARTS:
        for seed in seeds:
            write_run(folder / f"{method.lower()}-seed{seed}", method, seed, root=root)
    return folder

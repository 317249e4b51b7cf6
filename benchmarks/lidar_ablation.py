"""What E-SSL3D's objectives are worth: detection from few labels, on simulated sweeps.

    python -m benchmarks.lidar_ablation [--seeds N] [--steps N] [--finetune N] [--out DIR]

For each seed the encoder of ``configs/pretrain/essl3d_sim.yaml`` is pretrained with its spatial
objectives, with its temporal one, and with both, and a detector is fine-tuned from each and from
random weights on the same labels, in the same order, under the same motions. Each step is a run
directory below ``--out``: one that was interrupted goes on, a finished one is kept. After each
``benchmarks/results/lidar_ablation.json`` and the table in ``docs/lidar_results.md`` hold all that
is finished; with other sizes than the default ones they go to ``--out`` instead.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.common import environment
from benchmarks.common import write as write_benchmark
from eval.results import RESULTS, read_results
from ssl_equiv import cli
from ssl_equiv.data.lidar.names import SIMULATION
from ssl_equiv.errors import UserError
from ssl_equiv.files import atomic_write, write_json

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "lidar_results.md"
DATA, PRETRAIN, DETECT = (
    ROOT / "configs" / name
    for name in (
        "lidar/simulate_demo.yaml",
        "pretrain/essl3d_sim.yaml",
        "lidar/detect_demo.yaml",
    )
)
SCRATCH = "scratch"
# what each leaves out of the configuration
VARIANTS: dict[str, dict[str, Any]] = {
    SCRATCH: {},
    "spatial only": {"model.flow_weight": 0.0, "data.flow": "off"},
    "temporal only": {"model.contrast_weight": 0.0, "model.classification_weight": 0.0},
    "both": {},
}
METRICS = {
    "mean_3d_ap40_moderate": "mean, 3D",
    "car_3d_ap40_moderate": "car, 3D",
    "pedestrian_3d_ap40_moderate": "pedestrian, 3D",
    "cyclist_3d_ap40_moderate": "cyclist, 3D",
    "mean_bev_ap40_moderate": "mean, from above",
    "mean_centre_ap": "mean, by centres",
}
MAIN = next(iter(METRICS))


def main(args: Sequence[str] | None = None) -> None:
    """Make what is missing, then the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/lidar_ablation"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--fraction", type=float, default=0.05)
    for name in ("steps", "finetune", "sequences", "sweeps"):
        parser.add_argument(f"--{name}", type=int, help="by default as configured")
    parser.add_argument("--num_workers", type=int, default=0)
    given = parser.parse_args(args)
    simulate(given)
    for seed in range(given.seeds):
        for variant in VARIANTS:
            start = time.perf_counter()
            detect(given, variant, seed, pretrain(given, variant, seed))
            print(f"seed {seed}, {variant}: {time.perf_counter() - start:.0f} s", flush=True)
            write(given)


def simulate(given: argparse.Namespace) -> None:
    """The data set, once."""
    if (given.out / "data" / SIMULATION).exists():
        return
    options: dict[str, Any] = {"out": given.out / "data"}
    options |= {name: getattr(given, name) for name in ("sequences", "sweeps")}
    run("simulate", DATA, {**options, "num_workers": max(1, given.num_workers)})


def pretrain(given: argparse.Namespace, variant: str, seed: int) -> Path | None:
    """The run directory of a variant; None for random weights."""
    if variant == SCRATCH:
        return None
    folder: Path = given.out / f"{variant.replace(' ', '_')}-seed{seed}"
    options = {
        "out": folder,
        "seed_everything": seed,
        "data.seed": seed,
        "data.root": given.out / "data",
        "data.num_workers": given.num_workers,
        "trainer.max_steps": given.steps,
        "trainer.enable_progress_bar": False,
        "trainer.enable_model_summary": False,
        **VARIANTS[variant],
    }
    run("pretrain", PRETRAIN, options)
    return folder


def detect(given: argparse.Namespace, variant: str, seed: int, start: Path | None) -> None:
    """A detector from a variant's encoder, or from random weights."""
    options: dict[str, Any] = {
        "model": start or SCRATCH,
        "data": given.out / "data",
        "out": judged(given.out, variant, seed),
        "name": variant,
        "fractions": f"[{given.fraction}]",
        "first_seed": seed,
        "beside_scratch": False,
        "steps": given.finetune,
        "num_workers": given.num_workers,
        "progress": False,
    }
    if start is None:
        config = yaml.safe_load(PRETRAIN.read_text())
        options["encoder"] = json.dumps(config["model"]["init_args"]["backbone"])
    run("detect", DETECT, options)


def judged(out: Path, variant: str, seed: int) -> Path:
    """Where a detector's results lie."""
    return out / "detectors" / f"{variant.replace(' ', '_')}-seed{seed}"


def run(command: str, config: Path, options: Mapping[str, Any]) -> None:
    """A command of the package; options that are None keep the configuration's value."""
    args = [command, "--config", str(config)]
    for name, value in options.items():
        if value is not None:
            args += [f"--{name}", str(value).lower() if isinstance(value, bool) else str(value)]
    if cli.main(args) != 0:
        raise UserError(f"{command} failed: see the line above; then run the same command again")


def write(given: argparse.Namespace) -> None:
    """All that is finished, as JSON and as a table."""
    results = {"settings": settings(given), "variants": collect(given.out, given.seeds)}
    usual = all(
        getattr(given, name) is None for name in ("steps", "finetune", "sequences", "sweeps")
    )
    if usual and given.fraction == 0.05:
        write_benchmark("lidar_ablation", results)
        page = PAGE.read_text()
        before, _, rest = page.partition("<!-- table -->\n")
        after = rest.partition("<!-- /table -->")[2]
        text = f"{before}<!-- table -->\n{table(results)}<!-- /table -->{after}"
        with atomic_write(PAGE) as file:
            file.write(text.encode())
    else:
        write_json(given.out / "ablation.json", {"environment": environment(), "results": results})
        with atomic_write(given.out / "ablation.md") as file:
            file.write(table(results).encode())


def settings(given: argparse.Namespace) -> dict[str, Any]:
    """What the figures are of."""
    data, detector = (yaml.safe_load(path.read_text()) for path in (DATA, DETECT))
    method = yaml.safe_load(PRETRAIN.read_text())
    return {
        "sequences": given.sequences or data["sequences"],
        "sweeps": given.sweeps or data["sweeps"],
        "pretraining steps": given.steps or method["trainer"]["max_steps"],
        "fine-tuning steps": given.finetune or detector["steps"],
        "share of the labels": given.fraction,
    }


def collect(out: Path, seeds: int) -> dict[str, dict[str, list[float]]]:
    """Figures of the seeds that are finished, by variant and metric."""
    found: dict[str, dict[str, list[float]]] = {}
    for variant in VARIANTS:
        for seed in range(seeds):
            path = judged(out, variant, seed) / RESULTS
            if path.exists():
                rows = {row.metric: row.value for row in read_results(path)}
                for metric in METRICS:
                    found.setdefault(variant, {}).setdefault(metric, []).append(rows[metric])
    return found


def table(results: Mapping[str, Any]) -> str:
    """Markdown: what was trained, average precision, and what the seeds say of the gain."""
    variants = results["variants"]
    lines = [
        ", ".join(f"{name}: {value}" for name, value in results["settings"].items()) + ".",
        "",
        f"| pretraining | seeds | {' | '.join(METRICS.values())} | gain, mean 3D |",
        f"| --- {'| ---: ' * (len(METRICS) + 2)}|",
    ]
    for name, metrics in variants.items():
        cells = [told([100 * v for v in metrics[metric]]) for metric in METRICS]
        gain = gains(variants, name)
        cells += [told(gain) if gain else ""]
        lines.append(f"| {name} | {len(metrics[MAIN])} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *verdicts(variants), ""])


def gains(variants: Mapping[str, Mapping[str, Sequence[float]]], name: str) -> list[float]:
    """Points of AP over random weights, seed by seed."""
    if name == SCRATCH or SCRATCH not in variants:
        return []
    pairs = zip(variants[name][MAIN], variants[SCRATCH][MAIN], strict=False)
    return [100 * (own - scratch) for own, scratch in pairs]


def verdicts(variants: Mapping[str, Mapping[str, Sequence[float]]]) -> list[str]:
    """Whether each variant beats random weights by more than the seeds spread, in words."""
    lines = []
    for name in variants:
        gain = gains(variants, name)
        if len(gain) < 2:
            continue
        spread = max(statistics.stdev(variants[which][MAIN]) for which in (name, SCRATCH)) * 100
        mean = statistics.fmean(gain)
        what = "more than" if mean > spread else "no more than" if mean > 0 else "no gain beside"
        lines.append(
            f"- {name}: {mean:+.1f} points of mean 3D AP, {what} the seeds' spread ({spread:.1f}); "
            f"better with {sum(g > 0 for g in gain)} of {len(gain)} seeds."
        )
    return lines


def told(values: Sequence[float]) -> str:
    """Mean and deviation."""
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}{spread}"


if __name__ == "__main__":
    main()

"""``ssl-equiv demo``: the whole line in a few minutes, ending with a page to look at."""

from __future__ import annotations

import shutil
import time

import torch
from rich.console import Console

from eval.results import RESULTS, read_results, results_table, write_results
from ssl_equiv.cli import evaluate as evaluation
from ssl_equiv.cli import generate, pretrain
from ssl_equiv.cli.demo_report import write_demo_report
from ssl_equiv.cli.shipped import shipped
from ssl_equiv.errors import UserError
from ssl_equiv.export import SIDECAR, export_folder, open_backbone, open_method
from ssl_equiv.files import make_directory
from ssl_equiv.parsing import call

_SEEDS = 3
_CARD = ("top1", "rotation_r2_pooled", "rotation_r2_per_dim", "rotation_degrees_median")


def main(args: list[str]) -> None:
    """Run ``ssl-equiv demo`` with command-line arguments ``args``."""
    call(demo, args, "demo")


def demo(out: str = "demo", num_objects: int = 960, steps: int = 800) -> None:
    """Generate a data set, pretrain SIE on it, judge it, export it and write a report.

    Run again it goes on where it stopped. Everything is small: a backbone of 2.5 million weights
    sees 48-pixel images of twelve procedural classes for some hundred steps.

    Args:
        out: Folder for all results; OUT/report.html is the page to look at.
        num_objects: Objects to render, 16 views each.
        steps: Pretraining steps.
    """
    console, start = Console(), time.perf_counter()
    root = make_directory(out)
    data, run, export = root / "data", root / "sie", root / "export"
    orbits = root / "orbits"
    judged = run / "eval"

    if export.exists() and not (export / SIDECAR).is_file():
        raise UserError(f"{export} is not an export of this demo: choose another --out")

    def stage(number: int, what: str) -> None:
        elapsed = time.perf_counter() - start
        console.print(f"[bold]{number}/5 {what}[/bold] [dim]({elapsed:.0f} s)[/dim]")

    stage(1, f"rendering {num_objects} objects, every view a known group element")
    for name, folder, number in (("demo", data, num_objects), ("demo_orbits", orbits, None)):
        options = ["--out", str(folder)]
        options += [] if number is None else ["--num_objects", str(number)]
        generate.main(["--config", str(shipped(f"data/{name}.yaml")), *options])

    stage(2, f"pretraining SIE for {steps} steps")
    code = pretrain.main(
        [
            "--config",
            str(shipped("pretrain/sie_demo.yaml")),
            *("--data.root", str(data), "--out", str(run)),
            *("--trainer.max_steps", str(steps), "--trainer.precision", fast_precision()),
            *("--trainer.devices", "1", "--trainer.enable_model_summary", "false"),
        ]
    )
    if code:  # a signal ended it; the same command goes on
        raise SystemExit(code)

    stage(3, "judging it beside the same network at random initialisation")
    for name, source, where in (("random", f"random:{run}", root / "random"), ("SIE", run, judged)):
        evaluation.main(
            [
                *("--config", str(shipped("eval/full.yaml"))),
                *("--model", str(source), "--name", name, "--data", str(data)),
                *("--out", str(where), "--seeds", str(_SEEDS), "--precision", fast_precision()),
                *("--orbits", f'["{orbits}"]'),
                # columns of random features are all alike
                *(("--parts", "[all]") if name == "random" else ()),
            ]
        )

    own = read_results(judged / RESULTS)
    write_results(root / RESULTS, [*read_results(root / "random" / RESULTS), *own])

    stage(4, "exporting the backbone to timm")
    backbone = open_backbone(str(run))
    shutil.rmtree(export, ignore_errors=True)
    lines = results_table([row for row in own if row.metric in _CARD])
    method = open_method(str(run))
    error, _ = export_folder(backbone, ["timm"], export, method=method, results=lines)["timm"]
    console.print(f"{export}: loaded again by timm, largest output difference {error:.1e}")

    stage(5, "writing the report")
    page = root / "report.html"
    write_demo_report(page, data, run, export, time.perf_counter() - start)
    console.print(
        f"[bold]{page}[/bold] is the page to look at ({time.perf_counter() - start:.0f} s)"
    )


def fast_precision() -> str:
    """bfloat16 where the processor multiplies it in hardware, else float32."""
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    return "bf16-mixed" if torch.cpu._is_avx512_bf16_supported() else "32-true"

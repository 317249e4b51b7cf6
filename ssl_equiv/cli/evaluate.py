"""``ssl-equiv eval``: judge a frozen backbone on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from eval.aggregates import judge_scanpaths, sequence_evaluators
from eval.features import extract
from eval.protocol import evaluate, standard_evaluators
from eval.results import RESULTS, Result, summarise, write_results
from ssl_equiv.data.images import open_views
from ssl_equiv.errors import UserError
from ssl_equiv.export import open_backbone, open_method
from ssl_equiv.methods import PLS, SeqJEPA
from ssl_equiv.parsing import call


def main(args: list[str]) -> None:
    """Run ``ssl-equiv eval`` with command-line arguments ``args``."""
    call(judge, args, "eval")


def judge(
    model: str,
    data: str,
    out: str | None = None,
    parts: list[str] | None = None,
    seeds: int = 3,
    recipe: Literal["published", "quick"] = "published",
    factors: list[str] = ["rotation"],  # noqa: B006 (shown by --help, never changed)
    sequences: bool = True,
    pretrained: bool = False,
    devices: int = 1,
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true",
    batch_size: int = 256,
    num_workers: int | None = None,
    skip_bad_images: bool = False,
    progress: bool = True,
) -> list[Result]:
    """Linear probe and action R2 of a frozen backbone, for every part of its representation.

    For a method that aggregates views (SeqJEPA, PLS) also a linear probe of its aggregates, by
    their length, and the R2 of the displacement over a path of views.

    Args:
        model: A run directory, a .ckpt file, an export folder, timm:NAME, random:RUN, or a
            published checkpoint as sie:FILE, equicaps:FILE or seqjepa:FILE.
        data: Root of the data set.
        out: Where features and results.json are kept; by default RUN/eval of a run directory.
        parts: Parts of the representation; by default all.
        seeds: Number of seeds of the probes.
        recipe: Training of the probes: the papers' 300 epochs, or a fifth of that.
        factors: Factors of variation whose relative action is regressed.
        sequences: Judge aggregates of views too, where the model is of a method that makes them.
        pretrained: For timm:NAME: take timm's weights (downloads them) instead of random ones.
        devices: Devices of the feature pass.
        precision: Precision of the feature pass, as Lightning names it.
        batch_size: Objects per batch of two views; the feature pass uses as many views.
        num_workers: Loader processes; by default the cores of this process.
        skip_bad_images: Replace objects that cannot be read, counting them, instead of stopping.
        progress: Show progress bars.
    """
    if out is None:
        if not (Path(model) / "checkpoints").is_dir():
            raise UserError(f"{model} is no run directory: say with --out where results go")
        out = str(Path(model) / "eval")
    if seeds < 1:
        raise UserError("seeds must be at least 1")
    backbone = open_backbone(model, pretrained=pretrained)
    views = open_views(
        data,
        batch_size=batch_size,
        preprocess=backbone.preprocess,
        num_workers=num_workers,
        skip_bad_images=skip_bad_images,
    )
    options = {"devices": devices, "precision": precision}
    train, val = (
        extract(backbone, views, out, split=split, trainer_options=options, progress=progress)
        for split in ("train", "val")
    )
    method = open_method(model) if sequences else None
    evaluators = standard_evaluators(recipe, factors)
    if isinstance(method, SeqJEPA) and not isinstance(method, PLS):
        evaluators += sequence_evaluators(method, train, recipe, factors)
    rows = evaluate(
        train,
        val,
        evaluators=evaluators,
        parts=parts,
        seeds=seeds,
        model=model,
        progress=progress,
    )
    if isinstance(method, PLS):
        rows += judge_scanpaths(
            method,
            views,
            out,
            recipe=recipe,
            seeds=seeds,
            model=model,
            trainer_options=options,
            progress=progress,
        )
    write_results(Path(out) / RESULTS, rows)
    show(rows)
    return rows


def show(rows: list[Result]) -> None:
    """Print results as a table: mean and deviation over seeds, beside a constant predictor."""
    table = Table("part", "metric", "mean", "± std", "constant predictor", title=rows[0].model)
    for row in summarise(rows):
        spread = "" if row.std is None else f"{row.std:.3f}"
        floor = "" if row.baseline is None else f"{row.baseline:.3f}"
        table.add_row(row.part, row.metric, f"{row.mean:.3f}", spread, floor)
    Console().print(table)

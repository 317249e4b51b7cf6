"""``ssl-equiv eval``: judge a frozen backbone, or an encoder of sweeps, on a data set."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Column, Table

import eval.evaluators as known  # their classes are known by name once imported
from eval.cache import FeatureSet
from eval.evaluators.classification import Head
from eval.evaluators.suites import sequence_evaluators, standard_evaluators
from eval.features import extract
from eval.lidar.encoder import sees_sweeps
from eval.lidar.judge import LidarRecipe
from eval.ood import split_by_range
from eval.processes import is_first
from eval.protocol import Evaluator, evaluate
from eval.recipes import RecipeName
from eval.report.metrics import headline
from eval.results import RESULTS, Result, summarise, write_provenance, write_results
from ssl_equiv.cli.evaluate_sweeps import judge_sweeps, refuse_options
from ssl_equiv.data.fewer_views import FewerViews
from ssl_equiv.data.images import open_views
from ssl_equiv.data.lidar.open import lidar_layout
from ssl_equiv.errors import UserError
from ssl_equiv.export import open_backbone, open_method
from ssl_equiv.parsing import call

_FEW = 20  # metrics; of more, only the headline is printed

__all__ = ["judge", "known", "main", "show"]


def main(args: list[str]) -> None:
    """Run ``ssl-equiv eval`` with command-line arguments ``args``."""
    folder, model, data = call(judge, args, "eval", classes={"evaluators": Evaluator})
    command = shlex.join(["ssl-equiv", "eval", *args])
    if is_first():
        write_provenance(folder, command=command, model=model, data=data)


def judge(
    model: str,
    data: str,
    out: str | None = None,
    evaluators: list[Evaluator] | None = None,
    skip_inapplicable: bool = False,
    parts: list[str] | None = None,
    seeds: int = 3,
    recipe: RecipeName | None = None,
    head: Head | None = None,
    factors: list[str] | None = None,
    ood: list[str] = [],  # noqa: B006 (shown by --help, never changed)
    orbits: list[str] = [],  # noqa: B006
    by_range: bool = False,
    name: str | None = None,
    pretrained: bool = False,
    sweeps: LidarRecipe | None = None,
    devices: int = 1,
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true",
    batch_size: int | None = None,
    num_workers: int | None = None,
    train_views: int | None = None,
    skip_bad_images: bool = False,
    progress: bool = True,
) -> tuple[Path, str, str]:
    """Judge a frozen backbone: features of all views once, then every evaluator on them.

    By default a linear probe and the R2 of the relative rotation, for every part of the
    representation; for a method that aggregates views (SeqJEPA, PLS) also its aggregates, by
    their length. --config configs/eval/full.yaml asks everything that applies.

    The encoder of a run on LiDAR sweeps is judged on sweeps: R2 of yaw and translation,
    equivariance errors of its map, and a linear probe of points.

    Args:
        model: A run directory, a .ckpt file, an export folder, timm:NAME, random:RUN, a published
            checkpoint as sie:FILE, equicaps:FILE or seqjepa:FILE, or a .safetensors file of an
            encoder of sweeps (docs/lidar_export.md).
        data: Root of the data set.
        out: Where features and results are kept; by default RUN/eval of a run directory,
            evaluations/NAME of other models.
        evaluators: What to measure, each a class of eval.evaluators with its settings.
        skip_inapplicable: Leave out evaluators that cannot judge this model or these data, with a
            line each, instead of stopping.
        parts: Parts of the representation; by default all.
        seeds: Number of seeds of the probes.
        recipe: Training of the probes: the papers' 300 epochs (published, the default), or a
            shorter one (quick); it overrides those of listed evaluators.
        head: What linear probes end in: a softmax layer (linear, the default), or fixed equiangular
            basis vectors (ebv); it overrides that of listed evaluators.
        factors: Factors of variation whose relative action is regressed, by default rotation, of
            sweeps yaw and translation; not beside a list of evaluators, which name their own.
        ood: Further data sets with the same factors, on whose val objects the same probes are
            judged: the rows' split is the folder's name.
        orbits: Data sets whose views are orbits, as configs/data/orbit_so3.yaml makes them: their
            held-out objects are followed along them too (RenderedOrbits).
        by_range: Judge the val views inside and those outside the range of the training views on
            their own too: rows of the splits val-in and val-out.
        name: What results call the model; by default as it was given.
        pretrained: For timm:NAME: take timm's weights (downloads them) instead of random ones.
        sweeps: For sweeps: their motions, region and number, and how long probes learn, as in
            --sweeps.limit 100; --sweeps.help lists them.
        devices: Devices of the feature pass and of the probes.
        precision: Precision of the feature pass, as Lightning names it.
        batch_size: Objects per batch of two views, by default 256; the feature pass uses as many
            views. Of sweeps, by default 8.
        num_workers: Loader processes; by default the cores of this process.
        train_views: Encode so many views of each training object, its first ones, by default all:
            a quicker pass over large data. Probes need many objects more than many views of each;
            objects of the split val keep all theirs.
        skip_bad_images: Replace objects or sweeps that cannot be read, counting them, instead of
            stopping.
        progress: Show progress bars.
    """
    given = dict(locals())
    if seeds < 1:
        raise UserError("seeds must be at least 1")
    folder = Path(out) if out else _default_folder(model)
    if sees_sweeps(model):
        refuse_options(judge, given)
        rows = judge_sweeps(
            model,
            data,
            sweeps,
            parts=parts,
            factors=factors,
            seeds=seeds,
            name=name or model,
            batch_size=batch_size,
            num_workers=num_workers,
            skip_bad_sweeps=skip_bad_images,
            progress=progress,
        )
        _tell(folder, rows)
        return folder, model, data
    if sweeps is not None:
        raise UserError(f"sweeps is for encoders of LiDAR sweeps, not for {model}: leave it out")
    if evaluators is not None and factors is not None:
        raise UserError("factors are for the standard evaluators: listed ones name their own")
    if evaluators == []:
        raise UserError("evaluators: the list is empty: name one or leave the option out")
    backbone = open_backbone(model, pretrained=pretrained)
    if layout := lidar_layout(data):
        raise UserError(
            f"{data} holds LiDAR sweeps ({layout}), but {model} sees images: give a run of a "
            "method on sweeps, such as ESSL3D"
        )
    method = open_method(model)
    options = {"devices": devices, "precision": precision}

    def views_of(root: str, split: str, cache: str) -> FeatureSet:
        module = open_views(
            root,
            batch_size=256 if batch_size is None else batch_size,
            preprocess=backbone.preprocess,
            num_workers=num_workers,
            skip_bad_images=skip_bad_images,
        )
        if split == "train" and train_views not in (None, module.source.num_views):
            module.source = FewerViews(module.source, train_views)
        modules.append(module)
        return extract(
            backbone,
            module,
            folder,
            split=split,
            name=cache,
            trainer_options=options,
            progress=progress,
        )

    modules: list[object] = []
    train, val = (views_of(data, split, "features") for split in ("train", "val"))
    others = {
        split: views_of(root, "val", f"features-{split}")
        for root, split in zip(ood, _names(ood), strict=True)
    }
    if by_range:
        others |= {f"val-{side}": some for side, some in split_by_range(train, val).items()}
    if evaluators is None:
        asked = ["rotation"] if factors is None else factors
        evaluators = standard_evaluators("published", asked)
        evaluators += sequence_evaluators(method, train, "published", asked)
    evaluators = [*evaluators, *(known.RenderedOrbits(root) for root in orbits)]
    if recipe is not None:
        evaluators = [_told(evaluator, recipe=recipe) for evaluator in evaluators]
    if head is not None:
        evaluators = [_told(evaluator, head=head) for evaluator in evaluators]
    rows = evaluate(
        train,
        val,
        evaluators=evaluators,
        parts=parts,
        seeds=seeds,
        model=name or model,
        trainer_options={"devices": devices},
        progress=progress,
        skip_inapplicable=skip_inapplicable,
        others=others,
        encoder=backbone,
        method=method,
        data=modules[1],
        folder=folder,
        pass_options=options,
    )
    _tell(folder, rows)
    return folder, model, data


def _tell(folder: Path, rows: list[Result]) -> None:
    """Write the results and show them."""
    if is_first():  # all of several processes have the same
        write_results(folder / RESULTS, rows)
        show(rows)
        report = f"[bold]ssl-equiv report {folder}[/bold]"
        Console().print(f"{len(rows)} figures in {folder / RESULTS}; {report} draws them")


def _default_folder(model: str) -> Path:
    if (Path(model) / "checkpoints").is_dir():
        return Path(model) / "eval"
    return Path("evaluations") / re.sub(r"[^\w.-]+", "-", model).strip("-.")


def _names(roots: list[str]) -> list[str]:
    names = [Path(root).resolve().name for root in roots]
    taken = ["train", "val", *names]
    for name in names:
        if taken.count(name) > 1:
            raise UserError(f"ood: two sets are called {name!r}: rename one folder")
    return names


def _told(evaluator: Evaluator, **setting: str) -> Evaluator:
    """The evaluator with another setting, where it has such a one."""
    fields = {field.name for field in dataclasses.fields(evaluator)}  # type: ignore[arg-type]
    return dataclasses.replace(evaluator, **setting) if setting.keys() <= fields else evaluator  # type: ignore[type-var]


def show(rows: list[Result]) -> None:
    """Print results beside a constant predictor; of many, those to look at first."""
    if not rows:
        Console().print("nothing was measured: no evaluator applies")
        return
    metrics = list(dict.fromkeys(row.metric for row in rows))
    wanted = metrics if len(metrics) <= _FEW else headline(metrics, _FEW)
    for split in dict.fromkeys(row.split for row in rows):
        shown = summarise(row for row in rows if row.split == split and row.metric in wanted)
        if not shown:
            continue
        named = (Column(name, overflow="fold") for name in ("part", "metric"))  # whole, if narrow
        table = Table(*named, "mean", "± std", "constant", title=f"{rows[0].model}: {split}")
        for row in shown:
            spread = "" if row.std is None else f"{row.std:.3f}"
            floor = "" if row.baseline is None else f"{row.baseline:.3f}"
            table.add_row(row.part, row.metric, f"{row.mean:.3f}", spread, floor)
        Console().print(table)

"""The reference table: methods on one procedural data set, with one budget of optimiser steps.

    python -m benchmarks.mini [--only METHOD ...] [--seeds SEED ...] [--steps N] [--out DIR]

Every (method, seed) of ``configs/bench/mini.yaml`` is a run directory below ``--out``: one that was
interrupted goes on, a finished one is skipped, so the table may be made in parts, and parts may be
made beside one another. After each run ``benchmarks/results/mini.json`` holds all that are
finished; ``python -m benchmarks.table`` makes the table in ``docs/bench_mini.md`` of it. Another
``--config`` makes another table: ``benchmarks/results/NAME.json`` of a ``configs/bench/NAME.yaml``,
else, and with ``--steps``, ``DIR/mini.json``, or what ``--save`` names.
"""

from __future__ import annotations

import argparse
import shlex
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml

from benchmarks.common import environment
from benchmarks.common import write as write_benchmark
from eval.evaluators import SequenceClassification
from eval.features import extract
from eval.protocol import Evaluator, evaluate
from eval.results import (
    RESULTS,
    Result,
    code_commit,
    config_hash,
    read_results,
    write_provenance,
    write_results,
)
from eval.runner import quiet
from ssl_equiv.checkpoint import CHECKPOINTS, LAST, PretrainedMethod
from ssl_equiv.cli import generate, pretrain
from ssl_equiv.data.module import ViewDataModule
from ssl_equiv.data.record import MANIFEST
from ssl_equiv.errors import UserError
from ssl_equiv.export import open_backbone, open_method
from ssl_equiv.files import atomic_write, make_directory, read_json, write_json
from ssl_equiv.parsing import instantiate

CONFIG = Path(__file__).parents[1] / "configs" / "bench" / "mini.yaml"
RECORD = "record.json"
_METHOD = {"title", "parts", "follows", "model", "data", "trainer", "untrained", "sequence"}


@dataclass(frozen=True)
class Run:
    """One line of the plan.

    Args:
        method: Its name in the configuration.
        seed: Seed of weights, data order and views.
        folder: Run directory.
        config: Arguments of ``ssl-equiv pretrain``; of the run whose network it has, if untrained.
        parts: Parts that are judged.
        sequence: Views in the aggregates that are judged too; None for methods without.
        evaluators: What is measured, each a class path with its init_args.
        probe_seeds: Seeds of the probes.
        untrained: Run directory of the network that is judged at random weights; None if trained.
        digest: Hash of all that the figures depend on.
    """

    method: str
    seed: int
    folder: Path
    config: Mapping[str, Any]
    parts: tuple[str, ...]
    sequence: int | None
    evaluators: tuple[Mapping[str, Any], ...]
    probe_seeds: int
    untrained: Path | None
    digest: str

    @property
    def name(self) -> str:
        """Method and seed, for people."""
        return f"{self.method} seed {self.seed}"

    @property
    def steps(self) -> int:
        """Optimiser steps of the run."""
        return 0 if self.untrained else int(self.config["trainer"]["max_steps"])

    def record(self) -> dict[str, Any] | None:
        """What the finished run left; None where it is not finished, or under another recipe."""
        path = self.folder / RECORD
        found: dict[str, Any] | None = read_json(path) if path.exists() else None
        return found if found and found.get("digest") == self.digest else None


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the entries of ``over``; mappings in both are merged likewise."""
    return {
        **base,
        **{
            key: merged(base[key], value)
            if isinstance(value, Mapping) and isinstance(base.get(key), Mapping)
            else value
            for key, value in over.items()
        },
    }


def read_recipe(path: Path) -> dict[str, Any]:
    """A recipe. One that ``extends`` another has methods of its own, each ``like`` one of those.

    Raises:
        UserError: the other has no such method.
    """
    recipe: dict[str, Any] = yaml.safe_load(path.read_text())
    if "extends" not in recipe:
        return recipe
    base, methods = read_recipe(path.parent / recipe.pop("extends")), {}
    for name, entry in recipe["methods"].items():
        like = entry.pop("like", None)
        if like not in base["methods"]:
            raise UserError(
                f"{path}: methods.{name}.like is {like!r}: choose of {', '.join(base['methods'])}"
            )
        methods[name] = merged(base["methods"][like], entry)
    return {**merged(base, recipe), "methods": methods}


def plan(recipe: Mapping[str, Any], out: Path, steps: int | None = None) -> list[Run]:
    """All runs of a recipe, method by method within a seed: a table of one seed comes first.

    Args:
        recipe: ``configs/bench/mini.yaml``, or one like it.
        out: Folder of data and runs.
        steps: Optimiser steps in place of the recipe's; such runs lie beside the others.

    Raises:
        UserError: a method has an unknown entry, or names a method that is not there.
    """
    methods = recipe["methods"]
    runs = []
    for seed in recipe["seeds"]:
        for name, entry in methods.items():
            if unknown := entry.keys() - _METHOD:
                raise UserError(
                    f"methods.{name} has the entry {min(unknown)}: choose of {', '.join(_METHOD)}"
                )
            network = entry.get("untrained", name)
            if network not in methods or "untrained" in methods[network]:
                raise UserError(
                    f"methods.{name}.untrained is {network!r}: name a method that trains"
                )
            config = _pretraining(recipe, methods[network], out, seed, steps)
            digest = config_hash(
                {
                    "data": recipe["data"],
                    "config": {key: value for key, value in config.items() if key != "data"},
                    "batches": {k: v for k, v in config["data"].items() if k != "root"},
                    "evaluators": recipe["evaluators"],
                    "probe_seeds": recipe["probe_seeds"],
                    "entry": {k: entry.get(k) for k in ("untrained", "parts", "sequence")},
                }
            )
            end = "" if steps is None else f"-{steps}"
            untrained = out / "runs" / f"{network}-{seed}{end}" if "untrained" in entry else None
            runs.append(
                Run(
                    method=name,
                    seed=seed,
                    folder=out / "runs" / f"{name}-{seed}{end}",
                    config=config,
                    parts=tuple(entry.get("parts", ["all"])),
                    sequence=entry.get("sequence"),
                    evaluators=tuple(recipe["evaluators"]),
                    probe_seeds=recipe["probe_seeds"],
                    untrained=untrained,
                    digest=digest,
                )
            )
    # an untrained network is made from a run: after it
    return sorted(runs, key=lambda run: (run.seed, run.untrained is not None))


def _pretraining(
    recipe: Mapping[str, Any], entry: Mapping[str, Any], out: Path, seed: int, steps: int | None
) -> dict[str, Any]:
    own = {key: entry[key] for key in ("model", "data", "trainer") if key in entry}
    config = merged(recipe["run"], {"seed_everything": seed, "data": {"seed": seed}})
    config = merged(merged(config, own), {"data": {"root": str(out / "data")}})
    return config if steps is None else merged(config, {"trainer": {"max_steps": steps}})


def make_data(recipe: Mapping[str, Any], out: Path) -> None:
    """Render the data set, or what is missing of it."""
    file, text = out / "data.yaml", yaml.safe_dump(recipe["data"], sort_keys=False)
    if (out / "data" / MANIFEST).exists() and file.exists() and file.read_text() == text:
        return  # only one process may write there, but many may make runs beside one another
    with atomic_write(file) as stream:
        stream.write(text.encode())
    generate.main(["--config", str(file), "--out", str(out / "data")])


def carry_out(run: Run) -> dict[str, Any]:
    """Train and judge one run, or what is missing of it; returns its record."""
    start, before = time.perf_counter(), steps_done(run)
    source = f"random:{run.untrained}" if run.untrained else str(run.folder)
    if run.untrained and not (run.untrained / CHECKPOINTS / LAST).exists():
        raise UserError(f"{run.name} takes the network of {run.untrained}: make that run first")
    if before < run.steps:
        train(run)
        if (done := steps_done(run)) < run.steps:  # told to stop, it saves and returns
            raise UserError(f"stopped after {done} of {run.steps} steps: the same command goes on")
    trained = time.perf_counter() - start
    rows = judge(run, source)
    write_results(run.folder / "eval" / RESULTS, rows)
    command = shlex.join(["python", "-m", "benchmarks.mini", *sys.argv[1:]])
    write_provenance(
        run.folder / "eval", command=command, model=source, data=run.config["data"]["root"]
    )
    record = {
        "method": run.method,
        "seed": run.seed,
        "digest": run.digest,
        "steps": run.steps,
        # of the last session alone, if the run was interrupted
        "steps_per_second": round((run.steps - before) / trained, 3)
        if before < run.steps
        else None,
        "train_seconds": round(trained, 1),
        "judge_seconds": round(time.perf_counter() - start - trained, 1),
        "commit": code_commit(),
        "environment": environment(),
    }
    write_json(run.folder / RECORD, record)
    return record


def steps_done(run: Run) -> int:
    """Optimiser steps of the run's last checkpoint."""
    last = run.folder / CHECKPOINTS / LAST
    return PretrainedMethod(last).step if last.exists() and not run.untrained else 0


def train(run: Run) -> None:
    """Train a run, from its last checkpoint where there is one."""
    make_directory(run.folder)
    file = run.folder / "recipe.yaml"
    with atomic_write(file) as stream:
        stream.write(yaml.safe_dump(dict(run.config), sort_keys=False).encode())
    shown = str(sys.stderr.isatty()).lower()
    options = ["--out", str(run.folder), "--trainer.enable_progress_bar", shown]
    with quiet():
        pretrain.main(["--config", str(file), *options])


def judge(run: Run, source: str) -> list[Result]:
    """Every figure of a run's frozen features."""
    backbone = open_backbone(source, seed=run.seed)
    options = {"precision": run.config["trainer"]["precision"]}
    data = run.config["data"]
    views = ViewDataModule(
        data["root"],
        batch_size=128,
        preprocess=backbone.preprocess,
        num_workers=data["num_workers"],
    )
    train, val = (
        extract(
            backbone,
            views,
            run.folder / "eval",
            split=split,
            trainer_options=options,
            progress=sys.stderr.isatty(),
        )
        for split in ("train", "val")
    )
    evaluators = [instantiate(Evaluator, each) for each in run.evaluators]  # type: ignore[type-abstract]
    if run.sequence is not None:
        evaluators.append(SequenceClassification(lengths=(run.sequence,), recipe="quick"))
    return evaluate(
        train,
        val,
        evaluators=evaluators,
        parts=run.parts,
        seeds=run.probe_seeds,
        model=run.method,
        config={"digest": run.digest},
        method=open_method(source, seed=run.seed),
    )


def figures(runs: list[Run]) -> Iterator[dict[str, Any]]:
    """Every figure's mean and deviation over seeds of pretraining; probes' seeds are averaged."""
    found: dict[tuple[str, str, str], dict[int, list[Result]]] = {}
    for run in runs:
        if run.record() is not None:
            for row in read_results(run.folder / "eval" / RESULTS):
                seeds = found.setdefault((run.method, row.part, row.metric), {})
                seeds.setdefault(run.seed, []).append(row)
    for (method, part, metric), seeds in found.items():
        values = [statistics.fmean(row.value for row in rows) for rows in seeds.values()]
        yield {
            "method": method,
            "part": part,
            "metric": metric,
            "mean": statistics.fmean(values),
            "std": statistics.stdev(values) if len(values) > 1 else None,
            "values": values,
            "seeds": list(seeds),
            "baseline": next(iter(seeds.values()))[0].baseline,
        }


def table(recipe: Mapping[str, Any], runs: list[Run]) -> dict[str, Any]:
    """All that is finished, as plain data."""
    records = [record for run in runs if (record := run.record()) is not None]
    return {
        "recipe": config_hash(recipe),
        "finished": len(records),
        "planned": len(runs),
        "methods": {
            name: {
                "title": entry["title"],
                "follows": entry.get("follows", "all"),
                "sequence": entry.get("sequence"),
            }
            for name, entry in recipe["methods"].items()
        },
        "figures": list(figures(runs)),
        "runs": records,
    }


def main() -> int:
    """Carry out what is asked for and not finished; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mini", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="METHOD", help="these methods")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="SEED", help="these seeds")
    parser.add_argument("--steps", type=int, help="optimiser steps in place of the recipe's")
    parser.add_argument("--out", type=Path, default=Path("bench-mini"), help="data and runs")
    parser.add_argument("--config", type=Path, default=CONFIG, help="another recipe")
    parser.add_argument("--save", metavar="NAME", help="to benchmarks/results/NAME.json")
    asked = parser.parse_args()
    try:
        return _make_table(asked)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2


def _make_table(asked: argparse.Namespace) -> int:
    recipe = read_recipe(asked.config)
    runs = plan(recipe, asked.out, asked.steps)
    for option, given, known in (
        ("--only", asked.only, list(recipe["methods"])),
        ("--seeds", asked.seeds, recipe["seeds"]),
    ):
        if wrong := [each for each in given or () if each not in known]:
            raise UserError(f"{option} {wrong[0]}: choose of {', '.join(map(str, known))}")
    chosen = [
        run
        for run in runs
        if run.method in (asked.only or recipe["methods"])
        and run.seed in (asked.seeds or recipe["seeds"])
    ]
    left = [run for run in chosen if run.record() is None]
    print(f"{len(left)} of {len(chosen)} runs are to be made, in {asked.out}", flush=True)
    if left:
        make_data(recipe, asked.out)
    failed, begun = 0, time.perf_counter()
    for done, run in enumerate(left, start=1):
        try:
            record = carry_out(run)
        except UserError as error:  # the others can still be made
            failed += 1
            print(f"{run.name}: {error}", file=sys.stderr, flush=True)
            continue
        minutes = (time.perf_counter() - begun) / done * (len(left) - done) / 60
        speed = record["steps_per_second"]
        trained = "not trained" if speed is None else f"{run.steps} steps at {speed:.1f}/s"
        judged = f"judged in {record['judge_seconds']:.0f} s"
        print(
            f"[{done}/{len(left)}] {run.name}: {trained}, {judged}; "
            f"{datetime.now(timezone.utc):%H:%M} UTC, {minutes:.0f} min left",
            flush=True,
        )
        _write(asked, recipe, runs)
    _write(asked, recipe, runs)
    return int(failed > 0)


def _write(asked: argparse.Namespace, recipe: Mapping[str, Any], runs: list[Run]) -> None:
    found = table(recipe, runs)
    ours = asked.steps is None and asked.config.resolve().parent == CONFIG.parent
    if name := asked.save or (asked.config.stem if ours else None):
        write_benchmark(name, found)
    else:
        write_json(asked.out / "mini.json", found)


if __name__ == "__main__":
    sys.exit(main())

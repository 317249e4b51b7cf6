"""Evaluation: every evaluator beside the feature pass, and beside the papers' way.

``python -m benchmarks.eval`` writes ``benchmarks/results/eval.json``; ``--quick`` takes tiny
settings and prints.

* ``suite``: the evaluators of ``configs/eval/full.yaml`` on all views of made-up objects, one by
  one, and the bare feature pass of the same views before them. ``ratio`` is pass and evaluators
  over the pass alone; ``cpu_ratio`` the same of processor seconds, to be read on a busy machine.
* ``published``: the papers' protocol (``benchmarks/published_protocol.py``) timed for some epochs
  and extrapolated to its 300, against a feature pass (of training and validation views) and
  cached training. ``one_head`` asks for one part and seed; ``all_heads`` for every part and three
  seeds, which the published evaluators train one after the other. ``factors`` tell how many times
  less time ours takes: with as many views as there are; from the same speeds, with 50; and once
  the features are at hand, as they are for every head but the first. Of N objects with V views the
  protocol encodes 480 N (two of each training object, 300 times), the pass V N. So the first head,
  which pays for the pass, gains 480 / V at most in the same precision, however fast it is trained;
  ``few views`` encodes six of each training object (``ssl-equiv eval --train_views 6``).
* ``r2``: both in full on a small set as the demo's, three seeds each: pooled R² of rotation,
  BatchNorm in evaluation mode, and as published in train mode. Give ``--model RUN`` of a trained
  run (the demo's): a random network's R² is little above ``constant``, a constant predictor's.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
import yaml

import eval.evaluators  # noqa: F401 (a configuration names its classes)
from benchmarks.common import RESULTS, timed, write
from benchmarks.published_protocol import (
    Setting,
    compare_r2,
    features,
    method,
    published,
    stopwatch,
)
from data_gen.generate import generate
from data_gen.procedural import CLASSES, DEMO_CLASSES
from data_gen.recipe import Recipe
from data_gen.sources import ProceduralSource
from eval.protocol import Evaluator, Measurement, NotApplicable, Task, evaluate
from ssl_equiv.data.module import ViewDataModule
from ssl_equiv.export import open_backbone
from ssl_equiv.methods import Method
from ssl_equiv.parsing import Parser

CONFIGS = Path(__file__).parents[1] / "configs"
FULL, DEMO = CONFIGS / "eval" / "full.yaml", CONFIGS / "data" / "demo.yaml"
TINY = Setting(
    *(50, 4, 32),
    batch=16,
    epochs=2,
    timed_epochs=1,
    train_views=2,
    small_objects=60,
    small_batch=16,
    workers=0,
)


def dataset(root: Path, objects: int, views: int, size: int, workers: int | None) -> Path:
    """Full nuisances, many classes."""
    recipe = Recipe.from_dict({"num_views": views, "image_size": size})
    source = ProceduralSource(objects, CLASSES[: min(20, objects // 10)])
    generate(source, recipe, root, num_workers=workers, progress=False)
    return root


def easy_dataset(root: Path, objects: int, views: int, size: int, workers: int | None) -> Path:
    """As the demo's: features follow rotations well enough for R² to say something."""
    recipe = {**yaml.safe_load(DEMO.read_text())["recipe"], "num_views": views, "image_size": size}
    source = ProceduralSource(objects, DEMO_CLASSES, class_colors=True)
    generate(source, Recipe.from_dict(recipe), root, num_workers=workers, progress=False)
    return root


def listed(path: Path) -> list[Evaluator]:
    """The evaluators of a configuration of ``ssl-equiv eval``."""
    parser = Parser()
    parser.add_argument("--evaluators", type=list[Evaluator])
    asked = {"evaluators": yaml.safe_load(path.read_text())["evaluators"]}
    found: list[Evaluator] = parser.instantiate(parser.parse_object(asked)).evaluators
    return found


@dataclass
class Log:
    """What timed evaluators did.

    Attributes:
        seconds: Of each.
        cpu: Processor seconds of each, over all threads.
        left_out: Those that cannot judge this model or these data, and why.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


LOG = Log()


@dataclass(frozen=True)
class Timed(Evaluator):
    """An evaluator whose seconds are noted."""

    inner: Evaluator

    def __call__(self, task: Task) -> list[Measurement]:
        """Judge with it."""
        name, start, cpu = called(self.inner), time.perf_counter(), time.process_time()
        try:
            found = self.inner(task)
        except NotApplicable as reason:
            LOG.left_out[name] = str(reason)
            return []
        LOG.seconds[name] = time.perf_counter() - start
        LOG.cpu[name] = time.process_time() - cpu
        return found


def called(evaluator: Evaluator) -> str:
    """Its class and what differs from the defaults."""
    given = (
        f"{f.name}={getattr(evaluator, f.name)!r}"
        for f in fields(evaluator)  # type: ignore[arg-type]
        if getattr(evaluator, f.name) != f.default
    )
    return f"{type(evaluator).__name__}({', '.join(given)})"


def suite(model: Method, data: ViewDataModule, folder: Path, path: Path) -> dict[str, Any]:
    """Every evaluator beside the bare pass."""
    seconds: dict[str, float] = {}
    cpu = time.process_time()
    with stopwatch(seconds, "pass"):
        train, val = features(model, data, folder)
    seconds["pass_cpu"] = time.process_time() - cpu
    LOG.seconds, LOG.cpu, LOG.left_out = {}, {}, {}
    asked = [Timed(evaluator) for evaluator in listed(path)]
    given: dict[str, Any] = {"encoder": model, "method": model, "data": data, "folder": folder}
    with stopwatch(seconds, "evaluators"):
        rows = evaluate(train, val, evaluators=asked, **given)
    views = (train.num_objects + val.num_objects) * train.num_views
    return {
        "evaluators": path.name,
        "views": views,
        "rows": len(rows),
        "pass_seconds": seconds["pass"],
        "views_per_second": views / seconds["pass"],
        "evaluators_seconds": seconds["evaluators"],
        "each": dict(sorted(LOG.seconds.items(), key=lambda item: -item[1])),
        "pass_cpu_seconds": seconds["pass_cpu"],
        "each_cpu": LOG.cpu,
        "left_out": LOG.left_out,
        "ratio": (seconds["pass"] + seconds["evaluators"]) / seconds["pass"],
        "cpu_ratio": 1 + sum(LOG.cpu.values()) / seconds["pass_cpu"],
    }


def measure(
    setting: Setting, path: Path, only: Sequence[str], encoder: str | None = None
) -> Iterator[dict[str, Any]]:
    """What is written, after each section: what was measured stays if a later one fails."""
    results: dict[str, Any] = {"setting": vars(setting) | {"backbone": "resnet18"}}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if {"suite", "published"} & set(only):
            sizes = setting.objects, setting.views, setting.size
            root = dataset(folder / "large", *sizes, setting.workers)
            model = method()
            data = ViewDataModule(str(root), num_workers=setting.workers)
            warm = torch.randn(256, 3, setting.size, setting.size)
            timed(lambda: model.encode(warm), repeats=1)
            if "suite" in only:
                results["suite"] = suite(model, data, folder / "suite", path)
                yield results
            if "published" in only:
                place = folder / "published"
                results["published"] = published(model, data, place, setting)
                yield results
        if "r2" in only:
            small = (setting.small_objects, setting.views, setting.small_size)
            root = easy_dataset(folder / "small", *small, setting.workers)
            results["r2"] = compare_r2(root, folder / "r2", setting, encoder)
            yield results


def main(args: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny, and print: writes nothing")
    parser.add_argument("--suite", type=Path, default=FULL, help="configuration with evaluators")
    parser.add_argument("--model", help="run whose R2 is compared; by default a random network")
    sections = ("suite", "published", "r2")
    parser.add_argument("--only", nargs="*", choices=sections, help="keep the others' figures")
    options = parser.parse_args(args)
    setting = TINY if options.quick else Setting()
    if options.model:
        open_backbone(options.model)  # a wrong path is told before minutes are spent
    results: dict[str, Any] = {}
    for results in measure(setting, options.suite, options.only or sections, options.model):
        if not options.quick:
            path = RESULTS / "eval.json"
            known = json.loads(path.read_text())["results"] if path.exists() else {}
            same = known.get("setting") == json.loads(json.dumps(results["setting"]))
            print(f"written to {write('eval', {**(known if same else {}), **results})}")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()

"""The reference table's runner: its plan, a tiny table made in parts, and what is written."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks import mini
from benchmarks.table import mini_table
from data_gen.procedural import CLASSES, LOOK_ALIKES
from ssl_equiv.errors import UserError

RECIPE: dict[str, Any] = yaml.safe_load(mini.CONFIG.read_text())


def test_every_method_of_the_table_is_planned_with_one_budget() -> None:
    runs = mini.plan(RECIPE, Path("out"))
    assert len(runs) == len(RECIPE["methods"]) * len(RECIPE["seeds"])
    assert len({run.folder for run in runs}) == len({run.digest for run in runs}) == len(runs)
    assert len({run.steps for run in runs if not run.untrained}) == 1
    views = {run.config["data"]["num_views"] * run.config["data"]["batch_size"] for run in runs}
    assert len(views) == 1, "as many views a step for every method"
    for run in runs:
        assert RECIPE["methods"][run.method].get("follows", "all") in run.parts


def test_the_data_have_twenty_classes_or_more_in_pairs_of_look_alikes() -> None:
    classes = set(RECIPE["data"]["classes"])
    assert len(classes) >= 20
    assert classes <= set(CLASSES) | set(LOOK_ALIKES)
    assert all({copy, original} <= classes for copy, original in LOOK_ALIKES.items())


def test_the_digest_follows_all_that_shapes_a_figure() -> None:
    before = {run.name: run.digest for run in mini.plan(RECIPE, Path("out"))}
    moved = {run.name: run.digest for run in mini.plan(RECIPE, Path("elsewhere"))}
    assert moved == before
    longer = {run.name: run.digest for run in mini.plan(RECIPE, Path("out"), steps=7)}
    assert all(longer[name] != before[name] for name in before)
    other = mini.merged(RECIPE, {"methods": {"sie": {"model": {"init_args": {"equi_dim": 64}}}}})
    changed = {run.name: run.digest for run in mini.plan(other, Path("out"))}
    assert {name for name in before if changed[name] != before[name]} == {
        "sie seed 0",
        "sie seed 1",
    }


def test_a_mistyped_entry_is_told() -> None:
    with pytest.raises(UserError, match=r"methods\.sie has the entry follow:"):
        mini.plan(mini.merged(RECIPE, {"methods": {"sie": {"follow": "equi"}}}), Path("out"))
    with pytest.raises(UserError, match=r"untrained is 'byol'"):
        mini.plan(mini.merged(RECIPE, {"methods": {"random": {"untrained": "byol"}}}), Path("out"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe of two methods and their random weights, that takes seconds."""
    config = {
        "data": {
            "objects": "procedural",
            "num_objects": 16,
            "classes": ["car", "patrol_car"],
            "recipe": {"num_views": 4, "image_size": 32},
            "num_workers": 1,
        },
        "seeds": [0, 1],
        "run": {
            "model": {"init_args": {"backbone": {"name": "test_resnet"}}},
            "data": {"num_views": 2, "batch_size": 4, "num_workers": 0},
            "trainer": {"max_steps": 2, "precision": "32-true", "accelerator": "cpu"},
        },
        "probe_seeds": 1,
        "evaluators": [
            {"class_path": "eval.evaluators.LinearClassification", "init_args": {"recipe": "quick"}}
        ],
        "methods": {
            "random": {"title": "random weights", "untrained": "sie"},
            "sie": {
                "title": "SIE",
                "parts": ["all", "equi"],
                "follows": "equi",
                "model": {
                    "class_path": "ssl_equiv.methods.SIE",
                    "init_args": {"projector_widths": [16, 16, 16]},
                },
            },
        },
    }
    path = tmp_path_factory.mktemp("bench") / "tiny.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def run(tiny: Path, monkeypatch: pytest.MonkeyPatch, *args: str) -> dict[str, Any]:
    """The runner's results."""
    out = tiny.parent / "out"
    command = ["mini", "--config", str(tiny), "--out", str(out), *args]
    monkeypatch.setattr(sys, "argv", command)
    assert mini.main() == 0
    found: dict[str, Any] = json.loads((out / "mini.json").read_text())
    return found


@pytest.mark.render
def test_a_table_is_made_in_parts_and_what_is_finished_is_not_made_again(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    part = run(tiny, monkeypatch, "--only", "sie", "--seeds", "0")
    assert (part["finished"], part["planned"]) == (1, 4)
    whole = run(tiny, monkeypatch)
    assert "3 of 4 runs are to be made" in capsys.readouterr().out
    assert whole["finished"] == 4
    rows = {
        (row["method"], row["part"]): row for row in whole["figures"] if row["metric"] == "top1"
    }
    assert set(rows) == {("random", "all"), ("sie", "all"), ("sie", "equi")}
    assert all(row["seeds"] == [0, 1] and row["std"] is not None for row in rows.values())
    first = next(r for r in part["figures"] if r["metric"] == "top1" and r["part"] == "equi")
    assert first["values"][0] == rows["sie", "equi"]["values"][0]

    monkeypatch.setattr(mini, "train", None)  # nothing is trained or judged again
    monkeypatch.setattr(mini, "judge", None)
    assert run(tiny, monkeypatch) == whole

    lines = mini_table(whole).splitlines()
    assert any("SIE" in line and "equi" in line for line in lines)


@pytest.mark.render
def test_a_run_that_is_not_there_is_told(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["mini", "--config", str(tiny), "--only", "byol"])
    assert mini.main() == 2
    assert "--only byol: choose of random, sie" in capsys.readouterr().err
    random = mini.plan(yaml.safe_load(tiny.read_text()), tiny.parent / "none")[-1]
    with pytest.raises(UserError, match="make that run first"):
        mini.carry_out(random)


def test_a_stopped_run_is_not_judged(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = mini.plan(yaml.safe_load(tiny.read_text()), tiny.parent / "stopped")[0]
    monkeypatch.setattr(mini, "train", lambda run: None)  # told to stop before its first step
    with pytest.raises(UserError, match="stopped after 0 of 2 steps: the same command goes on"):
        mini.carry_out(first)
    assert first.record() is None


def test_trials_are_like_methods_of_the_table_but_for_what_they_say(tmp_path: Path) -> None:
    path = mini.CONFIG.with_name("sie_trials.yaml")
    trials = mini.read_recipe(path)
    assert trials["data"] == RECIPE["data"]
    runs = {run.method: run for run in mini.plan(trials, Path("out")) if run.seed == 0}
    table = {run.method: run for run in mini.plan(RECIPE, Path("out")) if run.seed == 0}
    assert runs["sie"].config == table["sie"].config
    small, without = runs["sie_small"], runs["sie_small_no_prediction_variance"]
    assert small.config["model"] == table["sie"].config["model"]
    assert small.config["data"] == {**table["sie"].config["data"], "preprocess": {"size": 32}}
    own = without.config["model"]["init_args"]
    assert own == {**small.config["model"]["init_args"], "prediction_variance_weight": 0.0}
    (tmp_path / "mini.yaml").write_text(yaml.safe_dump(RECIPE))
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(yaml.safe_dump({"extends": "mini.yaml", "methods": {"x": {"like": "syie"}}}))
    with pytest.raises(UserError, match=r"methods\.x\.like is 'syie': choose of augself, "):
        mini.read_recipe(wrong)

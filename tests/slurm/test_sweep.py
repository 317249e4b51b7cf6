from __future__ import annotations

from pathlib import Path

import pytest

from slurm.sweep import as_arguments, named, read_sweep
from ssl_equiv.errors import UserError


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    return path


def test_a_grid_is_every_combination_with_telling_names(tmp_path: Path) -> None:
    grid = "grid: {model.init_args.optimizer.lr: [0.1, 0.01], seed_everything: [0, 1]}"
    runs = read_sweep(write(tmp_path, grid))
    assert list(runs) == ["lr=0.1,seed=0", "lr=0.1,seed=1", "lr=0.01,seed=0", "lr=0.01,seed=1"]
    assert runs["lr=0.01,seed=1"] == {
        "model.init_args.optimizer.lr": 0.01,
        "seed_everything": 1,
    }


def test_listed_runs_have_names_of_their_own(tmp_path: Path) -> None:
    text = "runs:\n  - {name: wide, a.dim: 8}\n  - {a.dim: 4, b.dim: 2, b.on: true}\n"
    runs = read_sweep(write(tmp_path, text))
    assert runs == {
        "wide": {"a.dim": 8},
        "a.dim=4,b.dim=2,on=true": {"a.dim": 4, "b.dim": 2, "b.on": True},
    }


def test_values_reach_the_command_line_as_they_are() -> None:
    values = {"a": [1, 2], "b": "text", "c": None, "d": True, "e": 1e-05, "f": {"x": 1}}
    assert as_arguments(values) == [
        *("--a=[1, 2]", "--b=text", "--c=null", "--d=true", "--e=1e-05", '--f={"x": 1}')
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grid: {a: 1}", "grid must be keys with lists"),
        ("grid: {a: []}", "grid must be keys with lists"),
        ("runs: {a: 1}", "runs must be a list"),
        ("runs: []", "has 0 runs"),
        ("grid: {a: [1]}\nruns: []", "either 'grid' or 'runs'"),
        ("a: 1", "either 'grid' or 'runs'"),
        ("grid: {a: [1, 1]}", "two runs are called a=1"),
        ("runs: [{name: ../x, a: 1}]", "cannot name a folder"),
        ("a: [", "is not readable YAML"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as told:
        read_sweep(write(tmp_path, text))
    assert message in str(told.value)
    assert "\n" not in str(told.value)


def test_names_are_safe_for_folders() -> None:
    (name,) = named([{"path": "/a b/c.ckpt", "sizes": [1, 2]}], "x")
    assert name == "path=a-b-c.ckpt,sizes=1-2"

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from eval import results
from eval.results import (
    Result,
    code_commit,
    config_hash,
    read_results,
    summarise,
    write_results,
)
from ssl_equiv.errors import UserError

ROW = Result("top1", 0.5, "inv", "val", 0, "abc", "0123", 0.1, "sie")


def test_rows_survive_the_file(tmp_path: Path) -> None:
    rows = [ROW, replace(ROW, seed=1, baseline=None)]
    write_results(tmp_path / "results.json", rows)
    assert read_results(tmp_path / "results.json") == rows
    raw = json.loads((tmp_path / "results.json").read_text())
    assert {"metric", "value", "part", "split", "seed", "commit", "config_hash"} <= set(
        raw["results"][0]
    )


def test_a_figure_that_is_no_number_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_results(tmp_path / "results.json", [replace(ROW, value=float("nan"))])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not readable JSON"),
        ('{"format": "other"}', "format 'other'"),
        ('{"format": "ssl-equiv-results/1"}', "malformed"),
        ('{"format": "ssl-equiv-results/1", "results": [{"metric": "top1"}]}', "malformed"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_results(path)


def test_summaries_are_over_seeds_only() -> None:
    rows = [replace(ROW, seed=seed, value=value) for seed, value in ((0, 0.4), (1, 0.5), (2, 0.6))]
    rows.insert(1, replace(ROW, part="equi", value=0.9))
    inv, equi = summarise(rows)
    assert (inv.part, inv.seeds, inv.values) == ("inv", (0, 1, 2), (0.4, 0.5, 0.6))
    assert inv.mean == pytest.approx(0.5)
    assert inv.std == pytest.approx(0.1)
    assert (equi.mean, equi.std, equi.baseline) == (0.9, None, 0.1)
    assert str(inv) == "top1 [inv] 0.5 ± 0.1 (constant: 0.1)"


def test_hashes_tell_configurations_apart() -> None:
    assert config_hash({"a": 1, "b": [2]}) == config_hash({"b": [2], "a": 1})
    assert config_hash({"a": 1}) != config_hash({"a": 2})
    assert len(config_hash({})) == 12


def test_commit_of_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*command: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        full = ["git", "-C", str(tmp_path), *identity, *command]
        return subprocess.run(full, check=True, capture_output=True, text=True).stdout.strip()

    source = tmp_path / "results.py"
    monkeypatch.setattr(results, "__file__", str(source))
    source.write_text("a")
    assert code_commit() == "unknown"
    git("init")
    assert code_commit() == "unknown"  # in somebody's repository, but not of it
    git("add", "results.py")
    git("commit", "-m", "a")
    assert code_commit() == git("rev-parse", "HEAD")
    source.write_text("b")
    assert code_commit() == git("rev-parse", "HEAD") + "-dirty"

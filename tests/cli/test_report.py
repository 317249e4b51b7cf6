from __future__ import annotations

from pathlib import Path

import pytest

from ssl_equiv import cli
from tests.eval.report.made_up import write_run


def test_runs_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [write_run(tmp_path / f"vicreg-seed{seed}", "VICReg", seed) for seed in (0, 1)]
    out = tmp_path / "new" / "page.html"
    assert cli.main(["report", *map(str, runs), "--out", str(out)]) == 0
    assert "1 model from 2 runs: vicreg." in out.read_text()
    told = capsys.readouterr().out
    for name in ("page.html", "page.csv", "page.json", "page.tex"):
        assert (out.parent / name).is_file()
        assert str(out.parent / name) in told


def test_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    half = write_run(tmp_path / "half", "SIE", 0)
    (half / "config.yaml").unlink()
    out = tmp_path / "report.html"
    for args, message in (
        ([str(tmp_path / "absent")], "is not a folder"),
        ([str(tmp_path / "empty")], "holds neither a run nor results.json"),
        ([str(half)], "holds checkpoints but no config.yaml"),
        ([str(half), "--output", "x"], "unknown key output: did you mean out?"),
        ([], "directories"),
    ):
        assert cli.main(["report", *args, "--out", str(out)]) == 2, args
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert line.startswith("error: ")
        assert message in line
    assert not list(tmp_path.glob("report.*"))

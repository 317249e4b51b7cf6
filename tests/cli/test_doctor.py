from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from ssl_equiv import cli
from ssl_equiv.cli import doctor


def test_everything_works_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--folder", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    for what in ("versions", "rendering", "reading", "training", "saving"):
        assert what in told
    assert "things do not work" not in told or "0 things do not work" in told
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_work_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(root: Path) -> str:
        raise OSError("no such device\nand more")

    monkeypatch.setattr(doctor, "_render", broken)
    usage = SimpleNamespace(free=1000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.main(["doctor", "--folder", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert "OSError: no such device" in told
    assert "training" not in told  # what follows needs it
    assert "1 things do not work" in told
    assert cli.main(["doctor", "--folder", str(tmp_path / "absent")]) == 2
    assert "is not a folder" in capsys.readouterr().err

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from ssl_equiv import cli


@pytest.fixture
def export(tmp_path: Path) -> Path:
    for name in ("ssl_equiv.json", "config.json", "model.safetensors"):
        (tmp_path / name).write_text("{}")
    return tmp_path


def test_a_dry_run_shows_and_uploads_nothing(
    export: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(HfApi, "create_repo")
    monkeypatch.delattr(HfApi, "upload_folder")
    assert cli.main(["push", str(export), "--repo", "me/mine", "--dry-run", "true"]) == 0
    told = capsys.readouterr().out
    assert "model.safetensors" in told
    assert "would go to https://huggingface.co/me/mine; nothing was uploaded" in told


def test_an_upload(
    export: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []

    def create(self: HfApi, repo: str, **options: Any) -> None:
        calls.append((repo, options))

    def upload(self: HfApi, **options: Any) -> str:
        calls.append(options)
        return "https://huggingface.co/me/mine/commit/1"

    monkeypatch.setattr(HfApi, "create_repo", create)
    monkeypatch.setattr(HfApi, "upload_folder", upload)
    assert cli.main(["push", str(export), "--repo", "me/mine", "--private", "true"]) == 0
    assert calls[0] == ("me/mine", {"private": True, "exist_ok": True})
    assert calls[1]["folder_path"] == str(export)
    assert 'timm.create_model("hf-hub:me/mine"' in capsys.readouterr().out


def test_bad_input(
    export: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: HfApi, repo: str, **options: Any) -> None:
        raise OSError("cannot reach huggingface.co\nand more")

    monkeypatch.setattr(HfApi, "create_repo", refuse)
    for folder, repo, message in (
        (export.parent, "me/mine", "is no export: make one with 'ssl-equiv export'"),
        (export, "mine", "repo is 'mine': give USER/NAME"),
        (export, "me/..x", "repo 'me/..x': "),
        (export, "me/mine", "the hub refuses me/mine: cannot reach huggingface.co (log in"),
    ):
        assert cli.main(["push", str(folder), "--repo", repo]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
        assert message in line

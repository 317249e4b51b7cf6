"""What ``--help`` shows, and what a shell completes."""

from __future__ import annotations

import subprocess
from importlib import import_module
from pathlib import Path

import pytest

from ssl_equiv.cli import COMMANDS, main, module_of
from ssl_equiv.cli.completion import everything
from ssl_equiv.parsing import parser_of

SCREEN = 72  # lines of 100 columns


@pytest.fixture(autouse=True)
def columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "submit"])
def test_help_fits_a_screen(name: str) -> None:
    text = parser_of(import_module(module_of(name)).main).format_help()
    assert len(text.splitlines()) <= SCREEN
    assert "Args:" not in text
    assert text.startswith(f"usage: ssl-equiv {name}")


@pytest.mark.parametrize("kind", ["pretrain", "sweep", "eval", "generate", "report"])
def test_help_of_jobs_fits_a_screen(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["submit", kind, "--help"])
    assert 10 < len(capsys.readouterr().out.splitlines()) <= SCREEN


def test_pretrain_tells_of_all_options_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["pretrain", "--help"])
    short = capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["pretrain", "--help-all"])
    long = capsys.readouterr().out
    assert "--data.root" in short
    assert "--trainer.gradient_clip_val" not in short
    assert "--trainer.gradient_clip_val" in long


def test_a_shortened_option_still_works(tmp_path: Path) -> None:
    code = main(["pretrain", "--trainer.gradient_clip_val", "many", "--out", str(tmp_path / "run")])
    assert code == 2


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "ssl-equiv"
    import shtab

    path.write_text(shtab.complete(everything(), "bash"))
    return path


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["pre"], {"pretrain"}),
        (["pretrain", "--trainer.gradient_clip_a"], {"--trainer.gradient_clip_algorithm"}),
        (["pretrain", "--best_mode", ""], {"max", "min"}),
        (["submit", "sw"], {"sweep"}),
        (["submit", "pretrain", "--dry"], {"--dry_run"}),
        (["export", "--t"], {"--to"}),
    ],
)
def test_bash_completes(script: Path, words: list[str], expected: set[str]) -> None:
    line = " ".join(f"'{word}'" for word in ["ssl-equiv", *words])
    commands = (
        f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words)}; "
        "_shtab_ssl_equiv; echo ${COMPREPLY[@]}"
    )
    shown = subprocess.run(["bash", "-c", commands], capture_output=True, text=True)
    assert set(shown.stdout.split()) == expected, shown.stderr


def test_configurations_are_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["generate", "--config=configs/data/demo.yaml", "--print_config"])
    assert "image_size: 48" in capsys.readouterr().out
    (tmp_path / "configs" / "data").mkdir(parents=True)  # the user's own comes first
    (tmp_path / "configs" / "data" / "demo.yaml").write_text("recipe: {image_size: 32}\n")
    with pytest.raises(SystemExit):
        main(["generate", "--config", "configs/data/demo.yaml", "--print_config"])
    assert "image_size: 32" in capsys.readouterr().out


def test_a_missing_configuration_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    assert main(["generate", "--config", str(path)]) == 2
    assert capsys.readouterr().err == f"error: --config: no file {path}\n"

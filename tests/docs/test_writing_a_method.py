from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from eval.results import read_results
from ssl_equiv.checkpoint import read_checkpoint
from tests.conftest import write_folder

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "writing_a_method.md").read_text()
FILES = dict(re.findall(r"^`([^`\n]+)`:\n\n```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
COMMANDS = re.findall(r"^\$ PYTHONPATH=\. (.+)$", PAGE, re.MULTILINE)
PARTS = {"all", "inv", "equi"}
# what makes the page's commands quick; the files are as printed
QUICK = {
    "pretrain": [
        *("--trainer.max_steps", "2", "--trainer.accelerator", "cpu", "--data.batch_size", "4"),
        *("--data.num_workers", "0", "--trainer.enable_progress_bar", "false"),
    ],
    "eval": ["--recipe", "quick", "--seeds", "1", "--num_workers", "0", "--progress", "false"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's files, as a reader would have them."""
    made = tmp_path_factory.mktemp("reader")
    for name, text in FILES.items():
        (made / name).parent.mkdir(exist_ok=True)
        (made / name).write_text(text)
    write_folder(made / "DIR", classes=2, objects=8)
    return made


def run(folder: Path, command: str) -> str:
    """Run a command of the page in a process of its own: the reader's method stays there."""
    words = shlex.split(command)
    if words[0] == "ssl-equiv":
        start = "import sys; from ssl_equiv.cli import main; sys.exit(main())"
        words = [sys.executable, "-c", start, *words[1:], *QUICK.get(words[1], [])]
    else:
        words[0] = sys.executable
    environment = {**os.environ, "PYTHONPATH": ".", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_page_has_four_files_and_the_commands() -> None:
    assert list(FILES) == [
        "twins/loss.py",
        "twins/method.py",
        "rotation_twins.yaml",
        "tests/test_twins.py",
    ]
    assert PAGE.count("\n```python\n") + PAGE.count("\n```yaml\n") == len(FILES)
    assert len(COMMANDS) == 4


@pytest.mark.slow
def test_the_pages_test_and_training_run(folder: Path) -> None:
    assert "2 passed" in run(folder, COMMANDS[0])
    run(folder, COMMANDS[1])
    checkpoint = read_checkpoint(folder / "RUN" / "checkpoints" / "last.ckpt")
    assert checkpoint["ssl_equiv"]["class_path"] == "twins.method.RotationTwins"
    assert checkpoint["global_step"] == 2


@pytest.mark.slow
def test_the_run_is_judged_and_exported(folder: Path) -> None:
    if not (folder / "RUN").exists():
        run(folder, COMMANDS[1])
    for command in COMMANDS[2:]:
        run(folder, command)
    assert {row.part for row in read_results(folder / "RUN/eval/results.json")} == PARTS
    assert (folder / "BACKBONE" / "model.safetensors").is_file()


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".py")])
def test_the_pages_files_are_in_our_style(folder: Path, name: str) -> None:
    ruff = [sys.executable, "-m", "ruff", "--config", str(ROOT / "pyproject.toml")]
    # whose package comes first among the imports is the reader's affair; tests have no docstrings
    for check in (["check", "--ignore", "I001,D103"], ["format", "--check"]):
        command = [*ruff[:3], *check, *ruff[3:], "--no-cache", str(folder / name)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

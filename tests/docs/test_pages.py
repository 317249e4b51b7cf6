"""Python of the pages runs, and their commands are those of the command line."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ssl_equiv import cli
from ssl_equiv.cli import COMMANDS

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "METHODS.md"])
RUN = ("concepts", "howto", "export")
# options that a command takes without naming them in its own help
_FREE = re.compile(r"--(data|model|trainer|optimizer|recipe|backbone)\.")
_THROUGH = ("submit",)  # hands on what it does not know


@pytest.mark.parametrize("name", RUN)
def test_the_pages_python_runs(name: str, tmp_path: Path) -> None:
    text = (ROOT / "docs" / f"{name}.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert blocks
    # rendering starts processes, which import the script that started them
    body = "".join(f"    {line}\n" for line in "\n".join(blocks).splitlines())
    (tmp_path / "page.py").write_text(f"if __name__ == '__main__':\n{body}")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "page.py"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def commands() -> list[tuple[str, list[str]]]:
    """Every ``ssl-equiv`` line of a shell block: its page, and its words."""
    found = []
    for page in PAGES:
        for block in re.findall(r"^```(?:bash|sh)\n(.*?)^```$", page.read_text(), re.M | re.S):
            for line in block.replace("\\\n", " ").splitlines():
                line = line.removeprefix("$ ").strip()
                if line.startswith("ssl-equiv "):
                    words = shlex.split(line, comments=True)
                    found.append((page.name, words[1:]))
    return found


def test_commands_of_the_pages_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    every, helps = commands(), {}
    assert len(every) > 20
    wrong = []
    for page, words in every:
        name = words[0]
        if name.startswith("-"):
            continue
        if name not in COMMANDS:
            wrong.append(f"{page}: no command {name}")
            continue
        for word in words:
            shipped = word.startswith(("configs/", "benchmarks/"))
            if shipped and word.isascii() and "*" not in word and not (ROOT / word).exists():
                wrong.append(f"{page}: no file {word}")
        if name in _THROUGH:
            continue
        if name not in helps:
            with pytest.raises(SystemExit):
                cli.main([name, "--help"])
            helps[name] = capsys.readouterr().out
        for word in words[1:]:
            option = word.split("=")[0].replace("-", "_").replace("__", "--", 1)
            if word.startswith("--") and not _FREE.match(word) and option not in helps[name]:
                wrong.append(f"{page}: {name} has no option {word}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("index.html"))
    assert len(pages) > len(PAGES)
    assert (
        "Every operation broadcasts over leading dimensions"
        in (tmp_path / "site" / "reference" / "ssl_equiv.groups" / "index.html").read_text()
    )

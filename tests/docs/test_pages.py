"""Python of the pages runs, and their commands are those of the command line."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

from ssl_equiv import cli
from ssl_equiv.cli import COMMANDS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "METHODS.md"])
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# rendering starts processes, which import the script that started them
OWN_PROCESS = ("export",)
ELSEWHERE = {
    "writing_a_method": "tests/docs/test_writing_a_method.py",
    "lidar_data": "reads data that are not there; tests/data/lidar",
    "lidar_export": "reads weights that are not there; tests/export",
    "report": "reads runs that are not there; tests/eval",
    "shift_equivariance": "downloads weights; tests/backbones, tests/export",
    "equiangular": "reads data that are not there; tests/heads",
    "evaluators/equivariance_error": "a piece; tests/eval",
    "evaluators/ood": "a piece; tests/eval",
}
CODE = {
    path.relative_to(DOCS).with_suffix("").as_posix(): "\n".join(blocks)
    for path in sorted(DOCS.rglob("*.md"))
    if (blocks := BLOCK.findall(path.read_text()))
}
# options that a command takes without naming them in its own help
_FREE = re.compile(r"--(data|model|trainer|optimizer|recipe|backbone|sweeps)\.")
_THROUGH = ("submit",)  # hands on what it does not know


def test_every_page_with_python_is_run_somewhere() -> None:
    assert ELSEWHERE.keys() < CODE.keys()
    assert {"concepts", "howto", "faq", "backbones/timm"} <= CODE.keys() - ELSEWHERE.keys()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name == "export" else name  # every form
        for name in sorted(CODE.keys() - ELSEWHERE.keys())
    ],
)
def test_the_pages_python_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if name not in OWN_PROCESS:
        page = ModuleType("page")
        monkeypatch.setitem(sys.modules, "page", page)  # where timm looks a registered model up
        exec(compile(CODE[name], f"docs/{name}.md", "exec"), vars(page))
        return
    body = "".join(f"    {line}\n" for line in CODE[name].splitlines())
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
    assert len(every) > 80
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
            named = word.isascii() and not set("*{") & set(word) and "NAME" not in word
            if shipped and named and not (ROOT / word).exists():
                wrong.append(f"{page}: no file {word}")
        if name in _THROUGH:
            continue
        if name not in helps:
            with pytest.raises(SystemExit):
                cli.main([name, "--help_all" if name == "pretrain" else "--help"])
            helps[name] = capsys.readouterr().out
        for word in words[1:]:
            option = word.split("=")[0].replace("-", "_").replace("__", "--", 1)
            if word.startswith("--") and not _FREE.match(word) and option not in helps[name]:
                wrong.append(f"{page}: {name} has no option {word}")
    assert not wrong, "\n".join(wrong)


def test_trainings_of_the_pages_are_accepted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    # a page's own configuration or placeholder stands for what is not here
    trainings = {
        (page, *words)
        for page, words in commands()
        if words[0] == "pretrain"
        and all(Path(file).exists() for option, file in pairwise(words) if option == "--config")
        and "..." not in words
    }
    assert len(trainings) > 40
    wrong = []
    for page, *words in sorted(trainings):
        try:
            code = cli.main([*words, "--print_config"])
        except SystemExit as end:
            code = end.code
        told = capsys.readouterr()
        if code != 0 or "class_path" not in told.out:
            wrong.append(f"{page}: {shlex.join(words)}: {told.err.strip()}")
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
    site = tmp_path / "site"
    pages = {path: path.read_text() for path in site.rglob("index.html")}
    assert len(pages) > len(PAGES)
    assert (
        "Every operation broadcasts over leading dimensions"
        in pages[site / "reference" / "ssl_equiv.groups" / "index.html"]
    )
    # what is assembled is there: configuration, arguments, costs, rows, and the benchmarks' origin
    sie = pages[site / "methods" / "sie" / "index.html"]
    shown = (
        "sie_repo_SIE",
        "pretrain/sie_live.yaml",
        "equi_dim",
        "constant predictor",
        "W(g) x_equi",
    )
    for told in shown:
        assert told in sie, told
    assert "python -m benchmarks.load" in pages[site / "benchmarks" / "index.html"]
    # and it is read without a network
    for path, text in pages.items():
        outside = re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"?(https?:[^\"> ]+)", text)
        assert not outside, f"{path}: {outside}"

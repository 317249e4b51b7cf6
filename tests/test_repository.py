from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# each may import what stands to its left, and itself
LAYERS = [
    ("ssl_equiv/groups",),
    ("ssl_equiv/transforms",),
    ("ssl_equiv/losses", "ssl_equiv/heads", "ssl_equiv/backbones"),
    ("ssl_equiv/data",),
    ("ssl_equiv/regularizers",),
    ("ssl_equiv/methods",),
    ("ssl_equiv/callbacks", "ssl_equiv/detection", "ssl_equiv/export"),
    ("eval", "slurm"),
    ("ssl_equiv/cli",),
]
PLACE = {name.replace("/", "."): level for level, names in enumerate(LAYERS) for name in names}


def test_every_package_is_in_the_wheel() -> None:
    listed = re.search(r"^packages = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(), re.M | re.S)
    assert listed is not None
    found = {
        str(path.parent.relative_to(ROOT)).replace("/", ".")
        for top in ("ssl_equiv", "data_gen", "eval", "slurm")
        for path in (ROOT / top).rglob("__init__.py")
    }
    assert set(re.findall(r'"([\w.]+)"', listed[1])) == found | {"ssl_equiv.configs"}


def test_every_dependency_is_accounted_for() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    listed = re.search(r"^dependencies = \[(.*?)^\]", text, re.M | re.S)
    assert listed is not None
    names = re.findall(r'^ +"([\w-]+)', listed[1], re.M)
    table = (ROOT / "docs" / "dependencies.md").read_text().split("| extra |")[0]
    assert re.findall(r"^\| ([\w-]+) \| \d", table, re.M) == names


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


@pytest.mark.parametrize("room", sorted(PLACE))
def test_rooms_import_only_what_stands_below_them(room: str) -> None:
    for path in (ROOT / room.replace(".", "/")).rglob("*.py"):
        for name in imported(path):
            assert room == "ssl_equiv.cli" or not name.startswith("data_gen"), path
            other = ".".join(name.split(".")[: 1 + name.startswith("ssl_equiv.")])
            if other in PLACE and other != room:
                assert PLACE[other] < PLACE[room], f"{path} imports {name}"


def test_nothing_unpickles() -> None:
    folders = ("ssl_equiv", "data_gen", "eval", "slurm", "benchmarks")
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        text = path.read_text()
        for word in ("allow_pickle=True", "weights_only=False", "pickle.load"):
            assert word not in text, path


def test_the_readmes_tables_are_those_of_the_result_files() -> None:
    command = [sys.executable, "-m", "benchmarks.table", "--check"]
    assert subprocess.run(command, cwd=ROOT).returncode == 0


def test_the_command_starts_without_heavy_imports() -> None:
    code = (
        "import sys, ssl_equiv.cli; ssl_equiv.cli.main(['--help']); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n")
    assert "pretrain" in done.stdout

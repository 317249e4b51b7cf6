"""The notebooks run anew from top to bottom, and what is committed of them is fit to be seen."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from docs.make_pictures import PICTURES_OF_NOTEBOOKS, pictures_of

nbformat = pytest.importorskip("nbformat")
client = pytest.importorskip("nbclient")

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NAMES = [path.stem for path in NOTEBOOKS]
# a path that is true on one machine alone: in prose, code, outputs
_ABSOLUTE = re.compile(r"(?<![\w.:/])/(?:home|root|Users|tmp|var|opt|work|usr|mnt)/|[A-Z]:\\\\")
_LARGEST = 600_000  # bytes of a notebook with its pictures


def text_of(cell: Any) -> list[str]:
    """What a cell and its outputs say, pictures aside."""
    found = [cell.source]
    for output in cell.get("outputs", ()):
        found += [output.get("text", ""), *output.get("traceback", ())]
        data = output.get("data", {})
        found += [data[kind] for kind in ("text/plain", "text/html") if kind in data]
    return found


@pytest.fixture(params=NOTEBOOKS, ids=NAMES)
def notebook(request: pytest.FixtureRequest) -> Any:
    return nbformat.read(request.param, as_version=4)


def test_both_are_there() -> None:
    assert NAMES == ["bring_your_own_objects", "what_does_equivariance_look_like"]
    assert all(path.stat().st_size < _LARGEST for path in NOTEBOOKS)


def test_what_is_committed_was_run_in_order_without_an_error(notebook: Any) -> None:
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert sum(cell.source.count("\nassert ") for cell in code) >= 4
    for cell in code:
        assert not [o for o in cell.outputs if o.output_type == "error"]
        assert "Traceback" not in "".join(text_of(cell))


def test_no_path_of_one_machine_is_left(notebook: Any) -> None:
    for cell in notebook.cells:
        for text in text_of(cell):
            assert not _ABSOLUTE.search(text), text[:300]


def test_the_pages_pictures_are_the_notebooks() -> None:
    for path in NOTEBOOKS:
        found = pictures_of(path)
        assert sorted(found) == sorted(PICTURES_OF_NOTEBOOKS[path.stem])
        for name, data in found.items():
            assert (ROOT / "docs" / "images" / f"{name}.jpg").read_bytes() == data, name
            assert len(data) < 60_000


@pytest.mark.slow
def test_it_runs_in_a_fresh_kernel(notebook: Any, tmp_path: Path) -> None:
    elsewhere, temporary = tmp_path / "elsewhere", tmp_path / "temporary"
    elsewhere.mkdir()
    temporary.mkdir()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    environment = {**os.environ, "TMPDIR": str(temporary), "IPYTHONDIR": str(temporary / "ipython")}
    environment.setdefault("OMP_NUM_THREADS", "1")
    place = {"metadata": {"path": str(elsewhere)}}
    # raises CellExecutionError at the first cell that fails, an assertion of its own among them
    client.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=place).execute(
        env=environment
    )
    shown = [o for c in notebook.cells for o in c.get("outputs", ())]
    assert sum("image/jpeg" in output.get("data", {}) for output in shown) >= 2
    assert not [o for o in shown if "Traceback" in o.get("text", "")]
    assert not list(elsewhere.iterdir())  # all is written below the temporary folder


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/tmp/equivariance-x/RUN", True),
        ("see '/home/me/data'", True),
        ("RUN/eval/results.json", False),
        ("https://arxiv.org/abs/2506.09895", False),
        ("configs/home/x", False),
    ],
)
def test_absolute_paths_are_found(text: str, found: bool) -> None:
    assert bool(_ABSOLUTE.search(text)) is found

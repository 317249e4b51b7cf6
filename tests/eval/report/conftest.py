from __future__ import annotations

from pathlib import Path

import pytest

from eval.report import write_report
from tests.eval.report.made_up import write_runs


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three methods from two seeds each."""
    return write_runs(tmp_path_factory.mktemp("report") / "runs")


@pytest.fixture(scope="session")
def report(runs: Path) -> Path:
    """The page of all runs."""
    return write_report(runs.parent / "report.html", [runs])

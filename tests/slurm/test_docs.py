"""What docs/slurm.md shows can be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from slurm.site import KINDS, Site, read_site
from slurm.sweep import read_sweep

PAGE = (Path(__file__).parents[2] / "docs" / "slurm.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def test_there_is_something_to_read() -> None:
    assert len(BLOCKS) == 4


@pytest.mark.parametrize("text", BLOCKS)
def test_files_of_the_page(text: str, tmp_path: Path) -> None:
    path = tmp_path / "shown.yaml"
    path.write_text(text)
    if text.startswith(("grid", "runs")):
        assert read_sweep(path)
    else:
        assert all(read_site(path, kind) != Site() for kind in KINDS)


def test_options_of_the_page_exist() -> None:
    from ssl_equiv.cli.submit import KINDS as SUBMITTED
    from ssl_equiv.cli.submit import options

    known = {"--dry-run", "--json", "--to", "--requeue", "--checkpoint-every-minutes"}
    for kind in SUBMITTED.keys() - {"status", "stage"}:
        for action in options(kind)._actions:
            known |= {name.replace("_", "-") for name in action.option_strings}
    shown = set(re.findall(r"`(--[a-z][a-z_-]*)(?![\w.-])", PAGE))
    slurms = {"--signal", "--container-image", "--container-mounts", "--kill-on-bad-exit"}
    assert {name.replace("_", "-") for name in shown} - known <= slurms

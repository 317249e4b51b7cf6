"""One throw-away Slurm for all tests of this folder; they skip where its programs are absent."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ssl_equiv import cli
from tests.slurm.local_slurm import LocalSlurm, missing_programs

ROOT = Path(__file__).parents[2]
Submit = Callable[..., list[int]]


@pytest.fixture(scope="session")
def slurm() -> Iterator[LocalSlurm]:
    """A running cluster: two nodes, 8 processors and 2 GPUs each (pretended), main and urgent."""
    if missing := missing_programs():
        pytest.skip(f"no {', '.join(missing)}: apt-get install slurm-wlm munge")
    cluster = LocalSlurm.start()
    try:
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def submit(
    slurm: LocalSlurm,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Submit:
    """``ssl-equiv submit`` on that cluster, in ``tmp_path`` and without a site file; the jobs."""
    for name, value in slurm.env.items():
        monkeypatch.setenv(name, value)
    path = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{path}".rstrip(":"))  # for callbacks of tests
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSL_EQUIV_SLURM", raising=False)
    monkeypatch.chdir(tmp_path)

    def call(*args: object, code: int = 0) -> list[int]:
        capsys.readouterr()
        assert cli.main(["submit", *map(str, args)]) == code, capsys.readouterr().err
        return [int(job) for job in re.findall(r"^job (\d+): ", capsys.readouterr().out, re.M)]

    return call


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration of a small data set: 16 objects of 2 classes, 4 views each, in 4 shards."""
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    small: dict[str, Any] = {"objects": "procedural", "num_objects": 16, "objects_per_shard": 4}
    small |= {"classes": ["chair", "table"]}
    path.write_text(yaml.safe_dump({**small, "recipe": {"num_views": 4, "image_size": 32}}))
    return path


@pytest.fixture(scope="session")
def shards(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That data set, rendered in one go."""
    out = tmp_path_factory.mktemp("data") / "tiny"
    assert cli.main(["generate", "--config", str(recipe), "--out", str(out)]) == 0
    return out

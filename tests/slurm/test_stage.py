"""Shards on a node's own disk: whole or not at all, once per node, and never in the run's way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from slurm import stage as staging
from slurm.stage import local_folder, run_staged, stage
from ssl_equiv.errors import UserError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder that has the form of a data set of shards."""
    root = tmp_path / "shared" / "set"
    root.mkdir(parents=True)
    shards = []
    for i, size in enumerate((3000, 5000)):
        (root / f"shard-{i}.tar").write_bytes(os.urandom(size))
        (root / f"shard-{i}.index.npy").write_bytes(os.urandom(100))
        shards.append({"name": f"shard-{i}.tar", "bytes": size})
    (root / "manifest.json").write_text(json.dumps({"shards": shards}))
    return root


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.startswith(".")}


def test_a_copy_is_whole_and_made_once(data: Path, tmp_path: Path) -> None:
    copy = stage(data, tmp_path)
    assert content(copy) == content(data)
    before = {path: path.stat().st_mtime_ns for path in copy.iterdir()}
    assert stage(data, tmp_path) == copy
    assert {path: path.stat().st_mtime_ns for path in copy.iterdir()} == before


def test_what_is_cut_short_is_copied_again(data: Path, tmp_path: Path) -> None:
    copy = stage(data, tmp_path)
    (copy / "shard-1.tar").write_bytes(b"half")
    (copy / "manifest.json").unlink()
    assert stage(data, tmp_path) == copy
    assert content(copy) == content(data)


def test_another_version_is_another_folder(data: Path, tmp_path: Path) -> None:
    first = stage(data, tmp_path)
    manifest = json.loads((data / "manifest.json").read_text())
    (data / "manifest.json").write_text(json.dumps({**manifest, "seed": 1}))
    assert stage(data, tmp_path) != first


def test_several_processes_of_a_node_copy_once(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied, copy = [], staging._copy

    def counted(source: Path, target: Path, size: int) -> None:
        copied.append(source.name)
        copy(source, target, size)

    monkeypatch.setattr(staging, "_copy", counted)
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda _: stage(data, tmp_path), range(4)))
    assert len(set(folders)) == 1
    assert len(copied) == len(set(copied)) == 4


def test_a_shard_that_is_not_as_its_manifest_says(data: Path, tmp_path: Path) -> None:
    (data / "shard-0.tar").write_bytes(b"short")
    with pytest.raises(UserError, match=r"shard-0.tar has 5 bytes, not 3000"):
        stage(data, tmp_path)
    (copy,) = [path for path in tmp_path.iterdir() if path.name.startswith("set-")]
    assert not (copy / "manifest.json").exists()  # no data set, so nobody reads it
    assert not list(copy.glob("*.partial"))


def test_a_full_disk_is_told_before_the_copy(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match="GB free of the"):
        stage(data, tmp_path)
    assert not list(tmp_path.glob("set-*/*.tar"))


def test_only_shards_are_staged(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="only shards are staged"):
        stage(tmp_path, tmp_path)
    (tmp_path / "manifest.json").write_text('{"shards": []}')
    with pytest.raises(UserError, match="'ssl-equiv convert' makes one"):
        stage(tmp_path, tmp_path)
    (tmp_path / "manifest.json").write_text('{"shards": [{"name": "../x.tar", "bytes": 1}]}')
    with pytest.raises(UserError, match="no plain file name"):
        stage(tmp_path, tmp_path)


def test_where_the_nodes_own_disk_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_TMPDIR", raising=False)
    monkeypatch.delenv("TMPDIR", raising=False)
    with pytest.raises(UserError, match="set local_disk in the site file"):
        local_folder(None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert local_folder(None) == tmp_path
    monkeypatch.setenv("SLURM_TMPDIR", str(tmp_path / "job"))
    with pytest.raises(UserError, match="does not exist on this node"):
        local_folder(None)
    assert local_folder("$TMPDIR/mine") == tmp_path / "mine"


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    commands: list[list[str]] = []
    monkeypatch.setattr(os, "execvp", lambda _, words: commands.append(words))
    return commands


def test_the_command_is_told_of_the_copy(
    data: Path, tmp_path: Path, became: list[list[str]]
) -> None:
    run_staged(str(data), "data.root", str(tmp_path), ["train", "--x", "1"])
    (command,) = became
    assert command[:3] == ["train", "--x", "1"]
    copy = Path(command[3].removeprefix("--data.root="))
    assert content(copy) == content(data)


def test_a_job_that_cannot_stage_reads_the_shared_data(
    data: Path, tmp_path: Path, became: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "shard-0.tar").write_bytes(b"short")
    run_staged(str(data), "data.root", str(tmp_path), ["train"])
    assert became == [["train"]]
    told = capsys.readouterr().err
    assert told.startswith("not staged (")
    assert f"reading {data} where it lies" in told


def test_a_job_that_is_asked_to_end_stages_no_further(data: Path, tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\n"  # before there are threads
        "from slurm.stage import run_staged\n"
        "os.kill(os.getpid(), signal.SIGUSR1)\n"
        "then = 'import signal; print(signal.SIGUSR1 in signal.sigpending())'\n"
        "run_staged(sys.argv[1], 'data.root', sys.argv[2], [sys.executable, '-c', then])\n"
    )
    command = [sys.executable, "-c", code, str(data), str(tmp_path / "disk")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "the job is asked to end" in done.stderr
    assert done.stdout == "True\n"  # the signal still waits, for the command
    assert signal.SIGUSR1 not in signal.sigpending()

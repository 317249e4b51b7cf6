from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from ssl_equiv.checkpoint import read_checkpoint
from ssl_equiv.checkpoint_files import CheckpointFiles
from ssl_equiv.checkpoint_io import BackgroundCheckpointIO
from ssl_equiv.errors import UserError


def write(files: CheckpointFiles, *steps: int, best: int | None = None) -> None:
    files.folder.mkdir(exist_ok=True)
    for step in steps:
        torch.save({"global_step": step}, files.path(step))
        files.publish(step, best=step == best)


def names(files: CheckpointFiles) -> set[str]:
    return {path.name for path in files.folder.iterdir()}


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    files = CheckpointFiles(tmp_path, keep=2)
    write(files, 10, 20, 30, 40, best=20)
    found = {"step-00000020.ckpt", "step-00000030.ckpt", "step-00000040.ckpt"}
    assert names(files) == found | {"last.ckpt", "best.ckpt"}
    assert os.readlink(files.last) == "step-00000040.ckpt"
    assert read_checkpoint(files.best) == {"global_step": 20}
    write(files, 50, best=50)
    assert 20 not in files.steps()


def test_without_links_files_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "symlink", refuse)
    files = CheckpointFiles(tmp_path, keep=1)
    write(files, 1, 2, best=1)
    assert not files.last.is_symlink()
    assert read_checkpoint(files.last) == {"global_step": 2}
    assert read_checkpoint(files.best) == {"global_step": 1}


def test_a_state_that_broke_gives_way(tmp_path: Path) -> None:
    files = CheckpointFiles(tmp_path)
    write(files, 3, 5, best=5)
    assert files.discard(6) == files.last  # it stays: step 6 was not what was saved
    assert files.discard(5) == files.last
    assert read_checkpoint(files.last) == {"global_step": 3}
    assert names(files) == {"step-00000003.ckpt", "last.ckpt", "failed.ckpt"}
    assert files.discard(3) is None
    assert files.discard(3) is None


def test_what_can_be_read_is_opened(tmp_path: Path) -> None:
    files = CheckpointFiles(tmp_path, keep=3)
    assert files.open(repair=True) is None
    write(files, 1, 2, 3)
    for step in (2, 3):
        files.path(step).write_bytes(files.path(step).read_bytes()[:-20])
    with pytest.warns(UserWarning, match=r"step-00000001.ckpt") as told:
        found = files.open(repair=False)
    assert len(told) == 2
    assert found == (files.path(1), {"global_step": 1})
    assert os.readlink(files.last) == "step-00000003.ckpt"  # only one process repairs
    with pytest.warns(UserWarning, match=r"step-00000001.ckpt"):
        files.open(repair=True)
    assert os.readlink(files.last) == "step-00000001.ckpt"
    files.path(1).write_bytes(b"")
    with pytest.raises(UserError, match="none of the run's other checkpoints can be read either"):
        files.open(repair=True)


def test_a_state_is_written_as_it_was(tmp_path: Path) -> None:
    io = BackgroundCheckpointIO()
    module = torch.nn.BatchNorm1d(1_000_000)
    for value in (1.0, 2.0):
        torch.nn.init.constant_(module.weight, value)
        io.save_checkpoint({"state": module.state_dict(), "more": [1, (2, "x")]}, tmp_path / "a")
        torch.nn.init.constant_(module.weight, 9.0)  # training goes on at once
        io.wait()
        found = read_checkpoint(tmp_path / "a")
        assert (found["state"]["weight"] == value).all()
        assert found["state"]._metadata == module.state_dict()._metadata  # type: ignore[attr-defined]
        assert found["more"] == [1, (2, "x")]
    io.teardown()


def test_a_failed_write_is_told(tmp_path: Path) -> None:
    io = BackgroundCheckpointIO()
    (tmp_path / "file").write_text("")
    io.save_checkpoint({}, tmp_path / "file" / "a")
    with pytest.raises(UserError, match="cannot write"):
        io.wait()
    io.wait()  # once is enough
    io.teardown()

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from ssl_equiv.errors import UserError, user_error
from ssl_equiv.files import atomic_write, load_array, make_directory, read_json, write_json, writing


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})

    def fail() -> None:
        with atomic_write(path) as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert read_json(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["x.json"]


@pytest.mark.parametrize(
    ("number", "message"),
    [(errno.ENOSPC, "the disk is full"), (errno.EACCES, "no permission to write there")],
)
def test_the_systems_refusals_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, message: str
) -> None:
    def refuse(*_: object) -> NoReturn:
        raise OSError(number, "refused")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(UserError, match=message), atomic_write(tmp_path / "x") as file:
        file.write(b"data")
    assert os.listdir(tmp_path) == []


def test_a_full_disk_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the disk is full"), writing(tmp_path):
        raise RuntimeError("I/O error: No space left on device (os error 28)")
    with pytest.raises(RuntimeError), writing(tmp_path):
        raise RuntimeError("something else")
    with pytest.raises(FileNotFoundError), writing(tmp_path, full_disk_only=True):
        raise FileNotFoundError(errno.ENOENT, "somebody else's file")
    with pytest.raises(UserError, match="the disk is full"), writing(tmp_path, full_disk_only=True):
        raise OSError(errno.ENOSPC, "full")


def test_a_full_disk_for_real() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    with pytest.raises(OSError, match="No space"), open("/dev/full", "wb", buffering=0) as file:
        file.write(b"x")


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match="cannot write"):
            make_directory(path)


def test_names_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the name is longer than the file system allows"):
        write_json(tmp_path / ("n" * 300), {})
    (tmp_path / "taken").mkdir()
    with pytest.raises(UserError, match="a folder stands where a file is needed"):
        write_json(tmp_path / "taken", {})


def test_arrays_are_never_unpickled(tmp_path: Path) -> None:
    good, pickled, cut = (tmp_path / name for name in ("good.npy", "pickled.npy", "cut.npy"))
    np.save(good, np.arange(100.0))
    np.save(pickled, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    cut.write_bytes(good.read_bytes()[:-50])
    np.savez(tmp_path / "many.npz", a=np.zeros(2))
    np.testing.assert_array_equal(load_array(good), np.arange(100.0))
    for path, message in (
        (pickled, "holds pickled objects, which are never loaded"),
        (cut, "is cut short"),
        (tmp_path / "absent.npy", "does not exist"),
        (tmp_path / "many.npz", "is an archive"),
    ):
        with pytest.raises(UserError, match=message):
            load_array(path)


def test_a_wrapped_user_error_is_found() -> None:
    outer = RuntimeError("outer")
    outer.__cause__ = UserError("inner")
    assert str(user_error(outer)) == "inner"
    assert user_error(RuntimeError("other")) is None

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from ssl_equiv import cli
from ssl_equiv.data.sources import open_source
from tests.conftest import write_folder

QUIET = ["--progress", "false"]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = write_folder(tmp_path / "folder", classes=2, objects=5, views=2)
    with tarfile.open(tmp_path / "set.tar.gz", "w:gz") as tar:
        tar.add(folder, "3DIEBench")
    return tmp_path / "set.tar.gz"


def test_tarball_to_shards_to_folder(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards, folder = tmp_path / "shards", tmp_path / "back"
    assert cli.main(["convert", str(archive), "--out", str(shards)]) == 0
    said = capsys.readouterr().out
    assert "10 objects of 2 classes, 2 views each (8 train, 2 val)" in said
    assert "note: no split files" in said
    args = ["convert", str(shards), "--out", str(folder), "--layout", "folder", *QUIET]
    assert cli.main(args) == 0
    for name in open_source(folder).objects:
        for file in ("image_1.jpg", "latent_0.npy"):
            wanted = (tmp_path / "folder" / name / file).read_bytes()
            assert (folder / name / file).read_bytes() == wanted
    assert (folder / "val_labels.npy").exists()


def test_bad_objects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_folder(tmp_path / "folder", classes=2, objects=3, views=2)
    (folder / "01" / "obj1" / "image_1.jpg").write_bytes(b"\xff\xd8\xff")
    args = ["convert", str(folder), "--out", str(tmp_path / "out"), *QUIET]
    assert cli.main(args) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error:")
    assert "01/obj1/image_1.jpg is not a whole JPEG image" in line
    assert cli.main([*args, "--skip-bad", "true"]) == 0
    said = capsys.readouterr().out
    assert "left out 01/obj1: " in said
    assert "1 left out" in said


def test_bad_input(archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").touch()
    out = ["--out", str(tmp_path / "out")]
    for args, message in (
        ([str(tmp_path / "absent.tar"), *out], "does not exist"),
        ([str(archive), "--out", str(full)], "is not empty"),
        ([str(archive), *out, "--layout", "zip"], "layout"),
        ([str(archive), *out, "--splits", str(full)], "holds no train_images.npy"),
        ([str(archive), *out, "--num-views", "0"], "num_views must be 1 or more"),
        ([str(archive), *out, "--skip-bat", "true"], "did you mean skip_bad?"),
    ):
        assert cli.main(["convert", *args, *QUIET]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert message in line
    assert not (tmp_path / "out").exists()

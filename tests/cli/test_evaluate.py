from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eval.results import read_results, summarise
from ssl_equiv import cli
from tests.cli.test_pretrain import pretrain
from tests.conftest import write_folder

QUICK = ["--recipe", "quick", "--seeds", "2", "--progress", "false", "--num_workers", "0"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data"), objects=8, size=32)


def test_a_run_is_judged(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    assert pretrain(data, run, 2) == 0
    args = ["eval", "--model", str(run), "--data", str(data), *QUICK]
    assert cli.main(args) == 0
    rows = read_results(run / "eval" / "results.json")
    assert {row.part for row in rows} == {"all", "inv", "equi"}
    assert {"top1", "rotation_r2_pooled", "rotation_degrees_mean"} <= {row.metric for row in rows}
    assert all(len(row.seeds) == 2 for row in summarise(rows))
    assert "rotation_r2_pooled" in capsys.readouterr().out
    stamp = (run / "eval" / "features-train" / "features.npy").stat().st_mtime_ns
    assert cli.main(args) == 0  # features come from the cache
    assert (run / "eval" / "features-train" / "features.npy").stat().st_mtime_ns == stamp
    again = read_results(run / "eval" / "results.json")
    assert [row.value for row in again] == [row.value for row in rows]


def test_a_stock_timm_model_is_judged(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    args = ["--model", "timm:test_resnet", "--data", str(data), "--out", str(out), *QUICK]
    assert cli.main(["eval", *args]) == 0
    assert {row.part for row in read_results(out / "results.json")} == {"all"}


def test_bad_input(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "out"), *QUICK]
    model, where = ["--model", "timm:test_resnet"], ["--data", str(data)]
    one_class = write_folder(tmp_path / "one", classes=1, objects=12, size=32)
    for args, message in (
        ([*model, *where, *out, "--parts", "[equi]"], "equi"),
        ([*model, *where, *out, "--factors", "[shape]"], "shape"),
        ([*model, *where, *out, "--seeds", "0"], "seeds must be at least 1"),
        ([*model, "--data", str(one_class), *out], "class"),
        ([*model, "--data", str(tmp_path / "absent"), *out], "is not a folder"),
        (["--model", "timm:test_resnet", *where], "say with --out where results go"),
    ):
        assert cli.main(["eval", *args]) == 2, args
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith("error:")
        assert message in error
    assert not (tmp_path / "out" / "results.json").exists()


def test_a_damaged_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_folder(tmp_path / "data", objects=8, size=32)
    victim = data / "01" / "obj3" / "image_2.jpg"
    whole = victim.read_bytes()
    victim.write_bytes(whole[:100])
    args = ["eval", "--model", "timm:test_resnet", "--data", str(data), *QUICK]
    assert cli.main([*args, "--out", str(tmp_path / "out")]) == 2
    assert "image_2.jpg is not a whole JPEG image" in capsys.readouterr().err
    assert cli.main([*args, "--out", str(tmp_path / "out"), "--num_workers", "1"]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert "image_2.jpg is not a whole JPEG image" in error
    skip = ["--out", str(tmp_path / "skipped"), "--skip_bad_images", "true"]
    assert cli.main([*args, *skip]) == 0
    victim.write_bytes(whole)
    np.save(data / "00" / "obj0" / "latent_0.npy", np.zeros(3))
    assert cli.main([*args, "--out", str(tmp_path / "other")]) == 2
    assert "latent_0.npy holds a latent vector of 3 numbers" in capsys.readouterr().err

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from eval.cache import read_features
from eval.evaluators import SequenceClassification
from eval.protocol import evaluate
from eval.results import read_results, summarise
from ssl_equiv import cli
from ssl_equiv.export import open_method
from ssl_equiv.methods import SeqJEPA
from tests.cli.test_pretrain import SMALL, pretrain
from tests.conftest import write_folder
from tests.data.image_files import write_image_folder

QUICK = ["--recipe", "quick", "--seeds", "2", "--progress", "false", "--num_workers", "0"]
FEATURES = ("features", "scanpath1", "scanpath3")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data"), objects=8, size=32)


def test_a_run_is_judged(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = Path("sie")  # the name of a family of published checkpoints, too
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
    assert cli.main(["eval", *args, "--head", "ebv"]) == 0  # fixed vectors in place of a softmax
    names = {row.metric for row in read_results(out / "results.json")}
    assert {"ebv_top1", "ebv_top5"} <= names
    assert "top1" not in names
    assert cli.main(["eval", *args, "--head", "evb"]) == 2


@pytest.mark.slow
@pytest.mark.ddp
def test_two_devices_share_the_pass_and_the_probes(data: Path, tmp_path: Path) -> None:
    found, entry = [], tmp_path / "entry.py"  # a file: it is started once more for the other
    entry.write_text("import sys\nfrom ssl_equiv.cli import main\nsys.exit(main())\n")
    for devices in ("1", "2"):
        out = tmp_path / devices
        args = ["--model", "timm:test_resnet", "--data", str(data), "--out", str(out), *QUICK]
        args += ["--recipe", "published", "--devices", devices]  # whose precision is single
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(
            [sys.executable, str(entry), "eval", *args],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        found.append(
            {(r.metric, r.part, r.seed): r.value for r in read_results(out / "results.json")}
        )
    assert found[1] == pytest.approx(found[0], rel=1e-2, abs=1e-2)


def pretrain_sequences(data: Path, run: Path, name: str, *more: str) -> None:
    """Two steps of a method that aggregates views."""
    model = ["--model", name, "--model.backbone.name", "test_resnet", "--model.layers", "1"]
    args = ["--data.root", str(data), "--out", str(run), "--trainer.max_steps", "2"]
    assert (
        cli.main(["pretrain", *model, *SMALL[SMALL.index("--data.batch_size") :], *args, *more])
        == 0
    )


@pytest.fixture(scope="module")
def sequence_run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "seqjepa"
    pretrain_sequences(data, run, "SeqJEPA", "--model.observations", "2", "--data.num_views", "3")
    return run


@pytest.mark.parametrize("source", ["", "random:"])
def test_aggregates_of_sequences_are_judged(
    data: Path, sequence_run: Path, tmp_path: Path, source: str
) -> None:
    args = ["eval", "--model", f"{source}{sequence_run}", "--data", str(data), *QUICK]
    assert cli.main([*args, "--out", str(tmp_path)]) == 0
    rows = read_results(tmp_path / "results.json")
    found = {row.metric for row in rows if row.part == "aggregate"}
    lengths = range(1, 6)  # an object has 5 views
    assert {f"top1_length{n}" for n in lengths} <= found
    assert {f"path_rotation_r2_pooled_length{n}" for n in lengths if n > 1} <= found
    assert not {"top1_length6", "path_rotation_r2_pooled_length1"} & found
    assert "top1" in {row.metric for row in rows if row.part == "all"}

    # the aggregator that is judged is the one of the run: its features give the figures again
    method = open_method(f"{source}{sequence_run}")
    assert isinstance(method, SeqJEPA)
    sets = [read_features(tmp_path / f"features-{split}") for split in ("train", "val")]
    evaluator = SequenceClassification((3,), recipe="quick")
    again = evaluate(*sets, evaluators=[evaluator], seeds=2, method=method)
    have = {(row.metric, row.seed): row.value for row in rows}
    assert {(row.metric, row.seed): row.value for row in again}.items() <= have.items()


def test_sequences_need_their_factors(
    data: Path, sequence_run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = write_image_folder(tmp_path / "images")
    args = ["eval", "--model", str(sequence_run), "--out", str(tmp_path / "out"), *QUICK]
    args += ["--train_views", "1"]  # as many as an image has
    assert cli.main([*args, "--data", str(images), "--factors", "[]"]) == 0
    assert "need the actions of rotation, which the data lack" in caplog.text
    assert {row.part for row in read_results(tmp_path / "out" / "results.json")} == {"all"}


def test_scanpaths_are_judged(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    small = ("--model.observations", "3", "--model.patch", "16", "--data.num_views", "1")
    pretrain_sequences(data, run, "PLS", *small)
    assert cli.main(["eval", "--model", str(run), "--data", str(data), *QUICK]) == 0
    rows = read_results(run / "eval" / "results.json")
    found = {row.metric for row in rows if row.part == "aggregate"}
    assert found == {f"top{k}_length{n}" for k in (1, 5) for n in (1, 3)}
    assert {row.model for row in rows} == {str(run)}
    widths = [read_features(run / "eval" / f"{n}-val").features.shape[-1] for n in FEATURES]
    assert widths[1] == widths[2] == widths[0] + 128  # the width of an action's embedding


def test_few_views_of_training_objects(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    args = ["eval", "--model", "timm:test_resnet", "--data", str(data), *QUICK]
    args += ["--out", str(tmp_path)]
    assert cli.main([*args, "--train_views", "3"]) == 0
    train, val = (read_features(tmp_path / f"features-{split}") for split in ("train", "val"))
    assert (train.num_views, val.num_views) == (3, 5)
    assert cli.main(args) == 0
    assert "features-train: the cached features are stale (other data)" in caplog.text
    assert "features-val: " not in caplog.text
    every = read_features(tmp_path / "features-train")
    torch.testing.assert_close(every.features[:, :3], train.features, rtol=1e-4, atol=1e-5)


def test_bad_input(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "out"), *QUICK]
    model, where = ["--model", "timm:test_resnet"], ["--data", str(data)]
    one_class = write_folder(tmp_path / "one", classes=1, objects=12, size=32)
    for args, message in (
        ([*model, *where, *out, "--parts", "[equi]"], "equi"),
        ([*model, *where, *out, "--factors", "[shape]"], "shape"),
        ([*model, *where, *out, "--seeds", "0"], "seeds must be at least 1"),
        ([*model, *where, *out, "--train_views", "9"], "choose from 1 to 5"),
        ([*model, "--data", str(one_class), *out], "class"),
        ([*model, "--data", str(tmp_path / "absent"), *out], "is not a folder"),
        ([*model, *where, *out, "--evaluators", "[LinearClasification]"], "LinearClassification"),
        ([*model, *where, *out, "--evaluators", "[PathIntegration]"], "SeqJEPA alone"),
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

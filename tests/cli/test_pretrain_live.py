"""``ssl-equiv pretrain`` on views that are rendered on the fly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from ssl_equiv import cli
from ssl_equiv.checkpoint import read_checkpoint

pytestmark = pytest.mark.render

CONFIG = Path(__file__).parents[2] / "configs" / "pretrain" / "sie_live.yaml"
SMALL = [
    *("--config", str(CONFIG), "--model.backbone.name", "test_resnet"),
    *("--model.projector_widths", "[16, 16]", "--data.batch_size", "4"),
    *("--data.source.num_objects", "8", "--data.source.val_fraction", "0"),
    *("--data.source.recipe", "{image_size: 32, num_views: 3}"),
    *("--trainer.accelerator", "cpu", "--trainer.enable_model_summary", "false"),
    *("--trainer.enable_progress_bar", "false", "--trainer.max_epochs", "100"),
]


def pretrain(out: Path, steps: int, *more: str, workers: int = 0) -> int:
    length = ["--trainer.max_steps", str(steps), "--data.num_workers", str(workers)]
    return cli.main(["pretrain", *SMALL, "--out", str(out), *length, *more])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("live") / "run"
    assert pretrain(run, 5) == 0
    return run


def test_a_run_is_continued_exactly(whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert pretrain(run, 3, workers=2) == 0  # one step into the second epoch, whose views are new
    assert pretrain(run, 5) == 0
    want, have = (
        read_checkpoint(r / "checkpoints" / "last.ckpt")["state_dict"] for r in (whole, run)
    )
    for name, value in want.items():
        assert torch.equal(have[name], value), name
    source = yaml.safe_load((run / "config.yaml").read_text())["data"]["source"]
    assert source["class_path"] == "data_gen.live.LiveSource"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--data.source.seed", "1"], "data.source.init_args.seed was 0, now 1"),
        (["--data.root", "absent"], "data.root and data.source are both given"),
        (["--data.source.objectz", "x"], "unknown key data.source.objectz: did you mean data.so"),
        (["--data.source.views", "odd"], "data.source.views: expected one of"),
        (["--data.source.recipe.imagesize", "3"], "unknown entry 'imagesize'"),
    ],
)
def test_bad_input_is_one_line(
    whole: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    args: list[str],
    message: str,
) -> None:
    out = whole if "--data.source.seed" in args else tmp_path / "run"
    assert pretrain(out, 6, *args) == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert message in errors[0]

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from eval.report.training import read_metrics
from ssl_equiv import cli
from ssl_equiv.checkpoint import PretrainedMethod
from ssl_equiv.export.sources import open_backbone
from tests.conftest import write_folder

BOTH = [
    {"class_path": "SoftEquivariance", "init_args": {"factors": {"rotation": "SO3"}}},
    {"class_path": "SpatialEquivariance", "init_args": {"layer": "layer2"}},
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data"), objects=6, size=32)


def pretrain(data: Path, out: Path, steps: int, regularizers: object = BOTH) -> int:
    config = out.parent / "config.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "model": {
                    "class_path": "VICReg",
                    "init_args": {
                        "backbone": {"name": "test_resnet"},
                        "projector_widths": [16, 16],
                    },
                },
                "data": {"root": str(data), "batch_size": 4, "num_workers": 0},
                "regularizers": regularizers,
                "trainer": {
                    "accelerator": "cpu",
                    "max_steps": steps,
                    "log_every_n_steps": 1,
                    "enable_progress_bar": False,
                    "enable_model_summary": False,
                },
                "out": str(out),
            }
        )
    )
    return cli.main(["pretrain", "--config", str(config)])


def test_they_are_trained_saved_resumed_and_told(data: Path, tmp_path: Path) -> None:
    for name, cuts in (("whole", (7,)), ("cut", (2, 4, 7))):
        (tmp_path / name).mkdir()
        for steps in cuts:
            assert pretrain(data, tmp_path / name / "run", steps) == 0
    runs = [tmp_path / name / "run" for name in ("whole", "cut")]
    want, have = (
        torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for run in runs
    )
    assert want.keys() == have.keys()
    assert want["regularizers.0.moves.1.weight"].abs().max() > 0
    for name, value in want.items():
        torch.testing.assert_close(have[name], value, rtol=0, atol=0, equal_nan=True)
    curves = read_metrics(runs[0])
    assert curves.keys() >= {
        *("train/soft/rotation", "train/strength/rotation"),
        *("train/spatial/error", "train/spatial_error/flip"),
    }
    assert curves["train/strength/rotation"] == read_metrics(runs[1])["train/strength/rotation"]
    found = PretrainedMethod(runs[0]).found
    assert 0 < found["strength/rotation"] < 1
    assert set(found) == {
        "strength/rotation",
        *(f"spatial_error/{name}" for name in ("rotation", "flip", "scale")),
    }
    images = torch.randn(2, 3, 32, 32)  # what is judged and exported is the method alone
    assert open_backbone(str(runs[0])).encode(images).features.shape == (2, 96)


BAD = [
    ([{"class_path": "SoftEquivarianc"}], "did you mean SoftEquivariance"),
    (
        [{"class_path": "SoftEquivariance", "init_args": {"factor": {"rotation": "SO3"}}}],
        "unknown key regularizers.factor.rotation: did you mean regularizers.factors?",
    ),
    (
        [{"class_path": "SoftEquivariance", "init_args": {"factors": {"shape": "SO3"}}}],
        "asks for the factor 'shape', but the data set has rotation",
    ),
    (
        [{"class_path": "SpatialEquivariance", "init_args": {"layer": "layer9"}}],
        "layer is 'layer9', but ResNet has",
    ),
]


@pytest.mark.parametrize(("regularizers", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_input_is_one_line(
    data: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    regularizers: object,
    message: str,
) -> None:
    assert pretrain(data, tmp_path / "run", 1, regularizers) == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert message in errors[0]
    assert not list(tmp_path.rglob("*.ckpt"))

"""Pretraining on an image set from its configuration, and judging the result."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from eval.features import extract
from ssl_equiv import cli
from ssl_equiv.checkpoint import PretrainedMethod
from ssl_equiv.cli.configuration import names_data_class
from ssl_equiv.data.images import ImageDataModule, open_views
from ssl_equiv.data.module import ViewDataModule
from ssl_equiv.export import open_backbone
from ssl_equiv.parsing import instantiate
from tests.conftest import write_folder
from tests.data.image_files import write_cifar100, write_image_folder, write_shards, write_stl10

CONFIG = Path(__file__).parents[2] / "configs" / "pretrain" / "vicreg_cifar100.yaml"
SMALL = [
    *("--model.backbone.name", "test_resnet", "--model.backbone.cifar_stem", "false"),
    *("--model.projector_widths", "[16, 16]", "--data.batch_size", "8"),
    *("--model.optimizer.schedule", "constant", "--trainer.max_epochs", "-1"),
    *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
    *("--trainer.log_every_n_steps", "1", "--online_probe", "true", "--trainer.accelerator", "cpu"),
]


def pretrain(data: Path, out: Path, steps: int, *more: str) -> int:
    args = ["--data.root", str(data), "--out", str(out), "--trainer.max_steps", str(steps)]
    return cli.main(["pretrain", "--config", str(CONFIG), *SMALL, *args, *more])


def weights(run: Path) -> dict[str, torch.Tensor]:
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    return checkpoint["state_dict"]  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cifar100(tmp_path_factory.mktemp("data"), train=36, test=8)


def test_it_continues_exactly_and_can_be_judged(data: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert pretrain(data, whole, 6, "--data.num_workers", "0") == 0
    assert pretrain(data, parts, 3, "--data.num_workers", "0") == 0
    assert pretrain(data, parts, 6, "--data.num_workers", "2") == 0
    continued = weights(parts)
    for name, value in weights(whole).items():
        assert torch.equal(value, continued[name]), name

    found = PretrainedMethod(whole)
    assert found.image_size == 32
    views = open_views(str(data), preprocess=found.preprocess, num_workers=0, batch_size=4)
    features = extract(open_backbone(str(whole)), views, tmp_path, split="val", progress=False)  # type: ignore[arg-type]
    assert features.features.shape == (8, 1, found.method.dim)
    assert features.labels.tolist() == [*range(8)]
    assert not features.actions


def test_a_continuation_may_not_change_the_augmentation(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pretrain(data, tmp_path, 1, "--data.num_workers", "0") == 0
    assert pretrain(data, tmp_path, 2, "--data.augmentation.strength", "0.7") == 2
    assert "strength was 0.5, now 0.7" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--data.num_veiws", "3"], "did you mean data.num_views"),
        (["--data.splits", "[unlabeled]"], "has no split 'unlabeled': it has train, val"),
        (["--data.canvas", "0"], "data.canvas is 0"),
        (["--data.augmentation.size", "big"], "expected int, got big"),
    ],
)
def test_bad_options_are_one_line(
    data: Path, tmp_path: Path, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pretrain(data, tmp_path, 1, *more) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_which_kind_of_data(tmp_path: Path) -> None:
    assert isinstance(open_views(str(write_folder(tmp_path / "views"))), ViewDataModule)
    assert not isinstance(open_views(str(tmp_path / "views")), ImageDataModule)
    for write in (write_cifar100, write_image_folder, write_shards):
        root = write(tmp_path / write.__name__)
        assert isinstance(open_views(str(root)), ImageDataModule)


def test_a_class_path_is_seen_wherever_it_is_given(tmp_path: Path) -> None:
    assert names_data_class(["--config", str(CONFIG)])
    assert names_data_class([f"--config={CONFIG}", "--out", "x"])
    assert names_data_class(["--data", "ssl_equiv.data.images.ImageDataModule"])
    assert not names_data_class(["--data.root", "x", "--config", str(tmp_path / "absent")])
    plain = tmp_path / "plain.yaml"
    plain.write_text(yaml.safe_dump({"data": {"root": "x"}}))
    assert not names_data_class(["--config", str(plain)])


@pytest.mark.parametrize("path", sorted(CONFIG.parent.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_of_images_makes_its_data(path: Path, tmp_path: Path) -> None:
    data = yaml.safe_load(path.read_text())["data"]
    if data.get("class_path") != "ssl_equiv.data.images.ImageDataModule":
        return
    root = {"cifar100": write_cifar100, "stl10": write_stl10}[Path(data["init_args"]["root"]).name]
    arguments = {**data["init_args"], "root": str(root(tmp_path)), "num_workers": 0}
    module = instantiate(ViewDataModule, {**data, "init_args": arguments})
    batch = next(iter(module.train_dataloader()))
    made = module.on_after_batch_transfer(batch, 0)
    assert made.images.shape[1] == data["init_args"]["num_views"]
    assert made.images.is_floating_point()

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

from ssl_equiv.backbones import BackboneConfig, create_backbone, feature_width
from ssl_equiv.errors import UserError
from ssl_equiv.methods import SIE, EquiCaps, Method, OptimizerConfig
from ssl_equiv.methods.optimizer import schedule_factor
from ssl_equiv.parsing import instantiate
from ssl_equiv.representation import Representation
from tests.methods.tiny import all_methods, tiny

ROOT = Path(__file__).parents[2]


def test_schedules() -> None:
    cosine = schedule_factor(OptimizerConfig(schedule="cosine", warmup_steps=10), 110)
    assert cosine(0) == pytest.approx(0.1)
    assert cosine(9) == cosine(10) == 1.0
    assert cosine(60) == pytest.approx(0.5)
    assert cosine(110) == pytest.approx(0.0)
    constant = schedule_factor(OptimizerConfig(warmup_steps=4), float("inf"))
    assert [constant(step) for step in (0, 1, 3, 4, 1000)] == [0.25, 0.5, 1.0, 1.0, 1.0]
    for name in ("cosine", "one_cycle"):
        with pytest.raises(UserError, match=f"schedule {name} needs an end"):
            schedule_factor(OptimizerConfig(schedule=name), float("inf"))  # type: ignore[arg-type]


def test_one_cycle_rises_and_falls() -> None:
    cycle = schedule_factor(OptimizerConfig(schedule="one_cycle"), 100)
    assert cycle(0) == pytest.approx(0.1)
    assert cycle(20) == pytest.approx(0.55)
    assert cycle(40) == pytest.approx(1.0)
    assert cycle(70) == pytest.approx(0.50005)
    assert cycle(100) == pytest.approx(1e-4)
    reference = torch.optim.lr_scheduler.OneCycleLR(
        torch.optim.SGD([torch.zeros(1)], 1.0), 1.0, total_steps=101, pct_start=0.4,
        div_factor=10, final_div_factor=1e3, cycle_momentum=False,
    )  # fmt: skip
    steps = []
    for _ in range(100):
        steps.append(reference.get_last_lr()[0])
        reference.optimizer.step()
        reference.step()
    # PyTorch's peak is at 0.4 * 101 - 1 steps, ours at 0.4 * 100
    assert max(abs(cycle(step) - want) for step, want in enumerate(steps)) < 0.02
    short = schedule_factor(OptimizerConfig(schedule="one_cycle", warmup_steps=5), 50)
    assert short(5) == 1.0
    assert short(2) < 1.0 > short(8)


def test_backbones() -> None:
    with pytest.raises(UserError, match="no model 'resnet81': did you mean resnet18"):
        create_backbone(BackboneConfig("resnet81"))
    with pytest.raises(UserError, match="no single stem convolution"):
        create_backbone(BackboneConfig("test_vit", cifar_stem=True))
    with pytest.raises(UserError, match="refuses them"):
        create_backbone(BackboneConfig("test_vit", options={"surprise": 1}))
    small = create_backbone(BackboneConfig("resnet18", cifar_stem=True))
    assert small.conv1.stride == (1, 1)  # type: ignore[union-attr]


# (timm's num_features, what it makes): layers between pooling and classifier widen features
@pytest.mark.parametrize(
    ("name", "stated", "made"),
    [("mobilenetv3_small_050", 288, 1024), ("test_resnet", 96, 96)],
)
def test_the_width_is_that_of_what_comes_out(name: str, stated: int, made: int) -> None:
    backbone = create_backbone(BackboneConfig(name)).eval()
    width = backbone(torch.zeros(1, 3, 64, 64)).shape[1]
    assert feature_width(backbone) == width
    assert (backbone.num_features, width) == (stated, made)


@pytest.mark.parametrize("kind", [SIE, EquiCaps])
def test_parts_are_columns_of_what_comes_out(kind: type[Method]) -> None:
    torch.manual_seed(0)
    config = BackboneConfig("mobilenetv3_small_050")
    more = {"image_size": 64} if kind is EquiCaps else {"projector_widths": (16, 16)}
    method = kind(backbone=config, **more).eval()  # type: ignore[call-arg, arg-type]
    images = torch.randn(2, 3, 64, 64)
    found, plain = method.encode(images), method.backbone(images)
    ends = {last for _, last in method.parts.values()}
    assert max(ends) == found["all"].shape[1] == method.dim
    if kind is SIE:
        assert torch.equal(found["equi"], plain[:, 512:])
    else:
        torch.testing.assert_close(found["backbone"], plain)
        sums = found["capsule_activation"].sum(dim=1)  # which poses or features do not have
        torch.testing.assert_close(sums, torch.ones(2))


def test_another_width_than_stated_is_told() -> None:
    doubled = BackboneConfig("test_resnet", options={"global_pool": "catavgmax"})
    method = SIE(backbone=doubled, projector_widths=(16, 16))
    method.dim = 96  # what a backbone that misstates its width would give
    with pytest.raises(UserError, match=r"makes features \(192,\) of an image, .* states \(96,\)"):
        method.encode(torch.randn(2, 3, 32, 32))
    mapped = BackboneConfig("test_resnet", options={"global_pool": ""})
    with pytest.raises(UserError, match=r"makes features \(96, 1, 1\) of an image"):
        SIE(backbone=mapped, projector_widths=(16, 16)).encode(torch.randn(2, 3, 32, 32))
    with pytest.raises(ValueError, match=r"part equi is \[4, 9\) of 8 columns"):
        Representation(torch.zeros(2, 8), {"equi": (4, 9)})


def test_a_checkpoint_without_a_data_module_is_made() -> None:
    method = tiny("SIE")
    method._trainer = SimpleNamespace(datamodule=None)  # type: ignore[assignment]
    checkpoint: dict[str, Any] = {}
    method.on_save_checkpoint(checkpoint)
    assert checkpoint["ssl_equiv"]["class_path"] == "ssl_equiv.methods.sie.SIE"
    assert checkpoint["ssl_equiv"]["data"] == {}


def subclasses(cls: type) -> set[type]:
    return {cls}.union(*map(subclasses, cls.__subclasses__())) - {Method}


def has_a_loss(cls: type) -> bool:
    """Whether it is more than a base of methods."""
    return any(getattr(cls, n) is not getattr(Method, n) for n in ("terms", "training_step"))


def test_every_method_is_in_the_index_with_its_config_and_test() -> None:
    names = {
        cls.__name__
        for cls in subclasses(Method)
        if "tests" not in cls.__module__ and has_a_loss(cls)
    }
    assert names == set(all_methods())
    table = (ROOT / "METHODS.md").read_text()
    rows = dict(re.findall(r"^\| `([A-Z]\w+)` \| (.*) \|$", table, re.MULTILINE))
    assert rows.keys() == names
    for name, row in rows.items():
        links = re.findall(r"\]\(((?:configs|tests)/[^)]+)\)", row)
        assert len(links) == 2, name
        for link in links:
            assert (ROOT / link).is_file(), link


def test_every_config_tells_its_command_cost_and_expectation() -> None:
    for path in (ROOT / "configs" / "pretrain").glob("*.yaml"):
        text = path.read_text()
        header = "".join(line for line in text.splitlines() if line.startswith("#"))
        assert f"--config configs/pretrain/{path.name}" in header, path
        assert "cost:" in header, path
        assert "expect:" in header, path
        assert yaml.safe_load(text)["model"]["class_path"].rsplit(".", 1)[-1] in header, path


@pytest.mark.parametrize("name", all_methods())
def test_every_method_is_made_again_from_what_its_checkpoint_keeps(name: str) -> None:
    method = tiny(name)
    cls = type(method)
    described = {
        "class_path": f"{cls.__module__}.{cls.__qualname__}",
        "init_args": dict(method.hparams),
    }
    again = instantiate(Method, described)
    assert again.state_dict().keys() == method.state_dict().keys()

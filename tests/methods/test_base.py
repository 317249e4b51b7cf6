from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from ssl_equiv.backbones import BackboneConfig, create_backbone
from ssl_equiv.errors import UserError
from ssl_equiv.methods import Method, OptimizerConfig
from ssl_equiv.methods.base import schedule_factor
from ssl_equiv.parsing import instantiate
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
    with pytest.raises(UserError, match="needs an end"):
        schedule_factor(OptimizerConfig(schedule="cosine"), float("inf"))


def test_backbones() -> None:
    with pytest.raises(UserError, match="no model 'resnet81': did you mean resnet18"):
        create_backbone(BackboneConfig("resnet81"))
    with pytest.raises(UserError, match="no single stem convolution"):
        create_backbone(BackboneConfig("test_vit", cifar_stem=True))
    with pytest.raises(UserError, match="refuses them"):
        create_backbone(BackboneConfig("test_vit", options={"surprise": 1}))
    small = create_backbone(BackboneConfig("resnet18", cifar_stem=True))
    assert small.conv1.stride == (1, 1)  # type: ignore[union-attr]


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
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE))
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

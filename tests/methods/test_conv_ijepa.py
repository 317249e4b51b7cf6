from __future__ import annotations

import pytest
import torch

from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.errors import UserError
from ssl_equiv.methods import ConvIJEPA
from ssl_equiv.transforms.blocks import context_and_targets
from ssl_equiv.transforms.saccades import keyed_uniform
from tests.methods.tiny import tiny


def method() -> ConvIJEPA:
    torch.manual_seed(0)
    made = tiny("ConvIJEPA")
    assert isinstance(made, ConvIJEPA)
    return made


def test_the_loss_looks_at_the_targets_only() -> None:
    made, images, index = method().eval(), torch.randn(4, 3, 64, 64), torch.arange(4)
    loss = made.learn(images, index)[0]["prediction"]
    sizes = tuple(keyed_uniform(torch.zeros(1), 3, made.step_seed)[0].tolist())
    context, asked = context_and_targets(keyed_uniform(index, 10, made.step_seed), sizes, (8, 8))
    want = made.target.network.forward_features(images)  # type: ignore[operator, union-attr]
    want = (want - want.mean(1, True)) / (want.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    visible = context.repeat_interleave(8, 1).repeat_interleave(8, 2).unsqueeze(1)
    seen = made.backbone.forward_features(images * visible)  # type: ignore[operator]
    error = (made.predictor(seen, context, asked) - want).square().mean(dim=1)
    by_image = [error[i][asked[i]].mean() for i in range(4)]
    torch.testing.assert_close(loss, torch.stack(by_image).mean())


def test_what_is_masked_does_not_reach_the_prediction() -> None:
    made, images, index = method().eval(), torch.randn(4, 3, 64, 64), torch.arange(4)
    _, features = made.learn(images, index)
    sizes = tuple(keyed_uniform(torch.zeros(1), 3, made.step_seed)[0].tolist())
    context, _ = context_and_targets(keyed_uniform(index, 10, made.step_seed), sizes, (8, 8))
    visible = context.repeat_interleave(8, 1).repeat_interleave(8, 2).unsqueeze(1)
    _, other = made.learn(torch.where(visible, images, 50.0), index)
    torch.testing.assert_close(features, other)


def test_every_parameter_learns_but_the_targets() -> None:
    made = method().train()
    made.total(made.learn(torch.randn(4, 3, 64, 64), torch.arange(4))[0]).backward()
    for name, parameter in made.named_parameters():
        assert (parameter.grad is None) == name.startswith("target."), name


def test_a_map_that_is_too_small() -> None:
    small = ConvIJEPA(BackboneConfig("test_resnet"), predictor_width=24)
    with pytest.raises(UserError, match=r"makes \(96, 2, 2\) of 64 px: use larger images"):
        small.learn(torch.randn(4, 3, 64, 64), torch.arange(4))
    flat = ConvIJEPA(BackboneConfig("test_vit"), predictor_width=24)
    with pytest.raises(UserError, match="masks cells of a feature map"):
        flat.learn(torch.randn(4, 3, 160, 160), torch.arange(4))

from __future__ import annotations

import pytest
import torch

from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.data.views import ViewBatch
from ssl_equiv.errors import UserError
from ssl_equiv.methods import ConvIJEPA
from ssl_equiv.methods.conv_ijepa import MaskedBatch
from ssl_equiv.transforms.blocks import context_and_targets
from ssl_equiv.transforms.saccades import keyed_uniform
from tests.methods.tiny import tiny


def method() -> ConvIJEPA:
    torch.manual_seed(0)
    made = tiny("ConvIJEPA")
    assert isinstance(made, ConvIJEPA)
    return made


def batch(side: int = 64, pixels: torch.Tensor | None = None) -> ViewBatch:
    images = torch.randn(4, 1, 3, side, side) if pixels is None else pixels
    return ViewBatch(images, {}, {}, torch.arange(4), torch.arange(4))


def step(made: ConvIJEPA, seen: MaskedBatch) -> torch.Tensor:
    return made.terms(made.encode_views(seen.images), seen)["prediction"]


def masks(made: ConvIJEPA) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Context and target cells, and the visible pixels of 64 in an 8x8 map."""
    sizes = tuple(keyed_uniform(torch.zeros(1), 3, made.step_seed)[0].tolist())
    places = keyed_uniform(torch.arange(4), 10, made.step_seed)
    context, asked = context_and_targets(places, sizes, (8, 8))
    visible = context.repeat_interleave(8, 1).repeat_interleave(8, 2).unsqueeze(1)
    return context, asked, visible


def test_the_loss_looks_at_the_targets_only() -> None:
    made, whole = method().eval(), batch()
    loss, images = step(made, made.observe(whole)), whole.images[:, 0]
    context, asked, visible = masks(made)
    want = made.target.network.forward_features(images)  # type: ignore[operator, union-attr]
    want = (want - want.mean(1, True)) / (want.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    seen = made.backbone.forward_features(images * visible)  # type: ignore[operator]
    error = (made.predictor(seen, context, asked) - want).square().mean(dim=1)
    by_image = [error[i][asked[i]].mean() for i in range(4)]
    torch.testing.assert_close(loss, torch.stack(by_image).mean())


def test_what_is_masked_does_not_reach_the_prediction() -> None:
    made, whole = method().eval(), batch()
    (features,) = made.encode_views(made.observe(whole).images)
    _, _, visible = masks(made)
    other = torch.where(visible, whole.images[:, 0], 50.0).unsqueeze(1)
    (same,) = made.encode_views(made.observe(batch(pixels=other)).images)
    torch.testing.assert_close(features.features, same.features)


def test_every_parameter_learns_but_the_targets() -> None:
    made = method().train()
    made.total({"prediction": step(made, made.observe(batch()))}).backward()
    for name, parameter in made.named_parameters():
        assert (parameter.grad is None) == name.startswith("target."), name


@pytest.mark.parametrize(
    ("name", "side", "grid"), [("test_vit", 160, 10), ("swin_tiny", 128, 4), ("mobile", 128, 4)]
)
def test_maps_of_other_architectures(name: str, side: int, grid: int) -> None:
    config = {
        "swin_tiny": BackboneConfig(
            "swin_tiny_patch4_window7_224",
            options={"img_size": 128, "window_size": 4, "embed_dim": 12, "depths": (1, 1, 1, 1)},
        ),
        "mobile": BackboneConfig("mobilenetv3_small_050"),
    }.get(name, BackboneConfig(name))
    made = ConvIJEPA(config, predictor_width=24, predictor_depth=1).train()
    seen = made.observe(batch(side))
    (view,) = made.encode_views(seen.images)
    assert seen.context.shape == (4, grid, grid)
    assert view.features.shape == (4, made.dim)
    made.terms([view], seen)["prediction"].backward()
    assert made.predictor.enter.weight.grad is not None


def test_the_map_of_tokens_is_in_the_images_order() -> None:
    made = ConvIJEPA(BackboneConfig("test_vit"), predictor_width=24).eval()
    whole = batch(160)
    target = made.observe(whole).target
    tokens = made.backbone.forward_features(whole.images[:, 0])  # type: ignore[operator]
    torch.testing.assert_close(target[2, :, 3, 7], tokens[2, 1 + 3 * 10 + 7])  # after the class's


def test_a_map_that_is_too_small() -> None:
    small = ConvIJEPA(BackboneConfig("test_resnet"), predictor_width=24)
    with pytest.raises(UserError, match=r"makes \(96, 2, 2\) of 64 px: use larger images"):
        small.observe(batch())

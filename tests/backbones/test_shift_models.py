from __future__ import annotations

import logging
from pathlib import Path

import pytest
import timm
import torch
from timm.models import save_for_hf
from torch import Tensor, nn

from ssl_equiv.backbones import BackboneConfig, create_backbone
from ssl_equiv.backbones.shift_models import ShiftTwins
from ssl_equiv.errors import UserError

# name, options that make it small, and the pixels that a token of its last map stands for
MODELS = {
    "shift_vit_tiny_patch16_224": (
        {"img_size": 64, "depth": 3, "embed_dim": 48, "num_heads": 3}, 16,
    ),
    "shift_twins_svt_small": (
        {"img_size": 64, "embed_dims": [16, 32, 48, 64], "depths": [2, 2, 2, 2],
         "num_heads": [2] * 4, "wss": [4, 4, 4, 2], "sr_ratios": [4, 2, 2, 1]}, 32,
    ),
    "shift_swin_tiny": (
        {"img_size": 64, "embed_dim": 16, "depths": (2, 2, 2, 2), "num_heads": (2, 2, 2, 2),
         "window_size": 4, "drop_path_rate": 0.0}, 32,
    ),
}  # fmt: skip


@pytest.fixture(params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def small(name: str, seed: int = 0, **options: object) -> nn.Module:
    torch.manual_seed(seed)
    model = timm.create_model(name, **{"num_classes": 10, **MODELS[name][0], **options}).eval()
    for parameter in model.parameters():  # biases and scales at their start would hide mistakes
        parameter.data.add_(0.02 * torch.randn_like(parameter))
    return model


def images() -> Tensor:
    """Random, constant, periodic, and black and white with many phases of one norm."""
    made = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    made[1] = 0.3
    made[2] = made[2, :, :8, :8].repeat(1, 8, 8)
    made[3] = (made[3] > 1).float()
    return made


def shifts() -> list[tuple[int, int]]:
    generator = torch.Generator().manual_seed(2)
    far = torch.randint(-64, 64, (20, 2), generator=generator).tolist()
    return [(1, 0), (0, 1), (3, 2), (15, 16), (16, 32), (-1, 17), *map(tuple, far)]  # type: ignore[list-item]


@torch.no_grad()
def test_a_shifted_image_has_the_shifted_map_and_the_same_logits(name: str) -> None:
    model, x = small(name), images()
    model.set_input_size(img_size=64) if hasattr(model, "set_input_size") else None
    pixels = MODELS[name][1]
    side = 64 // pixels
    logits = model(x)
    assert logits.std(dim=0).mean() > 1e-3  # it looks at the image
    maps = feature_map(model, x, side)
    for shift in shifts():
        shifted = x.roll(shift, (2, 3))
        torch.testing.assert_close(model(shifted), logits, atol=1e-5, rtol=1e-5)
        for one, other in zip(feature_map(model, shifted, side), maps, strict=True):
            nearest = min(
                (one - other.roll((i, j), (0, 1))).abs().max()
                for i in range(side)
                for j in range(side)
            )
            assert nearest < 1e-4, shift


def feature_map(model: nn.Module, x: Tensor, side: int) -> Tensor:
    return model.forward_features(x).reshape(len(x), side, side, -1)  # type: ignore[operator]


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_shift_up_to_a_patch_and_many_larger_ones(name: str, dtype: torch.dtype) -> None:
    model, x = small(name), images()
    model.get_classifier().weight.mul_(20)  # type: ignore[operator]
    generator = torch.Generator().manual_seed(3)
    every = [(i, j) for i in range(1, 17) for j in range(1, 17)]
    every += [tuple(s) for s in torch.randint(-64, 65, (200, 2), generator=generator).tolist()]
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        wanted = model(x)
        for some in (every[first : first + 16] for first in range(0, len(every), 16)):
            found = model(torch.cat([x.roll(s, (2, 3)) for s in some])).view(len(some), 4, -1)
            assert (found.argmax(dim=2) == wanted.argmax(dim=1)).all(), some
            if dtype == torch.float32:
                torch.testing.assert_close(found, wanted.expand_as(found), atol=2e-4, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_model_of_half_precision(name: str, dtype: torch.dtype) -> None:
    model, x = small(name).to(dtype), torch.randn(4, 3, 64, 64).to(dtype)
    wanted = model(x).float()
    assert torch.isfinite(wanted).all()
    torch.testing.assert_close(model(x.roll((3, 6), (2, 3))).float(), wanted, atol=0.05, rtol=0.05)


@torch.no_grad()
def test_patches_and_windows_that_are_no_squares() -> None:
    options = {"img_size": (32, 48), "depth": 2, "embed_dim": 32, "num_heads": 2, "num_classes": 5}
    model = timm.create_model("shift_vit_tiny_patch16_224", patch_size=(8, 4), **options).eval()
    x = torch.randn(2, 3, 32, 48)
    torch.testing.assert_close(model(x.roll((3, 7), (2, 3))), model(x), atol=1e-5, rtol=1e-5)
    swin = small("shift_swin_tiny")
    swin.set_input_size(img_size=(64, 128), window_size=(4, 8))  # type: ignore[operator]
    x = torch.randn(2, 3, 64, 128)
    torch.testing.assert_close(swin(x.roll((5, 9), (2, 3))), swin(x), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_predictions_in_bfloat16_are_the_same(name: str) -> None:
    model, x = small(name), torch.randn(16, 3, 64, 64)
    model.get_classifier().weight.mul_(20)  # type: ignore[operator]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        wanted = model(x).argmax(dim=1)
        for shift in shifts()[:8]:
            assert torch.equal(model(x.roll(shift, (2, 3))).argmax(dim=1), wanted), shift


@torch.no_grad()
def test_the_stock_model_does_not(name: str) -> None:
    """So the tests above can fail."""
    stock = {"shift_vit_tiny_patch16_224": "vit_tiny_patch16_224",
             "shift_twins_svt_small": "twins_svt_small",
             "shift_swin_tiny": "swin_tiny_patch4_window7_224"}[name]  # fmt: skip
    torch.manual_seed(0)
    model, x = timm.create_model(stock, num_classes=10, **MODELS[name][0]).eval(), images()
    assert (model(x.roll((3, 2), (2, 3))) - model(x)).abs()[0].max() > 1e-4


def test_gradients_reach_every_weight(name: str) -> None:
    model = small(name)
    model.train()
    model(images()).square().sum().backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_it_is_a_timm_model(name: str) -> None:
    x = images()
    with torch.no_grad():
        bare = small(name, num_classes=0)
        assert bare(x).shape == (4, bare.num_features)
        last, maps = bare.forward_intermediates(x, output_fmt="NCHW")  # type: ignore[operator]
        assert all(m.ndim == 4 for m in maps)
        torch.testing.assert_close(last, bare.forward_features(x))  # type: ignore[operator]
        getter = small(name, features_only=True)
        assert [m.shape[1] for m in getter(x)] == getter.feature_info.channels()  # type: ignore[operator]
    model = small(name)
    if "twins" not in name:  # timm's Twins has neither
        wanted = model(x)
        model.set_grad_checkpointing(True)  # type: ignore[operator]
        model.train()
        torch.testing.assert_close(model(x), wanted, atol=1e-5, rtol=1e-5)
        model.eval()
        model.set_input_size(img_size=128)  # type: ignore[operator]
        large = torch.randn(1, 3, 128, 128)
        with torch.no_grad():
            shifted = model(large.roll((5, 9), (2, 3)))
            torch.testing.assert_close(shifted, model(large), atol=1e-5, rtol=1e-5)
    assert timm.models.get_pretrained_cfg(name).input_size == (3, 224, 224)


@pytest.mark.slow
def test_compiled_and_channels_last(name: str) -> None:
    model, x = small(name), images()
    with torch.no_grad():
        wanted = model(x)
        last = x.contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(model(last), wanted, atol=1e-5, rtol=1e-5)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("ours", "stock", "new"),
    [
        (
            "shift_vit_tiny_patch16_224",
            "vit_tiny_patch16_224",
            {"pos_conv.weight", "pos_conv.bias"},
        ),
        ("shift_twins_svt_small", "twins_svt_small", set()),
    ],
)
def test_weights_of_a_stock_model_are_taken(
    ours: str, stock: str, new: set[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = MODELS[ours][0]
    torch.manual_seed(3)
    source = timm.create_model(stock, num_classes=7, **options)
    save_for_hf(source, tmp_path / "stock", model_args=dict(options), safe_serialization=True)
    with caplog.at_level(logging.INFO):
        model = timm.create_model(
            ours, num_classes=0, pretrained_backbone=f"local-dir:{tmp_path / 'stock'}", **options
        )
    weights, found = source.state_dict(), model.state_dict()
    named = {"fc_norm.weight": "norm.weight", "fc_norm.bias": "norm.bias"} if "vit" in ours else {}
    assert {key for key in found if named.get(key, key) not in weights} == new
    for key in found.keys() - new:
        assert torch.equal(found[key], weights[named.get(key, key)]), key
    assert "head.weight (no place here)" in caplog.text
    for key in new:
        assert f"{key} (new)" in caplog.text


@torch.no_grad()
def test_anchoring_is_all_that_differs_from_timm() -> None:
    """Phases all alike leave an image where it is: with no border, timm's own answer."""
    model = small("shift_twins_svt_small")
    torch.manual_seed(0)
    stock = timm.create_model(
        "twins_svt_small", num_classes=10, **MODELS["shift_twins_svt_small"][0]
    )
    stock.eval().load_state_dict(model.state_dict())
    for position in stock.pos_block:
        position.proj[0].padding_mode = "circular"
    x = torch.full((2, 3, 64, 64), 0.4)  # every phase is the strongest: ties go to the first
    torch.testing.assert_close(model(x), stock(x))


def test_it_is_a_backbone_of_methods(name: str) -> None:
    options = MODELS[name][0]
    backbone = create_backbone(BackboneConfig(name=name, options=options))
    assert backbone(images()).shape == (4, backbone.num_features)


def test_bad_input() -> None:
    cases = [
        ("shift_twins_svt_small", {"img_size": 64}, r"64 x 64 px .* 7 do not divide"),
        ("shift_swin_tiny", {"img_size": 96}, r"a map of 24 x 24, .* use img_size 224 x 224"),
        ("shift_vit_tiny_patch16_224", {"img_size": 230}, r"blocks of 16 .* img_size 224 x 224"),
        ("shift_twins_svt_small", {"img_size": 66}, r"map of 66 x 66, which blocks of 4 do not"),
        ("shift_swin_tiny", {"img_size": 225}, r"images of 225 x 225 px .* use img_size 224 x 224"),
        ("shift_vit_tiny_patch16_224", {"class_token": True}, "have no class token"),
        ("shift_vit_tiny_patch16_224", {"pretrained": True}, "no weights of shift_vit_tiny"),
        ("shift_swin_tiny", {"pretrained_backbone": "swin_tiny_patch"}, "did you mean swin_"),
        ("shift_vit_tiny_patch16_224", {"pretrained_backbone": "vit_tiny_patch16_224.x"}, "cannot"),
        ("shift_swin_tiny", {"pretrained_backbone": "no_such_model"}, "timm has no model"),
        ("shift_swin_tiny", {"pretrained_backbone": "local-dir:/nowhere"}, "cannot load"),
    ]  # fmt: skip
    for name, options, message in cases:
        with pytest.raises(UserError, match=message):
            timm.create_model(name, **options)
    with pytest.raises(UserError, match="attend in windows: give wss"):
        ShiftTwins(wss=None)
    with pytest.raises(UserError, match=r"map of 10 x 10, which blocks of 4 .* 64 x 64"):
        small("shift_swin_tiny").set_input_size(img_size=80, window_size=4)  # type: ignore[operator]
    with pytest.raises(UserError, match=r"map of 6 x 6, which blocks of 4 .* img_size 128 x 128"):
        small("shift_twins_svt_small")(torch.zeros(1, 3, 96, 96))
    model = small("shift_vit_tiny_patch16_224", dynamic_img_size=True)
    assert model(torch.zeros(1, 3, 32, 48)).shape == (1, 10)
    with pytest.raises(UserError, match="a map of 30 x 32 does not divide into blocks of 16: use"):
        model(torch.zeros(1, 3, 30, 32))

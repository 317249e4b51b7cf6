from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_equiv.backbones import BackboneConfig, create_backbone
from ssl_equiv.errors import UserError
from ssl_equiv.regularizers import SpatialEquivariance
from ssl_equiv.regularizers.spatial import act, position_error
from tests.methods.views import random_batch

ALL = ("rotation", "flip", "shift", "scale")
INDEX = torch.arange(32)


class Net(nn.Module):
    """A backbone of one map, in timm's manner."""

    def __init__(self, *layers: nn.Module, pool: int = 4) -> None:
        super().__init__()
        self.feature_info = [{"module": "map", "num_chs": 8}]
        self.layers, self.pool = nn.Sequential(*layers), nn.AvgPool2d(pool)

    def forward_intermediates(self, images: Tensor, **_: Any) -> list[Tensor]:
        return [self.layers(self.pool(images))]


class Position(nn.Module):
    """Adds something that stays where it is."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(8, size, size))

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.embedding


def pointwise() -> list[nn.Module]:
    return [nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 1)]


def images(size: int = 32) -> Tensor:
    torch.manual_seed(3)
    return F.interpolate(torch.randn(32, 3, size // 4, size // 4), size)


def error(network: nn.Module, action: str, **options: Any) -> float:
    regularizer = SpatialEquivariance(actions=(action,), **options)  # type: ignore[arg-type]
    regularizer.build(network, {})
    made, moved, valid, _ = regularizer.maps(network, images(), INDEX, 5)
    assert valid.mean() > 0.3
    return position_error(made, moved, valid).mean().item()


@pytest.mark.parametrize("action", ["rotation", "flip", "shift"])
def test_a_pointwise_network_follows_exactly(action: str) -> None:
    assert error(Net(*pointwise()), action) < 1e-9


@pytest.mark.parametrize("action", ALL)
def test_a_network_that_sees_positions_does_not(action: str) -> None:
    torch.manual_seed(0)
    assert error(Net(*pointwise(), Position(8)), action) > 0.1


def test_scaling_is_exact_where_nothing_is_between_pixels() -> None:
    """A linear map of pixels commutes with bilinear resampling; pooling before does not quite."""
    linear = nn.Conv2d(3, 8, 1, bias=False)
    assert error(Net(linear, pool=1), "scale") < 1e-9
    pooled = error(Net(linear, pool=4), "scale")
    assert 1e-4 < pooled < error(Net(linear, Position(8)), "scale")


def test_only_symmetric_kernels_follow_quarter_turns() -> None:
    torch.manual_seed(0)
    net = Net(nn.Conv2d(3, 8, 3, padding=1))
    assert error(net, "rotation") > 0.1
    weight = net.layers[0].weight  # type: ignore[union-attr]
    with torch.no_grad():
        kernel = sum(weight.rot90(k, (2, 3)) for k in range(4))  # type: ignore[operator, misc]
        weight.copy_(kernel + kernel.flip(3))  # type: ignore[operator]
    assert error(net, "rotation") < 1e-9
    assert error(net, "flip") < 1e-9


def test_actions_are_those_of_torch_on_picture_and_map() -> None:
    regularizer = SpatialEquivariance(actions=("rotation", "flip", "shift"))
    elements, kind = regularizer.draw(INDEX, (8, 8), 1)
    assert set(kind.tolist()) == {0, 1, 2}
    for size in (8, 32):
        maps = torch.randn(32, 2, size, size)
        moved = act(regularizer.actions, maps, elements)
        for row in range(32):
            want = maps[row]
            if kind[row] == 0:
                want = want.rot90(round(elements["rotation"][row].item() * 2 / torch.pi), (1, 2))
            elif kind[row] == 1:
                turned = [d for d, s in ((2, 0), (1, 1)) if elements["flip"][row, s] < 0]
                want = want.flip(turned) if turned else want
            else:
                right, up = (elements["shift"][row] * 4).round().int().tolist()  # cells of 8
                right, down = right * size // 8, -up * size // 8
                want = F.pad(want, (right, -right, down, -down))
            assert torch.equal(moved[row], want), (size, row)


def test_draws_depend_on_the_image_and_the_step_alone() -> None:
    regularizer = SpatialEquivariance(actions=ALL)
    whole, kind = regularizer.draw(INDEX, (8, 8), 1)
    part, _ = regularizer.draw(INDEX[20:], (8, 8), 1)
    other, _ = regularizer.draw(INDEX, (8, 8), 2)
    for name in ALL:
        assert torch.equal(whole[name][20:], part[name])
        assert not torch.equal(whole[name], other[name])
    assert sorted(set(kind.tolist())) == [0, 1, 2, 3]


def test_the_error_has_no_cheap_way_down() -> None:
    """Scale does not matter; maps that are the same everywhere are no better than unrelated."""
    torch.manual_seed(0)
    start, end = torch.randn(2, 16, 8, 6, 6)
    valid = torch.ones(16, 1, 6, 6)
    unrelated = position_error(start, end, valid).mean().item()
    assert unrelated == pytest.approx(2, rel=0.1)
    scaled = position_error(100 * start, 100 * end, valid).mean().item()
    assert scaled == pytest.approx(unrelated, rel=1e-3)
    level = torch.randn(16, 8, 1, 1)
    flat = position_error(level + 0.1 * start, level + 0.1 * end, valid).mean().item()
    assert flat == pytest.approx(unrelated, rel=0.02)
    half = valid.clone()
    half[..., 3:] = 0
    end[..., :3] = start[..., :3]
    assert position_error(start, end, half).abs().max() == 0


BACKBONES = [
    ("test_resnet", None, {}),
    ("test_resnet", "layer3", {}),
    ("test_vit", "blocks.2", {"img_size": 32}),
    ("test_vit3", None, {"img_size": 32}),
    ("test_convnext", None, {}),
]


@pytest.mark.parametrize(("name", "layer", "options"), BACKBONES)
def test_any_backbone_gets_gradients_up_to_the_layer(
    name: str, layer: str | None, options: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    backbone = create_backbone(BackboneConfig(name, options=options))
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    regularizer = SpatialEquivariance(layer, ALL, share=1.0)
    regularizer.build(backbone, {})
    terms = regularizer.terms(backbone, torch.zeros(6, 2, 1), random_batch(), 0)
    terms["error"].backward()
    reached = {n for n, p in backbone.named_parameters() if p.grad is not None}
    assert reached
    assert len(reached) < len(list(backbone.parameters()))  # not beyond
    for key, value in backbone.state_dict().items():  # no running statistics have moved
        assert torch.equal(before[key], value), key


def test_the_layer_of_a_small_stem() -> None:
    """The map is finer than timm tells; shifts are whole cells of what is there."""
    backbone = create_backbone(BackboneConfig("resnet18", cifar_stem=True))
    regularizer = SpatialEquivariance("layer1", ("shift",))
    regularizer.build(backbone, {})
    made, *_ = regularizer.maps(backbone, torch.randn(4, 3, 16, 16), INDEX[:4], 0)
    assert made.shape == (4, 64, 16, 16)


def test_what_is_reported() -> None:
    backbone = create_backbone(BackboneConfig("test_resnet"))
    regularizer = SpatialEquivariance(actions=ALL, share=1.0)
    regularizer.build(backbone, {})
    for seed in range(4):
        regularizer.terms(backbone, torch.zeros(6, 2, 1), random_batch(), seed)
    found = regularizer.found()
    assert set(found) == {f"spatial_error/{name}" for name in ALL}
    assert all(0 < value < 5 for value in found.values())


def test_bad_input() -> None:
    backbone = create_backbone(BackboneConfig("test_resnet"))
    with pytest.raises(UserError, match=r"layer is 'layer9', but ResNet has .*layer1, layer2"):
        SpatialEquivariance("layer9").build(backbone, {})
    with pytest.raises(UserError, match="needs a backbone with feature maps, which Linear"):
        SpatialEquivariance().build(nn.Linear(2, 2), {})
    with pytest.raises(UserError, match="share and shift in"):
        SpatialEquivariance(share=0.0)

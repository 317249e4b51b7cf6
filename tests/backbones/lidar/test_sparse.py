"""Sparse convolutions against dense ones of PyTorch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_equiv.backbones.lidar import sparse
from ssl_equiv.backbones.lidar.sparse import (
    SparseConv3d,
    SparseMap,
    SubMConv3d,
    sparse_convolution,
)

Kernel = int | tuple[int, int, int]


def random_map(share: float, channels: int = 4, dtype: torch.dtype = torch.float32) -> SparseMap:
    torch.manual_seed(0)
    coordinates = (torch.rand(2, 6, 7, 9) < share).nonzero()
    features = torch.randn(len(coordinates), channels, dtype=dtype, requires_grad=True)
    return SparseMap(features, coordinates, (6, 7, 9), 2)


def dense_of(layer: SparseConv3d, x: SparseMap) -> Tensor:
    weight = layer.weight.permute(0, 4, 1, 2, 3)
    return F.conv3d(x.dense(), weight, stride=layer.stride, padding=layer.padding)


def compare(found: Tensor, want: Tensor, *inputs: Tensor) -> None:
    torch.testing.assert_close(found, want, atol=1e-5, rtol=1e-5)
    upstream = torch.randn_like(want)
    pairs = zip(
        torch.autograd.grad(found, inputs, upstream),
        torch.autograd.grad(want, inputs, upstream),
        strict=True,
    )
    for mine, theirs in pairs:
        # gradients are sums over hundreds of voxels
        assert (mine - theirs).abs().max() <= 1e-5 * max(1.0, theirs.abs().max().item())


@pytest.mark.parametrize("kernel", [3, 1, 5, (3, 1, 1), (1, 3, 5)])
@pytest.mark.parametrize("share", [0.02, 0.3, 1.0])
def test_submanifold_is_dense_where_there_are_voxels(kernel: Kernel, share: float) -> None:
    x, layer = random_map(share), SubMConv3d(4, 6, kernel)
    found = layer(x)
    assert found.coordinates is x.coordinates
    b, z, y, d = x.coordinates.unbind(1)
    compare(found.features, dense_of(layer, x)[b, :, z, y, d], x.features, layer.weight)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [
        (3, 2, 1),
        (3, 2, (0, 1, 1)),
        ((3, 1, 1), (2, 1, 1), 0),
        (3, 1, 1),
        (2, 2, 0),
        ((1, 2, 3), (3, 1, 2), (0, 1, 2)),
    ],
)
@pytest.mark.parametrize("share", [0.02, 0.3])
def test_strided_is_dense(kernel: Kernel, stride: Kernel, padding: Kernel, share: float) -> None:
    x, layer = random_map(share), SparseConv3d(4, 6, kernel, stride, padding)
    found, want = layer(x), dense_of(layer, x)
    assert found.dense().shape == want.shape
    compare(found.dense(), want, x.features, layer.weight)
    ones = F.conv3d(
        x.with_features(torch.ones(len(x.features), 1)).dense(),
        torch.ones(1, 1, *layer.kernel),
        stride=layer.stride,
        padding=layer.padding,
    )
    assert torch.equal(found.coordinates, (ones[:, 0] > 0.5).nonzero())  # sorted, none too many


@pytest.mark.parametrize("block", [1, 40, 10_000])
def test_block_by_block_is_the_same(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    layers = SubMConv3d(4, 6), SparseConv3d(4, 6, 3, 2, 1)
    x = random_map(0.4)
    for layer in layers:
        rules = layer.make_rules(x)
        for _, source, target in rules.taps():
            assert torch.equal(source, source.sort().values)
            assert torch.equal(target, target.sort().values)
        found = []
        for numbers in (2**18, 6 * block):
            monkeypatch.setattr(sparse, "_BLOCK", numbers)
            out = sparse_convolution(x.features, layer.weight, rules)
            found.append((out, *torch.autograd.grad(out.sin().sum(), (x.features, layer.weight))))
        for one, two in zip(*found, strict=True):
            torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("layer", [SubMConv3d(2, 3), SparseConv3d(2, 3, 3, 2, 1)])
def test_gradients_are_those_of_finite_differences(layer: SparseConv3d) -> None:
    x = random_map(0.1, channels=2, dtype=torch.float64)
    rules, weight = layer.make_rules(x), layer.weight.detach().double().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda f, w: sparse_convolution(f, w, rules), (x.features, weight)
    )


def test_convolutions_of_one_key_share_their_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(
        SubMConv3d,
        "make_rules",
        lambda self, x, make=SubMConv3d.make_rules: made.append(self.key) or make(self, x),
    )
    x = random_map(0.2)
    first, second, other = (SubMConv3d(4, 4, key=key) for key in ("a", "a", "b"))
    shared = second(first(x))
    assert made == ["a"]
    alone = SubMConv3d(4, 4)
    alone.weight = second.weight
    assert torch.equal(alone(first(x)).features, shared.features)
    other(x)
    assert made == ["a", "", "b"]


def test_the_same_bits_twice() -> None:
    x, layer = random_map(0.5, 16), SubMConv3d(16, 16)
    runs = []
    for _ in range(2):
        out = layer(x.with_features(x.features)).features
        grads = torch.autograd.grad(out.square().sum(), (x.features, layer.weight))
        runs.append((out, *grads))
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_half_precision_sums_in_single() -> None:
    x, layer = random_map(0.5, 16), SubMConv3d(16, 16)
    want = layer(x).features
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x).features
    assert found.dtype == torch.bfloat16
    exact = layer.weight.data.bfloat16().float()
    layer.weight.data = exact
    rounded = layer(x.with_features(x.features.bfloat16().float())).features
    # products are rounded once each, not the sum of them at every tap
    assert (found.float() - rounded).abs().max() <= 0.02 * rounded.abs().max()
    assert (found.float() - want).abs().max() <= 0.03 * want.abs().max()

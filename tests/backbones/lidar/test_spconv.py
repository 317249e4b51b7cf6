"""The way through spconv: by a stand-in always, by spconv itself where it is installed."""

from __future__ import annotations

import copy
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ssl_equiv.backbones.lidar import create_encoder, spconv_path
from ssl_equiv.backbones.lidar.sparse import SparseConv3d, SparseMap, SubMConv3d
from ssl_equiv.backbones.lidar.voxel import VoxelBackbone
from tests.backbones.lidar.clouds import VOXELS, random_clouds

MADE: list[dict[str, Any]] = []


class StandIn(nn.Module):
    """Does what spconv's layers say they do, by the layers of this package."""

    kind: type[SparseConv3d]

    def __init__(self, into: int, out: int, kernel: Any, *args: Any, **options: Any) -> None:
        super().__init__()
        MADE.append({"kernel": kernel, "args": args, **options})
        assert options.pop("bias") is False
        key = options.pop("indice_key") or ""
        if self.kind is SubMConv3d:
            options.pop("padding")
        layer = self.kind(into, out, tuple(kernel), *map(tuple, args), key=key)
        layer.spconv = False
        self.__dict__["layer"] = layer
        self.weight = nn.Parameter(torch.zeros(out, *kernel, into))

    def forward(self, x: Any) -> Any:
        assert x.indices.dtype == torch.int32
        assert x.indices.is_contiguous()
        layer = self.__dict__["layer"]
        layer.weight = self.weight
        order = torch.argsort(
            ((x.indices[:, 0] * 999 + x.indices[:, 1]) * 999 + x.indices[:, 2]) * 999
            + x.indices[:, 3],
        )
        voxels = SparseMap(
            x.features[order], x.indices[order].long(), tuple(x.spatial_shape), x.batch_size
        )
        made = layer(voxels)
        back = torch.argsort(order)
        if layer.submanifold:
            made = SimpleNamespace(
                features=made.features[back], coordinates=made.coordinates[back], shape=made.shape
            )
        else:  # spconv's outputs are in no order
            shuffled = torch.randperm(len(made.features))
            made = SimpleNamespace(
                features=made.features[shuffled],
                coordinates=made.coordinates[shuffled],
                shape=made.shape,
            )
        x.indice_dict[layer.key] = True
        return SimpleNamespace(
            features=made.features,
            indices=made.coordinates.int(),
            spatial_shape=list(made.shape),
            indice_dict=x.indice_dict,
        )


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    library = ModuleType("spconv.pytorch")
    library.SubMConv3d = type("SubMConv3d", (StandIn,), {"kind": SubMConv3d})  # type: ignore[attr-defined]
    library.SparseConv3d = type("SparseConv3d", (StandIn,), {"kind": SparseConv3d})  # type: ignore[attr-defined]
    library.SparseConvTensor = lambda features, indices, shape, size: SimpleNamespace(  # type: ignore[attr-defined]
        features=features, indices=indices, spatial_shape=shape, batch_size=size, indice_dict={}
    )
    monkeypatch.setitem(sys.modules, "spconv.pytorch", library)
    monkeypatch.setitem(sys.modules, "spconv", ModuleType("spconv"))
    monkeypatch.setattr(spconv_path, "usable", lambda features: True)
    MADE.clear()


def both_ways(encoder: nn.Module, switch: Any) -> list[tuple[Tensor, list[Tensor]]]:
    found = []
    for on in (True, False):
        switch(on)
        made = encoder(random_clouds()).map
        weights = [p for p in encoder.parameters() if p.requires_grad]
        found.append((made, list(torch.autograd.grad(made.sin().sum(), weights))))
    return found


def test_the_network_is_the_same_through_a_stand_in(stand_in: None) -> None:
    torch.manual_seed(0)
    encoder = create_encoder(VOXELS).eval()
    before = list(encoder.state_dict())

    def switch(on: bool) -> None:
        for module in encoder.modules():
            if isinstance(module, SparseConv3d):
                module.spconv = on

    (one, one_grads), (two, two_grads) = both_ways(encoder, switch)
    torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)
    for a, b in zip(one_grads, two_grads, strict=True):
        assert (a - b).abs().max() <= 1e-4 * max(1.0, b.abs().max().item())
    assert list(encoder.state_dict()) == before
    assert len(MADE) == 12
    assert MADE[0] == {"kernel": [3, 3, 3], "args": (), "padding": [1, 1, 1], "bias": False,
                       "indice_key": "subm1"}  # fmt: skip
    assert MADE[-1] == {"kernel": [3, 1, 1], "args": ([2, 1, 1], [0, 0, 0]), "bias": False,
                        "indice_key": "spconv_down2"}  # fmt: skip
    strided = [made["args"] for made in MADE if made["args"]]
    assert strided[2] == ([2, 2, 2], [0, 1, 1])


def test_a_copy_has_weights_of_its_own(stand_in: None) -> None:
    layer = SubMConv3d(2, 3)
    x = SparseMap(torch.randn(4, 2), torch.eye(4).long(), (2, 2, 2), 2)
    before = layer(x).features
    twin = copy.deepcopy(layer)
    with torch.no_grad():
        twin.weight.zero_()
    assert twin(x).features.abs().max() == 0
    assert torch.equal(layer(x).features, before)


def test_it_is_not_used_where_it_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spconv_path, "installed", lambda: True)
    assert not spconv_path.usable(torch.zeros(1))  # on a CPU
    encoder = create_encoder(VOXELS)
    assert all(m.spconv for m in encoder.modules() if isinstance(m, SparseConv3d))


def test_spconv_itself_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU with one thread it does, forwards."""
    pytest.importorskip("spconv.pytorch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        torch.manual_seed(0)
        network = VoxelBackbone()  # BatchNorm by the batch: fresh statistics would shrink all
        coordinates = (torch.rand(2, 41, 24, 32) < 0.1).nonzero()
        x = SparseMap(torch.randn(len(coordinates), 4), coordinates, (41, 24, 32), 2)
        with torch.no_grad():
            want = network(x).dense()
            monkeypatch.setattr(spconv_path, "usable", lambda features: True)
            found = network(x.with_features(x.features)).dense()
    finally:
        torch.set_num_threads(threads)
    assert want.abs().max() > 0.01
    torch.testing.assert_close(found, want, atol=1e-4, rtol=1e-3)

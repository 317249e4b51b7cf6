from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ssl_equiv.backbones.lidar import BevConfig, EncoderConfig, LidarEncoder, create_encoder
from ssl_equiv.backbones.lidar.bev import BevBackbone
from ssl_equiv.backbones.lidar.sparse import SparseConv3d
from ssl_equiv.errors import UserError
from ssl_equiv.points import PointBatch
from tests.backbones.lidar.clouds import PILLARS, VOXELS, random_clouds


def encoder(config: EncoderConfig) -> LidarEncoder:
    torch.manual_seed(0)
    made = create_encoder(config).eval()
    for module in made.modules():  # statistics that are not those of a fresh network
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    return made


@pytest.mark.parametrize("config", [PILLARS, VOXELS], ids=lambda c: c.kind)
def test_shapes_and_occupied_cells(config: EncoderConfig) -> None:
    made, clouds = encoder(config), random_clouds((300, 0, 200))
    found = made(clouds)
    edge = made.stride * config.voxel_size[0]
    cells = round(16 / edge)
    assert found.map.shape == (3, made.out_channels, cells, cells)
    assert found.stride == made.stride
    want = torch.zeros(3, cells, cells, dtype=torch.bool)
    for (x, y, *_), sweep in zip(clouds.points.tolist(), clouds.batch_index.tolist(), strict=True):
        want[sweep, int((y + 8) // edge), int((x + 8) // edge)] = True
    assert torch.equal(found.occupied[:, 0], want)
    assert not found.occupied[1].any()
    assert 0 < want[0].sum() < cells**2 or config is VOXELS


def test_pillars_are_those_of_a_loop() -> None:
    made = encoder(replace(PILLARS, bev=BevConfig((), (), (), (), ())))
    clouds = random_clouds((400, 100))
    found = made(clouds).map
    layer = made.vfe.pfn_layers[0]  # type: ignore[union-attr, index]
    want = torch.zeros_like(found)
    cells: dict[tuple[int, int, int], list[torch.Tensor]] = {}
    for point, sweep in zip(clouds.points, clouds.batch_index.tolist(), strict=True):
        key = sweep, int((point[1] + 8) // 0.5), int((point[0] + 8) // 0.5)
        cells.setdefault(key, []).append(point)
    for (sweep, row, column), members in cells.items():
        points = torch.stack(members)
        centre = torch.tensor([0.5 * column - 7.75, 0.5 * row - 7.75, 0.0])
        offsets = [points[:, :3] - points[:, :3].mean(0), points[:, :3] - centre]
        decorated = torch.cat([points, *offsets], dim=1)
        x = torch.relu(layer.norm(decorated @ layer.linear.weight.T))
        want[sweep, :, row, column] = x.max(0).values
    torch.testing.assert_close(found, want, atol=1e-5, rtol=1e-5)


def test_two_layers_of_pillars() -> None:
    made = encoder(replace(PILLARS, widths=(8, 12)))
    shapes = [tuple(p.shape) for n, p in made.named_parameters() if n.endswith("linear.weight")]
    assert shapes == [(4, 10), (12, 8)]  # half of a layer that is not the last is the pillar's
    assert made(random_clouds()).map.isfinite().all()


def test_the_sparse_network_is_the_dense_one() -> None:
    """All its convolutions and norms, done densely, with the submanifold as a mask."""
    made, clouds = encoder(replace(VOXELS, bev=BevConfig((), (), (), (), ()))), random_clouds()
    grid = made.grid
    depth, height, width = grid.shape
    x = torch.zeros(2, 4, depth + 1, height, width)
    count = torch.zeros(2, 1, depth + 1, height, width)
    for point, b in zip(clouds.points, clouds.batch_index.tolist(), strict=True):
        cell = [int((point[a] - grid.range[a]) / grid.voxel_size[a]) for a in (2, 1, 0)]
        x[b, :, cell[0], cell[1], cell[2]] += point
        count[b, 0, cell[0], cell[1], cell[2]] += 1
    x, active = x / count.clamp(min=1), (count > 0).float()
    for module in made.backbone_3d.modules():  # type: ignore[union-attr]
        if isinstance(module, SparseConv3d):
            weight = module.weight.permute(0, 4, 1, 2, 3)
            x = F.conv3d(x, weight, stride=module.stride, padding=module.padding)
            if not module.submanifold:
                ones = torch.ones(1, 1, *module.kernel)
                active = F.conv3d(active, ones, stride=module.stride, padding=module.padding)
                active = (active > 0).float()
        elif isinstance(module, nn.BatchNorm1d):
            x = F.relu(
                F.batch_norm(
                    x, module.running_mean, module.running_var, module.weight, module.bias, eps=1e-3
                )
            )
        x = x * active
    found = made(clouds).map
    assert found.shape[1] == x.shape[1] * x.shape[2] == made.out_channels
    torch.testing.assert_close(found, x.flatten(1, 2), atol=1e-5, rtol=1e-4)


def test_the_published_shapes() -> None:
    """What OpenPCDet's SECOND and PointPillars on KITTI have, from the layout of their configs."""
    second = create_encoder(EncoderConfig("voxels", (0, -40, -3, 70.4, 40, 1), (0.05, 0.05, 0.1)))
    state = {name: tuple(value.shape) for name, value in second.state_dict().items()}
    assert state["backbone_3d.conv_input.0.weight"] == (16, 3, 3, 3, 4)
    assert state["backbone_3d.conv1.0.0.weight"] == (16, 3, 3, 3, 16)
    assert state["backbone_3d.conv2.0.0.weight"] == (32, 3, 3, 3, 16)
    assert state["backbone_3d.conv2.2.1.running_mean"] == (32,)
    assert state["backbone_3d.conv4.2.0.weight"] == (64, 3, 3, 3, 64)
    assert state["backbone_3d.conv_out.0.weight"] == (128, 3, 1, 1, 64)
    assert state["backbone_2d.blocks.0.1.weight"] == (128, 256, 3, 3)
    assert state["backbone_2d.blocks.1.16.weight"] == (256, 256, 3, 3)
    assert state["backbone_2d.deblocks.1.0.weight"] == (256, 256, 2, 2)
    assert (second.out_channels, second.stride) == (512, 8)
    assert second.backbone_3d.output_shape(second.shape) == (2, 200, 176)  # type: ignore[operator, union-attr]
    pillars = create_encoder(EncoderConfig())
    state = {name: tuple(value.shape) for name, value in pillars.state_dict().items()}
    assert state["vfe.pfn_layers.0.linear.weight"] == (64, 10)
    assert state["vfe.pfn_layers.0.norm.running_var"] == (64,)
    assert state["backbone_2d.blocks.2.16.weight"] == (256, 256, 3, 3)
    assert state["backbone_2d.deblocks.2.0.weight"] == (256, 128, 4, 4)
    assert (pillars.out_channels, pillars.stride) == (384, 2)


def test_sweeps_do_not_mix() -> None:
    for config in (PILLARS, VOXELS):
        made, both = encoder(config), random_clouds((300, 200))
        alone = PointBatch.collate([both.cloud(1)])
        torch.testing.assert_close(made(both).map[1], made(alone).map[0], atol=1e-5, rtol=1e-5)


def test_moving_by_whole_cells_moves_the_map() -> None:
    """Once coordinates themselves are not looked at, only offsets; away from the border."""
    made = encoder(PILLARS)
    made.vfe.pfn_layers[0].linear.weight.data[:, :3] = 0  # type: ignore[union-attr, index, operator]
    clouds = random_clouds((300,), extent=3.0)
    moved = replace(clouds, points=clouds.points + torch.tensor([2.0, 0, 0, 0]))
    here, there = made(clouds).map, made(moved).map
    middle = slice(8, 24)  # of 32 cells of half a metre: two metres are four
    assert here[..., middle, 8:20].std() > 0.01
    torch.testing.assert_close(
        there[..., middle, 12:24], here[..., middle, 8:20], atol=1e-4, rtol=1e-4
    )


def test_bad_grids_and_points() -> None:
    with pytest.raises(UserError, match="no whole number of the coarsest cells, 2 voxels each"):
        create_encoder(replace(PILLARS, range=(-8, -8, -2, 8, 8.5, 2)))
    with pytest.raises(UserError, match="set it to 4 along z"):
        create_encoder(replace(PILLARS, voxel_size=(0.5, 0.5, 1)))
    with pytest.raises(UserError, match="24 voxels or more along z, not 20"):
        create_encoder(replace(VOXELS, voxel_size=(0.5, 0.5, 0.2)))
    with pytest.raises(UserError, match="6 parts, not 2"):
        create_encoder(replace(VOXELS, widths=(4, 4)))
    with pytest.raises(UserError, match="each >= 2"):
        create_encoder(replace(PILLARS, widths=(1,)))
    far = random_clouds()
    far = replace(far, points=far.points + 100)
    with pytest.raises(UserError, match="none of the 500 points of 2 sweeps lies between"):
        create_encoder(PILLARS)(far)


def test_bird_eye_networks_that_cannot_be() -> None:
    with pytest.raises(UserError, match="one number a block, not layers 1, strides 2"):
        BevConfig((1,), (1, 2))
    with pytest.raises(UserError, match="maps of different sizes"):
        BevConfig((1, 1), (1, 2), (4, 4), (1, 1), (4, 4))
    with pytest.raises(UserError, match="1 or more"):
        BevConfig((1, 1), (1, 0), (4, 4), (1, 1), (4, 4))
    none = BevBackbone(7, BevConfig((), (), (), (), ()))
    assert (none.out_channels, none.stride) == (7, 1)


@pytest.mark.parametrize("config", [PILLARS, VOXELS], ids=lambda c: c.kind)
def test_every_weight_learns_and_the_same_twice(config: EncoderConfig) -> None:
    grads = []
    for _ in range(2):
        made = encoder(config).train()
        made(random_clouds()).map.square().mean().backward()
        grads.append([p.grad for p in made.parameters()])
    for one, two in zip(*grads, strict=True):
        assert one is not None
        assert one.abs().max() > 0
        assert torch.equal(one, two)

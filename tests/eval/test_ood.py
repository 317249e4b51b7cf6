from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from data_gen.latents import sample_latents
from data_gen.recipe import Recipe
from eval.cache import FeatureSet
from eval.ood import out_of_range, split_by_range
from ssl_equiv.errors import UserError
from ssl_equiv.groups import SE3, SO2, SO3, Flip, Group, Hue, Translation
from tests.eval.fakes import feature_set

HALF_PI = np.pi / 2
BOX = [[-HALF_PI, HALF_PI]] * 3


def one_factor(elements: Tensor, group: Group, split: str = "train") -> FeatureSet:
    """Views ``(N, V, dim)`` of one factor; each view's feature is its number."""
    objects, views, _ = elements.shape
    numbers = torch.arange(objects * views).float().view(objects, views, 1)
    return feature_set(numbers, split, actions={"factor": elements}, groups={"factor": group})


def column(*rows: list[float]) -> Tensor:
    return torch.tensor(rows)[..., None]


def drawn(objects: int, seed: int, **recipe: Any) -> FeatureSet:
    """Rotations and translations as the generator draws them."""
    parsed = Recipe.from_dict({"num_views": 8, **recipe})
    latents = torch.from_numpy(
        np.stack([sample_latents(parsed, (seed, index)) for index in range(objects)])
    )
    actions = parsed.schema.elements(latents)
    groups = parsed.schema.groups
    return feature_set(torch.zeros(objects, 8, 1), actions=actions, groups=groups)


def share_out(train: FeatureSet, views: FeatureSet, *factors: str) -> float:
    return out_of_range(train, views, factors or ("all",)).float().mean().item()


def test_numbers_have_a_box() -> None:
    generator = torch.Generator().manual_seed(0)
    train = torch.rand(50, 4, 2, generator=generator) * torch.tensor([1.0, 9]) + 5
    corners = torch.stack([train.flatten(0, 1).amin(0), train.flatten(0, 1).amax(0)])
    asked = torch.stack([corners[0], corners[1], corners.mean(0), corners[1] + 0.01])[None]
    asked = torch.cat([asked, corners[[0, 1, 0, 1]][None] * torch.tensor([1.0, 0.5])])
    found = out_of_range(one_factor(train, Translation(2)), one_factor(asked, Translation(2)))
    # halves of the second coordinate: the least is out, the greatest lies inside or not
    inside = 0.5 * corners[1, 1] >= corners[0, 1]
    expected = torch.tensor(
        [[False, False, False, True], [True, bool(~inside), True, bool(~inside)]]
    )
    assert torch.equal(found, expected)


@pytest.mark.parametrize(("group", "turn"), [(Hue(), 1.0), (SO2(), 2 * np.pi)])
def test_angles_have_arcs(group: Group, turn: float) -> None:
    def of(train: Tensor, asked: list[float]) -> list[bool]:
        sets = one_factor(turn * train, group), one_factor(turn * column(asked), group)
        return out_of_range(*sets)[0].tolist()

    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand(100, 8, 1, generator=generator)
    assert not any(of(uniform, [i / 64 for i in range(64)]))
    across = (0.2 * uniform - 0.1) % 1  # from -0.1 to 0.1
    assert of(across, [0.0, 0.95, 0.05, 0.2, 0.5, 0.85]) == [False] * 3 + [True] * 3
    two = torch.cat([0.1 * uniform, 0.1 * uniform + 0.5])
    assert of(two, [0.05, 0.55, 0.3, 0.8]) == [False, False, True, True]
    grid = (torch.arange(12) / 12).repeat(3, 1)[..., None]
    assert not any(of(grid, [i / 64 for i in range(64)]))
    assert of(torch.full((3, 2, 1), 0.25), [0.25, 0.26]) == [False, True]


def test_flips_and_poses() -> None:
    train = one_factor(torch.tensor([[[1.0, 1], [1, -1]]]), Flip(2))
    asked = one_factor(torch.tensor([[[1.0, -1], [-1, 1]]]), Flip(2))
    assert out_of_range(train, asked).tolist() == [[False, True]]
    pose, generator = SE3("base"), torch.Generator().manual_seed(0)
    ends = {"rotation": -0.5, "translation": -0.1}, {"rotation": 0.5, "translation": 0.1}
    near = pose.sample((200, 4), generator=generator, low=ends[0], high=ends[1])
    quat, shift = pose.parts(near[:3])
    moved = torch.cat([quat, shift + 1], dim=-1)
    turned = torch.cat([SO3().compose(quat, SO3().exp(torch.tensor([2.0, 0, 0]))), shift], -1)
    train = one_factor(near, pose)
    assert share_out(train, one_factor(near, pose)) == 0
    assert share_out(train, one_factor(moved, pose)) == 1
    assert share_out(train, one_factor(turned, pose)) == 1


def test_rotations_of_the_generator() -> None:
    train = drawn(400, seed=0)
    assert share_out(train, drawn(100, seed=1), "rotation") <= 0.005
    # the published set is the training distribution again, in other Euler angles
    published = [[[-np.pi, -HALF_PI], [HALF_PI, np.pi]]] * 3
    assert share_out(train, drawn(100, seed=1, rotation=published)) <= 0.005
    outside = drawn(100, seed=1, rotation={"outside": BOX, "angles": [1, 2]})
    found = out_of_range(train, outside)
    assert found.float().mean() > 0.6
    # what is called out is farther from all that was seen than training views are from each other
    quats = [views.actions["rotation"].flatten(0, 1) for views in (train, outside)]
    seen, asked = (Rotation.from_quat(q.numpy()) for q in quats)
    distance = np.stack([(asked[i].inv() * seen).magnitude() for i in range(0, 800, 20)]).min(1)
    threshold = max(np.sort((seen[i].inv() * seen).magnitude())[1] for i in range(0, 3200, 10))
    called = found.flatten()[::20].numpy()
    assert distance[called].min() > 0.9 * threshold
    assert distance[called].min() > distance[~called].max()


def test_one_factor_out_is_enough() -> None:
    train = drawn(100, seed=0, floor_hue=[0.5, 0.7], translation=[[-0.1, 0.1]] * 3)
    other = drawn(20, seed=1, floor_hue=[0.0, 0.2], translation=[[-0.1, 0.1]] * 3)
    assert share_out(train, other) == 1
    assert share_out(train, other, "floor_hue") == 1
    assert share_out(train, other, "rotation", "translation", "light_phi") < 0.02


def test_sets_are_rectangular(caplog: pytest.LogCaptureFixture) -> None:
    train = one_factor(torch.rand(50, 8, 1), Translation(1))
    asked = column([5.0, 0.5, 0.5, 5.0], [0.5, 5, 0.5, 0.5], [5, 5, 5, 5], [0.5, 0.5, 0.5, 0.5])
    views = one_factor(asked, Translation(1), "val")
    with caplog.at_level(logging.INFO):
        found = split_by_range(train, views)
    # inside: 2, 3, 0 and 4 views: 2 each of three objects, or 3 each of two
    inside, outside = found["in"], found["out"]
    assert inside.features[..., 0].tolist() == [[1, 2], [4, 6], [12, 13]]
    assert inside.index.tolist() == [0, 1, 3]
    assert outside.features[..., 0].tolist() == [[0, 3], [8, 9]]
    assert (inside.actions["factor"] == 0.5).all()
    assert inside.labels.tolist() == [0, 1, 3]
    assert "val: 9 views are in of the training range, 6 of them (2 of each of 3" in caplog.text
    assert inside.key != outside.key != views.key


def test_sets_that_are_wholly_in_or_out() -> None:
    train = one_factor(torch.rand(50, 8, 1), Translation(1))
    inside = one_factor(torch.full((3, 2, 1), 0.5), Translation(1))
    assert list(split_by_range(train, inside)) == ["in"]
    assert split_by_range(train, inside)["in"].features is inside.features
    assert list(split_by_range(train, one_factor(torch.full((3, 2, 1), 7.0), Translation(1)))) == [
        "out"
    ]
    mixed = one_factor(column([0.5, 7.0], [7.0, 0.5]), Translation(1))
    assert split_by_range(train, mixed) == {}
    single = one_factor(column([0.5], [7.0]), Translation(1))
    assert {name: s.features.shape for name, s in split_by_range(train, single).items()} == {
        "in": (1, 1, 1),
        "out": (1, 1, 1),
    }


def test_a_factor_that_is_missing() -> None:
    train = one_factor(torch.rand(5, 2, 1), Translation(1))
    other = feature_set(torch.zeros(5, 2, 1))
    with pytest.raises(UserError, match="no factor 'factor'"):
        out_of_range(train, other)
    with pytest.raises(UserError, match="did you mean 'factor'"):
        split_by_range(train, train, ["facto"])

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from eval.cache import FeatureSet
from eval.coordinates import Arc, Logarithm, Quaternion, Sign, SixD, Vector
from eval.targets import is_constant, make_targets, quantities, select
from ssl_equiv.errors import UserError
from ssl_equiv.groups import SE3, SO2, SO3, Flip, Hue, Scale
from tests.eval.fakes import feature_set, rotations

BOTH = ("canonical", "published")


def scene(objects: int = 5, views: int = 3) -> FeatureSet:
    generator = torch.Generator().manual_seed(0)
    actions = {
        "rotation": rotations(objects, views),
        "translation": torch.rand(objects, views, 3, generator=generator) - 0.5,
        "floor_hue": torch.rand(objects, views, 1, generator=generator),
        "light_hue": torch.rand(objects, views, 1, generator=generator),
        "light_phi": 6 * torch.rand(objects, views, 1, generator=generator),
        "size": 0.5 + torch.rand(objects, views, 1, generator=generator),
    }
    groups = {"floor_hue": Hue(), "light_hue": Hue(), "light_phi": SO2(), "size": Scale()}
    return feature_set(torch.zeros(objects, views, 2), actions=actions, groups=groups)


def pairs(objects: int) -> Tensor:
    """First and second view of each object."""
    numbers = torch.arange(objects)
    return torch.stack([numbers, torch.zeros_like(numbers), torch.ones_like(numbers)])


def test_everything_that_can_be_asked() -> None:
    assert list(quantities(scene())) == [
        *("rotation", "translation", "floor_hue", "light_hue", "light_phi", "size"),
        *("pose_object_translation", "pose_base_translation", "color"),
    ]
    targets = make_targets(scene(), ["all"], conventions=BOTH, heads=("quaternion", "6d"))
    assert [target.metric("r2") for target in targets] == [
        *("rotation_r2", "rotation_r2_published", "rotation_r2_6d"),
        *("translation_r2", "floor_hue_r2", "light_hue_r2", "light_phi_r2", "size_r2"),
        *("pose_object_translation_r2", "pose_base_translation_r2", "color_r2_published"),
    ]
    absolute = make_targets(scene(), ["rotation", "color"], relative=False, conventions=BOTH)
    assert [target.metric("r2") for target in absolute] == ["absolute_rotation_r2"]


def test_names_select_in_order_and_once() -> None:
    names = [q.name for q in select(scene(), ["size", "pose_base", "rotation", "size"])]
    assert names == ["size", "pose_base_translation", "rotation"]
    with pytest.raises(UserError, match="did you mean 'floor_hue'"):
        select(scene(), ["flor_hue"])


def test_a_pose_of_the_data_set_is_judged_by_halves() -> None:
    pose = SE3("object").sample((4, 2), generator=torch.Generator().manual_seed(0))
    views = feature_set(
        torch.zeros(4, 2, 1), actions={"placed": pose}, groups={"placed": SE3("object")}
    )
    rotation, translation = make_targets(views, ["placed"])
    found = torch.linalg.inv(SE3().matrix(pose[:, 0])) @ SE3().matrix(pose[:, 1])
    quat, moved = (t.values(t.quantity.elements(views), pairs(4)) for t in (rotation, translation))
    torch.testing.assert_close(SO3().matrix(quat), found[:, :3, :3], atol=1e-5, rtol=0)
    torch.testing.assert_close(moved, found[:, :3, 3], atol=1e-5, rtol=0)
    assert rotation.metric("degrees_mean") == "placed_rotation_degrees_mean"


@pytest.mark.parametrize("frame", ["object", "base"])
def test_translations_of_relative_poses_in_both_frames(frame: str) -> None:
    views = scene()
    (target,) = make_targets(views, [f"pose_{frame}"])
    quats, shifts = views.actions["rotation"].double(), views.actions["translation"].double()

    def pose(view: int) -> np.ndarray:
        turn, move = np.tile(np.eye(4), (2, 5, 1, 1))
        turn[:, :3, :3] = Rotation.from_quat(quats[:, view].numpy()).as_matrix()
        move[:, :3, 3] = shifts[:, view]
        return move @ turn if frame == "object" else turn @ move

    expected = (np.linalg.inv(pose(0)) @ pose(1))[:, :3, 3]
    found = target.values(target.quantity.elements(views), pairs(5))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    (absolute,) = make_targets(views, [f"pose_{frame}"], relative=False)
    found = absolute.values(absolute.quantity.elements(views), pairs(5)[:2])
    np.testing.assert_allclose(found, pose(0)[:, :3, 3], atol=1e-6)


def test_colours_are_published_as_plain_differences() -> None:
    views = scene()
    (target,) = make_targets(views, ["color"], conventions=BOTH)
    hues = torch.cat([views.actions["floor_hue"], views.actions["light_hue"]], dim=-1)
    found = target.values(target.quantity.elements(views), pairs(5))
    torch.testing.assert_close(found, hues[:, 1] - hues[:, 0])
    assert target.coordinates.dims == ("floor_hue", "light_hue")


def test_constant_factors_are_seen() -> None:
    views = scene()
    views = replace(
        views,
        actions={
            **views.actions,
            "floor_hue": torch.full((5, 3, 1), 0.3),
            "light_phi": views.actions["light_phi"][:, :1].expand(-1, 3, -1),
        },
    )
    constant = {
        relative: {
            target.quantity.name
            for target in make_targets(views, ["all"], relative=relative)
            if is_constant(target, views)
        }
        for relative in (True, False)
    }
    assert constant == {True: {"floor_hue", "light_phi"}, False: {"floor_hue"}}


@pytest.mark.parametrize("coordinates", [Quaternion(), SixD()])
def test_right_rotations_are_right(coordinates: Quaternion | SixD) -> None:
    quats = SO3().sample((50,), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    output = 3 * coordinates.encode(quats)
    assert output.shape == (50, coordinates.width)
    assert coordinates.error(output, quats).max() < 1e-5
    torch.testing.assert_close(coordinates.decode(output / 3, quats), coordinates.count(quats))
    other = SO3().sample((50,), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = np.rad2deg(
        (Rotation.from_quat(quats.numpy()).inv() * Rotation.from_quat(other.numpy())).magnitude()
    )
    np.testing.assert_allclose(coordinates.error(output, other), expected, atol=1e-5)


@pytest.mark.parametrize(("turn", "centre"), [(1.0, 0.0), (2 * torch.pi, 2.0)])
def test_angles_have_no_seam(turn: float, centre: float) -> None:
    arc = Arc(turn, centre)
    right = centre + turn * torch.tensor([[0.49], [-0.49], [0.2]])
    answer = right + turn * torch.tensor([[0.03], [-0.03], [-0.1]])
    output = 2 * arc.encode(answer)
    expected = torch.tensor([0.03, 0.03, 0.1])
    torch.testing.assert_close(arc.error(output, right), 360 * expected, atol=1e-3, rtol=0)
    counted = arc.count(right)
    assert counted.abs().max() <= turn / 2
    torch.testing.assert_close(arc.decode(output, right) - counted, answer - right)
    assert arc.mean(answer) == pytest.approx(
        np.angle(np.exp(2j * np.pi * (answer.numpy() - centre) / turn).mean()) * turn / 2 / np.pi
        + centre,
        abs=1e-5,
    )


def test_absolute_angles_count_from_where_training_views_are() -> None:
    views = scene()
    hue = torch.tensor([0.9, 0.0, 0.1]).expand(5, 3)[..., None].contiguous()
    views = replace(views, actions={**views.actions, "floor_hue": hue})
    (target,) = make_targets(views, ["floor_hue"], relative=False)
    torch.testing.assert_close(
        target.coordinates.count(hue[0]), torch.tensor([[-0.1], [0.0], [0.1]]), atol=1e-6, rtol=0
    )


def test_other_units() -> None:
    factor = torch.tensor([[2.0], [0.5]])
    torch.testing.assert_close(
        Logarithm().error(torch.zeros(2, 1), factor), factor[:, 0].log().abs()
    )
    assert Vector(("x", "y")).error(torch.tensor([3.0, 4.0]), torch.zeros(2)) == 5
    signs = torch.tensor([[1.0, -1, -1]])
    assert Sign(("x", "y", "z")).error(torch.tensor([[0.2, 0.3, -4]]), signs) == 1
    flips = feature_set(
        torch.zeros(4, 2, 1), actions={"flip": torch.ones(4, 2, 2)}, groups={"flip": Flip(2)}
    )
    (target,) = make_targets(flips, ["flip"])
    assert target.coordinates == Sign(("x", "y"))
    assert is_constant(target, flips)
    assert make_targets(scene(), ["translation"])[0].coordinates == Vector(("x", "y", "z"))

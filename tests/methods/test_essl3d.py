"""E-SSL3D's objectives, each against what is known of it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from data_gen.lidar.live import SimulatedSource
from ssl_equiv.backbones.lidar import BevFeatures, Grid, Plane
from ssl_equiv.data.lidar.batch import LidarBatch
from ssl_equiv.errors import UserError
from ssl_equiv.methods import ESSL3D, MomentumConfig
from ssl_equiv.methods.essl3d import Objective
from ssl_equiv.methods.matches import match_points
from ssl_equiv.points import PointBatch
from ssl_equiv.regularizers import SoftEquivariance
from ssl_equiv.transforms.points import identity, motion, move_points
from tests.backbones.lidar.clouds import PILLARS
from tests.methods.sweeps import MOTIONS, sweep_batch, terms_of_sweeps

SMALL: dict[str, Any] = {
    "backbone": PILLARS,
    "points": 64,
    "projector_widths": (16, 8),
    "predictor_widths": (16, 8),
}


def make(**options: Any) -> ESSL3D:
    torch.manual_seed(0)
    return ESSL3D(**{**SMALL, **options})


class Toy(nn.Module):
    """Each cell: the mean intensity of its points in two channels. Motions change no intensity."""

    grid, stride = Grid((-16, -16, -4, 16, 16, 4), (0.25, 0.25, 8)), 2

    def forward(self, points: PointBatch) -> BevFeatures:
        plane = Plane(self.grid, self.stride)
        cells = plane.cells(points.points, points.batch_index)
        known, rows = cells >= 0, points.size * math.prod(plane.shape)
        total = torch.bincount(cells[known], points.points[known, 3].double(), rows)
        count = torch.bincount(cells[known], minlength=rows)
        mean = (total / count.clamp_min(1)).view(points.size, 1, *plane.shape).float()
        angle = torch.cat([mean.cos(), mean.sin()], dim=1)
        occupied = (count > 0).view(points.size, 1, *plane.shape)
        return BevFeatures(angle * occupied, self.stride, self.grid, occupied)


def pose(x: float, y: float, yaw: float) -> np.ndarray:
    turned = np.eye(4)
    turned[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    turned[:2, 3] = x, y
    return turned


def rigid_scene(dynamic: bool = True) -> LidarBatch:
    """Boxes of points that move by themselves, seen from an ego that drives on and turns.

    Flow is the analytical one, ``T_ego(t)^-1 T_obj(t) T_obj(t-1)^-1 T_ego(t-1) p - p``.
    """
    rng = np.random.default_rng(0)
    ego = pose(3, 1, 0.2), pose(4.3, 1.4, 0.31)
    before, after, flow = [], [], []
    for number, (x, y) in enumerate([(6, 5), (-5, 6), (5, -7), (-6, -5), (9, 0)]):
        start = pose(x + 3, y + 1, number)
        step = pose(0.7 * number, -0.4 * number, 0.15 * number)
        objects = start, start @ step if dynamic else start
        local = np.concatenate(
            [rng.uniform(-1.2, 1.2, (150, 2)), rng.uniform(-1, 1, (150, 1)), np.ones((150, 1))], 1
        )
        p, q = ((np.linalg.inv(e) @ o @ local.T).T for e, o in zip(ego, objects, strict=True))
        carried = (np.linalg.inv(ego[1]) @ objects[1] @ np.linalg.inv(objects[0]) @ ego[0] @ p.T).T
        intensity = np.full((150, 1), number / 5)
        before.append(np.concatenate([p[:, :3], intensity], 1))
        after.append(np.concatenate([q[:, :3], intensity], 1))
        flow.append(carried[:, :3] - p[:, :3])

    def cloud(rows: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.concatenate(rows)).float()

    current = PointBatch.collate([cloud(after)])
    previous = PointBatch.collate([cloud(before)], [cloud(flow)])
    elements = identity((1, 2))
    return LidarBatch(
        [current, current], elements, MOTIONS.groups, current, torch.tensor([0]), previous
    )


def toy_method() -> ESSL3D:
    method = make(contrast_weight=0.0, classification_weight=0.0)
    method.backbone = Toy()  # type: ignore[assignment]
    method.projector = method.predictor = nn.Identity()
    method.target.network = nn.ModuleList([Toy(), nn.Identity()])
    return method


@pytest.mark.parametrize("moved", [False, True])
def test_an_equivariant_encoder_has_no_flow_loss(moved: bool) -> None:
    batch, method = rigid_scene(), toy_method()
    if moved:  # the pair of sweeps by one motion, as in a view
        drawn = {
            "flip": torch.tensor([[-1.0, 1.0]]),
            "yaw": torch.tensor([[0.7]]),
            "scale": torch.tensor([[1.04]]),
            "translation": torch.tensor([[0.15, -0.1, 0.05]]),
        }
        drawn["motion"] = motion(drawn)
        views = [move_points(batch.current, drawn["motion"]), batch.current]
        actions = {
            name: torch.stack([drawn[name], action[:, 1]], 1)
            for name, action in batch.actions.items()
        }
        batch = replace(batch, views=views, actions=actions)
    assert terms_of_sweeps(method, batch).keys() == {"flow"}
    assert terms_of_sweeps(method, batch)["flow"] < 1e-6
    assert batch.previous is not None
    # the same points, each carried to where another object is
    elsewhere = batch.views[0].points.roll(150, 0)[:, :3]
    before = move_points(batch.previous, batch.actions["motion"][:, 0]).points[:, :3]
    unmoved = replace(batch, actions=identity((1, 2)))
    wrong = replace(batch.previous, flow=elsewhere - before)
    wrong = replace(wrong, points=torch.cat([before, batch.previous.points[:, 3:]], 1))
    assert terms_of_sweeps(method, replace(unmoved, previous=wrong))["flow"] > 0.01


def test_flow_is_asked_only_where_there_are_points_of_both() -> None:
    batch, method = rigid_scene(), toy_method()
    # the target's features at one object are made wrong; that object is hidden in sweep t
    assert batch.previous is not None
    points = batch.previous.points.clone()
    points[:150, 3] = 3.0
    wrong = replace(batch, previous=replace(batch.previous, points=points))
    assert terms_of_sweeps(method, wrong)["flow"] > 0.01
    seen = batch.current.select(torch.arange(750) >= 150)
    hidden = replace(wrong, views=[seen, seen], current=seen)
    assert terms_of_sweeps(method, hidden)["flow"] < 1e-6


def test_a_batch_without_sweeps_before_has_no_flow_loss() -> None:
    method, batch = make(), sweep_batch([4, 8])  # firsts of their sequences
    terms = terms_of_sweeps(method, batch)
    assert terms["flow"] == 0
    method.total(terms).backward()
    assert all(p.grad is not None for p in method.parameters() if p.requires_grad)
    assert all(b.isfinite().all() for b in method.buffers())
    some = terms_of_sweeps(make(), sweep_batch([1, 4]))["flow"]
    assert some > 0


def test_the_target_has_no_gradient_and_follows() -> None:
    method = make(momentum=MomentumConfig(0.9, schedule="constant"))
    before = [p.clone() for p in method.target.parameters()]
    with torch.no_grad():
        for p in method.backbone.parameters():
            p += 1
    method._trainer = type("T", (), {"estimated_stepping_batches": 10})()
    method.after_optimizer_step(0)
    encoder = list(method.target.network[0].parameters())  # type: ignore[index]
    torch.testing.assert_close(encoder[0], before[0] + 0.1)
    assert not any(p.requires_grad for p in method.target.parameters())


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, {"contrast", "classify_yaw", "flow"}),
        ({"flow_weight": 0.0}, {"contrast", "classify_yaw"}),
        ({"contrast_weight": 0.0, "flow_weight": 0.0}, {"classify_yaw"}),
        ({"classification_weight": 0.0, "flow_weight": 0.0}, {"contrast"}),
        ({"classification_weight": 0.0, "contrast_weight": 0.0}, {"flow"}),
        (
            {"flip": Objective("classification", -1, 1, 2), "yaw": Objective("contrastive", -2, 2)},
            {"contrast", "classify_flip", "flow"},
        ),
        (
            {
                "translation": Objective("classification", -0.2, 0.2),
                "scale": Objective("classification", 0.95, 1.05),
                "flip": Objective("off", -1, 1, 2),
            },
            {"classify_yaw", "classify_translation", "classify_scale", "flow"},
        ),
    ],
)
def test_each_objective_alone_and_any_choice(options: dict[str, Any], wanted: set[str]) -> None:
    method = make(**options)
    assert method.weights.keys() == wanted
    terms = terms_of_sweeps(method, sweep_batch([1, 2, 3]))
    assert terms.keys() == wanted
    method.total(terms).backward()
    unused = [n for n, p in method.named_parameters() if p.requires_grad and p.grad is None]
    assert not unused


def test_what_is_not_contrasted_is_the_same_in_both_views() -> None:
    method, batch = make(), sweep_batch([1, 2, 3])
    seen = method.observe(batch)
    for name, shared in (("yaw", True), ("flip", False), ("scale", False), ("translation", False)):
        one, two = seen.actions[name].unbind(1)
        assert torch.equal(one, two) == shared, name
        if name != "yaw":
            assert torch.equal(two, batch.actions[name][:, 1])
    # the moved view is the untransformed sweep under the element that is told
    again = move_points(batch.current, seen.actions["motion"][:, 1])
    assert again.source_index is not None
    assert seen.views[1].source_index is not None
    kept = again.select(again.source_index % 7 != 0)
    torch.testing.assert_close(seen.views[1].points, kept.points, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        seen.actions["motion"][:, 1],
        motion(
            {name: seen.actions[name][:, 1] for name in ("flip", "yaw", "scale", "translation")}
        ),
    )
    assert torch.equal(seen.actions["motion"][:, 0], batch.actions["motion"][:, 0])
    everything = make(yaw=Objective("contrastive", -2, 2))
    assert everything.observe(batch) is batch


def test_matches_are_the_same_points_and_one_a_cell() -> None:
    batch = sweep_batch([1, 2])
    first, second = batch.views
    plane = Plane(Grid((-8, -8, -2, 8, 8, 2), (0.5, 0.5, 4)), 1)
    cells = (
        plane.cells(first.points, first.batch_index),
        plane.cells(second.points, second.batch_index),
    )
    found = match_points(first, second, cells, batch.index, 100, 0)
    assert found.known.shape == (2, 100)
    for sweep in (0, 1):
        mine, theirs = (
            found.first[sweep][found.known[sweep]],
            found.second[sweep][found.known[sweep]],
        )
        assert (first.batch_index[mine] == sweep).all()
        assert (second.batch_index[theirs] == sweep).all()
        assert first.source_index is not None
        assert second.source_index is not None
        assert torch.equal(first.source_index[mine], second.source_index[theirs])
        assert (first.source_index[mine] % 7 != 0).all()  # those the second view lacks
        own = cells[0][mine]
        assert (own >= 0).all()
        assert (cells[1][theirs] >= 0).all()
        assert len(own.unique()) == len(own) > 20
    other = match_points(first, second, cells, batch.index, 100, 1)
    assert not torch.equal(other.first, found.first)
    few = match_points(first, second, cells, batch.index, 5, 0)
    assert few.known.all()
    for sweep in (0, 1):  # a smaller draw is the beginning of a larger one
        assert torch.equal(few.first[sweep], found.first[sweep, :5])
    alone = match_points(
        second.select(second.batch_index == 9), first, (cells[1][:0], cells[0]), batch.index, 5, 0
    )
    assert not alone.known.any()


def test_classes_are_bins_of_the_elements() -> None:
    method = make()
    label = method.classifiers["yaw"].bins.label  # type: ignore[union-attr, operator]
    degrees = torch.tensor([-90.0, -89.9, -72.1, -71.9, 0.1, 89.9, 90.0])
    assert label(degrees.deg2rad(), "yaw").tolist() == [0, 0, 0, 1, 5, 9, 9]
    with pytest.raises(
        UserError, match=r"the data's yaw goes from 1.658 to 1.658, outside .* set m"
    ):
        label(torch.tensor([95.0]).deg2rad(), "yaw")
    flips = make(flip=Objective("classification", -1, 1, 2)).classifiers["flip"]
    assert flips.bins.label(torch.tensor([[-1.0, 1.0]]), "flip").tolist() == [[0, 1]]  # type: ignore[union-attr, operator]
    logits = torch.full((4, 2, 2), -9.0)
    logits[:, 0, 0] = logits[:, 1, 1] = 9.0
    flips.forward = lambda _: logits  # type: ignore[method-assign, assignment]
    right = torch.tensor([[-1.0, 1.0]]).expand(4, 2)
    assert flips.loss(torch.zeros(4, 12), right, "flip").max() < 1e-6  # type: ignore[operator]
    assert flips.loss(torch.zeros(4, 12), -right, "flip").min() > 10  # type: ignore[operator]


def test_configurations_that_cannot_be() -> None:
    with pytest.raises(UserError, match="nor all of them 0"):
        make(contrast_weight=0.0, classification_weight=0.0, flow_weight=0.0)
    with pytest.raises(UserError, match="none may be negative"):
        make(flow_weight=-1.0)
    with pytest.raises(UserError, match="what is predicted is the projector's output"):
        make(predictor_widths=(16, 4))
    with pytest.raises(UserError, match="choose low < high"):
        make(yaw=Objective("classification", 1, 1))
    batch = sweep_batch([1, 2], flow=False)
    with pytest.raises(UserError, match=r"set data\.flow, or model.flow_weight 0"):
        terms_of_sweeps(make(), batch)
    with pytest.raises(UserError, match="SoftEquivariance are for images"):
        make().regularize([SoftEquivariance({"rotation": "SO3"})])
    with pytest.raises(UserError, match="takes 2 views of each object, not 1"):
        make().check_views(sweep_batch([1], views=1))


@pytest.mark.parametrize("name", ["contrast", "classification", "flow"])
def test_each_objective_learns_a_few_sweeps(name: str) -> None:
    method = make(
        **{f"{n}_weight": float(n == name) for n in ("contrast", "classification", "flow")}
    )
    batch = sweep_batch([1, 2, 3])
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], 3e-3)
    history = []
    for step in range(50):
        method.step_seed = step
        loss = method.total(terms_of_sweeps(method, batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if name == "flow":
            method._trainer = type("T", (), {"estimated_stepping_batches": 1000})()
            method.after_optimizer_step(step)
        history.append(loss.item())
    assert np.mean(history[-3:]) < 0.5 * np.mean(history[:3])


def test_the_class_of_a_rotation_is_learnt_from_few_streets() -> None:
    """Under other motions at each step, so that nothing can be learnt by heart."""
    source = SimulatedSource(8, 1, {"beams": 16, "azimuths": 180, "extent": 14.0})
    streets = [source.sweep(number, boxes=False, flow=False).points for number in range(8)]
    current = PointBatch.collate(streets)
    grid = replace(PILLARS, range=(-16, -16, -3, 16, 16, 1), voxel_size=(1, 1, 4))
    method = make(backbone=grid, contrast_weight=0.0, flow_weight=0.0)
    optimizer = torch.optim.AdamW(method.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(40):
        actions = MOTIONS.sample((8, 2), generator)
        views = [move_points(current, actions["motion"][:, view]) for view in (0, 1)]
        batch = LidarBatch(views, actions, MOTIONS.groups, current, torch.arange(8))
        loss = method.total(terms_of_sweeps(method, batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < 0.75 * math.log(10)  # of ten classes, by guessing

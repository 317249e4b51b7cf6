"""The baselines on sweeps, each loss against what is known of it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ssl_equiv.data.lidar.batch import LidarBatch
from ssl_equiv.errors import UserError
from ssl_equiv.methods import ALSO, BevJEPA, BevMAE, DepthContrast, Method, PointContrast
from ssl_equiv.methods.masked_sweeps import mask_sweeps
from ssl_equiv.methods.matches import first_of_groups
from ssl_equiv.points import PointBatch
from ssl_equiv.transforms.points import identity, move_points
from tests.backbones.lidar.clouds import PILLARS, VOXELS
from tests.methods.sweeps import MOTIONS, sweep_batch, terms_of_sweeps
from tests.methods.tiny import LIDAR, lidar_methods, tiny


class Say(nn.Module):
    """A network with a fixed answer."""

    def __init__(self, answer: torch.Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, *_: torch.Tensor) -> torch.Tensor:
        return self.answer


BASELINES = [name for name in lidar_methods() if name != "ESSL3D"]


def test_these_are_the_baselines() -> None:
    assert set(BASELINES) == {"PointContrast", "DepthContrast", "BevMAE", "ALSO", "BevJEPA"}


@pytest.mark.parametrize("name", lidar_methods())
@pytest.mark.parametrize("backbone", [PILLARS, VOXELS], ids=lambda c: c.kind)
def test_a_step_reaches_every_weight(name: str, backbone: Any) -> None:
    torch.manual_seed(0)
    import ssl_equiv.methods as methods

    method = getattr(methods, name)(backbone=backbone, **LIDAR[name])
    method.log_dict = lambda *_, **__: None
    batch = sweep_batch([1, 2, 3], views=method.num_views)
    made = method.training_step(batch, 0)
    assert made["features"].shape[::2] == (3, method.dim)
    assert made["label"].tolist() == [-100] * 3
    assert made["terms"].keys() == method.weights.keys()
    made["loss"].backward()
    unused = [n for n, p in method.named_parameters() if p.requires_grad and p.grad is None]
    assert not unused


@pytest.mark.parametrize("name", lidar_methods())
def test_half_precision_leaves_losses_in_single(name: str) -> None:
    torch.manual_seed(0)
    method = tiny(name)
    batch = sweep_batch([1, 2, 3], views=method.num_views)
    with torch.autocast("cpu", torch.bfloat16):
        terms = terms_of_sweeps(method, batch)
        method.total(terms).backward()
    assert {term.dtype for term in terms.values()} == {torch.float32}
    assert all(p.grad.isfinite().all() for p in method.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", BASELINES)
def test_it_learns_a_few_sweeps(name: str) -> None:
    torch.manual_seed(0)
    method = tiny(name)
    batch = sweep_batch([1, 2, 3], views=method.num_views)
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], 5e-3)
    history = []
    for step in range(25):
        method.step_seed = step % 4
        loss = method.total(terms_of_sweeps(method, batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert np.mean(history[-4:]) < 0.9 * np.mean(history[:4])


def test_masked_cells_lose_all_their_points_and_no_others_do() -> None:
    method = tiny("BevMAE")
    plane, batch = method.backbone.plane, sweep_batch([1, 2, 3], views=1)
    made = mask_sweeps(batch, plane, 0.7, 5)
    cells = plane.cells(batch.views[0].points, batch.views[0].batch_index)
    occupied = cells[cells >= 0].unique()
    share = made.masked.sum().item() / len(occupied)
    assert 0.6 < share < 0.8
    assert set(made.masked.flatten().nonzero()[:, 0].tolist()) <= set(occupied.tolist())
    shown = plane.cells(made.views[0].points, made.views[0].batch_index)
    assert not made.masked.flatten()[shown].any()
    assert len(shown) == (~made.masked.flatten()[cells[cells >= 0]]).sum()
    alone = mask_sweeps(sweep_batch([2], views=1), plane, 0.7, 5)
    assert torch.equal(alone.masked[0], made.masked[1])  # whoever else is in the batch
    assert not torch.equal(mask_sweeps(batch, plane, 0.7, 6).masked, made.masked)


def test_what_is_rebuilt_is_what_was_there() -> None:
    method = BevMAE(PILLARS, decoder_width=8, drawn=4, kept=6)
    batch = method.observe(sweep_batch([1, 2], views=1))
    cells = batch.masked.flatten().nonzero()[:, 0]
    points, known, number = method.targets(batch, cells)
    assert points[known].abs().max() <= 1 + 1e-5
    whole, plane = batch.whole, method.backbone.plane
    edge = plane.cell[0]
    size = math.prod(plane.shape)
    for row in range(0, len(cells), 7):
        mine = whole.points[batch.cells == cells[row], :3]
        assert number[row] == len(mine)
        assert known[row].sum() == min(6, len(mine))
        place = int(cells[row]) % size
        corner = torch.tensor([place % plane.shape[1], place // plane.shape[1]]) * edge - 8
        centre = torch.tensor([*(corner + edge / 2), 0.0])
        back = points[row, known[row]] * torch.tensor([edge / 2, edge / 2, 2.0]) + centre
        distance = torch.cdist(back, mine).amin(dim=1)
        assert distance.max() < 1e-4
    # a decoder that draws them exactly has no loss
    method.draw = Say(torch.cat([torch.log1p(number)[:, None], points[:, :4].flatten(1)], dim=1))
    method.targets = lambda *_: (points, known & (torch.arange(6) < 4), number)  # type: ignore[method-assign]
    few = known[:, :4].all(1)
    terms = method.terms(method.encode_batch(batch), batch)  # type: ignore[arg-type]
    assert terms["density"] == 0
    assert few.any()


def test_queries_are_full_behind_points_and_empty_before() -> None:
    method = ALSO(PILLARS, points=50, reach=0.3, hidden=8)
    asked: list[Any] = []
    real = method.decode
    method.decode = lambda bev, queries, sweep: (  # type: ignore[method-assign]
        asked.append((queries, sweep)) or real(bev, queries, sweep)
    )
    batch = sweep_batch([1, 2, 3], views=1)
    terms = terms_of_sweeps(method, batch)
    queries, sweep = asked[0]
    behind, before, between = queries.chunk(3)
    sweep = sweep[: len(behind)]
    assert torch.bincount(sweep).tolist() == [50, 50, 50]
    sensor = batch.actions["motion"][:, 0, 3:][sweep]
    ray = (behind + before) / 2  # the point itself
    direction = torch.nn.functional.normalize(ray - sensor, dim=1)
    torch.testing.assert_close(behind - before, 0.6 * direction, atol=1e-4, rtol=1e-4)
    exact = "donot_use_mm_for_euclid_dist"
    distance = torch.cdist(ray, batch.views[0].points[:, :3], compute_mode=exact).amin(dim=1)
    assert distance.max() < 1e-4
    share = (between - sensor).norm(dim=1) / (ray - sensor).norm(dim=1)
    assert share.max() <= 1 + 1e-5
    assert 0.3 < share.mean() < 0.7
    torch.testing.assert_close(
        between - sensor, direction * (between - sensor).norm(dim=1, keepdim=True)
    )
    # log 2 where nothing is known; the decoder's last layer is the logit
    method.decoder[-1].weight.data.zero_()
    method.decoder[-1].bias.data.zero_()
    assert terms_of_sweeps(method, batch)["occupancy"].item() == pytest.approx(math.log(2))
    assert terms["occupancy"] > 0


def test_the_queue_holds_the_last_keys() -> None:
    method = DepthContrast(PILLARS, queue=5, projector_widths=(16, 8))
    first = method.queue.clone()
    batch = sweep_batch([1, 2, 3])
    terms = terms_of_sweeps(method, batch)
    torch.testing.assert_close(method.queue.norm(dim=1), torch.ones(5))
    assert torch.equal(method.queue[3:], first[:2])
    keys = method.queue[:3].clone()
    terms_of_sweeps(method, batch)
    assert torch.equal(method.queue[3:], keys[:2])
    terms["contrast"].backward()
    method.eval()
    held = method.queue.clone()
    terms_of_sweeps(method, batch)
    assert torch.equal(method.queue, held)


def test_the_contrast_of_pooled_features_against_its_formula() -> None:
    torch.manual_seed(0)
    method = DepthContrast(PILLARS, queue=4, temperature=0.2, projector_widths=(16, 8)).eval()
    batch = sweep_batch([1, 2])
    normalize = torch.nn.functional.normalize
    with torch.no_grad():
        encoder, embed = method.target.network  # type: ignore[misc]
        keys = normalize(embed(encoder(batch.views[1]).pooled()), dim=1)
        queries = normalize(method.projector(method.backbone(batch.views[0]).pooled()), dim=1)
        wanted = []
        for row in range(2):
            right = (queries[row] @ keys[row] / 0.2).exp()
            others = (queries[row] @ method.queue.T / 0.2).exp().sum()
            wanted.append(-torch.log(right / (right + others)))
        found = terms_of_sweeps(method, batch)["contrast"]
    torch.testing.assert_close(found, torch.stack(wanted).mean())


def test_a_prediction_that_is_the_target_has_no_loss() -> None:
    torch.manual_seed(0)
    method = BevJEPA(PILLARS, predictor_width=8, predictor_depth=1)
    batch = method.observe(sweep_batch([1, 2], views=1))
    target = method.target(batch.whole).map
    views = method.encode_batch(batch)
    method.predictor = Say(3 * target)
    terms = method.terms(views, batch)  # type: ignore[arg-type]
    assert terms["prediction"] < 1e-6
    method.predictor = Say(-target)
    assert method.terms(views, batch)["prediction"].item() == pytest.approx(2)  # type: ignore[arg-type]
    # the hinge looks at cells of the context that hold points
    bev = views[0].bev  # type: ignore[attr-defined]
    seen = bev.map.permute(0, 2, 3, 1)[bev.occupied[:, 0]]
    want = torch.relu(1 - (seen.var(dim=0) + 1e-4).sqrt()).mean()
    torch.testing.assert_close(terms["variance"], want)


def test_points_are_found_again_by_a_map_that_moves_with_them() -> None:
    """Features that tell every point apart, whatever moved it, have no loss."""
    method = PointContrast(PILLARS, points=32, temperature=0.01)

    class Told(nn.Module):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return rows

    generator = torch.Generator().manual_seed(0)
    places = torch.cartesian_prod(torch.arange(-4, 5), torch.arange(-4, 5)).float() * 1.5
    cloud = torch.cat([places, torch.zeros(81, 1), torch.rand(81, 1, generator=generator)], dim=1)
    current = PointBatch.collate([cloud])
    actions = MOTIONS.sample((1, 2), generator)
    views = [move_points(current, actions["motion"][:, v]) for v in (0, 1)]
    code = torch.nn.functional.one_hot(torch.arange(81)).float()

    def bev_of(view: PointBatch) -> Any:
        class Bev:
            plane = method.backbone.plane

            def at(self, points: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
                return code[torch.cdist(points[:, :2], view.points[:, :2]).argmin(dim=1)]

        return type("View", (), {"bev": Bev()})()

    method.projector = Told()
    batch = LidarBatch(views, actions, MOTIONS.groups, current, torch.tensor([3]))
    assert method.terms([bev_of(v) for v in views], batch)["contrast"] < 1e-6  # type: ignore[arg-type]
    code = torch.ones(81, 4)
    some = method.terms([bev_of(v) for v in views], batch)["contrast"]  # type: ignore[arg-type]
    assert some.item() == pytest.approx(math.log(32), rel=1e-4)


def test_the_first_of_each_group() -> None:
    group = torch.tensor([2, 0, 2, 2, 1, 0, 2])
    place, rank = first_of_groups(group, 2)
    assert place.tolist() == [1, 5, 4, 0, 2]
    assert rank.tolist() == [0, 1, 0, 0, 1]
    assert first_of_groups(group[:0], 2)[0].tolist() == []


def test_configurations_that_cannot_be() -> None:
    kinds: list[tuple[type[Method], dict[str, Any], str]] = [
        (BevMAE, {"mask_ratio": 1.0}, "choose a share between 0 and 1"),
        (BevJEPA, {"mask_ratio": 0.0}, "choose a share between 0 and 1"),
        (ALSO, {"reach": 0.0}, "choose more than 0"),
        (DepthContrast, {"queue": 0}, "keep one key or more"),
        (PointContrast, {"temperature": 0.0}, "choose a number above 0"),
    ]
    for kind, options, told in kinds:
        with pytest.raises(UserError, match=told):
            kind(backbone=PILLARS, **options)  # type: ignore[call-arg]


def test_a_view_that_was_not_moved_has_the_sensor_at_the_origin() -> None:
    batch = sweep_batch([1], views=1)
    still = replace(batch, actions=identity((1, 1)), views=[batch.current])
    assert terms_of_sweeps(tiny("ALSO"), still)["occupancy"].isfinite()

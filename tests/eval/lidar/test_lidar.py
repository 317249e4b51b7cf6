from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.metrics import jaccard_score

from eval.fitting import fit
from eval.lidar import (
    LidarRecipe,
    bev_equivariance,
    judge_encoder,
    open_encoder,
    sees_sweeps,
)
from eval.lidar.equivariance import standard_motions
from eval.lidar.points import MeanIoU, PointProbe, mean_iou, point_features
from eval.lidar.pooled import pooled_features
from eval.probe import ProbeRecipe
from ssl_equiv.checkpoint import PretrainedEncoder
from ssl_equiv.data.lidar.dataset import Region
from ssl_equiv.errors import UserError
from ssl_equiv.export.openpcdet import export_openpcdet
from ssl_equiv.transforms.points import MOTION, PointMotions, identity, motion
from tests.eval.lidar.fakes import FakeData, FakeEncoder, street
from tests.export.test_openpcdet import run_of

DATA: Any = FakeData()
QUICK = ProbeRecipe(200, 64, 1e-2, "one_cycle", standardize=True, hidden=(32,))
LINEAR = ProbeRecipe(10, 128, 1e-1, "one_cycle", standardize=True, hidden=())


def encoder(**options: Any) -> Any:
    return FakeEncoder(**options).eval()


def element(**told: list[float]) -> torch.Tensor:
    neutral = {name: value for name, value in identity().items() if name != "motion"}
    return motion(neutral | {name: torch.tensor(value) for name, value in told.items()})


def test_a_map_that_moves_with_the_points_has_no_error() -> None:
    whole = {
        "step": element(translation=[1.5, -1.0, 0.0]),
        "quarter": element(yaw=[math.pi / 2]),
        "half": element(yaw=[math.pi]),
        "flip_x": element(flip=[-1.0, 1.0]),
        "flip_y": element(flip=[1.0, -1.0]),
    }
    found = bev_equivariance(encoder(), DATA.all_views_dataloader("val"), whole)
    for name in whole:
        # points on a border between cells may fall to either side after a rotation
        assert found[f"equivariance_error_{name}"] < 0.1, name
        assert found[f"unmoved_error_{name}"] > 0.5, name
    still = bev_equivariance(encoder(), DATA.all_views_dataloader("val"), {"none": element()})
    assert still["equivariance_error_none"] < 1e-4
    fine = bev_equivariance(encoder(), DATA.all_views_dataloader("val"))
    assert 0.05 < fine["equivariance_error_yaw_30"] < fine["unmoved_error_yaw_30"]


def test_a_map_of_places_does_not_follow() -> None:
    motions = {"step": element(translation=[4.0, 0.0, 0.0])}
    follows, places = (
        bev_equivariance(encoder(places=p), DATA.all_views_dataloader("val"), motions)
        for p in (False, True)
    )
    assert follows["equivariance_error_step"] < 1e-4
    assert places["equivariance_error_step"] > 0.5


def test_the_standard_motions_are_what_their_names_say() -> None:
    point = torch.tensor([[2.0, 1.0, 0.5]])
    moved = {name: MOTION.act(e, point)[0] for name, e in standard_motions().items()}
    torch.testing.assert_close(moved["yaw_90"], torch.tensor([-1.0, 2.0, 0.5]))
    torch.testing.assert_close(moved["flip_x"], torch.tensor([-2.0, 1.0, 0.5]))
    torch.testing.assert_close(moved["flip_y"], torch.tensor([2.0, -1.0, 0.5]))
    torch.testing.assert_close(moved["translation_0.2"], torch.tensor([2.2, 1.0, 0.5]))
    torch.testing.assert_close(moved["scale_1.05"], 1.05 * point[0])


def test_pooled_features_are_those_of_moved_sweeps() -> None:
    motions = PointMotions()
    found = pooled_features(encoder(places=True), DATA, "val", motions, num_views=3)
    assert found.features.shape == (8, 3, 4)
    assert found.index.tolist() == list(range(24, 32))
    assert found.actions["yaw"].shape == (8, 3, 1)
    assert found.actions["yaw"].abs().max() <= math.pi / 2
    # the line ahead turns with the sweep: the mean place tells its yaw
    x, y = found.features[..., 2], found.features[..., 3]
    flips = torch.atan2(y, x)
    assert flips.isfinite().all()
    again = pooled_features(encoder(places=True), DATA, "val", motions, num_views=3, limit=5)
    assert torch.equal(again.features, found.features[:5])
    other = pooled_features(encoder(places=True), DATA, "val", motions, num_views=3, seed=1)
    assert not torch.equal(other.actions["yaw"], found.actions["yaw"])


def test_points_with_their_features() -> None:
    made = encoder()
    found = point_features(made, DATA, "val", per_sweep=50)
    assert found.features.shape == (8 * 50, 1, 4)
    assert {name: past - first for name, (first, past) in found.parts.items()} == {
        "all": 4, "map": 2, "raw": 2,
    }  # fmt: skip
    assert set(found.labels.tolist()) == {0, 2}
    whole = point_features(made, DATA, "val", per_sweep=10_000)
    assert len(whole.features) == 8 * (400 - 8)  # every fiftieth has no class
    points, label = street(24)
    mine = whole.features[whole.index == 24][:, 0]
    kept = label >= 0
    assert sorted(mine[:, 2].tolist()) == sorted(points[kept, 2].tolist())
    batch = next(iter(DATA.all_views_dataloader("val")))
    bev = made(batch.current)
    row = mine[0]
    place = (points[:, 2:] == row[2:]).all(1).nonzero()[0]
    want = bev.at(points[place], torch.zeros(1, dtype=torch.long))[0]
    torch.testing.assert_close(row[:2], want)


def test_intersection_over_union_is_sklearns() -> None:
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(0, 4, (200,), generator=generator)  # of 6: two never occur
    answers = torch.randint(0, 6, (2, 3, 200), generator=generator)
    answers[0, 0] = label
    found = mean_iou(answers, label, 6)
    for place in ((0, 0), (0, 1), (1, 2)):
        want = jaccard_score(label, answers[place], labels=range(4), average="macro")
        assert found[place].item() == pytest.approx(want)
    assert found[0, 0] == 1
    metric = MeanIoU(6, (2, 3))
    for part in torch.split(torch.arange(200), 37):
        metric.update(answers[..., part], label[part])
    torch.testing.assert_close(metric.compute(), found)


def test_the_probe_of_points_finds_what_features_tell() -> None:
    train, val = (point_features(encoder(), DATA, split, 100) for split in ("train", "val"))
    probe = PointProbe(train, val, ["all"], (0, 1), LINEAR)
    found = fit(probe)
    assert found["miou"].shape == (1, 2)
    assert found["miou"].min() > 0.9  # height and intensity tell the lump from the line
    baseline = probe.baseline()
    assert 0.3 < baseline["miou"] < 0.45
    assert 0.7 < baseline["top1"] < 0.85


def test_everything_of_an_encoder(caplog: pytest.LogCaptureFixture) -> None:
    motions = PointMotions(flip=(0, 0), scale=(1, 1), translation=(-2, 2))
    recipe = LidarRecipe(4, motions, 50, None, Region(), QUICK, LINEAR)
    rows = judge_encoder(encoder(places=True, edge=1.0), DATA, recipe, seeds=1, model="fake")
    figures = {(row.metric, row.part): row for row in rows}
    assert figures["absolute_yaw_r2_pooled", "all"].value > 0.8
    assert figures["yaw_r2_pooled", "all"].value > 0.5
    assert figures["absolute_translation_r2_x", "all"].value > 0.3
    error = figures["equivariance_error_yaw_90", "map"]
    assert error.baseline is not None
    assert error.value > 0.3
    assert figures["points_miou", "raw"].value > 0.9
    assert figures["points_top1", "map"].baseline is not None
    assert {row.model for row in rows} == {"fake"}
    assert len({row.config_hash for row in rows}) == 1
    with caplog.at_level(logging.WARNING):
        bare: Any = FakeData(8, 4, labelled=False)
        rows = judge_encoder(encoder(), bare, recipe, seeds=1)
    assert not any(row.metric.startswith("points") for row in rows)
    assert "has a class: leave the probe of points out" in caplog.text


def test_an_empty_split_is_told() -> None:
    empty: Any = FakeData(4, 0)
    with pytest.raises(UserError, match="no sweeps in the split 'val'"):
        pooled_features(encoder(), empty, "val", PointMotions())


@pytest.mark.parametrize("kind", ["run", "random", "export"])
def test_encoders_by_their_names(kind: str, tmp_path: Path) -> None:
    run, export = run_of(tmp_path, "ESSL3D"), tmp_path / "encoder.safetensors"
    export_openpcdet(run, export)
    source = {"run": str(run), "random": f"random:{run}", "export": str(export)}[kind]
    assert sees_sweeps(source)
    trained, found = PretrainedEncoder(run).encoder, open_encoder(source)
    assert not found.training
    weights = trained.state_dict()
    same = [torch.equal(value, weights[name]) for name, value in found.state_dict().items()]
    assert all(same) == (kind != "random")
    if kind == "random":
        again = open_encoder(source).state_dict()
        assert all(torch.equal(value, again[n]) for n, value in found.state_dict().items())


def test_networks_on_images_see_no_sweeps(tmp_path: Path) -> None:
    run = run_of(tmp_path, "SIE")
    assert not sees_sweeps(str(run))
    with pytest.raises(UserError, match="learnt from images"):
        open_encoder(str(run))
    (tmp_path / "damaged.ckpt").write_bytes(run.read_bytes()[:999])
    for name in ("timm:resnet18", "absent", "absent.safetensors", f"{tmp_path}/damaged.ckpt"):
        assert not sees_sweeps(name)


def test_parts_and_factors_that_are_asked_for() -> None:
    recipe = LidarRecipe(2, PointMotions(), 50, None, Region(), QUICK, LINEAR)
    small: Any = FakeData(8, 4)

    def judged(**asked: Any) -> set[tuple[str, str]]:
        rows = judge_encoder(encoder(), small, recipe, seeds=1, **asked)
        return {(row.metric, row.part) for row in rows}

    of_map = judged(parts=["map"])
    assert {part for _, part in of_map} == {"map"}
    assert {("equivariance_error_flip_y", "map"), ("points_miou", "map")} <= of_map
    raw = judged(parts=["raw"])
    assert raw == {(f"points_{name}", "raw") for name in ("top1", "top5", "miou")}
    of_yaw = judged(parts=["all"], factors=["yaw"])
    assert ("yaw_r2_pooled", "all") in of_yaw
    assert not any("translation" in metric for metric, _ in of_yaw)
    with pytest.raises(UserError, match="no part 'equi': an encoder of sweeps has all, map, raw"):
        judged(parts=["equi"])
    with pytest.raises(UserError, match="yaw"):
        judged(factors=["rotation"])

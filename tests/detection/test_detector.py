from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from ssl_equiv.box_overlap import overlaps
from ssl_equiv.boxes import Boxes
from ssl_equiv.detection import Detector, DetectorConfig
from ssl_equiv.detection.pretrained import encoder_config
from ssl_equiv.errors import UserError
from ssl_equiv.heads.center_head import Detections
from tests.detection import tiny


def test_it_learns_to_find_what_it_is_shown() -> None:
    model = tiny.detector()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for step in range(80):
        points, boxes = tiny.sweeps(4, seed=step)
        terms = model.losses(points, boxes)
        loss = terms["heat"] + terms["box"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    points, boxes = tiny.sweeps(6, seed=1000)
    found: Detections = model.detect(points)
    right = 0
    for sweep, truth in enumerate(boxes):
        for name, least in (("Car", 0.5), ("Pedestrian", 0.2)):
            label = tiny.CLASSES.index(name)
            mine = found.boxes[(found.batch_index == sweep) & (found.labels == label)]
            wanted = truth.values[truth.labels == tiny.KNOWN.index(name)]
            right += len(mine) > 0 and overlaps(mine[0], wanted[0])[0].item() > least
    assert right >= 10  # of 12


def test_only_wanted_annotations_with_points_are_taught() -> None:
    model = tiny.detector(min_points=5)
    values = torch.arange(28.0).view(4, 7)
    one = Boxes.make(values, [0, 1, 2, 0], num_points=torch.tensor([5, 9, -1, 4]))
    boxes, labels, sweep = model.wanted([Boxes.empty(), one, one[torch.tensor([2])]])
    assert torch.equal(boxes, values[[0, 2, 2]])
    assert labels.tolist() == [1, 0, 0]  # Pedestrian, Car is the order of the head
    assert sweep.tolist() == [1, 1, 2]


def test_a_sweep_without_objects_teaches_that_there_are_none() -> None:
    model = tiny.detector()
    points, _ = tiny.sweeps(2, seed=0)
    terms = model.losses(points, [Boxes.empty(), Boxes.empty()])
    assert terms["box"] == 0
    assert terms["heat"] > 0
    (terms["heat"] + terms["box"]).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_a_frozen_encoder_stays_as_it_is() -> None:
    model = tiny.detector(encoder_lr=0.0).train()
    before = {name: value.clone() for name, value in model.encoder.state_dict().items()}
    points, boxes = tiny.sweeps(2, seed=0)
    sum(model.losses(points, boxes).values()).backward()  # type: ignore[union-attr]
    assert all(p.grad is None for p in model.encoder.parameters())
    for name, value in model.encoder.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert next(model.head.parameters()).grad is not None


def test_short_runs_have_settled_statistics() -> None:
    norms = [m for m in tiny.detector().modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert len(norms) > 4
    assert {norm.momentum for norm in norms} == {0.1}


def test_an_encoder_is_built_again_from_plain_data() -> None:
    plain = {
        "kind": "pillars",
        "range": [-8, -8, -3, 8, 8, 1],
        "voxel_size": [0.5, 0.5, 4.0],
        "widths": [16],
        "bev": {
            "layers": [1],
            "strides": [2],
            "filters": [16],
            "upsample_strides": [1],
            "upsample_filters": [16],
        },
    }
    assert encoder_config(plain) == tiny.ENCODER


def test_senseless_choices_are_told() -> None:
    with pytest.raises(UserError, match="unknown class 'Cat': the data have Car, Van"):
        Detector(tiny.ENCODER, ["Cat"], tiny.KNOWN, tiny.detector().optimizer_config)
    with pytest.raises(UserError, match="none is given"):
        Detector(tiny.ENCODER, [], tiny.KNOWN, tiny.detector().optimizer_config)
    for wrong in ({"width": 0}, {"box_weight": -1.0}, {"encoder_lr": -math.inf}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            DetectorConfig(**wrong)  # type: ignore[arg-type]

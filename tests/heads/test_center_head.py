from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ssl_equiv.box_overlap import overlaps, pairwise_overlaps
from ssl_equiv.errors import UserError
from ssl_equiv.heads.center_head import CenterHead, HeadOutput, HeadTargets, without_overlaps
from ssl_equiv.losses import box_l1, centre_focal

SHAPE = (2, 40, 60)  # sweeps, rows, columns: x from -5 to 25, y from -10 to 10


def head(**more: float) -> CenterHead:
    return CenterHead(6, 3, low=(-5.0, -10.0), cell=(0.5, 0.5), width=8, **more)  # type: ignore[arg-type]


def objects() -> tuple[Tensor, Tensor, Tensor]:
    boxes = torch.tensor(
        [
            [0.3, 1.2, -0.8, 4.0, 1.8, 1.5, 0.4],
            [9.9, -7.1, -0.7, 0.8, 0.6, 1.7, -2.9],
            [24.9, 9.9, 0.1, 1.8, 0.6, 1.6, 3.0],
            [-4.9, -9.9, 0.1, 4.2, 1.7, 1.4, math.pi / 2],
            [3.0, 2.0, -0.8, 3.9, 1.6, 1.5, -1.0],
        ]
    )
    return boxes, torch.tensor([0, 1, 2, 0, 0]), torch.tensor([0, 0, 1, 1, 1])


def perfect(targets: HeadTargets) -> HeadOutput:
    """An output that says just what it is to say."""
    size, height, width = SHAPE
    box = torch.zeros(size * height * width, 8)
    box[targets.cell] = targets.box
    heat = torch.logit(targets.heat.clamp(1e-6, 0.999))
    return HeadOutput(heat, box.view(size, height, width, 8).permute(0, 3, 1, 2))


def test_boxes_come_back_from_their_targets() -> None:
    boxes, labels, sweep = objects()
    found = head().decode(perfect(head().targets(boxes, labels, sweep, SHAPE)), min_score=0.9)
    assert found.batch_index.tolist() == sweep.tolist()
    order = [int((found.boxes[:, 0] - box[0]).abs().argmin()) for box in boxes]
    torch.testing.assert_close(found.boxes[order], boxes)
    assert found.labels[order].tolist() == labels.tolist()
    assert torch.stack(overlaps(found.boxes[order], boxes)).min() > 0.9999


def test_bumps_are_those_of_a_loop() -> None:
    """Radius, height and where bumps meet, cell by cell, from the formula."""
    boxes, labels, sweep = objects()
    boxes[4, :2] = torch.tensor([-4.0, -9.5])  # meets the bump of box 3
    found = head().targets(boxes, labels, sweep, SHAPE).heat
    expected = torch.zeros(2, 3, *SHAPE[1:])
    for box, label, b in zip(boxes.tolist(), labels.tolist(), sweep.tolist(), strict=True):
        column, row = math.floor((box[0] + 5) / 0.5), math.floor((box[1] + 10) / 0.5)
        length, width = box[3] / 0.5, box[4] / 0.5
        radius = 0.0
        while True:  # the largest with IoU >= .1
            shared = (length - radius) * (width - radius)
            if radius >= width or shared / (2 * length * width - shared) < 0.1:
                break
            radius += 1e-4
        whole = max(2, math.floor(radius))
        sigma = (2 * whole + 1) / 6
        for y in range(max(0, row - whole), min(40, row + whole + 1)):
            for x in range(max(0, column - whole), min(60, column + whole + 1)):
                value = math.exp(-((x - column) ** 2 + (y - row) ** 2) / (2 * sigma**2))
                expected[b, label, y, x] = max(expected[b, label, y, x].item(), value)
    torch.testing.assert_close(found, expected)
    assert (found == 1).sum() == 5


def test_objects_outside_and_no_objects() -> None:
    boxes, labels, sweep = objects()
    boxes[:, 0] += 100
    for some in (boxes, boxes[:0]):
        targets = head().targets(some, labels[: len(some)], sweep[: len(some)], SHAPE)
        assert len(targets.cell) == len(targets.box) == 0
        assert not targets.heat.any()
    found = head().decode(HeadOutput(torch.full((2, 3, 40, 60), -9.0), torch.zeros(2, 8, 40, 60)))
    assert found.boxes.shape == (0, 7)


def test_losses_are_nought_for_the_right_answer_and_larger_for_wrong_ones() -> None:
    targets = head().targets(*objects(), SHAPE)
    right = perfect(targets)
    values = right.box.permute(0, 2, 3, 1).flatten(0, 2)[targets.cell]
    assert box_l1(values, targets.box, 5) == 0
    assert box_l1(values + 0.1, targets.box, 5).item() == pytest.approx(0.8, abs=1e-5)
    sure = torch.where(targets.heat == 1, 20.0, -20.0)
    assert centre_focal(sure, targets.heat, 5) < 1e-6
    assert centre_focal(-sure, targets.heat, 5) > 1000


def test_focal_loss_is_the_formula() -> None:
    logits = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
    y = torch.tensor([1.0, 0.0, 0.7], dtype=torch.float64)
    p = [1 / (1 + math.exp(-x)) for x in logits.tolist()]
    each = [
        (1 - p[0]) ** 2 * math.log(p[0]),
        p[1] ** 2 * math.log(1 - p[1]),
        0.3**4 * p[2] ** 2 * math.log(1 - p[2]),
    ]
    assert centre_focal(logits, y, 2).item() == pytest.approx(-sum(each) / 2)


def test_suppression_is_that_of_a_loop() -> None:
    g = torch.Generator().manual_seed(0)
    boxes = torch.rand(3, 30, 7, generator=g) * torch.tensor([9.0, 9, 1, 4, 2, 2, 6])
    boxes[..., 3:6] += 0.5
    labels = torch.randint(0, 2, (3, 30), generator=g)
    valid = torch.rand(3, 30, generator=g) > 0.1
    found = without_overlaps(boxes, labels, valid, 0.2)
    for b in range(3):
        overlap = pairwise_overlaps(boxes[b], boxes[b])[0]
        kept: list[int] = []
        for i in range(30):
            clash = any(labels[b, i] == labels[b, j] and overlap[i, j] > 0.2 for j in kept)
            if valid[b, i] and not clash:
                kept.append(i)
        assert found[b].nonzero()[:, 0].tolist() == kept
        assert 0 < len(kept) < valid[b].sum()


def test_it_learns_to_find_objects() -> None:
    """From a map that holds nothing but a mark at each object's place and its box."""
    torch.manual_seed(0)
    model, targets = head(), head().targets(*objects(), SHAPE)
    features = torch.zeros(2, 40, 60, 6).flatten(0, 2)
    features[targets.cell, :2] = torch.tensor([1.0, 0.0])
    features = features.view(2, 40, 60, 6).permute(0, 3, 1, 2)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        output = model(features)
        values = output.box.permute(0, 2, 3, 1).flatten(0, 2)[targets.cell]
        loss = centre_focal(output.heat, targets.heat, 5) + box_l1(values, targets.box, 5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3
    assert model(features).heat.shape == (2, 3, 40, 60)


def test_senseless_numbers_are_told() -> None:
    with pytest.raises(UserError, match="min_overlap"):
        head(min_overlap=1.5)
    with pytest.raises(UserError, match="num_classes 0"):
        CenterHead(6, 0, (0, 0), (1, 1))

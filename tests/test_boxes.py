"""Boxes, and cameras that judge them."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch

from ssl_equiv.boxes import Boxes, Panorama, box_corners, points_in_boxes, virtual_camera
from ssl_equiv.points import PointBatch


def test_corners_are_where_the_heading_says() -> None:
    corners = box_corners(torch.tensor([[1.0, 2, 3, 4, 2, 6, math.pi / 2]]))[0]
    # heading to the left: the front left corner is at x - w/2, y + l/2
    expected = torch.tensor([[0.0, 4], [0, 0], [2, 0], [2, 4]])
    torch.testing.assert_close(corners[:4, :2], expected)
    torch.testing.assert_close(corners[4:, :2], expected)
    assert corners[:4, 2].tolist() == [0] * 4
    assert corners[4:, 2].tolist() == [6] * 4


def test_points_in_boxes_agrees_with_a_cross_product_test() -> None:
    rng = np.random.default_rng(0)
    values = rng.uniform([-5, -5, -1, 1, 1, 1, -4], [5, 5, 1, 5, 3, 2, 4], (8, 7))
    points = rng.uniform([-7, -7, -2], [7, 7, 2], (500, 3))
    found = points_in_boxes(torch.from_numpy(points), torch.from_numpy(values)).numpy()
    for box, row in zip(values, found, strict=True):
        corners = box_corners(torch.from_numpy(box)).numpy()
        inside = abs(points[:, 2] - box[2]) <= box[5] / 2
        for a, b in zip(corners[:4, :2], np.roll(corners[:4, :2], -1, axis=0), strict=True):
            edge, off = b - a, points[:, :2] - a
            inside &= edge[0] * off[:, 1] - edge[1] * off[:, 0] >= 0
        np.testing.assert_array_equal(row, inside)
    assert 0 < found.mean() < 1
    wider = points_in_boxes(torch.from_numpy(points), torch.from_numpy(values), 0.5)
    assert wider.sum() > found.sum()


def test_boxes_are_chosen_joined_and_sent() -> None:
    values = torch.arange(21.0).reshape(3, 7)
    boxes = Boxes.make(values, [0, 1, 2], instances=torch.tensor([4, 5, 6]))
    assert boxes.height_px.tolist() == [math.inf] * 3
    assert boxes[torch.tensor([True, False, True])].instances.tolist() == [4, 6]
    assert boxes[np.array([2, 0])].labels.tolist() == [2, 0]
    scored = Boxes.make(values, [0, 1, 2], scores=torch.tensor([0.1, 0.2, 0.3]))
    assert Boxes.cat([boxes, scored]).scores is None
    joined = Boxes.cat([scored[1:], scored[:1]])
    torch.testing.assert_close(joined.scores, torch.tensor([0.2, 0.3, 0.1]))
    again = pickle.loads(pickle.dumps(scored))
    assert torch.equal(again.values, values)
    assert torch.equal(again.scores, scored.scores)
    assert len(Boxes.cat([])) == len(Boxes.empty()) == 0
    with pytest.raises(ValueError, match=r"boxes are \(M, 7\)"):
        Boxes.make(values[:, :6], [0, 1, 2])
    with pytest.raises(ValueError, match="3 boxes, but a column"):
        Boxes.make(values, [0, 1])


def test_the_virtual_camera_sees_all_around() -> None:
    camera = virtual_camera()
    assert isinstance(camera, Panorama)
    box = [30.0, 0, 0, 4, 2, 1.5, 0.3]
    places = [(30 * math.cos(a), 30 * math.sin(a)) for a in np.linspace(-math.pi, math.pi, 9)]
    values = torch.tensor([[x, y, *box[2:]] for x, y in places])
    np.testing.assert_allclose(camera.heights(values), 721.5 * 1.5 / 30, rtol=1e-5)
    rectangles, cut = camera.rectangles(values)
    assert (cut == 0).all()
    widths = rectangles[:, 2] - rectangles[:, 0]
    assert (widths < 721.5 * 2 * math.atan2(2.3, 27)).all()  # behind too, across the seam
    assert (widths > 721.5 * 2 / 34).all()


def test_a_batch_of_clouds_knows_its_parts() -> None:
    clouds = [torch.randn(3, 4), torch.randn(0, 4), torch.randn(2, 4)]
    batch = PointBatch.collate(clouds)
    assert batch.counts.tolist() == [3, 0, 2]
    assert batch.source_index is not None
    assert batch.source_index.tolist() == [0, 1, 2, 0, 1]
    for number, cloud in enumerate(clouds):
        assert torch.equal(batch.cloud(number), cloud)
    some = batch.select(torch.tensor([True, False, True, False, True]))
    assert some.counts.tolist() == [2, 0, 1]
    assert some.source_index is not None
    assert some.source_index.tolist() == [0, 2, 1]

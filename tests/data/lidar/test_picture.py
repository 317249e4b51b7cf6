"""Sweeps from above."""

from __future__ import annotations

import numpy as np
import torch

from ssl_equiv.boxes import Boxes
from ssl_equiv.data.lidar.picture import PALETTE, birds_eye


def colour(picture: np.ndarray, name: str) -> np.ndarray:
    """Where a colour is, nearly: lines are smoothed."""
    wanted = np.array([int(name[k : k + 2], 16) for k in (1, 3, 5)])
    return np.abs(picture.astype(int) - wanted).max(-1) < 40


def test_things_are_where_they_should_be() -> None:
    """Forward is up and left is left."""
    ahead = Boxes.make(torch.tensor([[20.0, 10, 0, 6, 4, 2, 0]]), [0])
    behind = Boxes.make(
        torch.tensor([[-20.0, -10, 0, 6, 4, 2, 0]]), [3], scores=torch.tensor([0.5])
    )
    points = np.array([[0.0, 0, 0, 0.5], [5, 0, 3, 0.5]])
    shown = birds_eye(points, ahead, behind, names=["Car"], reach=40, size=400)
    picture = np.asarray(shown)
    assert picture.shape == (400, 400, 3)
    rows, columns = np.nonzero(colour(picture[60:], PALETTE[0]))  # below the legend
    assert (60 + rows).min() >= 200 - 5 * 24.5  # 23 m ahead, and the tick
    assert (60 + rows).max() <= 200 - 5 * 16
    assert 200 - 5 * 13 <= columns.min() <= columns.max() <= 200 - 5 * 7
    rows, columns = np.nonzero(colour(picture, "#ffffff"))
    assert rows.min() > 200
    assert columns.min() > 200
    assert colour(picture[:60, :120], PALETTE[0]).any()  # the legend


def test_only_what_moves_by_itself_has_streaks() -> None:
    rng = np.random.default_rng(0)
    points = np.column_stack((rng.uniform(-30, 30, (500, 2)), np.zeros(500), np.ones(500)))
    turned = np.array([[0.0, -0.05, 0], [0.05, 0, 0], [0, 0, 0]])
    flow = points[:, :3] @ turned.T + [1.0, 0, 0]  # the sensor drives and turns
    still = np.asarray(birds_eye(points, flow=flow))
    flow[:20] += [0, 2.0, 0]
    flow[20:30] = np.nan
    moving = np.asarray(birds_eye(points, flow=flow))
    red = [int(colour(picture, "#ff5c40").sum()) for picture in (still, moving)]
    assert red[0] == 0
    assert red[1] > 500


def test_nothing_to_show_is_a_dark_square() -> None:
    picture = np.asarray(birds_eye(np.zeros((0, 4)), Boxes.empty(), flow=np.zeros((0, 3))))
    assert picture.max() < 60

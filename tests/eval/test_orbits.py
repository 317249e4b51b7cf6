"""Which points of orbits are shown as the worst, and what chance gets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from eval.orbit_classifier import Classifier
from eval.orbit_plots import Geometry
from eval.orbits import follow, measurements, worst_points

NAMES = ("cat", "dog", "cup")
GEOMETRY = Geometry("turn", 0, ("0°", "90°", "180°", "270°"), x=np.arange(4.0))


def classifier(pseudo: bool = False) -> Classifier:
    """Features are the logits."""
    return Classifier(torch.eye(3), torch.zeros(3), pseudo, torch.tensor([0.2, 0.5, 0.3]))


def orbits() -> tuple[Tensor, Tensor]:
    """Five objects of class 0, 1, 2, 0, 1; object 3 fails at 180°, object 1 falters at 90°."""
    label = torch.tensor([0, 1, 2, 0, 1])
    logits = 4 * torch.eye(3)[label][:, None].repeat(1, 4, 1)
    logits[3, 2] = torch.tensor([-4.0, 0.0, 4.0])
    logits[1, 1] = torch.tensor([0.0, 1.0, 0.0])
    return logits, label


def pictures(i: int, points: Sequence[int]) -> list[np.ndarray]:
    return [np.full((2, 2, 3), 10 * i + point, np.uint8) for point in points]


def test_the_worst_points_come_first_each_beside_its_reference() -> None:
    logits, label = orbits()
    along = follow(logits, (0, 3), 0, label, classifier())
    shown = worst_points(along, GEOMETRY, "turns", NAMES, pictures, 2, "all")
    assert shown.arrays["images"][:, 0, 0, 0].tolist() == [32, 30, 11, 10]
    failed, reference, falters, _ = shown.meta["captions"]
    assert failed == "180°: true cat, predicted cup, confidence 0.00"
    assert reference.startswith("0°: true cat, predicted cat, confidence 0.96")
    assert falters.startswith("90°: true dog, predicted dog, confidence 0.58")


def test_figures_are_of_the_objects_with_labels() -> None:
    logits, label = orbits()
    label[3] = -1
    along = {"all": follow(logits, (0, 3), 0, label, classifier())}
    found = {m.metric.removeprefix("orbit_turn_"): m for m in measurements(along, GEOMETRY, "S")}
    assert {m.split for m in found.values()} == {"S"}
    assert found["accuracy"].values == found["accuracy_worst"].values == (1.0,)
    assert found["accuracy"].baseline == 0.5  # class 1 is the most frequent; 2 of 4 have it
    assert found["consistency"].values[0] == pytest.approx((4 + 0.5) / 5)
    shares = np.array([7, 8, 5]) / 20
    assert found["consistency"].baseline == pytest.approx((shares**2).sum())
    assert found["consensus"].values[0] == pytest.approx((4 + 0.75) / 5)
    shown = worst_points(along["all"], GEOMETRY, "turns", NAMES, pictures, 9, "all")
    assert len(shown.meta["captions"]) == 8  # object 3 has no right class


def test_without_labels_the_consensus_is_the_target() -> None:
    logits, label = orbits()
    along = follow(logits, (0, 3), 0, label, classifier(pseudo=True))
    assert along.target.tolist() == [0, 1, 2, 0, 1]
    names = {m.metric for m in measurements({"all": along}, GEOMETRY)}
    assert "orbit_turn_accuracy" not in names
    shown = worst_points(along, GEOMETRY, "turns", NAMES, pictures, 1, "all")
    assert shown.meta["captions"][0] == "180°: consensus cat, predicted cup, confidence 0.00"

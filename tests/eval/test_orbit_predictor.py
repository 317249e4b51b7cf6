"""A predictor that is exact, and one that does nothing, along orbits."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from eval.artifacts import read_artifacts
from eval.cache import FeatureSet
from eval.orbit_elements import geometry_of
from eval.orbit_predictor import follow_predictor, predictor_error
from eval.protocol import Task
from ssl_equiv.groups import SO3
from ssl_equiv.methods import Method
from ssl_equiv.methods.predictive import Predictive
from tests.eval.test_orbit_elements import views_at

GRID = np.array(list(itertools.product((-60, 0, 60), (-120, 0, 120), (0,))), dtype=np.float64)


class Turning(Predictive, Method):
    """Features are a world's direction as the object sees it: actions turn it back."""

    factors = ("rotation",)

    def __init__(self, exact: bool) -> None:
        pl.LightningModule.__init__(self)
        self.exact, self.dim = exact, 3
        self.eval()

    def embed(self, features: Tensor) -> Tensor:
        return features

    def predict(self, embedding: Tensor, actions: Tensor) -> Tensor:
        if not self.exact:
            return embedding[:, None].expand(-1, actions.shape[1], -1)
        return (SO3().matrix(actions).mT @ embedding[:, None, :, None]).squeeze(-1)


def seen(objects: int = 4) -> FeatureSet:
    """The direction (0.6, 0, 0.8) in the frames of objects on a grid of rotations."""
    views = views_at(np.broadcast_to(GRID, (objects, *GRID.shape)))
    matrix = SO3().matrix(views.actions["rotation"])
    features = matrix.mT @ torch.tensor([0.6, 0.0, 0.8])
    return dataclasses.replace(views, features=features, parts={"all": (0, 3)})


def task_of(method: Method | None, views: FeatureSet, folder: Path | None = None) -> Task:
    return Task(views, views, ("all",), (0,), {}, method=method, folder=folder)


@pytest.mark.parametrize("exact", [True, False])
def test_the_error_is_of_the_prediction(exact: bool, tmp_path: Path) -> None:
    views = seen()
    geometry = geometry_of(views, "rotation")
    task = task_of(Turning(exact), views, tmp_path)
    error, still = predictor_error(task, views, geometry.reference) or ()
    unit = views.features.double()
    expected = 1 - (unit * unit[:, [4]]).sum(dim=-1)
    torch.testing.assert_close(still.double(), expected, atol=1e-5, rtol=0)
    expected = torch.zeros_like(expected) if exact else expected
    torch.testing.assert_close(error.double(), expected, atol=1e-5, rtol=0)
    (found,) = follow_predictor(task, views, geometry, "orbits", "DIR", "orbit_DIR_")
    assert found.metric == "orbit_rendered_rotation_predictor_error"
    assert (found.part, found.split) == ("predictor", "DIR")
    assert found.baseline == pytest.approx(still[:, np.arange(9) != 4].double().mean().item())
    assert found.values[0] == pytest.approx(0 if exact else found.baseline, abs=1e-5)
    kept = {a.kind: a for a in read_artifacts(tmp_path)}
    assert kept["curve"].meta["series"] == ["predictor", "unmoved"]
    assert kept["sphere"].part == "predictor"


def test_a_method_without_a_predictor_is_passed_over() -> None:
    views = seen()
    geometry = geometry_of(views, "rotation")
    assert follow_predictor(task_of(None, views), views, geometry, "", "", "") == []
    hue = Turning(True)
    hue.factors = ("floor_hue",)
    assert follow_predictor(task_of(hue, views), views, geometry, "", "", "") == []

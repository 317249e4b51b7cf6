from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from eval.artifacts import read_artifacts
from eval.cache import FeatureSet
from eval.evaluators import Collapse
from eval.evaluators.views import draw_views
from eval.protocol import Measurement, NotApplicable, Task
from tests.eval.fakes import feature_set

PARTS = {"all": (0, 16), "inv": (0, 8), "equi": (8, 16)}


def halves(seed: int, noise: float = 0.1) -> Tensor:
    """Eight columns that are the object's own, eight that differ from view to view."""
    generator = torch.Generator().manual_seed(seed)
    own = torch.randn(300, 1, 8, generator=generator).expand(-1, 6, -1)
    inv = own + noise * torch.randn(300, 6, 8, generator=generator)
    return torch.cat([inv, torch.randn(300, 6, 8, generator=generator)], dim=-1)


def make_task(val: FeatureSet, folder: Path | None = None, **options: FeatureSet) -> Task:
    return Task(val, val, tuple(val.parts), (0, 1), {}, others=options, folder=folder)


def by_name(found: list[Measurement]) -> dict[tuple[str, str, str], Measurement]:
    return {(m.metric, m.part, m.split): m for m in found}


def test_an_invariant_and_an_equivariant_part_differ(tmp_path: Path) -> None:
    val = feature_set(halves(0), "val", parts=PARTS)
    found = by_name(Collapse()(make_task(val, tmp_path)))
    assert len(found) == 7 * 3
    assert all(len(m.values) == 1 and m.baseline is not None for m in found.values())
    invariant, equivariant = found["alignment", "inv", ""], found["alignment", "equi", ""]
    assert invariant.values[0] < 0.05
    assert invariant.baseline == pytest.approx(2, abs=0.1)
    assert equivariant.values[0] == pytest.approx(equivariant.baseline, rel=0.05)
    for part, width in (("inv", 8), ("equi", 8), ("all", 16)):
        for metric in ("rankme", "effective_rank", "participation_ratio"):
            assert found[metric, part, ""].values[0] == pytest.approx(width, rel=0.05)
        assert found["spread", part, ""].values[0] == pytest.approx(1, abs=0.03)
        assert found["dead_columns", part, ""].values == (0.0,)
    # uniform on the sphere: -4 + log 0F1(4, 4), and 0F1(8, 4)
    assert found["uniformity", "equi", ""].values[0] == pytest.approx(-3.083, abs=0.01)
    assert found["uniformity", "all", ""].values[0] == pytest.approx(-3.513, abs=0.03)


def test_a_part_that_collapsed_is_told_apart(tmp_path: Path) -> None:
    features = halves(1)
    features[..., 8:] = features[..., 8:9] * torch.arange(1.0, 9.0)  # one direction
    features[..., 15] = 0.2
    val = feature_set(features, "val", parts=PARTS)
    found = by_name(Collapse()(make_task(val, tmp_path)))
    assert found["effective_rank", "equi", ""].values[0] == pytest.approx(1, abs=0.01)
    assert found["dead_columns", "equi", ""].values[0] == 1 / 8
    assert found["effective_rank", "inv", ""].values[0] > 7.5
    curves = {artifact.part: artifact for artifact in read_artifacts(tmp_path)}
    assert set(curves) == set(PARTS)
    x, y = curves["equi"].arrays["x"], curves["equi"].arrays["y"]
    assert x.tolist() == list(range(1, 9))
    assert y.shape == (1, 8)
    assert y[0, 0] == 1
    assert y[0, 1] < 1e-6  # a cliff
    assert (y > 0).all()  # drawn on a logarithmic scale
    assert curves["inv"].arrays["y"].min() > 0.6
    assert curves["inv"].meta["log_y"]


def test_every_set_is_judged(tmp_path: Path) -> None:
    val = feature_set(halves(2), "val", parts=PARTS)
    ood = replace(val, features=val.features * torch.tensor([1.0] + 15 * [0.0]), split="other")
    found = by_name(Collapse()(make_task(val, tmp_path, ood=ood)))
    assert found["effective_rank", "all", "ood"].values[0] == pytest.approx(1, abs=1e-3)
    assert found["effective_rank", "all", ""].values[0] > 15
    (curve,) = [artifact for artifact in read_artifacts(tmp_path) if artifact.part == "all"]
    assert curve.meta["series"] == ["val", "ood"]
    assert curve.arrays["y"].shape == (2, 16)


def test_features_that_are_all_one_have_figures() -> None:
    val = feature_set(torch.ones(20, 3, 4), "val")
    for measurement in Collapse()(make_task(val)):
        assert all(map(math.isfinite, measurement.values))
        assert measurement.values[0] == pytest.approx(measurement.baseline, abs=1e-3)


def test_single_views_have_no_alignment() -> None:
    found = Collapse()(make_task(feature_set(torch.randn(20, 1, 4), "val")))
    assert "alignment" not in {m.metric for m in found}
    assert len(found) == 6
    with pytest.raises(NotApplicable, match="one view"):
        Collapse()(make_task(feature_set(torch.randn(1, 1, 4), "val")))


def test_a_sample_of_views_is_fixed_and_without_repeats() -> None:
    val = feature_set(torch.randn(30, 5, 4), "val")
    drawn = draw_views(val, 60)
    objects, views = drawn.owner, drawn.number
    assert len(set(zip(objects.tolist(), views.tolist(), strict=True))) == 60
    assert objects.max() < 30
    assert views.max() < 5
    torch.testing.assert_close(drawn.features, val.features[objects, views], rtol=0, atol=0)
    assert torch.equal(drawn.label, val.labels[objects])
    again = draw_views(replace(val, features=torch.zeros(30, 5, 9)), 60)
    assert torch.equal(objects, again.owner)
    assert torch.equal(views, again.number)
    assert len(draw_views(val, 1000)) == 150
    assert np.unique(objects).size > 20

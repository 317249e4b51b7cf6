from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch

from eval.cache import FeatureSet
from eval.evaluators import ActionRegression, PoseRegression
from eval.probe import ProbeRecipe
from eval.protocol import Evaluator, Measurement, NotApplicable, Task, evaluate
from ssl_equiv.errors import UserError
from tests.eval.fakes import equivariant, feature_set, rotations

TINY = ProbeRecipe(epochs=2, batch_size=16, hidden=(8,))
HALVES = {"all": (0, 12), "inv": (0, 5), "equi": (5, 10)}


@pytest.fixture
def sets() -> tuple[FeatureSet, FeatureSet]:
    train, val = (replace(equivariant(16, 12, s), parts=HALVES) for s in ("train", "val"))
    return train, val


def posed(objects: int, split: str, views: int = 4) -> FeatureSet:
    """Rotations and translations, of which the latter does not change."""
    generator = torch.Generator().manual_seed(0)
    actions = {
        "rotation": rotations(objects, views),
        "translation": torch.zeros(objects, views, 3),
    }
    features = torch.randn(objects, views, 6, generator=generator)
    return feature_set(features, split, actions=actions)


def measure(evaluator: Evaluator, *sets: FeatureSet, **given: object) -> list[Measurement]:
    train, val = sets
    return evaluator(Task(train, val, tuple(train.parts), (0, 1), {}, **given))  # type: ignore[arg-type]


def test_every_part_convention_head_and_depth(sets: tuple[FeatureSet, FeatureSet]) -> None:
    evaluator = ActionRegression(
        recipe=TINY, heads=("quaternion", "6d"), depths=("mlp", "linear"), pairs_per_object=5
    )
    found = measure(evaluator, *sets)
    kinds = ("r2_pooled", "r2_per_dim", "r2_x", "r2_y", "r2_z", "r2_w")
    kinds += ("degrees_mean", "degrees_median")
    assert {(m.metric, m.part) for m in found} == {
        (f"{depth}rotation_{kind}{suffix}", part)
        for depth in ("", "linear_")
        for kind in kinds
        for suffix in ("", "_published", "_6d")
        for part in HALVES
    }
    assert all(m.baseline is not None and len(m.values) == 2 for m in found)


def test_absolute_poses(sets: tuple[FeatureSet, FeatureSet]) -> None:
    metrics = {m.metric for m in measure(PoseRegression(recipe=TINY), *sets)}
    assert "absolute_rotation_degrees_median" in metrics
    assert all(metric.startswith("absolute_rotation_") for metric in metrics)
    one_view = [replace(s, features=s.features[:, :1]) for s in sets]
    assert {m.metric for m in measure(PoseRegression(recipe=TINY), *one_view)} == metrics


def test_other_sets_are_judged_by_the_same_probe(sets: tuple[FeatureSet, FeatureSet]) -> None:
    train, val = sets
    other = replace(equivariant(6, 12, "val", views=3), parts=HALVES, split="other")
    evaluator = ActionRegression(recipe=TINY)
    both = measure(evaluator, train, val, others={"ood": other})
    assert [m for m in both if m.split == ""] == measure(evaluator, train, val)
    direct = [replace(m, split="ood") for m in measure(evaluator, train, other)]
    for found, expected in zip((m for m in both if m.split), direct, strict=True):
        assert found.metric == expected.metric
        assert found.values == pytest.approx(expected.values, abs=1e-5)
        assert found.baseline == pytest.approx(expected.baseline)


def test_all_leaves_out_what_is_constant(caplog: pytest.LogCaptureFixture) -> None:
    train, val = posed(16, "train"), posed(8, "val")
    with caplog.at_level(logging.INFO):
        metrics = {m.metric for m in measure(ActionRegression("all", TINY), train, val)}
    assert all(m.startswith("rotation_") for m in metrics)
    # the poses' translations stand still too
    for name in ("translation", "pose_object_translation", "pose_base_translation"):
        assert f"{name} is the same in all training views of an object" in caplog.text
    with pytest.raises(NotApplicable, match="translation is the same in all training views"):
        measure(ActionRegression("translation", TINY), train, val)
    still = replace(train, actions={k: v[:, :1].expand_as(v) for k, v in train.actions.items()})
    with pytest.raises(NotApplicable, match="no factor that varies"):
        measure(ActionRegression("all", TINY), still, val)


def test_several_factors_share_a_stack_and_change_nothing() -> None:
    train, val = posed(16, "train"), posed(8, "val")
    moved = {"translation": torch.rand(16, 4, 3, generator=torch.Generator().manual_seed(0))}
    train = replace(train, actions={**train.actions, **moved})
    val = replace(val, actions={**val.actions, "translation": moved["translation"][:8]})
    together = measure(ActionRegression(("rotation", "pose_base"), TINY), train, val)
    alone = [
        m
        for factor in ("rotation", "pose_base")
        for m in measure(ActionRegression(factor, TINY), train, val)
    ]
    for found, expected in zip(together, alone, strict=True):
        assert found.metric == expected.metric
        assert found.values == pytest.approx(expected.values, abs=1e-4)


def test_bad_input_is_one_clear_line(sets: tuple[FeatureSet, FeatureSet]) -> None:
    train, val = sets
    one_view = replace(val, features=val.features[:, :1])
    cases: list[tuple[type[UserError], Evaluator, FeatureSet, str]] = [
        (NotApplicable, ActionRegression(recipe=TINY), one_view, "val objects have one view"),
        (UserError, ActionRegression("rotatoin"), val, "did you mean 'rotation'"),
        (UserError, PoseRegression("hue"), val, "no factor 'hue' .it has rotation.: choose one"),
    ]
    for kind, evaluator, views, message in cases:
        with pytest.raises(kind, match=message) as caught:
            evaluate(train, views, evaluators=[evaluator], seeds=1)
        assert "\n" not in str(caught.value)
    rows = evaluate(
        train,
        one_view,
        evaluators=[ActionRegression(recipe=TINY), PoseRegression(recipe=TINY)],
        seeds=1,
        skip_inapplicable=True,
    )
    assert rows
    assert all(row.metric.startswith("absolute_") for row in rows)

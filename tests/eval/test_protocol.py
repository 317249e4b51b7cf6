from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch

from eval.cache import FeatureSet
from eval.probe import ProbeRecipe
from eval.protocol import (
    ActionRegression,
    LinearClassification,
    Measurement,
    Task,
    evaluate,
    standard_evaluators,
)
from ssl_equiv.errors import UserError
from tests.eval.fakes import equivariant, feature_set

TINY = ProbeRecipe(epochs=2, batch_size=16, hidden=(8,))
HALVES = {"all": (0, 12), "inv": (0, 5), "equi": (5, 10)}


@pytest.fixture
def sets() -> tuple[FeatureSet, FeatureSet]:
    train, val = (replace(equivariant(16, 12, s), parts=HALVES) for s in ("train", "val"))
    return train, val


def test_one_row_a_metric_part_and_seed(sets: tuple[FeatureSet, FeatureSet]) -> None:
    evaluators = [LinearClassification(TINY), ActionRegression(recipe=TINY)]
    rows = evaluate(*sets, evaluators=evaluators, seeds=2, model="sie")
    kinds = ("r2_pooled", "r2_per_dim", "degrees_mean", "degrees_median")
    metrics = {"top1", "top5"} | {
        f"rotation_{kind}{suffix}" for kind in kinds for suffix in ("", "_published")
    }
    assert {(r.metric, r.part, r.seed) for r in rows} == {
        (metric, part, seed) for metric in metrics for part in HALVES for seed in (0, 1)
    }
    assert len(rows) == len(metrics) * 3 * 2
    assert {(r.split, r.model) for r in rows} == {("val", "sie")}
    assert all(row.baseline is not None for row in rows)
    assert len({row.config_hash for row in rows}) == 2  # one an evaluator


def test_results_repeat(sets: tuple[FeatureSet, FeatureSet]) -> None:
    a, b = (evaluate(*sets, evaluators=[ActionRegression(recipe=TINY)], seeds=1) for _ in range(2))
    assert a == b


def test_the_hash_names_all_that_matters(sets: tuple[FeatureSet, FeatureSet]) -> None:
    def digest(train: FeatureSet = sets[0], config: dict[str, int] | None = None, **recipe) -> str:
        evaluator = LinearClassification(replace(TINY, **recipe))
        rows = evaluate(
            train, sets[1], evaluators=[evaluator], parts=["inv"], seeds=1, config=config
        )
        return rows[0].config_hash

    digests = [
        digest(),
        digest(lr=1e-2),
        digest(config={"a": 1}),
        digest(replace(sets[0], key={"weights": "other"})),
    ]
    assert len(set(digests)) == 4
    assert digest() == digests[0]


def test_any_evaluator_can_be_plugged_in(sets: tuple[FeatureSet, FeatureSet]) -> None:
    @dataclass(frozen=True)
    class Norm:
        power: float = 2.0

        def __call__(self, task: Task) -> list[Measurement]:
            first, past = task.val.columns(task.parts[0])
            norm = task.val.features[..., first:past].norm(p=self.power).item()
            return [Measurement("norm", task.parts[0], (norm,) * len(task.seeds))]

    rows = evaluate(*sets, evaluators=[Norm(power=1.0)], parts=["equi"], seeds=[7])
    assert [(r.metric, r.part, r.seed, r.baseline) for r in rows] == [("norm", "equi", 7, None)]


def test_a_diverging_probe_is_reported(sets: tuple[FeatureSet, FeatureSet]) -> None:
    wild = ActionRegression(recipe=replace(TINY, lr=1e30))
    with pytest.raises(UserError, match="training diverged"):
        evaluate(*sets, evaluators=[wild], seeds=1)


def test_standard_evaluators() -> None:
    linear, *regressors = standard_evaluators("quick", ["rotation", "translation"])
    assert isinstance(linear, LinearClassification)
    assert [regressor.factor for regressor in regressors] == ["rotation", "translation"]
    assert standard_evaluators()[0].recipe.epochs == 300  # type: ignore[attr-defined]


def test_bad_input_is_one_clear_line(sets: tuple[FeatureSet, FeatureSet]) -> None:
    train, val = sets
    poisoned = train.features.clone()
    poisoned[3, 0, 0] = torch.inf
    other = feature_set(val.features[..., :6])
    cases = [
        ((replace(train, features=poisoned), val), {}, "object 3 .train. are not finite"),
        ((train, other), {}, "same model"),
        ((train, val), {"parts": ["invariant"]}, "no part 'invariant'"),
        ((train, val), {"parts": []}, "nothing to evaluate"),
        ((train, val), {"seeds": 0}, "nothing to evaluate"),
        (
            (train, val),
            {"evaluators": [ActionRegression("translation")]},
            "no factor 'translation' .it has rotation",
        ),
    ]
    for pair, options, message in cases:
        with pytest.raises(UserError, match=message) as caught:
            evaluate(*pair, **{"evaluators": [LinearClassification(TINY)], **options})
        assert "\n" not in str(caught.value)

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch

from eval.cache import FeatureSet
from eval.evaluators import ActionRegression, LinearClassification, standard_evaluators
from eval.probe import ProbeRecipe
from eval.protocol import Evaluator, Measurement, NotApplicable, Task, evaluate
from eval.recipes import probe_recipe
from eval.results import Result
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
    kinds += ("r2_x", "r2_y", "r2_z", "r2_w")
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
    class Norm(Evaluator):
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


@dataclass(frozen=True)
class Never(Evaluator):
    def __call__(self, task: Task) -> list[Measurement]:
        raise NotApplicable("there is nothing here: bring something")


def test_what_does_not_apply_stops_or_is_told(
    sets: tuple[FeatureSet, FeatureSet], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(NotApplicable, match="bring something"):
        evaluate(*sets, evaluators=[Never()])
    evaluators = [Never(), LinearClassification(TINY)]
    rows = evaluate(*sets, evaluators=evaluators, skip_inapplicable=True, seeds=1)
    assert {row.metric for row in rows} == {"top1", "top5"}
    assert "Never is left out: there is nothing here" in caplog.text


def test_a_probe_is_fitted_once_and_judged_on_every_set(
    sets: tuple[FeatureSet, FeatureSet],
) -> None:
    train, val = sets
    other = replace(equivariant(9, 12, "train"), parts=HALVES, split="val")
    evaluators = [LinearClassification(TINY), ActionRegression(recipe=TINY)]
    rows = evaluate(train, val, evaluators=evaluators, seeds=2, others={"far": other})
    alone = evaluate(train, other, evaluators=evaluators, seeds=2)

    def figures(found: list[Result], split: str) -> dict[tuple[str, str, int], tuple]:
        return {
            (r.metric, r.part, r.seed): (r.value, r.baseline) for r in found if r.split == split
        }

    assert figures(rows, "far") == figures(alone, "val")
    assert figures(rows, "val") == figures(
        evaluate(train, val, evaluators=evaluators, seeds=2), "val"
    )


def test_standard_evaluators() -> None:
    linear, regression = standard_evaluators("quick", ["rotation", "translation"])
    assert isinstance(linear, LinearClassification)
    assert regression == ActionRegression(("rotation", "translation"), "quick")
    assert len(standard_evaluators("quick", [])) == 1
    assert probe_recipe(standard_evaluators()[0].recipe).epochs == 300  # type: ignore[attr-defined]


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

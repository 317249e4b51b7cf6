from __future__ import annotations

import math
import statistics
from pathlib import Path

import pytest

from eval.report.collect import collect
from eval.report.metrics import describe, headline, told
from eval.report.runs import Model, Run
from eval.report.tables import Figure, Line, tables, winners
from eval.results import Result, read_results


def row(metric: str, value: float, model: str, **more: object) -> Result:
    given = {"part": "all", "split": "val", "seed": 0, "commit": "c", "config_hash": "h", **more}
    return Result(metric=metric, value=value, model=model, **given)  # type: ignore[arg-type]


def model(name: str, *seeds: list[Result]) -> Model:
    return Model(name, tuple(Run(name, Path(name), rows=tuple(rows)) for rows in seeds))


def test_mean_and_deviation_are_over_pretraining_seeds(runs: Path) -> None:
    models, _ = collect([runs])
    table = next(table for table in tables(models) if table.name == "equivariant")
    found = table.cells[Line("sie", "equi", "val"), "rotation_r2_pooled"]
    means = [
        statistics.fmean(
            row.value
            for row in read_results(runs / f"sie-seed{seed}" / "eval" / "results.json")
            if (row.metric, row.part, row.split) == ("rotation_r2_pooled", "equi", "val")
        )
        for seed in (0, 1)
    ]
    assert found.over == "pretraining"
    assert found.mean == pytest.approx(statistics.fmean(means))
    assert found.std == pytest.approx(statistics.stdev(means))
    assert found.baseline == pytest.approx(0.229)


def test_one_pretraining_seed_spreads_over_its_probes() -> None:
    rows = [row("top1", value, "a", seed=seed) for seed, value in enumerate((0.5, 0.6, 0.8))]
    (figure,) = tables([model("a", rows)])[0].cells.values()
    assert figure.over == "probe"
    assert figure.std == pytest.approx(statistics.stdev((0.5, 0.6, 0.8)))
    (alone,) = tables([model("a", rows[:1])])[0].cells.values()
    assert alone.std is None
    assert alone.over == ""


def test_one_metric_under_two_settings_is_two_columns() -> None:
    rows = [row("knn_top1", 0.5, "a"), row("knn_top1", 0.7, "a", config_hash="other")]
    table = tables([model("a", rows)])[-1]
    assert [metric.name for metric in table.metrics] == ["knn_top1", "knn_top1 (2)"]
    assert [figure.mean for figure in table.cells.values()] == [0.5, 0.7]


def won(figures: dict[str, tuple[float, ...]], better: str = "higher") -> set[str]:
    lines = {Line(name, "all", "val"): Figure((values,)) for name, values in figures.items()}
    return {line.model for line in winners(lines, better)}


def test_winners_are_those_that_the_spread_allows() -> None:
    def around(mean: float, std: float) -> tuple[float, ...]:
        return mean - std, mean, mean + std  # whose sample standard deviation is std

    apart = {"a": around(0.9, 0.01), "b": around(0.8, 0.01), "c": around(0.7, 0.01)}
    assert won(apart) == {"a"}
    assert won(apart, "lower") == {"c"}
    assert won(apart, "") == set()
    # pooled deviation of 0.03 and 0.01: sqrt((9 + 1) / 2) e-2 = 0.0224
    assert won({"a": around(0.9, 0.03), "b": around(0.878, 0.01), "c": around(0.5, 0.01)}) == {
        "a",
        "b",
    }
    assert won({"a": around(0.9, 0.03), "b": around(0.877, 0.01), "c": around(0.5, 0.01)}) == {"a"}
    assert won({"a": around(0.9, 0.1), "b": around(0.85, 0.1)}) == set()  # all overlap
    assert won({"a": around(0.9, 0.01)}) == set()  # nobody to win over
    assert won({"a": (0.9,), "b": (0.1,)}) == set()  # no spread is known
    assert won({"a": (0.9,), "b": around(0.1, 0.01)}) == {"a"}
    assert won({"a": (0.9,), "b": around(0.895, 0.01), "c": (0.1,)}) == {"a", "b"}
    assert won({"a": (math.nan, 1.0), "b": around(0.5, 0.01), "c": around(0.1, 0.01)}) == {"b"}
    assert won({"a": (math.inf, 1.0), "b": around(0.5, 0.01), "c": around(0.1, 0.01)}) == {"b"}


def test_parts_of_one_model_do_not_win_over_each_other() -> None:
    figures = {Line("a", part, "val"): Figure(((v, v + 0.01),)) for part, v in (("x", 1), ("y", 9))}
    assert winners(figures, "higher") == set()


def test_splits_are_compared_each_for_itself(runs: Path) -> None:
    models, _ = collect([runs])
    table = next(table for table in tables(models) if table.name == "invariant")
    assert table.splits() == ["val", "ood"]
    splits = {line.split for line, metric in table.best if metric == "top1"}
    assert splits == {"val", "ood"}
    headline_table = tables(models)[0]
    assert headline_table.splits() == ["val"]


def test_models_of_different_parts_and_missing_metrics() -> None:
    first = model("a", [row("top1", 0.9, "a", part="inv"), row("top1", 0.8, "a", part="equi")])
    second = model("b", [row("rankme", 30.0, "b")])
    found = {table.name: table for table in tables([first, second])}
    assert [line.part for line in found["invariant"].lines] == ["inv", "equi"]
    assert [line.model for line in found["collapse-and-geometry"].lines] == ["b"]
    assert len(found["headline"].lines) == 3
    assert tables([model("a", [])]) == []


def test_a_wide_group_is_a_table_for_everything_measured() -> None:
    factors = ("rotation", "floor_hue", "linear_rotation")
    names = [f"{f}_r2_{d}{p}" for f in factors for d in ("x", "pooled") for p in ("", "_published")]
    rows = [row(name, 0.5, "a") for name in [*names, "predictor_mrr"]]
    titles = [table.title for table in tables([model("a", rows)])[1:]]
    expected = [f"{f}{p}" for f in ("rotation", "floor hue", "linear rotation") for p in ("", "P")]
    expected = [f"Equivariant: {name.replace('P', ' (as published)')}" for name in expected]
    assert titles == [*expected, "Equivariant"]
    headings = [metric.heading for metric in tables([model("a", rows)])[1].metrics]
    assert headings == ["R² x ↑", "R² pooled ↑"]
    assert [t.title for t in tables([model("a", rows[:12])])[1:]] == ["Equivariant"]


def test_baselines_that_differ_are_a_range() -> None:
    rows = [row("top1", 0.5, name, baseline=floor) for name, floor in (("a", 0.1), ("b", 0.2))]
    table = tables([model("a", rows[:1]), model("b", rows[1:])])[0]
    assert table.baselines("val", "top1") == (0.1, 0.2)
    assert table.baselines("ood", "top1") is None


@pytest.mark.parametrize(
    ("name", "group", "better"),
    [
        ("top1", "Invariant", "higher"),
        ("knn_top1_k20", "Invariant", "higher"),
        ("mlp_top1", "Invariant", "higher"),
        ("few_shot_top1_n5", "Invariant", "higher"),
        ("cluster_nmi", "Invariant", "higher"),
        ("class_map", "Invariant", "higher"),
        ("class_precision10", "Invariant", "higher"),
        ("rotation_r2_pooled", "Equivariant", "higher"),
        ("rotation_degrees_median", "Equivariant", "lower"),
        ("linear_translation_distance_mean", "Equivariant", "lower"),
        ("rotation_r2_qx", "Equivariant", "higher"),
        ("predictor_mrr", "Equivariant", "higher"),
        ("predictor_h5", "Equivariant", "higher"),
        ("predictor_pre_published", "Equivariant", "lower"),
        ("predictor_error_vs_identity", "Equivariance error", "lower"),
        ("linear_map_error_vs_constant", "Equivariance error", "lower"),
        ("consistency_composition", "Equivariance error", "lower"),
        ("orbit_shift_accuracy_worst", "Orbits", "higher"),
        ("orbit_shift_cosine_distance", "Orbits", ""),
        ("orbit_shift_confidence", "Orbits", ""),
        ("orbit_shift_consistency", "Orbits", "higher"),
        ("orbit_a_rotation_predictor_error", "Orbits", "lower"),
        ("top1_length3", "Sequence", "higher"),
        ("path_rotation_r2_pooled_length5", "Sequence", "higher"),
        ("rankme", "Collapse and geometry", "higher"),
        ("effective_rank", "Collapse and geometry", "higher"),
        ("uniformity", "Collapse and geometry", "lower"),
        ("spread", "Collapse and geometry", ""),
        ("never_heard_of", "Other", ""),
    ],
)
def test_what_names_tell(name: str, group: str, better: str) -> None:
    metric = describe(name)
    assert (metric.group, metric.better) == (group, better)


def test_headings() -> None:
    assert describe("rotation_degrees_median").heading == "rotation error, median [°] ↓"
    assert describe("rotation_r2_pooled").heading == "rotation R² pooled ↑"
    assert describe("knn_top1_k20").heading == "k-NN top-1, k = 20 ↑"
    assert describe("few_shot_top1_n5").heading == "5-shot top-1 ↑"
    assert describe("predictor_h5").heading == "predictor H@5 ↑"
    assert headline(["x", "rankme", "top1"]) == ["top1", "rankme"]
    assert headline(["x", "y"]) == ["x", "y"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.93442, "0.934"),
        (61.34, "61.34"),
        (611.34, "611.3"),
        (3.2e-5, "3.20e-05"),
        (0.0, "0"),
        (-0.5, "-0.500"),
        (math.nan, "not a number"),
        (math.inf, "inf"),
    ],
)
def test_figures_are_told_as_people_read_them(value: float, text: str) -> None:
    assert told(value, describe("top1")) == text

"""Figures of models over seeds, in tables whose winners are only those that the spread allows."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from eval.report.metrics import GROUPS, PUBLISHED, Metric, describe, headline, subject
from eval.report.runs import Model, Run

_WIDE = 12  # columns of a table that is still looked through
HEADLINE = "headline"
"""Name of the table whose figures stand in the others too."""


@dataclass(frozen=True)
class Line:
    """Which row of a table: a part of a model, judged on a split."""

    model: str
    part: str
    split: str


@dataclass(frozen=True)
class Figure:
    """A figure of a model over its seeds.

    Args:
        values: For each pretraining seed the figures of its probe seeds.
        baseline: What a constant predictor gets; None where there is none.
    """

    values: tuple[tuple[float, ...], ...]
    baseline: float | None = None

    @property
    def mean(self) -> float:
        """Mean over pretraining seeds of the mean over probe seeds."""
        return float(np.mean([np.mean(seeds) for seeds in self.values]))

    @property
    def over(self) -> Literal["pretraining", "probe", ""]:
        """The seeds that :attr:`std` is over: the probes' only where one network was trained."""
        if len(self.values) > 1:
            return "pretraining"
        return "probe" if len(self.values[0]) > 1 else ""

    @property
    def std(self) -> float | None:
        """Sample standard deviation over the seeds of :attr:`over`; None for a single figure."""
        figures = (
            [np.mean(seeds) for seeds in self.values] if len(self.values) > 1 else self.values[0]
        )
        if len(figures) < 2:
            return None
        with np.errstate(invalid="ignore"):
            return float(np.std(figures, ddof=1))


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        name: Slug, unique in the report.
        title: For people.
        metrics: Its columns.
        lines: Its rows.
        cells: Its figures, by row and metric's name; some may be missing.
        best: The cells to set in bold.
    """

    name: str
    title: str
    metrics: tuple[Metric, ...]
    lines: tuple[Line, ...]
    cells: Mapping[tuple[Line, str], Figure]
    best: frozenset[tuple[Line, str]]

    def splits(self) -> list[str]:
        """The splits of its rows."""
        return list(dict.fromkeys(line.split for line in self.lines))

    def baselines(self, split: str, metric: str) -> tuple[float, float] | None:
        """Least and largest figure of a constant predictor over the rows of a split."""
        found = [
            figure.baseline
            for (line, name), figure in self.cells.items()
            if name == metric and line.split == split and figure.baseline is not None
        ]
        return (min(found), max(found)) if found else None


def tables(models: Sequence[Model]) -> list[Table]:
    """The headline table, then one a group of metrics; those that would be empty are left out."""
    cells: dict[tuple[Line, str], Figure] = {}
    for model in models:
        cells |= _figures(model)
    splits = list(dict.fromkeys(line.split for line, _ in cells))
    splits.sort(key=lambda split: split != "val")
    order = {name: number for number, name in enumerate(model.name for model in models)}
    lines = sorted(
        dict.fromkeys(line for line, _ in cells),
        key=lambda line: (splits.index(line.split), order[line.model]),
    )
    metrics = {name: describe(name) for name in dict.fromkeys(name for _, name in cells)}
    chosen = [metrics[name] for name in headline(metrics)]
    found = [_table(HEADLINE, "At a glance", chosen, lines, cells, splits[:1])]
    for group in GROUPS:
        of_group = [metric for metric in metrics.values() if metric.group == group]
        for title, members in _parted(group, of_group).items():
            slug = re.sub(r"\W+", "-", title.lower()).strip("-")
            found.append(_table(slug, title, members, lines, cells, splits))
    return [table for table in found if table.lines]


def _parted(group: str, metrics: Sequence[Metric]) -> dict[str, list[Metric]]:
    """One table, or one for everything that is measured where one would be too wide."""
    if len(metrics) <= _WIDE:
        return {group: list(metrics)}
    parts: dict[str, list[Metric]] = {}
    for metric in metrics:
        what = subject(metric.name)
        title = metric.title.removeprefix(what.removesuffix(PUBLISHED)).removesuffix(PUBLISHED)
        short = replace(metric, title=title.strip(" ,") or metric.title)
        parts.setdefault(f"{group}: {what}" if what else group, []).append(
            short if what else metric
        )
    return parts


def _figures(model: Model) -> dict[tuple[Line, str], Figure]:
    seeds: dict[tuple[Line, str], list[tuple[tuple[float, ...], float | None]]] = {}
    for run in model.runs:
        for key, figure in _of_run(run, model.name).items():
            seeds.setdefault(key, []).append(figure)
    found = {}
    for key, figures in seeds.items():
        floors = [baseline for _, baseline in figures if baseline is not None]
        baseline = float(np.mean(floors)) if floors else None
        found[key] = Figure(tuple(values for values, _ in figures), baseline)
    return found


def _of_run(run: Run, model: str) -> dict[tuple[Line, str], tuple[tuple[float, ...], float | None]]:
    """Figures of one network over the seeds of its probes.

    One metric that was measured under several settings has several names: ``knn``, ``knn (2)``.
    """
    groups: dict[tuple[Line, str], dict[str, dict[int, tuple[float, float | None]]]] = {}
    for row in run.rows:
        line = Line(model, row.part, row.split)
        settings = groups.setdefault((line, row.metric), {})
        settings.setdefault(row.config_hash, {})[row.seed] = (row.value, row.baseline)
    found = {}
    for (line, metric), settings in groups.items():
        for number, seeds in enumerate(settings.values(), start=1):
            name = metric if number == 1 else f"{metric} ({number})"
            values = tuple(value for value, _ in seeds.values())
            found[line, name] = (values, next(iter(seeds.values()))[1])
    return found


def _table(
    name: str,
    title: str,
    metrics: Sequence[Metric],
    lines: Iterable[Line],
    cells: Mapping[tuple[Line, str], Figure],
    splits: Sequence[str],
) -> Table:
    names = {metric.name for metric in metrics}
    own = {
        key: figure for key, figure in cells.items() if key[1] in names and key[0].split in splits
    }
    present = {line for line, _ in own}
    kept = tuple(line for line in lines if line in present)
    best = {
        (line, metric.name)
        for metric in metrics
        for split in splits
        for line in winners(
            {
                line: own[line, metric.name]
                for line in kept
                if line.split == split and (line, metric.name) in own
            },
            metric.better,
        )
    }
    return Table(name, title, tuple(metrics), kept, own, frozenset(best))


def winners(figures: Mapping[Line, Figure], better: str) -> set[Line]:
    """The rows whose figure is best, as far as the spread allows to say so.

    The best mean wins together with all whose mean is no farther from it than the pooled standard
    deviation of the two, √((s₁² + s₂²) / 2). A figure of a single seed is taken to spread like the
    widest of the others. Nobody wins where only one model is judged, where no figure has a spread,
    where all overlap, or where neither direction is better.
    """
    known = {line: figure for line, figure in figures.items() if math.isfinite(figure.mean)}
    stds = [
        figure.std
        for figure in known.values()
        if figure.std is not None and math.isfinite(figure.std)
    ]
    if not better or not stds or len({line.model for line in known}) < 2:
        return set()
    sign = 1 if better == "higher" else -1
    top = max(known, key=lambda line: sign * known[line].mean)

    def spread(figure: Figure) -> float:
        return max(stds) if figure.std is None or not math.isfinite(figure.std) else figure.std

    won = {
        line
        for line, figure in known.items()
        if abs(figure.mean - known[top].mean)
        <= math.hypot(spread(figure), spread(known[top])) / math.sqrt(2)
    }
    return set() if len(won) == len(known) else won

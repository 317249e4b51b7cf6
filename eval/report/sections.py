"""The sections of the report, each from models to HTML."""

from __future__ import annotations

import html
import platform
import time
from collections.abc import Sequence

import numpy as np
import torch

from eval.report import exports, page, plots
from eval.report.configs import commands, differing
from eval.report.figures import swatch
from eval.report.metrics import Metric
from eval.report.runs import Model, Run
from eval.report.tables import Line, Table
from eval.results import RESULTS

_FIRST_CURVES = ("train/loss", "probe/top1")
_FEW_KEYS, _FEW_MODELS = 12, 3  # what is shown unfolded


def lead(models: Sequence[Model], judged: bool) -> str:
    """What is compared, in a sentence."""
    runs = sum(len(model.runs) for model in models)
    names = ", ".join(model.name for model in models)
    text = f"{_count(len(models), 'model')} from {_count(runs, 'run')}: {names}."
    if not judged:
        text += " None of them was judged yet: 'ssl-equiv eval' does so."
    return page.paragraph(text)


def figures(tables: Sequence[Table], stem: str) -> str:
    """The headline table, how to read it, and the groups of metrics folded away."""
    head, *groups = tables
    files = "".join(
        f'<a href="{html.escape(stem)}.{ending}">{name}</a> '
        for ending, name in (("csv", "CSV"), ("json", "JSON"), ("tex", "LaTeX"))
    )
    body = _table(head) + page.paragraph(_reading(tables), soft=True)
    body += f"<p class=soft>The same tables: {files}</p>"
    for table in groups:
        more = _count(len(table.metrics), "metric")
        body += page.folded(table.title, _table(table), more, opened=len(groups) == 1)
    return body


def _reading(tables: Sequence[Table]) -> str:
    found = [figure for table in tables for figure in table.cells.values()]
    pretraining = {len(figure.values) for figure in found}
    probes = {len(seeds) for figure in found for seeds in figure.values}
    if max(pretraining) > 1:
        over = "the seeds of pretraining, each a mean over its probes' seeds"
        if min(pretraining) == 1:
            over += "; over the probes' seeds for what was pretrained once"
    else:
        over = (
            "the probes' seeds alone: each model was pretrained once, and another pretraining may "
            "differ by more"
        )
    return (
        f"Mean ± sample standard deviation over {over}. Seeds of pretraining: "
        f"{_span(pretraining)}; of probes: {_span(probes)}; a figure without ± has one of both. "
        "Bold is the best of a column together with all that are no farther from it than the two's "
        "pooled standard deviation; nothing is bold where one model is judged, where no spread is "
        "known, or where all overlap. ↑ more is better, ↓ less. The constant predictor answers the "
        "same whatever it sees: a figure tells as much as it stands off from there."
    )


def _table(table: Table) -> str:
    lines = []
    splits = table.splits()
    for split in splits:
        if len(splits) > 1 or split != "val":
            lines.append(_row(f"judged on {split}", ["<td></td>"] * len(table.metrics), "floor"))
        for line in (line for line in table.lines if line.split == split):
            name = f"{line.model} · {line.part}" if line.part else line.model
            lines.append(_row(name, [_cell(table, line, metric) for metric in table.metrics]))
        floors = [exports.floor_told(table, split, metric) for metric in table.metrics]
        if any(floors):
            cells = [f"<td>{html.escape(floor)}</td>" for floor in floors]
            lines.append(_row("constant predictor", cells, "floor"))
    return page.table_of(["model · part", *(m.heading for m in table.metrics)], lines)


def _row(name: str, cells: Sequence[str], kind: str = "") -> str:
    of_kind = f' class="{kind}"' if kind else ""
    return f'<tr{of_kind}><th scope="row">{html.escape(name)}</th>{"".join(cells)}</tr>'


def _cell(table: Table, line: Line, metric: Metric) -> str:
    figure = table.cells.get((line, metric.name))
    if figure is None:
        return "<td>–</td>"
    mean, _, spread = exports.figure_told(figure, metric).partition(" ± ")
    best = ' class="best"' if (line, metric.name) in table.best else ""
    return f"<td{best}>{mean}{f' <small>± {spread}</small>' if spread else ''}</td>"


def training(models: Sequence[Model]) -> str:
    """Logged curves, a panel a quantity, all models in it; seeds of a model share its colour."""
    panels: dict[str, dict[str, plots.Line]] = {}
    for number, model in enumerate(models):
        for run in model.runs:
            for name, (steps, values) in (run.curves or {}).items():
                line = (number, np.array(steps, dtype=float), np.array(values), None)
                panels.setdefault(name, {})[f"{model.name} {run.folder}"] = line
    if not panels:
        return ""
    numbers = {number for lines in panels.values() for number, *_ in lines.values()}
    names = [(model.name, swatch(n)) for n, model in enumerate(models) if n in numbers]
    drawn = {
        name: page.panel(plots.curves(lines, f"{name} in training", {"x_label": "step"}), name)
        for name, lines in sorted(panels.items())
    }
    first = [drawn.pop(name) for name in _FIRST_CURVES if name in drawn]
    body = page.legend(names) + (page.grid(first) if first else "")
    if drawn:
        rest = page.grid(list(drawn.values()))
        body += page.folded("All that was logged", rest, opened=not first)
    return body


def differences(models: Sequence[Model]) -> str:
    """The keys in which configurations differ."""
    known = [model for model in models if any(run.config is not None for run in model.runs)]
    if len(known) < 2:
        return page.paragraph(
            "Nothing to compare: fewer than two models' configurations are at hand.", soft=True
        )
    rows = [[key, *(value or "–" for value in values)] for key, values in differing(known)]
    if not rows:
        return page.paragraph("In nothing that figures depend on.", soft=True)
    text = page.table(["key", *(model.name for model in known)], rows)
    return page.folded(_count(len(rows), "key"), text, opened=len(rows) <= _FEW_KEYS)


def all_commands(models: Sequence[Model]) -> str:
    """The commands that make every run again."""
    return "".join(
        page.folded(
            model.name,
            page.commands("\n\n".join(commands(run) for run in model.runs)),
            opened=len(models) <= _FEW_MODELS,
        )
        for model in models
    )


def provenance(models: Sequence[Model], left_out: Sequence[str], made: str) -> str:
    """Directories, seeds, commits and dates; and what was left out."""
    header = ["model", "results", "pretraining seed", "probe seeds", "commit", "judged", "figures"]
    rows = [_origin(model.name, run) for model in models for run in model.runs]
    body = page.table(header, rows)
    if len({row.commit for m in models for run in m.runs for row in run.rows}) > 1:
        body += page.paragraph("The figures were measured with several commits of the code.")
    body += "".join(page.paragraph(f"Left out: {line}") for line in left_out)
    machine = (
        f"{made}, torch {torch.__version__}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}: what made this page; the runs' own may differ."
    )
    return body + page.paragraph(machine, soft=True)


def _origin(name: str, run: Run) -> list[str]:
    results = run.folder / RESULTS
    judged = "not yet"
    if results.is_file():
        when = time.localtime(results.stat().st_mtime)
        judged = time.strftime("%Y-%m-%d %H:%M", when)
    seeds = ", ".join(map(str, sorted({row.seed for row in run.rows})))
    commits = ", ".join(sorted({_short(row.commit) for row in run.rows}))
    pretraining = "–" if run.seed is None else str(run.seed)
    figures = str(len(run.rows))
    return [name, str(run.folder), pretraining, seeds or "–", commits or "–", judged, figures]


def _short(commit: str) -> str:
    """Ten digits of a commit, and that the code had changes."""
    digits, dash, state = commit.partition("-")
    return digits[:10] + dash + state


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _span(numbers: set[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"

"""The report's tables for other programs: CSV, JSON and LaTeX."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval.report.metrics import Metric, told
from eval.report.runs import Model
from eval.report.tables import HEADLINE, Figure, Line, Table
from ssl_equiv.errors import UserError
from ssl_equiv.files import atomic_write

FORMAT = "ssl-equiv-report/1"
_COLUMNS = (
    "group",
    "metric",
    "unit",
    "better",
    "model",
    "part",
    "split",
    "mean",
    "std",
    "std_over",
    "pretraining_seeds",
    "probe_seeds",
    "constant_predictor",
    "bold",
)
_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "²": r"$^2$",
    "°": r"$^\circ$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "·": r"$\cdot$",
    "–": "--",
}


def check_place(path: Path) -> None:
    """Refuse to write tables over a file that is none of this report's.

    Raises:
        UserError: a JSON file beside ``path`` is something else, such as ``results.json``.
    """
    beside = path.with_suffix(".json")
    if not beside.exists():
        return
    try:
        ours = json.loads(beside.read_text()).get("format") == FORMAT
    except (OSError, ValueError, AttributeError):
        ours = False
    if not ours:
        raise UserError(
            f"{beside} is no table of a report and would be overwritten: choose another --out"
        )


def write_csv(path: Path, tables: Sequence[Table]) -> None:
    """One row a figure, numbers in full; the headline's stand in their groups."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for table in tables:
        for line, metric, figure in _figures(table) if table.name != HEADLINE else []:
            cell = _cell(figure)
            writer.writerow(
                [
                    table.title,
                    metric.name,
                    metric.unit,
                    metric.better,
                    line.model,
                    line.part,
                    line.split,
                    *("" if value is None else value for value in cell.values()),
                    int((line, metric.name) in table.best),
                ]
            )
    _write(path, text.getvalue())


def write_json(path: Path, tables: Sequence[Table], models: Sequence[Model], made: str) -> None:
    """Tables, runs and the seeds' figures; what is not a number is null."""
    found = {
        "format": FORMAT,
        "made": made,
        "models": [
            {
                "name": model.name,
                "runs": [
                    {
                        "source": run.source,
                        "results": str(run.folder),
                        "pretraining_seed": run.seed,
                        "commits": sorted({row.commit for row in run.rows}),
                    }
                    for run in model.runs
                ],
            }
            for model in models
        ],
        "tables": [_plain(table) for table in tables],
    }
    _write(path, json.dumps(found, indent=1, allow_nan=False) + "\n")


def _plain(table: Table) -> dict[str, Any]:
    rows = []
    for line in table.lines:
        cells = {
            metric.name: {
                **_cell(figure),
                "values": [[_number(v) for v in seeds] for seeds in figure.values],
                "bold": (line, metric.name) in table.best,
            }
            for metric in table.metrics
            if (figure := table.cells.get((line, metric.name))) is not None
        }
        rows.append({"model": line.model, "part": line.part, "split": line.split, "cells": cells})
    metrics = [
        {"name": m.name, "title": m.title, "unit": m.unit, "better": m.better}
        for m in table.metrics
    ]
    return {"name": table.name, "title": table.title, "metrics": metrics, "rows": rows}


def write_tex(path: Path, tables: Sequence[Table], made: str) -> None:
    """One ``booktabs`` table a group; needs nothing but that package."""
    parts = [
        f"% {tex(made)}; needs \\usepackage{{booktabs}}; bold: best as far as the spread allows"
    ]
    parts += [_tabular(table) for table in tables]
    _write(path, "\n\n".join(parts) + "\n")


def _tabular(table: Table) -> str:
    splits = table.splits()
    rows = []
    for split in splits:
        rows.append(r"\midrule")
        if len(splits) > 1:
            span = 2 + len(table.metrics)
            rows.append(rf"\multicolumn{{{span}}}{{l}}{{\emph{{{tex(split)}}}}} \\")
        last = None
        for line in (line for line in table.lines if line.split == split):
            cells = [_told(table, line, metric) for metric in table.metrics]
            model = "" if line.model == last else tex(line.model)
            rows.append(" & ".join([model, tex(line.part), *cells]) + r" \\")
            last = line.model
        floors = [floor_told(table, split, metric, "--") for metric in table.metrics]
        if any(floors):
            rows.append(" & ".join(["constant predictor", "", *map(tex, floors)]) + r" \\")
    heads = " & ".join(["model", "part", *(tex(metric.heading) for metric in table.metrics)])
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{tex(table.title)}}}",
            rf"\label{{tab:{table.name}}}",
            rf"\begin{{tabular}}{{ll{'r' * len(table.metrics)}}}",
            r"\toprule",
            heads + r" \\",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _told(table: Table, line: Line, metric: Metric) -> str:
    figure = table.cells.get((line, metric.name))
    if figure is None:
        return ""
    text = tex(figure_told(figure, metric))
    return rf"\textbf{{{text}}}" if (line, metric.name) in table.best else text


def figure_told(figure: Figure, metric: Metric) -> str:
    """``mean ± std`` as people read it; the mean alone where there is no spread."""
    mean, std = figure.mean, figure.std
    spread = "" if std is None or not math.isfinite(std) else f" ± {told(std, metric, mean)}"
    return told(mean, metric, std) + spread


def floor_told(table: Table, split: str, metric: Metric, dash: str = "–") -> str:
    """What a constant predictor gets on a split, a range where the rows' targets differ."""
    found = table.baselines(split, metric.name)
    if found is None:
        return ""
    cells = [figure.mean for (_, name), figure in table.cells.items() if name == metric.name]
    scale = max((abs(mean) for mean in cells if math.isfinite(mean)), default=0.0)
    low, high = (told(value, metric, scale) for value in found)
    return low if low == high else f"{low} {dash} {high}"


def tex(text: str) -> str:
    """Plain text for LaTeX, every special character escaped."""
    text = re.sub(r"[\x00-\x1f\x7f]+", " ", text)
    return "".join(_TEX.get(character, character) for character in text)


def _figures(table: Table) -> list[tuple[Line, Metric, Figure]]:
    return [
        (line, metric, table.cells[line, metric.name])
        for line in table.lines
        for metric in table.metrics
        if (line, metric.name) in table.cells
    ]


def _cell(figure: Figure) -> dict[str, Any]:
    return {
        "mean": _number(figure.mean),
        "std": _number(figure.std),
        "std_over": figure.over or None,
        "pretraining_seeds": len(figure.values),
        "probe_seeds": max(map(len, figure.values)),
        "constant_predictor": figure.baseline,
    }


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write(text.encode("utf-8", "replace"))

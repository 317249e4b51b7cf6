from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from eval.report import write_report
from eval.report.collect import collect
from eval.report.exports import tex
from eval.report.tables import tables
from eval.results import RESULTS, write_results
from ssl_equiv.errors import UserError
from tests.eval.report.made_up import results


def test_csv_has_every_figure_once(runs: Path, report: Path) -> None:
    with open(report.with_suffix(".csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    models, _ = collect([runs])
    expected = {
        (line.model, line.part, line.split, metric): figure
        for table in tables(models)[1:]
        for (line, metric), figure in table.cells.items()
    }
    assert len(rows) == len(expected)
    for row in rows:
        figure = expected[row["model"], row["part"], row["split"], row["metric"]]
        assert float(row["mean"]) == figure.mean
        assert float(row["std"]) == figure.std
        assert row["std_over"] == "pretraining"
        assert (row["pretraining_seeds"], row["constant_predictor"]) == (
            "2",
            "" if figure.baseline is None else str(figure.baseline),
        )


def test_json_has_tables_seeds_and_winners(report: Path) -> None:
    found = json.loads(report.with_suffix(".json").read_text())
    assert found["format"] == "ssl-equiv-report/1"
    assert [model["name"] for model in found["models"]] == ["equimod", "sie", "vicreg"]
    assert [run["pretraining_seed"] for run in found["models"][1]["runs"]] == [0, 1]
    by_name = {table["name"]: table for table in found["tables"]}
    assert {"headline", "invariant", "equivariant", "other"} <= by_name.keys()
    rows = {
        (row["model"], row["part"]): row["cells"]["rotation_degrees_median"]
        for row in by_name["equivariant"]["rows"]
        if row["split"] == "val"
    }
    assert {key for key, cell in rows.items() if cell["bold"]} == {("sie", "inv")}
    cell = rows["sie", "equi"]
    assert [len(seeds) for seeds in cell["values"]] == [3, 3]
    assert cell["constant_predictor"] == 93.0


def test_latex_is_booktabs_and_escaped(report: Path) -> None:
    text = report.with_suffix(".tex").read_text()
    for word in ("toprule", "midrule", "bottomrule", "tabular", "table"):
        assert f"\\{word}" in text or f"{{{word}}}" in text
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 8
    bold = re.findall(r"\\textbf\{[^}]*\}", text)
    assert bold
    assert all(r"$\pm$" in cell for cell in bold)
    for block in re.findall(r"\\begin\{tabular\}\{(.*?)\}\n(.*?)\\end\{tabular\}", text, re.S):
        columns, body = block
        for line in body.splitlines():
            if line.endswith(r"\\") and "multicolumn" not in line:
                assert len(re.findall(r"(?<!\\)&", line)) == len(columns) - 1, line
    assert text.isascii()


@pytest.mark.parametrize(
    ("plain", "expected"),
    [
        (r"a_b & 50% of $x$", r"a\_b \& 50\% of \$x\$"),
        ("{#1}", r"\{\#1\}"),
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("~^", r"\textasciitilde{}\textasciicircum{}"),
        ("R² ± 1° ↑ <b>", r"R$^2$ $\pm$ 1$^\circ$ $\uparrow$ \textless{}b\textgreater{}"),
        ("two\nlines % and", r"two lines \% and"),
    ],
)
def test_text_for_latex(plain: str, expected: str) -> None:
    assert tex(plain) == expected


def test_another_tools_file_is_not_overwritten(tmp_path: Path) -> None:
    """results.html would have its tables written over results.json."""
    write_results(tmp_path / RESULTS, results("SIE", 0, "timm:x"))
    before = (tmp_path / RESULTS).read_bytes()
    with pytest.raises(UserError, match="would be overwritten"):
        write_report(tmp_path / "results.html", [tmp_path])
    assert [path.name for path in tmp_path.iterdir()] == [RESULTS]
    assert (tmp_path / RESULTS).read_bytes() == before
    write_report(tmp_path / "report.html", [tmp_path])
    write_report(tmp_path / "report.html", [tmp_path])  # its own are
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "report.csv",
        "report.html",
        "report.json",
        "report.tex",
        RESULTS,
    ]

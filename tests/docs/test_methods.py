"""Every method, data set and configuration has its place in the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ssl_equiv.methods
from docs import assembled
from ssl_equiv.data.lidar import open as lidar
from ssl_equiv.methods import Method

ROOT = Path(__file__).parents[2]
CLASSES = sorted(
    name
    for name in ssl_equiv.methods.__all__
    if issubclass(found := getattr(ssl_equiv.methods, name), Method) and found is not Method
)
SECTIONS = ("The loss", "What is judged", "When to choose it", "Known weaknesses")


def page_of(name: str) -> Path:
    module = getattr(ssl_equiv.methods, name).__module__.split(".")[-1]
    return ROOT / "docs" / "methods" / f"{module}.md"


def test_every_class_is_listed_and_no_page_is_left_over() -> None:
    assert sorted(assembled.rows()) == CLASSES
    pages = {path.name for path in (ROOT / "docs" / "methods").glob("*.md")}
    assert pages == {page_of(name).name for name in CLASSES}


@pytest.mark.parametrize("name", CLASSES)
def test_a_methods_page_is_whole(name: str) -> None:
    text = page_of(name).read_text()
    assert text.startswith(f"# {name}\n")
    assert tuple(re.findall(r"^## (.+)$", text, re.MULTILINE)) == SECTIONS
    named = re.search(r"\[(\w+)\.yaml\]", assembled.rows()[name]["config"])
    assert named is not None
    assert f"--config configs/pretrain/{named[1]}.yaml" in text
    loss = text.split("## The loss")[1].split("\n## ")[0]
    assert re.search(
        r"^```text\n(.*\n)*?L\b.*=", loss, re.MULTILINE
    )  # plain, so it needs no script
    assert len(text.splitlines()) < 60


@pytest.mark.parametrize("name", CLASSES)
def test_the_rest_of_a_methods_page_is_assembled(name: str) -> None:
    shown = assembled.method(name)
    for stem in assembled.configurations(name):
        path = ROOT / "configs" / "pretrain" / f"{stem}.yaml"
        assert path.name in shown
        for line in path.read_text().splitlines():
            assert f"    {line}\n" in shown
    assert f"::: {getattr(ssl_equiv.methods, name).__module__}.{name}\n" in shown
    assert assembled.rows()[name]["paper"] in shown


def test_every_configuration_is_on_a_page() -> None:
    shown = {stem for name in CLASSES for stem in assembled.configurations(name)}
    assert shown == {path.stem for path in (ROOT / "configs" / "pretrain").glob("*.yaml")}


def test_measured_rows_are_those_of_the_tables() -> None:
    readme, bench = ((ROOT / name).read_text() for name in ("METHODS.md", "docs/bench_mini.md"))
    rows = [line for line in assembled.method("SIE").splitlines() if line.startswith("| ")]
    costs = [line for line in rows if line.startswith("| `sie_")]
    measured = [line for line in rows if line.startswith("| SIE |")]
    assert len(costs) > 3
    assert len(measured) == 3
    assert all(line in readme for line in costs)
    assert all(line in bench for line in measured)


def test_every_result_file_is_among_the_benchmarks() -> None:
    text = assembled.benchmarks()
    for path in (ROOT / "benchmarks" / "results").glob("*.json"):
        (section,) = re.findall(
            rf"^## {re.escape(assembled.title(path.stem))}\n(.*?)(?=^## |\Z)", text, re.M | re.S
        )
        assert path.name in section
        assert re.search(r"^\| .*\d", section, re.MULTILINE), f"no figure of {path.name}"


def test_a_result_file_of_a_new_kind_is_told() -> None:
    assert assembled.title("methods_bf16_compiled") == "A step of each method (bf16 compiled)"
    assert assembled.title("shift_vit_cuda") == assembled.TITLES["shift_vit"] + " (cuda)"
    assert assembled.title("novel") == "novel"
    runs = {"a": {"ms": 1.5, "all": [1, 2]}, "b": {"ms": 2.25, "all": [3]}}
    found = {"setting": {"size": 8, "batch": 2}, "models": runs, "total": {"seconds": 7}}
    assert assembled._plain(found).splitlines() == [
        *("| | |", "| --- | --- |", "| setting | size 8, batch 2 |", "| total, seconds | 7 |", ""),
        *("|  | ms |", "| --- | --- |", "| a | 1.5 |", "| b | 2.25 |"),
    ]


def test_every_data_set_has_its_place() -> None:
    sets, sweeps = (
        (ROOT / "docs" / f"{name}.md").read_text() for name in ("datasets", "lidar_data")
    )
    for path in (ROOT / "configs" / "data").glob("*.yaml"):
        assert f"`{path.name}`" in sets
    for path in (ROOT / "configs" / "lidar").glob("*.yaml"):
        assert f"configs/lidar/{path.name}" in sweeps
    for _, pattern, _ in lidar._LAYOUTS:
        assert any(part in sweeps for part in re.findall(r"[\w.-]{5,}", pattern)), pattern
    for kind in ("cifar-100-binary", "stl10_binary", "wnids.txt", "*.tar", "train/CLASS"):
        assert kind in sets
    for title in re.findall(r"\]\(#([\w-]+)\)", sets.split("### ")[0]):
        heads = [
            re.sub(r"[^\w -]", "", h).lower().replace(" ", "-")
            for h in re.findall(r"^#+ (.+)$", sets, re.M)
        ]
        assert title in heads

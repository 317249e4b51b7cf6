from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from eval.artifacts import Artifact, write_artifact
from eval.report import write_report
from eval.results import RESULTS, write_results
from ssl_equiv.errors import UserError
from tests.conftest import write_folder
from tests.eval.report.made_up import artifacts, results, write_run

HOSTILE = "<script>alert(1)</script>\"'&$x$\n<img src=http://evil.example/a>"
# elements that may be in the page; the rest would be somebody's text taken for a tag
_KNOWN = """
html head meta title style body nav section h1 h2 h3 p a div span figure figcaption details summary
small table thead tbody tr th td pre b i img svg g defs clippath rect path use text image wbr tspan
"""
KNOWN = set(_KNOWN.split())
VOID = {"meta", "img", "wbr"}


class Page(HTMLParser):
    """Elements, attributes and text of a page; complains about tags that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.values: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.values += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def check(page: Path) -> Page:
    """The page is whole, has only known elements, runs nothing and fetches nothing."""
    text = page.read_text()
    found = Page(text)
    assert not found.open
    assert set(found.tags) <= KNOWN
    for tag, name, value in found.values:
        assert not name.startswith("on"), (tag, name)
        if name in ("src", "href", "xlink:href", "action", "srcset", "poster"):
            allowed = ("#", "data:image/") + ((page.stem + ".",) if tag == "a" else ())
            assert value.startswith(allowed), (tag, name, value[:80])
        if name == "style":
            assert "url(" not in value.replace("url(#", ""), value
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in text
    return found


def test_the_page_holds_all_that_is_known(report: Path) -> None:
    found = check(report)
    text = "".join(found.text)
    for words in (
        "3 models from 6 runs: equimod, sie, vicreg",
        "constant predictor",
        "judged on ood",
        "rotation error, median [°] ↓",
        "over the seeds of pretraining",
        "Feature distance along SO(2)",
        "Accuracy along shifts",
        "Accuracy along SO(3)",
        "PCA, by class",
        "Worst orbit points",
        "train/loss",
        "model.class_path",
        "ssl-equiv pretrain --config",
        "ssl-equiv eval --model",
        "ssl-equiv export",
        "0123456789",
        "absent is not at hand",
    ):
        assert words in text, words
    # 3 parts by 2 curves; 7 parts of models by plane, sphere and 3 scatters; 3 logged quantities
    assert found.tags.count("svg") == 3 * 2 + 7 * 5 + 3
    assert found.tags.count("img") == 5 * 3  # the galleries
    assert report.stat().st_size < 1_500_000
    assert "model.init_args.optimizer.lr" not in text  # in which they do not differ


def test_figures_follow_the_theme(report: Path) -> None:
    text = report.read_text()
    drawings = re.findall(r"<svg .*?</svg>", text, re.S)
    assert all("currentColor" in drawing for drawing in drawings if "<text" in drawing)
    assert not any("#0102" in drawing for drawing in drawings)
    assert any("var(--s0)" in drawing for drawing in drawings)
    assert not any(" id=" in re.sub(r"<(path|clipPath) id=", "", d) for d in drawings)
    ids = re.findall(r'<(?:path|clipPath) id="(\w+)"', text)
    assert len(ids) == len(set(ids))


def test_names_are_text_wherever_they_stand(tmp_path: Path) -> None:
    for seed, folder in enumerate(("a", "b")):
        rows = [
            replace(row, model=f"{HOSTILE}{seed}", part=HOSTILE, split=HOSTILE, commit=HOSTILE[:40])
            for row in results("VICReg", seed, "", ("val",))
        ]
        rows += [replace(row, metric=f"{HOSTILE}_r2") for row in rows[:3]]
        write_results(tmp_path / folder / RESULTS, rows)
        for number, artifact in enumerate(artifacts("VICReg", seed)):
            labels = dict.fromkeys(("x_label", "y_label", "value_label", "color_label"), HOSTILE)
            lists = {name: [HOSTILE] * 3 for name in ("series", "captions", "classes")}
            meta = {**artifact.meta, **labels, **lists}
            hostile = replace(
                artifact, name=f"a{number}", title=HOSTILE, caption=HOSTILE, meta=meta
            )
            write_artifact(tmp_path / folder, hostile)
    found = check(write_report(tmp_path / "report.html", [tmp_path]))
    assert any("<script>alert(1)</script>" in text for text in found.text)
    tex = (tmp_path / "report.tex").read_text()
    assert "<script>" not in tex
    assert "$x$" not in tex


def test_hostile_directories_and_keys(tmp_path: Path) -> None:
    for seed, name in enumerate(("<b>one", '"two&amp;')):
        run = write_run(tmp_path / name, "SIE", seed)
        with open(run / "config.yaml", "a") as file:
            file.write(f"'<i>key{seed}': '</td><script>'\n")
        (run / "metrics" / "version_0" / "metrics.csv").write_text("step,<u>loss\n0,1\n1,2\n")
    text = "".join(check(write_report(tmp_path / "r.html", [tmp_path])).text)
    assert "<b>one" in text
    assert "<i>key0" in text
    assert "<u>loss" in text


def test_empty_results_and_figures_that_are_no_numbers(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_results(tmp_path / "empty" / RESULTS, [])
    page = write_report(tmp_path / "report.html", [tmp_path])
    assert "None of them was judged yet" in "".join(check(page).text)

    rows = results("VICReg", 0, "timm:x", ("val",))
    text = '{"format": "ssl-equiv-results/1", "results": [%s]}'
    row = (
        '{"metric": "top1", "value": %s, "part": "all", "split": "val", "seed": 0, "commit": "c", '
        '"config_hash": "h", "model": "%s", "baseline": NaN}'
    )
    (tmp_path / "a").mkdir()
    found = ", ".join([row % ("NaN", "broken"), row % ("Infinity", "endless")])
    (tmp_path / "a" / RESULTS).write_text(text % found)
    write_results(tmp_path / "b" / RESULTS, rows)
    told = "".join(check(write_report(tmp_path / "report.html", [tmp_path])).text)
    assert "not a number" in told
    assert "inf" in told
    assert '"mean": null' in (tmp_path / "report.json").read_text()


def strange() -> list[Artifact]:
    """Plots of which little is known."""
    nan = np.full(3, np.nan)
    x = np.arange(3)
    return [
        Artifact("curve", "one_point", "", {"x": x[:1], "y": np.ones((1, 1))}),
        Artifact("curve", "no_number", "", {"x": x, "y": nan[None]}),
        Artifact("curve", "log", "", {"x": x, "y": x[None] - 1.0}, meta={"log_x": 1, "log_y": 1}),
        Artifact("curve", "no_point", "", {"x": x[:0], "y": np.ones((2, 0))}),
        Artifact("plane", "one", "", {"x": x[:1], "y": x[:1], "values": np.ones((1, 1))}),
        Artifact("plane", "uneven", "", {"x": x**2, "y": -x, "values": np.eye(3)}),
        Artifact("plane", "down", "", {"x": -x, "y": -x, "values": np.diag(nan)}),
        Artifact("sphere", "pole", "", {"directions": np.eye(3)[2:], "values": np.ones(1)}),
        Artifact("sphere", "none", "", {"directions": np.eye(3), "values": nan}),
        Artifact("scatter", "nobody", "", {"points": np.ones((0, 2)), "color": x[:0]}),
        Artifact("scatter", "by_value", "", {"points": np.ones((3, 2)), "color": nan}),
        Artifact(
            "scatter",
            "many_classes",
            "",
            {"points": np.random.rand(60, 2), "color": np.arange(60)},
            meta={"color_kind": "class"},
        ),
        Artifact("gallery", "empty", "", {"images": np.zeros((0, 4, 4, 3), np.uint8)}),
        Artifact("gallery", "many", "", {"images": np.zeros((40, 4, 4, 3), np.uint8)}),
    ]


def test_strange_artifacts_are_drawn_all_the_same(tmp_path: Path) -> None:
    write_results(tmp_path / RESULTS, results("VICReg", 0, "timm:x"))
    for artifact in strange():
        write_artifact(tmp_path, artifact)
    text = "".join(check(write_report(tmp_path / "report.html", [tmp_path])).text)
    for artifact in strange():
        assert artifact.name.replace("_", " ").capitalize() in text
    assert "the first 16 of 40" in text


def test_a_heading_begins_large_unless_it_is_a_name(tmp_path: Path) -> None:
    write_results(tmp_path / RESULTS, results("SIE", 0, "timm:x"))
    (artifact,) = artifacts("VICReg", 0)[:1]
    for number, title in enumerate(("accuracy along shifts: all", "t-SNE of all, by class")):
        write_artifact(tmp_path, replace(artifact, name=f"a{number}", title=title, part="all"))
    page = write_report(tmp_path / "report.html", [tmp_path]).read_text()
    assert "<summary>Accuracy along shifts <" in page
    assert "<summary>t-SNE, by class <" in page


def test_captions_that_differ_in_numbers_are_one(tmp_path: Path) -> None:
    write_results(tmp_path / RESULTS, results("SIE", 0, "timm:x"))
    for part, share in (("inv", 45), ("equi", 52.5)):
        (artifact,) = artifacts("VICReg", 0)[:1]
        caption = f"Of 32 objects, {share}% of the variance."
        write_artifact(tmp_path, replace(artifact, part=part, caption=caption))
    page = write_report(tmp_path / "report.html", [tmp_path]).read_text()
    assert "Of 32 objects, 45 – 52.5% of the variance." in page


def test_arrays_that_do_not_fit_together(tmp_path: Path) -> None:
    write_results(tmp_path / RESULTS, results("VICReg", 0, "timm:x"))
    x = np.arange(3)
    write_artifact(tmp_path, Artifact("curve", "broken", "", {"x": x, "y": np.ones((1, 2))}))
    with pytest.raises(UserError, match="the curve 'broken' of timm:x cannot be drawn"):
        write_report(tmp_path / "report.html", [tmp_path])
    assert not (tmp_path / "report.csv").exists()


def test_what_would_make_the_page_too_large_is_named(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eval.report.compose._BUDGET", 60_000)
    page = write_report(tmp_path / "report.html", [runs / "vicreg-seed0"])
    assert "Left out to keep the page small:" in page.read_text()
    assert page.stat().st_size < 150_000


def test_sample_images_of_the_data_at_hand(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", objects=4, size=32)
    write_run(tmp_path / "runs" / "sie", "SIE", 0, root=str(data), judged=False)
    found = check(write_report(tmp_path / "report.html", [tmp_path / "runs"]))
    assert found.tags.count("img") >= 4
    assert str(data) in "".join(found.text)


def test_where_the_page_goes(tmp_path: Path, runs: Path) -> None:
    one = [runs / "vicreg-seed1"]
    assert write_report(tmp_path, one) == tmp_path / "report.html"
    with pytest.raises(UserError, match=r"does not end in \.html"):
        write_report(tmp_path / "report.pdf", one)
    with pytest.raises(UserError, match="not a folder"):
        write_report(tmp_path / "new" / "other.html", [tmp_path / "absent"])
    assert not (tmp_path / "new").exists()

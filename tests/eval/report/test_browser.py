"""The page in headless Chromium: nothing overflows, nothing is fetched, both themes, on paper."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval.report import write_report
from eval.report.page import Block
from eval.results import RESULTS, write_results
from tests.eval.report.made_up import results

CHROMIUM = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (path := shutil.which(name))
    ),
    None,
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium here: what a browser shows is not tested"
)
WIDTHS = (390, 1200)
# the page stands in a frame as wide as a phone, since a window cannot be that narrow; its own
# policy lets no script run in it, so the page around it measures
MEASURE = """
const told = {};
for (const frame of document.querySelectorAll('iframe')) {
  const page = frame.contentDocument, root = page.documentElement;
  page.querySelectorAll('details').forEach(details => details.open = true);
  const wide = [...page.querySelectorAll('body *')].filter(element => {
    if (element.closest('.scroll, .strip, pre, svg')) return false;
    return element.getBoundingClientRect().right > frame.clientWidth + 1;
  });
  const small = [...page.querySelectorAll('svg text')].filter(
    text => text.getBoundingClientRect().height > 0 && text.getBoundingClientRect().height < 7);
  told[frame.clientWidth] = {
    scroll: root.scrollWidth, wide: wide.slice(0, 5).map(element => element.outerHTML.slice(0, 90)),
    height: root.scrollHeight, small: small.length, drawings: page.querySelectorAll('svg').length,
    scripts: page.scripts.length,
    fetched: performance.getEntriesByType('resource').map(entry => entry.name)
      .concat(frame.contentWindow.performance.getEntriesByType('resource').map(entry => entry.name))
      .filter(name => !name.startsWith('data:')),
  };
}
document.title = JSON.stringify(told);
"""


def chromium(folder: Path, *arguments: str) -> str:
    assert CHROMIUM is not None
    profile = f"--user-data-dir={folder / 'profile'}"
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", profile]
    done = subprocess.run(
        [CHROMIUM, *options, *arguments], capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout


def framed(page: Path, folder: Path, widths: tuple[int, ...] = WIDTHS) -> Path:
    """A page with the report in a frame of each width."""
    source = html.escape(page.read_text())
    frames = "".join(
        f'<iframe style="border:0; width:{width}px; height:3000px" srcdoc="{source}"></iframe>'
        for width in widths
    )
    around = folder / "framed.html"
    script = f"<script>window.onload = () => {{{MEASURE}}};</script>" if len(widths) > 1 else ""
    around.write_text(f'<!doctype html><body style="margin:0">{frames}{script}</body>')
    return around


def measured(page: Path, folder: Path) -> dict[str, dict[str, object]]:
    found = chromium(folder, "--dump-dom", framed(page, folder).as_uri())
    title = re.search(r"<title>(.*?)</title>", found)
    assert title is not None
    told: dict[str, dict[str, object]] = json.loads(html.unescape(title[1]))
    return told


def test_nothing_overflows_and_nothing_is_fetched(report: Path, tmp_path: Path) -> None:
    told = measured(report, tmp_path)
    assert sorted(map(int, told)) == list(WIDTHS)
    for width, page in told.items():
        assert page["wide"] == []
        assert int(str(page["scroll"])) <= int(width)
        assert page["fetched"] == []
        assert page["scripts"] == 0
        assert page["small"] == 0  # text of figures stays readable
        assert int(str(page["drawings"])) > 40


def test_long_names_do_not_widen_the_page(tmp_path: Path) -> None:
    for name in ("a" * 150, "b_" * 60):
        rows = [replace(row, part="p" * 80) for row in results("VICReg", 0, name, ("val",))]
        rows += [replace(row, metric="m" * 90) for row in rows[:2]]
        write_results(tmp_path / "runs" / name[:9] / RESULTS, rows)
    first = [Block("a heading of many words and an_unbroken_one_of_" + "letters" * 12, "<p>b</p>")]
    page = write_report(tmp_path / "report.html", [tmp_path / "runs"], first=first)
    for width, told in measured(page, tmp_path).items():
        assert told["wide"] == []
        assert int(str(told["scroll"])) <= int(width)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_themes_are_seen(report: Path, tmp_path: Path, theme: str) -> None:
    shot = tmp_path / "shot.png"
    options = [f"--screenshot={shot}", "--window-size=500,3000"]
    if theme == "dark":
        options.append("--blink-settings=preferredColorScheme=0")
    chromium(tmp_path, *options, framed(report, tmp_path, WIDTHS[:1]).as_uri())
    pixels = np.asarray(Image.open(shot).convert("L"), dtype=float)[:, : WIDTHS[0]]
    background = np.median(pixels)
    assert background > 250 if theme == "light" else background < 40
    # text and lines stand out from the page everywhere: no block of it is empty
    contrast = [np.ptp(rows) for rows in np.array_split(pixels, 12)]
    assert min(contrast) > 120


def test_all_is_printed(report: Path, tmp_path: Path) -> None:
    """What is folded on the screen is open on paper."""
    paper = tmp_path / "report.pdf"
    chromium(tmp_path, f"--print-to-pdf={paper}", report.as_uri())
    closed = report.read_text()
    opened = tmp_path / "opened.html"
    opened.write_text(closed.replace("<details>", "<details open>"))
    chromium(tmp_path, f"--print-to-pdf={tmp_path / 'opened.pdf'}", opened.as_uri())
    pages = [
        len(re.findall(rb"/Type\s*/Page\b", path.read_bytes()))
        for path in (paper, tmp_path / "opened.pdf")
    ]
    assert pages[0] == pages[1] > 4

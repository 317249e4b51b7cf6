"""The report: what directories hold, as a page and as tables beside it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from eval.report import exports, page, sections
from eval.report.collect import collect
from eval.report.pictures import pictures
from eval.report.samples import samples
from eval.report.tables import tables
from ssl_equiv import __version__
from ssl_equiv.errors import UserError

TITLE = "ssl-equiv report"
_OPEN_PICTURES = 2
_BUDGET = 4_000_000  # characters of pictures: what a phone still opens at once


def write_report(
    path: str | Path,
    directories: Sequence[str | Path],
    *,
    title: str = TITLE,
    lead: str = "",
    first: Sequence[page.Block] = (),
    last: Sequence[page.Block] = (),
) -> Path:
    """Compare runs on one page, with its tables as CSV, JSON and LaTeX beside it.

    Args:
        path: The ``.html`` file, or a folder for ``report.html``; the tables have its name with
            the endings ``.csv``, ``.json`` and ``.tex``.
        directories: Run directories, output directories of ``ssl-equiv eval``, or folders of
            several.
        title: Plain text.
        lead: HTML under the title.
        first: Sections before the tables.
        last: Sections after everything.

    Returns:
        Path of the page.

    Raises:
        UserError: a directory holds nothing to report or is half written, a file in it is damaged,
            or the report would overwrite a file that is none.
    """
    place = Path(path)
    place = place / "report.html" if place.is_dir() else place
    if place.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{place} does not end in .html: name the page to write, or a folder")
    exports.check_place(place)
    models, left_out = collect(directories)
    found = tables(models)
    made = f"{TITLE}, {time.strftime('%Y-%m-%d %H:%M')}, ssl-equiv {__version__}"

    parts = [
        *first,
        page.Block("Figures", sections.figures(found, place.stem) if found else ""),
        page.Block("Pictures", _within_budget(pictures(models))),
        page.Block("Training", sections.training(models)),
        page.Block("Sample images", samples(models)),
        page.Block("What the configurations differ in", sections.differences(models)),
        page.Block("Commands", sections.all_commands(models)),
        page.Block("Where it comes from", sections.provenance(models, left_out, made)),
        *last,
    ]
    exports.write_csv(place.with_suffix(".csv"), found)
    exports.write_json(place.with_suffix(".json"), found, models, made)
    exports.write_tex(place.with_suffix(".tex"), found, made)
    lead += sections.lead(models, judged=bool(found))
    page.write_page(place, title, lead, [part for part in parts if part.body])
    return place


def _within_budget(blocks: Sequence[page.Block]) -> str:
    """Pictures folded, the first ones open; those that would make the page too large are named."""
    shown, left_out, size = "", [], 0
    for number, block in enumerate(blocks):
        size += len(block.body)
        if size > _BUDGET:
            left_out.append(block.title)
            size -= len(block.body)
        else:
            shown += page.folded(block.title, block.body, opened=number < _OPEN_PICTURES)
    if left_out:
        shown += page.paragraph(
            f"Left out to keep the page small: {', '.join(left_out)}. Report fewer runs at once to "
            "see them."
        )
    return shown

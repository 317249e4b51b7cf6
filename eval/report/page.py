"""A self-contained HTML page: no network, readable on a phone, light and dark, printable."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ssl_equiv.files import atomic_write

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6676; --paper: #fff; --card: #f4f6f9;
  --line: #d9dfe7; --mark: #0b6bcb; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #9aa6b5; --paper: #12161c;
  --card: #1b2129; --line: #303945; --mark: #6bb2ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.2rem; color: var(--ink);
  background: var(--paper); font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .4rem 0; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .4rem; }
p, li { max-width: 46rem; }
.soft, figcaption, .views span { color: var(--soft); font-size: .85rem; }
figure { margin: .8rem 0; }
figure > img { width: 100%; height: auto; background: #fff; border-radius: 6px; }
.views { display: grid; grid-template-columns: repeat(auto-fill, minmax(112px, 1fr)); gap: .6rem; }
.views div { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: .4rem; }
.views img { width: 100%; display: block; border-radius: 4px; image-rendering: auto; }
.views b { display: block; font-size: .85rem; margin-top: .2rem; }
.views span { display: block; line-height: 1.3; font-size: .78rem; }
.strip { display: flex; gap: 4px; overflow-x: auto; padding-bottom: .4rem; }
.strip div { flex: 0 0 72px; text-align: center; font-size: .75rem; color: var(--soft); }
.strip img { width: 72px; display: block; border-radius: 4px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { color: var(--soft); font-weight: 600; font-size: .85rem; }
td.best { font-weight: 700; color: var(--mark); }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .8rem;
  overflow-x: auto; font-size: .85rem; }
@media print { body { max-width: none; } section { break-inside: avoid; } }
"""


@dataclass(frozen=True)
class Section:
    """A heading with HTML under it.

    Args:
        title: Plain text.
        body: HTML.
    """

    title: str
    body: str


def write_page(path: str | Path, title: str, lead: str, sections: Sequence[Section]) -> None:
    """Write the page, whole or not at all.

    Args:
        path: The ``.html`` file.
        title: Plain text.
        lead: HTML under the title.
        sections: What follows.
    """
    body = "\n".join(
        f"<section><h2>{html.escape(part.title)}</h2>\n{part.body}</section>" for part in sections
    )
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{html.escape(title)}</h1>\n{lead}\n{body}\n</body></html>\n"
    )
    with atomic_write(path) as file:
        file.write(page.encode())


def view_grid(views: Sequence[tuple[str, str, str]]) -> str:
    """Pictures as cards: ``(image URI, name, caption)``."""
    cards = "".join(
        f'<div><img src="{uri}" alt="{html.escape(name)}"><b>{html.escape(name)}</b>'
        f"<span>{html.escape(caption)}</span></div>"
        for uri, name, caption in views
    )
    return f'<div class="views">{cards}</div>'


def strip(frames: Sequence[tuple[str, str]]) -> str:
    """Pictures in a row that scrolls: ``(image URI, caption)``."""
    cells = "".join(
        f'<div><img src="{uri}" alt="{html.escape(caption)}">{html.escape(caption)}</div>'
        for uri, caption in frames
    )
    return f'<div class="strip">{cells}</div>'


def figure(uri: str, caption: str) -> str:
    """One picture over the whole width."""
    text = html.escape(caption)
    return f'<figure><img src="{uri}" alt="{text}"><figcaption>{text}</figcaption></figure>'


def table(header: Sequence[str], rows: Sequence[Sequence[str]], best: set[tuple[int, int]]) -> str:
    """A table of plain text; ``best`` are the (row, column) cells to set in bold."""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    lines = "".join(
        "<tr>"
        + "".join(
            f'<td class="best">{html.escape(cell)}</td>'
            if (number, column) in best
            else f"<td>{html.escape(cell)}</td>"
            for column, cell in enumerate(row)
        )
        + "</tr>"
        for number, row in enumerate(rows)
    )
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def commands(text: str) -> str:
    """Shell commands to copy."""
    return f"<pre>{html.escape(text)}</pre>"

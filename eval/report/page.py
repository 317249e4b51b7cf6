"""A self-contained HTML page: no network, no scripts, readable on a phone, on dark and on paper."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.report.colors import DARK, LIGHT
from ssl_equiv.files import atomic_write

# whatever a name may hold: nothing is fetched and nothing runs
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_LIGHT = "--ink: #1c2430; --soft: #596474; --paper: #fff; --card: #f4f6f9; --line: #d9dfe7; "
_DARK = "--ink: #e6eaf0; --soft: #9aa6b5; --paper: #12161c; --card: #1b2129; --line: #303945; "


def _series(colors: Sequence[str]) -> str:
    return " ".join(f"--s{number}: {color};" for number, color in enumerate(colors))


_STYLE = f"""
:root {{ color-scheme: light dark; {_LIGHT} --mark: #0b62b8; {_series(LIGHT)} }}
@media screen and (prefers-color-scheme: dark) {{
  :root {{ {_DARK} --mark: #6bb2ff; {_series(DARK)} }} }}
"""
_STYLE += """
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.2rem; color: var(--ink);
  background: var(--paper); font: 16px/1.55 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .4rem 0; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .4rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .2rem; }
p, li { max-width: 46rem; margin: .4rem 0; }
a { color: var(--mark); }
nav a { display: inline-block; margin-right: 1rem; }
.soft, figcaption, .cards span { color: var(--soft); font-size: .85rem; }
details { border-top: 1px solid var(--line); padding: .3rem 0; }
summary { cursor: pointer; font-weight: 600; padding: .3rem 0; }
summary small { font-weight: 400; color: var(--soft); }
figure { margin: 0; min-width: 0; }
figcaption { text-align: center; line-height: 1.3; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg * { stroke-linejoin: round; stroke-linecap: butt; }
.grid { display: grid; gap: 1rem 1.2rem; margin: .5rem 0;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)); }
.grid > figure { max-width: 25rem; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1rem; font-size: .85rem; margin: .4rem 0; }
.legend i { display: inline-block; width: .8em; height: .8em; border-radius: 2px;
  margin-right: .35em; vertical-align: -.05em; print-color-adjust: exact; }
.bar { max-width: 25rem; margin: .5rem 0; font-size: .8rem; color: var(--soft); }
.bar i { display: block; height: .7rem; border-radius: 3px; print-color-adjust: exact; }
.bar span { display: flex; justify-content: space-between; gap: .6rem; text-align: center; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(112px, 1fr)); gap: .6rem; }
.cards div { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: .4rem; }
.cards img { width: 100%; display: block; border-radius: 4px; }
.cards b { display: block; font-size: .85rem; margin-top: .2rem; }
.cards span { display: block; line-height: 1.3; font-size: .78rem; }
.strip { display: flex; gap: 6px; overflow-x: auto; padding-bottom: .4rem; }
.strip div { flex: 0 0 var(--w, 84px); text-align: center; font-size: .75rem; line-height: 1.25;
  color: var(--soft); }
.strip img { width: var(--w, 84px); display: block; border-radius: 4px; margin-bottom: .15rem; }
.scroll { overflow-x: auto; margin: .5rem 0; }
table { border-collapse: separate; border-spacing: 0; font-variant-numeric: tabular-nums;
  font-size: .92rem; }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th { font-weight: 600; }
th[scope=row], th:first-child { text-align: left; position: sticky; left: 0; min-width: 8.5rem;
  max-width: 16rem; white-space: normal; background: var(--paper); }
thead th { color: var(--soft); font-size: .85rem; vertical-align: bottom; white-space: normal;
  overflow-wrap: normal; min-width: 5rem; }
table.text th { text-align: left; }
td.text { text-align: left; white-space: normal; min-width: 6rem; max-width: 22rem; }
td.best { font-weight: 700; color: var(--mark); }
td small { color: var(--soft); font-size: .82em; font-weight: 400; }
tr.floor > * { color: var(--soft); font-style: italic; font-weight: 400; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .8rem;
  overflow-x: auto; font-size: .82rem; overflow-wrap: normal; }
@media (max-width: 40rem) { body { padding: .8rem; } th, td { padding: .3rem .5rem; }
  th[scope=row], th:first-child { min-width: 7rem; max-width: 9rem; font-size: .82rem; }
  td.text { max-width: 14rem; } }
@media print { body { max-width: none; padding: 0; font-size: 10pt; }
  details::details-content { content-visibility: visible; display: block; height: auto; }
  details > * { display: block; } nav { display: none; }
  .scroll, pre, .strip { overflow: visible; } .strip { flex-wrap: wrap; }
  pre { white-space: pre-wrap; } table { font-size: 7.5pt; } td, th { padding: .15rem .35rem; }
  td { white-space: normal; } thead th { min-width: 0; } figure, tr { break-inside: avoid; }
  h2, h3, summary { break-after: avoid; } .grid { grid-template-columns: repeat(3, 1fr); } }
"""


@dataclass(frozen=True)
class Block:
    """A heading with HTML under it.

    Args:
        title: Plain text.
        body: HTML.
    """

    title: str
    body: str


def write_page(path: str | Path, title: str, lead: str, sections: Sequence[Block]) -> None:
    """Write the page, whole or not at all.

    Args:
        path: The ``.html`` file.
        title: Plain text.
        lead: HTML under the title.
        sections: What follows.
    """
    body = "\n".join(
        f'<section id="part{number}"><h2>{html.escape(part.title)}</h2>\n{part.body}</section>'
        for number, part in enumerate(sections)
    )
    links = "".join(
        f'<a href="#part{number}">{html.escape(part.title)}</a> '
        for number, part in enumerate(sections)
    )
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{html.escape(title)}</h1>\n{lead}\n<nav>{links}</nav>\n{body}\n</body></html>\n"
    )
    with atomic_write(path) as file:
        file.write(page.encode("utf-8", "replace"))


def paragraph(text: str, soft: bool = False) -> str:
    """A paragraph of plain text; "" for none."""
    return f"<p{' class=soft' if soft else ''}>{html.escape(text)}</p>" if text else ""


def named(title: str, body: str) -> str:
    """HTML under a small heading of plain text."""
    return f"<h3>{html.escape(title)}</h3>{body}"


def folded(title: str, body: str, more: str = "", opened: bool = False) -> str:
    """HTML that opens at a click, and on paper; ``more`` stands beside the title."""
    return (
        f"<details{' open' if opened else ''}><summary>{html.escape(title)} "
        f"<small>{html.escape(more)}</small></summary>{body}</details>"
    )


def grid(panels: Sequence[str]) -> str:
    """Panels side by side, as many as there is room for."""
    return f'<div class="grid">{"".join(panels)}</div>'


def panel(picture: str, caption: str) -> str:
    """An SVG with plain text under it."""
    text = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{picture}{text}</figure>"


def legend(names: Sequence[tuple[str, str]]) -> str:
    """Names and their colours, for a style sheet."""
    items = "".join(
        f'<span><i style="background: {color}"></i>{html.escape(name)}</span>'
        for name, color in names
    )
    return f'<div class="legend">{items}</div>' if names else ""


def color_bar(gradient: str, limits: tuple[float, float], label: str) -> str:
    """A colour scale: CSS gradient, its two ends, and what it is."""
    low, high = (f"{limit:.3g}" for limit in limits)
    return (
        f'<div class="bar"><i style="background: {gradient}"></i>'
        f"<span><b>{low}</b>{html.escape(label)}<b>{high}</b></span></div>"
    )


def cards(views: Sequence[tuple[str, str, str]]) -> str:
    """Pictures as cards: ``(image URI, name, caption)``."""
    found = "".join(
        f'<div><img src="{uri}" alt="{html.escape(name)}"><b>{html.escape(name)}</b>'
        f"<span>{html.escape(caption)}</span></div>"
        for uri, name, caption in views
    )
    return f'<div class="cards">{found}</div>'


def strip(frames: Sequence[tuple[str, str]], width: int | None = None) -> str:
    """Pictures in a row that scrolls: ``(image URI, caption)``, small unless a width is given."""
    cells = "".join(
        f'<div><img src="{uri}" alt="{html.escape(caption)}">{html.escape(caption)}</div>'
        for uri, caption in frames
    )
    wide = "" if width is None else f' style="--w: {width}px"'
    return f'<div class="strip"{wide}>{cells}</div>'


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of plain text, its first column its rows' names."""
    lines = [
        f'<tr><th scope="row">{html.escape(first).replace(".", ".<wbr>")}</th>'
        + "".join(f'<td class="text">{html.escape(cell)}</td>' for cell in rest)
        + "</tr>"
        for first, *rest in rows
    ]
    return table_of(header, lines, "text")


def table_of(header: Sequence[str], lines: Sequence[str], kind: str = "numbers") -> str:
    """A table of rows that are HTML already; it scrolls inside where it is too wide."""
    head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in header)
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def commands(text: str) -> str:
    """Shell commands to copy."""
    return f"<pre>{html.escape(text)}</pre>"

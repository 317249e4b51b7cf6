"""Pictures for the page: inline SVG in the page's own colours, and images as data URIs."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

INK = "#010203"
"""Stands for the colour of the text around a figure."""
_DOTS = "repeating-linear-gradient(90deg, currentColor 0 1.5px, transparent 1.5px 3.5px)"
BASELINE = f"{_DOTS} center / 100% 1.5px no-repeat"
"""How a legend shows a dotted level, as a CSS background."""
NUM_SERIES = 8
_SERIES = [f"#0102f{number}" for number in range(NUM_SERIES)]
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text: small, selectable, in the page's font
    "text.parse_math": False,  # a $ in a name is a $
    "image.composite_image": False,
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.labelsize": 9.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "grid.alpha": 0.18,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.5,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
}
_TIDIED = (
    (r"<metadata>.*?</metadata>|<!--.*?-->|<defs>\s*<style.*?</style>\s*</defs>", ""),
    (r'(<g|<image) id="[^"]*"', r"\1"),
    (r' id="image\w+"| transform="rotate\(-0 [^"]*"', ""),
    (r"font-family: [^;\"]*; ", ""),
    (r"xlink:href", "href"),
)
_COLORS = re.compile(r"#0102(03|f\d)")
_PNG = re.compile(r"(?<=<image href=\"data:image/png;base64,)[A-Za-z0-9+/=\s]+")


def series(number: int) -> str:
    """Colour of a series for matplotlib: on the page it follows the theme."""
    return _SERIES[number % NUM_SERIES]


def swatch(number: int) -> str:
    """The same as a CSS background, dashed where :func:`dash` is."""
    color = f"var(--s{number % NUM_SERIES})"
    if dash(number) == "-":
        return color
    return f"repeating-linear-gradient(90deg, {color} 0 3px, transparent 3px 5px)"


def dash(number: int) -> str:
    """Line style of a series: there are more series than colours that all people tell apart."""
    return ("-", "--", ":", "-.")[number // NUM_SERIES % 4]


def draw(
    paint: Callable[[Axes], None],
    label: str,
    size: tuple[float, float] = (3.6, 2.5),
    bare: bool = False,
) -> str:
    """A panel as an inline SVG.

    Text and axes have the colour of the text around it, series those of the page's style sheet;
    there are no scripts, no links, and no ids that another panel has too.

    Args:
        paint: Draws on the axes.
        label: What it shows, for those who do not see it.
        size: Inches.
        bare: Without ticks and labels, which need room.
    """
    salt = hashlib.sha256(label.encode("utf-8", "replace")).hexdigest()[:12]
    style: Any = {**_STYLE, "svg.hashsalt": salt}
    with rc_context(style), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fonts without a glyph: the browser has others
        canvas = Figure(figsize=size, layout=None if bare else "constrained")
        paint(canvas.add_axes((0, 0, 1, 1)) if bare else canvas.add_subplot())
        buffer = io.StringIO()
        canvas.savefig(buffer, format="svg", dpi=144, metadata={"Date": None})
    text = buffer.getvalue()
    view = re.search(r'viewBox="([^"]*)"', text)
    assert view is not None
    body = text[text.index(">", text.index("<svg")) + 1 : text.rindex("</svg>")]
    for pattern, by in _TIDIED:
        body = re.sub(pattern, by, body, flags=re.DOTALL)
    body = _COLORS.sub(
        lambda found: "currentColor" if found[1] == "03" else f"var(--s{found[1][1]})", body
    )
    body = _PNG.sub(lambda found: _fewer_colors(found[0]), body)
    name = html.escape(label)
    return f'<svg viewBox="{view[1]}" role="img" aria-label="{name}">{_compact(body)}</svg>'


def image_uri(image: np.ndarray, longest: int = 160) -> str:
    """A ``(H, W, 3)`` uint8 image as a data URI, no larger than it is looked at."""
    picture = Image.fromarray(image)
    picture.thumbnail((longest, longest))
    png, jpeg = io.BytesIO(), io.BytesIO()
    picture.save(png, "PNG", optimize=True)
    picture.save(jpeg, "JPEG", quality=88)
    small = png.tell() <= jpeg.tell()
    return _uri((png if small else jpeg).getvalue(), "png" if small else "jpeg")


def encoded_uri(jpeg: bytes, longest: int = 160) -> str:
    """A JPEG file as a data URI, no larger than it is looked at."""
    picture = Image.open(io.BytesIO(jpeg))
    if max(picture.size) <= longest:
        return _uri(jpeg, "jpeg")
    return image_uri(np.asarray(picture.convert("RGB")), longest)


def _uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _fewer_colors(encoded: str) -> str:
    """A PNG in 96 colours: a third of the bytes, and no difference to be seen."""
    data = base64.b64decode(encoded)
    buffer = io.BytesIO()
    picture = Image.open(io.BytesIO(data)).convert("RGBA")
    picture.quantize(96, Image.Quantize.FASTOCTREE).save(buffer, "PNG", optimize=True)
    return base64.b64encode(min(buffer.getvalue(), data, key=len)).decode()


def _compact(body: str) -> str:
    """Coordinates to a hundredth of a point, no white space between elements."""

    def rounded(found: re.Match[str]) -> str:
        return re.sub(r"(\d+\.\d\d)\d+", r"\1", found[0])

    body = re.sub(r' (?:d|x|y)="[^"]*"', rounded, body)
    return re.sub(r"\s+", " ", body).replace("> <", "><")

"""Figures of the report as data URIs."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

matplotlib.use("agg")


def image_uri(image: np.ndarray) -> str:
    """A ``(H, W, 3)`` uint8 image as a PNG data URI."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return _uri(buffer.getvalue(), "png")


def encoded_uri(jpeg: bytes) -> str:
    """A JPEG file as a data URI."""
    return _uri(jpeg, "jpeg")


def loss_curves(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> str:
    """Named curves over steps, one small panel each, as an SVG data URI."""
    columns = min(3, len(curves))
    rows = -(-len(curves) // columns)
    canvas = Figure(figsize=(3.2 * columns, 2.1 * rows), layout="constrained")
    for number, (name, (steps, values)) in enumerate(curves.items()):
        axes = canvas.add_subplot(rows, columns, number + 1)
        axes.plot(steps, values, color="#0b6bcb", linewidth=1.2)
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.25)
    return _figure(canvas)


def orbit_distances(
    degrees: Sequence[float], distances: Mapping[str, Sequence[float]], axis: str
) -> str:
    """How far each part of a representation moves along an orbit, as an SVG data URI."""
    canvas = Figure(figsize=(8, 3), layout="constrained")
    axes = canvas.add_subplot()
    for name, values in distances.items():
        axes.plot(degrees, values, marker="o", markersize=3, label=name)
    axes.set_xlabel(f"rotation about {axis} (degrees)")
    axes.set_ylabel("cosine distance from 0°")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8)
    return _figure(canvas)


def read_metrics(run: str | Path) -> dict[str, tuple[list[int], list[float]]]:
    """All logged curves of a run: name to (steps, values); a continued run is one curve."""
    curves: dict[str, dict[int, float]] = {}
    parts = sorted(
        (Path(run) / "metrics").glob("version_*/metrics.csv"),
        key=lambda path: int(path.parent.name.removeprefix("version_")),
    )
    for path in parts:
        with open(path, newline="") as file:
            for row in csv.DictReader(file):
                for name, value in row.items():
                    if value and name not in ("step", "epoch"):
                        curves.setdefault(name, {})[int(row["step"])] = float(value)
    return {name: (sorted(c), [c[step] for step in sorted(c)]) for name, c in curves.items()}


def _figure(canvas: Figure) -> str:
    buffer = io.BytesIO()
    canvas.savefig(buffer, format="svg", metadata={"Date": None})
    return _uri(buffer.getvalue(), "svg+xml")


def _uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"

"""One panel of every kind of artifact; several runs in one where they are comparable."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap, LogNorm, Normalize
from scipy.spatial import cKDTree

from eval.artifacts import Artifact
from eval.report import colors
from eval.report.figures import INK, dash, draw, series

Line = tuple[int, np.ndarray, np.ndarray, np.ndarray | None]
"""Number of a colour, ``x (n,)``, ``y (n,)``, and ± ``spread (n,)`` if there is one."""
_CURVE_POINTS = 240
_FEW_PLACES = 8  # on a logarithmic axis: each has its tick
_SCATTER_POINTS = 4000
_DISC = 112  # pixels across a hemisphere
_SQUARE = (3.0, 2.9)


def curves(
    lines: Mapping[str, Line],
    label: str,
    meta: Mapping[str, object],
    limits: tuple[float, float] | None = None,
) -> str:
    """Lines in one panel.

    Args:
        lines: By name.
        label: What it shows.
        meta: As of a curve :class:`~eval.artifacts.Artifact`.
        limits: Least and largest y; by default as the lines need.
    """

    def paint(axes: Axes) -> None:
        logs = [bool(meta.get("log_x")), bool(meta.get("log_y"))]
        for number, x, y, spread in lines.values():
            keep = _thinned(len(x))
            x, y = x[keep], y[keep]
            visible = np.isfinite(y) & (y > 0 if logs[1] else True) & (x > 0 if logs[0] else True)
            y = np.where(visible, y, np.nan)
            few = np.count_nonzero(visible) < 3
            marker = "o" if few else ""
            axes.plot(x, y, dash(number), color=series(number), marker=marker, markersize=3.5)
            if spread is not None:
                low, high = y - spread[keep], y + spread[keep]
                low = np.where(low > 0, low, y) if logs[1] else low
                axes.fill_between(x, low, high, color=series(number), alpha=0.16, linewidth=0)
        level = meta.get("baseline")
        if isinstance(level, int | float):
            axes.axhline(level, color=INK, linewidth=1, linestyle=":")
        for axis, is_log, set_scale in (
            (axes.xaxis, logs[0], axes.set_xscale),
            (axes.yaxis, logs[1], axes.set_yscale),
        ):
            if is_log:
                set_scale("log")
                axis.set_major_formatter(_power)
                axis.set_minor_formatter("")
        places = np.unique(np.concatenate([x for _, x, _, _ in lines.values()]))
        if logs[0] and 0 < len(places) <= _FEW_PLACES and places[0] > 0:
            axes.set_xticks(places, [f"{place:g}" for place in places])
        if limits is not None and limits[0] < limits[1]:
            margin = 1.15 if logs[1] else 0.04 * (limits[1] - limits[0])
            low, high = limits
            axes.set_ylim(
                *((low / margin, high * margin) if logs[1] else (low - margin, high + margin))
            )
        axes.set_xlabel(_text(meta, "x_label"))
        axes.set_ylabel(_text(meta, "y_label"))

    return draw(paint, label)


def _power(value: float, place: object = None) -> str:
    """A tick of a logarithmic axis, without the mathematics that names are not to be taken for."""
    exponent = math.log10(value) if value > 0 else 0.5
    if -2 <= exponent <= 3 or not exponent.is_integer():
        return f"{value:g}"
    return "10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def value_range(artifacts: Sequence[Artifact], array: str = "values") -> tuple[float, float]:
    """Least and largest finite value over artifacts: their one colour scale."""
    values = [np.asarray(item.arrays[array], dtype=float).ravel() for item in artifacts]
    finite = np.concatenate(values)
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def plane(artifact: Artifact, limits: tuple[float, float], label: str) -> str:
    """A heat map over a plane."""
    x, y = (np.asarray(artifact.arrays[name], dtype=float) for name in "xy")
    values = np.ma.masked_invalid(np.asarray(artifact.arrays["values"], dtype=float))

    def paint(axes: Axes) -> None:
        axes.grid(visible=False)
        norm = _norm(artifact, limits)
        if _even(x) and _even(y):
            extent = (*_edges(x), *_edges(y))
            axes.imshow(
                values[:: _sign(y), :: _sign(x)],
                origin="lower",
                extent=extent,
                aspect="auto",
                interpolation="none",
                cmap=colors.VALUE,
                norm=norm,
            )
        else:
            axes.pcolormesh(x, y, values, cmap=colors.VALUE, norm=norm, rasterized=True)
        axes.set_xlabel(_text(artifact.meta, "x_label"))
        axes.set_ylabel(_text(artifact.meta, "y_label"))

    return draw(paint, label, _SQUARE)


def sphere(artifact: Artifact, limits: tuple[float, float], label: str) -> str:
    """Values on the sphere as two discs, Lambert's azimuthal equal-area maps of its halves.

    The left disc is the half around +z, the right one that around -z, seen through the sphere from
    above: a direction has the same bearing in both. What lies farther from all measured directions
    than these from each other stays empty.
    """
    directions = np.asarray(artifact.arrays["directions"], dtype=float)
    values = np.asarray(artifact.arrays["values"], dtype=float)
    known = np.isfinite(values) & np.isfinite(directions).all(axis=1)
    directions, values = directions[known], values[known]

    def paint(axes: Axes) -> None:
        axes.set_aspect("equal")
        axes.axis("off")
        norm = _norm(artifact, limits)
        turn = np.linspace(0, 2 * np.pi, 120)
        for centre, up in ((-1.08, 1), (1.08, -1)):
            if len(values):
                image = _disc(directions, values, up)
                axes.imshow(
                    colors.VALUE(norm(image)) * np.isfinite(image)[..., None],
                    origin="lower",
                    extent=(centre - 1, centre + 1, -1, 1),
                    interpolation="none",
                )
            axes.plot(centre + np.cos(turn), np.sin(turn), color=INK, linewidth=0.6)
            for degrees in (30, 60):  # from the pole
                radius = np.sqrt(2) * np.sin(np.radians(degrees) / 2)
                ring = centre + radius * np.cos(turn), radius * np.sin(turn)
                axes.plot(*ring, color=INK, linewidth=0.5, alpha=0.35)
            axes.text(centre, 1.1, "+z" if up > 0 else "-z", ha="center", va="bottom")
        axes.set_xlim(-2.2, 2.2)
        axes.set_ylim(-1.05, 1.32)

    return draw(paint, label, (3.6, 2.0), bare=True)


def _disc(directions: np.ndarray, values: np.ndarray, up: int) -> np.ndarray:
    """One hemisphere ``(_DISC, _DISC)``: the nearest values by inverse square distance, or NaN."""
    line = (np.arange(_DISC) + 0.5) / _DISC * 2 - 1
    x, y = np.meshgrid(line, line)
    square = x**2 + y**2  # = 2 sin²(θ/2) = 1 - cos θ
    shrink = np.sqrt(np.clip(2 - square, 0, None))
    pixels = np.stack([x * shrink, y * shrink, up * (1 - square)], axis=-1)
    tree = cKDTree(directions)
    count = min(4, len(directions))
    distance, nearest = (
        found.reshape(_DISC, _DISC, count) for found in tree.query(pixels, k=count)
    )
    weight = 1 / (distance**2 + 1e-9)
    image: np.ndarray = (weight * values[nearest]).sum(axis=-1) / weight.sum(axis=-1)
    reach = 2.0
    if len(directions) > 1:
        reach = 2.5 * float(np.median(tree.query(directions, k=2)[0][:, 1]))
    image[(square > 1) | (distance[..., 0] > max(reach, 0.05))] = np.nan
    return image


def scatter(artifact: Artifact, limits: tuple[float, float] | None, label: str) -> str:
    """Points in the plane, coloured by class, angle or value."""
    points = np.asarray(artifact.arrays["points"], dtype=float)
    color = np.asarray(artifact.arrays["color"], dtype=float)
    keep = np.random.default_rng(0).permutation(len(points))[:_SCATTER_POINTS]
    points, color = points[keep], color[keep]
    kind = artifact.meta.get("color_kind", "value")
    norm: Normalize
    palette: Colormap
    if kind == "class":
        count = num_classes(artifact)
        palette, norm = ListedColormap(colors.classes(count)), Normalize(-0.5, count - 0.5)
    elif kind == "angle":
        color, palette, norm = np.mod(color, 2 * np.pi), colors.ANGLE, Normalize(0, 2 * np.pi)
    else:
        palette, norm = colors.VALUE, Normalize(*(limits or value_range([artifact], "color")))

    def paint(axes: Axes) -> None:
        axes.grid(visible=False)
        size = float(np.clip(6000 / max(len(points), 1), 3, 22))
        axes.scatter(
            points[:, 0],
            points[:, 1],
            s=size,
            c=color,
            cmap=palette,
            norm=norm,
            alpha=0.8,
            linewidths=0,
            rasterized=True,
        )
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)

    return draw(paint, label, _SQUARE, bare=True)


def num_classes(artifact: Artifact) -> int:
    """How many classes a scatter's colours are of."""
    color = np.asarray(artifact.arrays["color"])
    names = artifact.meta.get("classes")
    named = len(names) if isinstance(names, list | tuple) else 0
    return max(named, int(color.max()) + 1 if len(color) else 1, 1)


def _norm(artifact: Artifact, limits: tuple[float, float]) -> Normalize:
    if artifact.meta.get("log") and limits[0] > 0:
        return LogNorm(*limits)
    return Normalize(*limits)


def _thinned(count: int) -> np.ndarray:
    if count <= _CURVE_POINTS:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, _CURVE_POINTS).round().astype(int))


def _even(places: np.ndarray) -> bool:
    steps = np.diff(places)
    return len(places) < 2 or bool(np.allclose(steps, steps[0], rtol=1e-3) and steps[0] != 0)


def _sign(places: np.ndarray) -> int:
    return -1 if len(places) > 1 and places[1] < places[0] else 1


def _edges(places: np.ndarray) -> tuple[float, float]:
    half = 0.5 if len(places) < 2 else abs(float(places[1] - places[0])) / 2
    return float(places.min()) - half, float(places.max()) + half


def _text(meta: Mapping[str, object], key: str) -> str:
    return str(meta.get(key) or "")

"""What is drawn of orbits: curves, maps on a plane or a sphere, and the worst points' pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eval.artifacts import Artifact

_MAX_POINTS = 40  # of a curve; more are put into bins
_BINS = 18


@dataclass(frozen=True)
class Geometry:
    """What the T points of an orbit are, and how figures along it are drawn.

    Args:
        name: Of the orbit, in letters, digits and underscores.
        reference: Number of the point that the others are compared with.
        points: What each is, for captions.
        x: Where each lies on a line, ``(T,)``, or for each object, ``(N, T)``: curves are drawn.
        x_label: What ``x`` is.
        log_x: Draw ``x`` by its logarithm.
        plane: ``x (w,)`` and ``y (h,)`` of a grid whose points are rows after rows, T = h w.
        plane_labels: What the two are.
        directions: Where each lies on the sphere, unit vectors ``(T, 3)``.
        direction_text: What the directions are.
    """

    name: str
    reference: int
    points: tuple[str, ...]
    x: np.ndarray | None = None
    x_label: str = ""
    log_x: bool = False
    plane: tuple[np.ndarray, np.ndarray] | None = None
    plane_labels: tuple[str, str] = ("", "")
    directions: np.ndarray | None = None
    direction_text: str = ""


@dataclass(frozen=True)
class Figure:
    """A quantity along orbits, for each part.

    Args:
        name: In letters, digits and underscores.
        label: What it is, for axes.
        reading: How to read it, a sentence.
        values: ``{part: (N, T)}``.
        share: It is 0 or 1 for an object: its spread over objects says nothing that the mean does
            not, so the standard error is drawn.
        baseline: A level to compare with.
        on_maps: Draw maps of it too, not only curves.
    """

    name: str
    label: str
    reading: str
    values: Mapping[str, np.ndarray]
    share: bool = False
    baseline: float | None = None
    on_maps: bool = True


def drawings(geometry: Geometry, figure: Figure, what: str, prefix: str) -> list[Artifact]:
    """The artifacts of one quantity along one kind of orbit.

    Args:
        geometry: The orbit.
        figure: The quantity.
        what: The orbit in words, for titles.
        prefix: Before the artifacts' names.
    """
    name = f"{prefix}{geometry.name}_{figure.name}"
    found = []
    if geometry.x is not None:
        found.append(_curve(geometry, figure, what, name))
    if not figure.on_maps:
        return found
    for part, values in figure.values.items():
        mean = values.mean(axis=0)
        title = f"{figure.label} along {what}: {part}"
        if geometry.plane is not None:
            x, y = geometry.plane
            labels = dict(zip(("x_label", "y_label"), geometry.plane_labels, strict=True))
            found.append(
                Artifact(
                    "plane",
                    name,
                    title,
                    {"x": x, "y": y, "values": mean.reshape(len(y), len(x))},
                    part,
                    f"{figure.reading} Mean over {len(values)} objects; the objects as found are "
                    f"at {geometry.points[geometry.reference]}.",
                    {**labels, "value_label": figure.label},
                )
            )
        if geometry.directions is not None:
            directions, of_same = _same(geometry.directions)
            found.append(
                Artifact(
                    "sphere",
                    f"{name}_sphere",
                    title,
                    {"directions": directions, "values": mean @ of_same},
                    part,
                    f"{figure.reading} {geometry.direction_text} Mean over {len(values)} objects.",
                    {"value_label": figure.label},
                )
            )
    return found


def _curve(geometry: Geometry, figure: Figure, what: str, name: str) -> Artifact:
    assert geometry.x is not None
    lines = {part: binned(geometry.x, values) for part, values in figure.values.items()}
    x = next(iter(lines.values()))[0]
    y = np.stack([mean for _, mean, _, _ in lines.values()])
    spread = np.stack(
        [std / np.sqrt(count) if figure.share else std for _, _, std, count in lines.values()]
    )
    objects = len(next(iter(figure.values.values())))
    meta = {
        "series": list(lines),
        "x_label": geometry.x_label,
        "y_label": figure.label,
        "log_x": geometry.log_x,
    }
    if figure.baseline is not None:
        meta["baseline"] = figure.baseline
    band = "standard error" if figure.share else "standard deviation"
    return Artifact(
        "curve",
        name,
        f"{figure.label} along {what}",
        {"x": x, "y": y, "spread": spread},
        caption=f"{figure.reading} Mean over {objects} objects; the band is one {band}.",
        meta=meta,
    )


def binned(
    x: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Values along a line: those at one place together, or, where places are many, in bins.

    Args:
        x: ``(T,)`` or ``(N, T)``.
        values: ``(N, T)``.

    Returns:
        Places, means, standard deviations and numbers of values, ``(n,)`` each.
    """
    x = np.broadcast_to(np.round(x, 6), values.shape).ravel()
    places, which = np.unique(x, return_inverse=True)
    if len(places) > _MAX_POINTS:
        edges = np.linspace(places[0], places[-1], _BINS + 1)
        bins = np.clip(np.digitize(x, edges) - 1, 0, _BINS - 1)
        kept, which = np.unique(bins, return_inverse=True)
        places = (edges[:-1] + edges[1:])[kept] / 2
    count = np.bincount(which)
    flat = values.ravel().astype(np.float64)
    mean = np.bincount(which, flat) / count
    std = np.sqrt(np.bincount(which, (flat - mean[which]) ** 2) / np.maximum(1, count - 1))
    return places, mean, std, count


def _same(directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct directions ``(n, 3)``, and the matrix ``(T, n)`` that averages over equal ones."""
    rounded = np.round(directions, 5) + 0.0  # no negative zeros
    _, first, which = np.unique(rounded, axis=0, return_index=True, return_inverse=True)
    average = np.zeros((len(directions), len(first)))
    average[np.arange(len(directions)), which.ravel()] = 1
    return directions[first], average / average.sum(axis=0)


def gallery(
    geometry: Geometry,
    images: Sequence[np.ndarray],
    captions: Sequence[str],
    what: str,
    part: str,
    prefix: str,
) -> Artifact:
    """The worst points' pictures ``(H, W, 3)`` uint8, each followed by its object's reference."""
    return Artifact(
        "gallery",
        f"{prefix}{geometry.name}_worst",
        f"Where {what} breaks it: {part}",
        {"images": np.stack(images)},
        part,
        "The points of the orbit where the right class (without labels: the consensus) is given "
        "the least probability, one an object; after each, the same object at the reference.",
        {"captions": list(captions)},
    )

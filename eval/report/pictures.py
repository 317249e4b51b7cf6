"""The plots of all models: one block an artifact, comparable ones side by side or in one panel."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from eval.artifacts import Artifact
from eval.report import colors, page, plots
from eval.report.figures import BASELINE, image_uri, swatch
from eval.report.runs import Model
from ssl_equiv.errors import UserError

_GALLERY = 16  # images of one model and part
_NAMED_CLASSES = 30
_NOTES = {
    "sphere": "Left the half of the sphere around +z, right that around -z, seen through from "
    "above; +x is to the right and +y up in both, equal areas are equal solid angles, the rings "
    "are 30° and 60° from the pole.",
}
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?!\w)")
_ORDER = ("curve", "sphere", "plane", "scatter", "gallery")


@dataclass(frozen=True)
class Shown:
    """An artifact of a model.

    Args:
        model: Name of the model.
        number: Of its colour.
        artifact: Of all its seeds together where they can be averaged, else of the first.
        note: What of the seeds is shown.
    """

    model: str
    number: int
    artifact: Artifact
    note: str = ""


def pictures(models: Sequence[Model]) -> list[page.Block]:
    """A block for every kind and name of artifact, in the order in which evaluators left them."""
    groups: dict[tuple[str, str], list[Shown]] = {}
    for number, model in enumerate(models):
        for shown in _of_model(model, number):
            key = (shown.artifact.kind, shown.artifact.name)
            groups.setdefault(key, []).append(shown)
    painters: Mapping[str, Callable[[Sequence[Shown]], str]] = {
        "curve": _curves,
        "plane": _maps,
        "sphere": _maps,
        "scatter": _scatters,
        "gallery": _galleries,
    }
    blocks = []
    for kind, name in sorted(groups, key=_rank):
        members = _by_part(groups[kind, name])
        caption = _common([m.artifact.caption for m in members if m.artifact.caption])
        notes = list(dict.fromkeys(m.note for m in members if m.note))
        text = " ".join([caption, *notes, _NOTES.get(kind, "")]).strip()
        try:
            drawn = painters[kind](members)
        except (ValueError, IndexError, TypeError) as error:  # arrays that do not fit together
            whose = ", ".join(dict.fromkeys(member.model for member in members))
            raise UserError(
                f"the {kind} {name!r} of {whose} cannot be drawn ({error}): evaluate again, or "
                "remove it from artifacts/"
            ) from error
        body = page.paragraph(text, soft=True) + drawn
        blocks.append(page.Block(_title(members), body))
    return blocks


def _rank(key: tuple[str, str]) -> tuple[bool, int]:
    """Orbits come first, and curves before maps."""
    kind, name = key
    return not name.startswith("orbit"), _ORDER.index(kind)


def _common(captions: Sequence[str]) -> str:
    """One caption of several that differ in their numbers alone, these as a range; else the first.

    ``45% of the variance`` and ``52% of the variance`` are ``45 – 52% of the variance``.
    """
    if len({_NUMBER.sub("", caption) for caption in captions}) != 1:
        return captions[0] if captions else ""
    columns = zip(*(_NUMBER.findall(caption) for caption in captions), strict=True)
    spans = []
    for column in columns:
        low, high = min(column, key=float), max(column, key=float)
        spans.append(low if low == high else f"{low} – {high}")
    replaced = iter(spans)
    return _NUMBER.sub(lambda _: next(replaced), captions[0])


def _by_part(members: Sequence[Shown]) -> list[Shown]:
    """Models beside each other, part for part."""
    parts = list(dict.fromkeys(member.artifact.part for member in members))
    return sorted(members, key=lambda member: (parts.index(member.artifact.part), member.number))


def _of_model(model: Model, number: int) -> Iterator[Shown]:
    found: dict[tuple[str, str, str], list[Artifact]] = {}
    for run in model.runs:
        for artifact in run.artifacts:
            found.setdefault((artifact.kind, artifact.name, artifact.part), []).append(artifact)
    parts = list(dict.fromkeys(row.part for run in model.runs for row in run.rows))
    order = {part: place for place, part in enumerate(parts)}
    for key in sorted(found, key=lambda key: order.get(key[2], len(order))):
        seeds = found[key]
        if len(seeds) < 2:
            yield Shown(model.name, number, seeds[0])
        elif mean := _mean(seeds):
            yield Shown(
                model.name, number, mean, "Curves are means over pretraining seeds ± one deviation."
            )
        else:
            yield Shown(model.name, number, seeds[0], "Of several pretraining seeds, the first.")


def _mean(seeds: Sequence[Artifact]) -> Artifact | None:
    """Curves of several seeds as one; None where they are no curves over the same places."""
    first = seeds[0]
    if first.kind != "curve" or any(
        other.arrays["x"].shape != first.arrays["x"].shape
        or other.arrays["y"].shape != first.arrays["y"].shape
        or other.meta.get("series") != first.meta.get("series")
        or not np.allclose(other.arrays["x"], first.arrays["x"])
        for other in seeds
    ):
        return None
    y = np.stack([np.asarray(artifact.arrays["y"], dtype=float) for artifact in seeds])
    arrays = {"x": first.arrays["x"], "y": y.mean(axis=0), "spread": y.std(axis=0, ddof=1)}
    return replace(first, arrays=arrays)


def _title(members: Sequence[Shown]) -> str:
    """The artifacts' title, less the part where they are of several."""
    titles = [_without_part(m.artifact.title, m.artifact.part) for m in members]
    if len(set(titles)) == 1 and titles[0]:
        word = titles[0].split()[0]
        return titles[0][:1].upper() + titles[0][1:] if word.isalpha() else titles[0]
    return _words(members[0].artifact.name)


def _without_part(title: str, part: str) -> str:
    """``Spectrum`` of ``Spectrum of equi``, ``Distance along SO(2)`` of ``...: equi``."""
    return (
        re.sub(rf"(?: of|:|,)? {re.escape(part)}(?=$|[ ,:])", "", title, count=1) if part else title
    )


def _words(name: str) -> str:
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def _label(shown: Shown) -> str:
    part = shown.artifact.part
    return f"{shown.model} · {part}" if part else shown.model


def _curves(members: Sequence[Shown]) -> str:
    """A panel a part and series with all models in it; a single model's series in one panel."""
    lines: dict[str, dict[str, plots.Line]] = {}
    metas: dict[str, Mapping[str, object]] = {}
    models = {member.model: member.number for member in members}
    series: dict[str, int] = {}
    for member in members:
        for name, x, y, spread in _series(member.artifact):
            part = member.artifact.part
            if len(models) > 1:
                panel = " · ".join(word for word in (part, name) if word)
                lines.setdefault(panel, {})[member.model] = (member.number, x, y, spread)
            else:
                panel, number = part, series.setdefault(name, len(series))
                lines.setdefault(panel, {})[name] = (number, x, y, spread)
            metas.setdefault(panel, member.artifact.meta)
    keys = models if len(models) > 1 else series if len(series) > 1 else {}
    title = members[0].artifact.title
    limits = _heights([line for some in lines.values() for line in some.values()], metas.values())
    panels = [
        page.panel(plots.curves(some, f"{title} {name}", metas[name], limits), name)
        for name, some in lines.items()
    ]
    legend = [(name, swatch(number)) for name, number in keys.items()]
    if any(isinstance(meta.get("baseline"), int | float) for meta in metas.values()):
        legend.append(("baseline", BASELINE))
    return page.legend(legend) + page.grid(panels)


def _heights(
    lines: Sequence[plots.Line], metas: Iterable[Mapping[str, object]]
) -> tuple[float, float] | None:
    """What all panels of a block show of the y axis, so that they can be compared by eye."""
    metas = list(metas)
    levels = [float(m["baseline"]) for m in metas if isinstance(m.get("baseline"), int | float)]  # type: ignore[arg-type]
    bands = [
        y if spread is None else np.concatenate([y - spread, y + spread])
        for _, _, y, spread in lines
    ]
    heights = np.concatenate([*bands, levels])
    if any(meta.get("log_y") for meta in metas):
        heights = np.concatenate([*(y for _, _, y, _ in lines), levels])
        heights = heights[heights > 0]
    heights = heights[np.isfinite(heights)]
    return (float(heights.min()), float(heights.max())) if len(heights) else None


def _series(
    artifact: Artifact,
) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray | None]]:
    x = np.asarray(artifact.arrays["x"], dtype=float)
    y = np.atleast_2d(np.asarray(artifact.arrays["y"], dtype=float))
    spread = artifact.arrays.get("spread")
    bands = None if spread is None else np.atleast_2d(np.asarray(spread, dtype=float))
    names = artifact.meta.get("series")
    names = [str(name) for name in names] if isinstance(names, list | tuple) else []
    for number, line in enumerate(y):
        name = names[number] if number < len(names) else "" if len(y) == 1 else str(number + 1)
        yield name, x, line, None if bands is None else bands[number]


def _maps(members: Sequence[Shown]) -> str:
    """Heat maps of all models and parts on one colour scale."""
    limits = plots.value_range([member.artifact for member in members])
    paint = plots.plane if members[0].artifact.kind == "plane" else plots.sphere
    panels = [
        page.panel(paint(m.artifact, limits, f"{m.artifact.title}, {_label(m)}"), _label(m))
        for m in members
    ]
    label = str(members[0].artifact.meta.get("value_label") or "")
    return page.color_bar(colors.gradient(colors.VALUE), limits, label) + _grids(members, panels)


def _scatters(members: Sequence[Shown]) -> str:
    first = members[0].artifact
    kind, label = first.meta.get("color_kind", "value"), str(first.meta.get("color_label") or "")
    limits = None
    if kind == "class":
        count = max(plots.num_classes(member.artifact) for member in members)
        given = first.meta.get("classes")
        names = [str(name) for name in given] if isinstance(given, list | tuple) else []
        names += [str(number) for number in range(len(names), count)]
        keys = zip(names, colors.classes(count), strict=True)
        legend = page.legend(list(keys) if count <= _NAMED_CLASSES else [])
    elif kind == "angle":
        legend = page.color_bar(colors.gradient(colors.ANGLE), (0.0, 360.0), f"{label} [°], cyclic")
    else:
        limits = plots.value_range([member.artifact for member in members], "color")
        legend = page.color_bar(colors.gradient(colors.VALUE), limits, label)
    panels = [
        page.panel(plots.scatter(m.artifact, limits, f"{m.artifact.title}, {_label(m)}"), _label(m))
        for m in members
    ]
    return legend + _grids(members, panels)


def _grids(members: Sequence[Shown], panels: Sequence[str]) -> str:
    """Panels of one part in a row, models side by side; one model's parts all in one."""
    if len({member.model for member in members}) < 2:
        return page.grid(panels)
    rows: dict[str, list[str]] = {}
    for member, panel in zip(members, panels, strict=True):
        rows.setdefault(member.artifact.part, []).append(panel)
    return "".join(page.grid(row) for row in rows.values())


def _galleries(members: Iterable[Shown]) -> str:
    strips = []
    for member in members:
        captions = member.artifact.meta.get("captions")
        texts = [str(text) for text in captions] if isinstance(captions, list | tuple) else []
        images, width = member.artifact.arrays["images"], member.artifact.meta.get("width")
        width = int(width) if isinstance(width, int) else None
        frames = [
            (
                image_uri(np.asarray(image, dtype=np.uint8), width or 96),
                texts[i] if i < len(texts) else "",
            )
            for i, image in enumerate(images[:_GALLERY])
        ]
        more = f" (the first {_GALLERY} of {len(images)})" if len(images) > _GALLERY else ""
        strips.append(page.named(_label(member) + more, page.strip(frames, width)))
    return "".join(strips)

"""Images of the data sets that models were trained on, where these are still at hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eval.report import page
from eval.report.configs import data_root
from eval.report.figures import encoded_uri, image_uri
from eval.report.runs import Model
from ssl_equiv.data.image_sets import holds_images, open_images
from ssl_equiv.data.lidar.open import open_lidar
from ssl_equiv.data.lidar.picture import birds_eye
from ssl_equiv.data.source import Source
from ssl_equiv.data.sources import open_source
from ssl_equiv.errors import UserError

_OBJECTS, _VIEWS = 6, 4
_SWEEPS, _SWEEP = 4, 240  # how many, and how wide, pixels


def samples(models: Sequence[Model]) -> str:
    """HTML: some objects and views of every data set; a line for one that is not at hand."""
    roots = {
        root: "lidar" in str((run.config or {}).get("data", {}).get("class_path"))
        for model in models
        for run in model.runs
        if (root := data_root(run.config))
    }
    parts = []
    for root, is_lidar in roots.items():
        try:
            frames = _sweeps(Path(root)) if is_lidar else _frames(Path(root))
        except (UserError, OSError, ValueError, IndexError) as error:
            reason = " ".join(str(error).split())
            parts.append(page.paragraph(f"Left out, {root} is not at hand ({reason}).", soft=True))
            continue
        parts.append(page.named(root, page.strip(frames, _SWEEP if is_lidar else None)))
    return "".join(parts) or page.paragraph(
        "Left out: no run tells what data it was trained on.", soft=True
    )


def _sweeps(root: Path) -> list[tuple[str, str]]:
    """Sweeps from above, with annotations where there are some."""
    source = open_lidar(root)
    split = source.split.get("val", np.zeros(0, int))
    split = split if len(split) else np.arange(len(source))
    chosen = np.unique(np.linspace(0, len(split) - 1, _SWEEPS).round().astype(int))
    frames = []
    for index in split[chosen].tolist():
        sweep = source.sweep(index, flow=False)
        picture = birds_eye(sweep.points.numpy(), sweep.boxes, size=2 * _SWEEP)
        name = Path(str(source.names[index])).stem
        frames.append((image_uri(np.asarray(picture), 2 * _SWEEP), name))
    return frames


def _frames(root: Path) -> list[tuple[str, str]]:
    images: Source = open_images(root) if holds_images(root) else open_source(root)
    split = images.split.get("val", next(iter(images.split.values())))
    # spread over the split, which is in the order of classes
    chosen = np.unique(np.linspace(0, len(split) - 1, _OBJECTS).round().astype(int))
    frames = []
    for index in np.asarray(split)[chosen].tolist():
        views = list(range(min(_VIEWS, images.num_views)))
        name = images.classes[int(images.labels[index])]
        for image in images.read(index, views)[0]:
            uri = image_uri(image, 96) if isinstance(image, np.ndarray) else encoded_uri(image, 96)
            frames.append((uri, name))
    return frames

"""What evaluators leave to be looked at: the data of plots, kept beside ``results.json``.

An evaluator measures and keeps arrays; the report draws them. So a picture can be drawn again, in
another style or beside another run's, without a model or data at hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from ssl_equiv.errors import UserError
from ssl_equiv.files import atomic_write, make_directory

ARTIFACTS = "artifacts"
FORMAT = "ssl-equiv-artifact/1"
Kind = Literal["curve", "plane", "sphere", "scatter", "gallery"]
_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "curve": ("x", "y"),
    "plane": ("x", "y", "values"),
    "sphere": ("directions", "values"),
    "scatter": ("points", "color"),
    "gallery": ("images",),
}


@dataclass(frozen=True)
class Artifact:
    """The data of one plot.

    ``arrays`` by kind, with what ``meta`` tells of them (all optional):

    * ``curve``: ``x (n,)``, ``y (k, n)``, optionally ``spread (k, n)`` as ± around ``y``; meta
      ``series`` (k names), ``x_label``, ``y_label``, ``log_x``, ``log_y``, ``baseline`` (a level).
    * ``plane``: ``values (h, w)`` over ``x (w,)`` and ``y (h,)``; meta ``x_label``, ``y_label``,
      ``value_label``.
    * ``sphere``: ``values (n,)`` at unit vectors ``directions (n, 3)``; meta ``value_label``.
    * ``scatter``: ``points (n, 2)`` with ``color (n,)``: class numbers, angles in radians
      (cyclic), or any figures; meta ``color_kind`` (``class``, ``angle`` or ``value``),
      ``color_label``, ``classes`` (names).
    * ``gallery``: ``images (n, h, w, 3)`` uint8; meta ``captions`` (n texts), ``width``
      (pixels that an image takes on the page).

    Args:
        kind: How it is drawn.
        name: What it shows, in letters, digits and underscores; one a part and directory.
        title: A line above the plot.
        arrays: The data.
        part: Part of the representation; "" for all of them.
        caption: How to read it, a sentence or two.
        meta: Plain data.

    Raises:
        ValueError: an array is missing or the name is no name.
    """

    kind: Kind
    name: str
    title: str
    arrays: Mapping[str, np.ndarray]
    part: str = ""
    caption: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        missing = [name for name in _REQUIRED[self.kind] if name not in self.arrays]
        if missing or not re.fullmatch(r"\w+", self.name) or self.kind not in get_args(Kind):
            raise ValueError(f"artifact {self.name!r} of kind {self.kind} lacks {missing}")

    @property
    def file_name(self) -> str:
        """Name of its file."""
        return f"{self.name}{f'-{self.part}' if self.part else ''}.npz"


def write_artifact(folder: str | Path, artifact: Artifact) -> Path:
    """Write one artifact to ``folder/artifacts``, whole or not at all."""
    path = make_directory(Path(folder) / ARTIFACTS) / artifact.file_name
    described = {
        "format": FORMAT,
        "kind": artifact.kind,
        "name": artifact.name,
        "title": artifact.title,
        "part": artifact.part,
        "caption": artifact.caption,
        "meta": dict(artifact.meta),
    }
    with atomic_write(path) as file:
        np.savez_compressed(
            file,
            allow_pickle=False,
            **{f"array-{name}": np.asarray(array) for name, array in artifact.arrays.items()},
            described=np.array(json.dumps(described)),
        )
    return path


def read_artifacts(folder: str | Path) -> list[Artifact]:
    """The artifacts in ``folder/artifacts``, by name; none where there is no such folder.

    Raises:
        UserError: a file is damaged or of another format.
    """
    return [_read(path) for path in sorted((Path(folder) / ARTIFACTS).glob("*.npz"))]


def _read(path: Path) -> Artifact:
    try:
        with np.load(path, allow_pickle=False) as stored:
            described = json.loads(str(stored["described"]))
            arrays = {
                name.removeprefix("array-"): stored[name]
                for name in stored.files
                if name.startswith("array-")
            }
        if described.pop("format") != FORMAT:
            raise ValueError("another format")
        return Artifact(arrays=arrays, **described)
    except Exception as error:  # zipfile, zlib, json and numpy each have their own
        raise UserError(f"{path} is damaged ({error}): evaluate again") from error

"""What every LiDAR data set gives, and the index of its files."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path

import numpy as np

from ssl_equiv.data.lidar.calibration import Calibration
from ssl_equiv.data.lidar.sweep import Sweep
from ssl_equiv.errors import UserError
from ssl_equiv.files import atomic_write

INDEX = ".ssl_equiv_lidar.npz"
_VERSION = 1
Index = dict[str, np.ndarray]
"""Named arrays, of numbers or of text, never of objects."""


class LidarSource(ABC):
    """A LiDAR data set at rest: sweeps in sequences.

    Attributes:
        root: Its folder.
        kind: Its layout, in a word.
        classes: Names of the objects' classes; ``Boxes.labels`` indexes them.
        point_classes: Names of the points' classes; ``Sweep.semantic`` indexes them.
        names: Where each sweep lies in ``root``, ``(N,)`` text.
        sequence: The sequence of each sweep, a number, ``(N,)`` int64.
        frame: Number of each sweep in its sequence; sweeps lie in order, ``(N,)`` int64.
        split: Name to indices of its sweeps, such as ``train`` and ``val``.
        has_boxes: Whether some sweeps are annotated.
        has_poses: Whether sweeps have poses.
        has_flow: Whether sweeps have true flow.
        num_views: Views that are stored of a sweep: itself.
    """

    root: Path
    kind: str
    classes: list[str]
    point_classes: list[str]
    names: np.ndarray
    sequence: np.ndarray
    frame: np.ndarray
    split: dict[str, np.ndarray]
    has_boxes: bool = False
    has_poses: bool = False
    has_flow: bool = False
    num_views: int = 1

    def __len__(self) -> int:
        return len(self.names)

    @abstractmethod
    def sweep(self, index: int, boxes: bool = True, flow: bool = True) -> Sweep:
        """A sweep with what is known of it; ``boxes`` and ``flow`` are read if asked for.

        Raises:
            UserError: its files cannot be read.
        """

    def calibration(self, index: int) -> Calibration | None:
        """Sensor, rectified camera and picture of a sweep, as KITTI's files tell; None without.

        Raises:
            UserError: its file cannot be read.
        """
        return None

    def successor(self, index: int) -> int | None:
        """The next sweep of the same sequence; None where there is none."""
        after = index + 1
        if after < len(self) and self.sequence[after] == self.sequence[index]:
            return after if self.frame[after] == self.frame[index] + 1 else None
        return None

    def predecessor(self, index: int) -> int | None:
        """The sweep that :meth:`successor` leads from to this one; None where there is none."""
        return index - 1 if index > 0 and self.successor(index - 1) == index else None

    def before(self, index: int, flow: bool = True) -> Sweep | None:
        """The sweep before one, without boxes; its flow leads to that one.

        Raises:
            UserError: its files cannot be read.
        """
        number = self.predecessor(index)
        return None if number is None else self.sweep(number, boxes=False, flow=flow)

    def name_of(self, index: int) -> str:
        """Where a sweep lies, for messages."""
        return str(self.root / str(self.names[index]))

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the layout, the names of all sweeps and the splits."""
        digest = hashlib.sha256(self.kind.encode())
        digest.update("\n".join(self.names.tolist()).encode())
        for name, members in self.split.items():
            digest.update(name.encode() + members.astype(np.int64).tobytes())
        return digest.hexdigest()


def stored_index(
    root: Path, kind: str, watched: Callable[[], Iterable[Path]], build: Callable[[], Index]
) -> Index:
    """The index of a data set, built once and kept beside it, or in the user's cache.

    Args:
        root: The data set's folder.
        kind: Its layout.
        watched: Folders and files; when one of them changes, the index is built again.
        build: Makes the index.
    """
    stamp = _stamp(root, watched())
    for path in _places(root):
        try:
            with np.load(path, allow_pickle=False) as stored:
                if str(stored["__kind"]) == f"{kind} {_VERSION}" and stored["__stamp"] == stamp:
                    return {name: stored[name] for name in stored.files if name[:2] != "__"}
        except (OSError, ValueError, KeyError, EOFError):
            continue  # absent, damaged, or of another version: it is only a copy of what is there
    index = build()
    for path in _places(root):
        try:
            with atomic_write(path) as file:
                np.savez(file, __kind=f"{kind} {_VERSION}", __stamp=stamp, **index)  # type: ignore[arg-type]
            break
        except UserError:
            continue  # read-only: the next place; nowhere at all is no harm
    return index


def _places(root: Path) -> list[Path]:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ssl_equiv"
    name = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
    return [root / INDEX, cache / f"lidar_{name}.npz"]


def _stamp(root: Path, watched: Iterable[Path]) -> str:
    """What changes when something is added to or taken from the watched folders."""
    digest = hashlib.sha256()
    for path in sorted(watched):
        status = path.stat()
        size = 0 if path.is_dir() else status.st_size
        digest.update(f"{path.relative_to(root)}\0{status.st_mtime_ns}\0{size}\n".encode())
    return digest.hexdigest()


def every(names: Iterable[str]) -> np.ndarray:
    """Text as an array ``(N,)`` that is stored without objects."""
    return np.array(list(names), dtype=np.str_)


def by_sequence(sequence: np.ndarray, fraction: float = 0.1) -> dict[str, np.ndarray]:
    """A split where a data set names none: whole sequences, the same ones every time.

    The last ``fraction`` of the sequences, one at least where there are two, are for validation.
    With a single sequence the last ``fraction`` of its sweeps are.
    """
    found = np.unique(sequence)
    if len(found) > 1:
        held_out = found[-max(1, round(fraction * len(found))) :]
        val = np.isin(sequence, held_out)
    else:
        val = np.arange(len(sequence)) >= round((1 - fraction) * len(sequence))
    return {"train": np.flatnonzero(~val), "val": np.flatnonzero(val)}

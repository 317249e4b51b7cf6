"""A bare folder of ``.bin``, ``.ply`` or ``.pcd`` files, for pretraining without labels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from torch import Tensor

from ssl_equiv.data.lidar.clouds import read_cloud
from ssl_equiv.data.lidar.files import read_bin
from ssl_equiv.data.lidar.source import Index, LidarSource, by_sequence, every, stored_index
from ssl_equiv.data.lidar.sweep import Sweep
from ssl_equiv.errors import UserError

SUFFIXES = (".bin", ".ply", ".pcd")
_FIVE = ".pcd.bin"


class CloudFolder(LidarSource):
    """Points alone. Each folder below ``root`` is a sequence; names in order are its sweeps.

    Numbers in names tell which sweeps follow each other: ``000007.bin`` follows ``000006.bin``;
    names without number follow in order. ``.pcd.bin`` has five floats a point, as in nuScenes,
    other ``.bin`` four; the frame is taken as it is. Intensities are divided by 255 or 65535 where
    the first sweep's say so. The last tenth of the folders, or of the sweeps, is for validation.

    Raises:
        UserError: no such files, or files of different kinds.
    """

    kind = "folder"

    def __init__(self, root: Path) -> None:
        self.root, self.classes, self.point_classes = root, [], []
        index = stored_index(root, self.kind, self._watched, self._build)
        self.names, self.sequence, self.frame = index["names"], index["sequence"], index["frame"]
        self._columns, self._scale = int(index["columns"]), float(index["scale"])
        self.split = by_sequence(self.sequence)

    def sweep(self, index: int, boxes: bool = True, flow: bool = True) -> Sweep:
        """A sweep: its points."""
        path = self.root / str(self.names[index])
        return Sweep(_read(path, self._columns, self._scale), str(path))

    def _watched(self) -> Iterable[Path]:
        return [folder for folder, _ in _walk(self.root)]

    def _build(self) -> Index:
        paths = sorted(folder / name for folder, names in _walk(self.root) for name in names)
        kinds: dict[str, Path] = {}
        for path in paths:
            kinds.setdefault(_FIVE if path.name.endswith(_FIVE) else path.suffix, path)
        if not paths:
            raise UserError(
                f"{self.root} holds no .bin, .ply or .pcd files, and no data set that is known: "
                "give the root of one (docs/lidar_data.md)"
            )
        if len(kinds) > 1:
            (one, first), (other, second), *_ = kinds.items()
            raise UserError(
                f"{self.root} mixes sensor layouts: {first} is {_told(one)}, {second} is "
                f"{_told(other)}; put each into a folder of its own"
            )
        columns = 5 if _FIVE in kinds else 4
        if ".bin" in kinds:
            _check_sizes(paths)
        sequence = np.unique([str(path.parent) for path in paths], return_inverse=True)[1]
        return {
            "names": every(str(path.relative_to(self.root)) for path in paths),
            "sequence": sequence.astype(np.int64),
            "frame": _frames(paths),
            "columns": np.array(columns),
            "scale": np.array(_intensity_scale(paths[0], columns)),
        }


def _walk(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Each folder, links to folders included, with the names of its files of points."""
    seen: set[str] = set()
    for folder, inner, names in os.walk(root, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:  # a link that leads back up
            inner.clear()
            continue
        seen.add(real)
        inner[:] = sorted(name for name in inner if name[0] != ".")
        yield Path(folder), [n for n in names if n.endswith(SUFFIXES) and n[0] != "."]


def _read(path: Path, columns: int, scale: float) -> Tensor:
    if path.suffix == ".bin":
        return read_bin(path, columns, scale)
    return read_cloud(path, scale)


def _told(kind: str) -> str:
    return "five floats a point" if kind == _FIVE else f"a {kind} file"


def _check_sizes(paths: list[Path]) -> None:
    """Raise UserError where some files can only have four floats a point and others only five."""
    sizes = np.array([path.stat().st_size for path in paths])
    four, five = (sizes % 16 == 0) & (sizes % 20 != 0), (sizes % 20 == 0) & (sizes % 16 != 0)
    if four.any() and five.any():
        raise UserError(
            f"{paths[0].parent} mixes sensor layouts: {paths[int(four.argmax())]} has four floats "
            f"a point, {paths[int(five.argmax())]} five; put each into a folder of its own, and "
            "name files of five floats .pcd.bin"
        )


def _frames(paths: list[Path]) -> np.ndarray:
    """The numbers in the names where every name has one, else places."""
    numbers = ["".join(c if c.isdecimal() else " " for c in path.stem).split() for path in paths]
    if all(numbers):
        found = np.array([int(words[-1]) if len(words[-1]) < 19 else -1 for words in numbers])
        folders = np.array([str(path.parent) for path in paths])
        rising = (np.diff(found) > 0) | (folders[1:] != folders[:-1])
        if (found >= 0).all() and rising.all():
            return found.astype(np.int64)
    return np.arange(len(paths))


def _intensity_scale(path: Path, columns: int) -> float:
    """What intensities are divided by: 1, 255 or 65535, whichever bounds the first sweep's."""
    if path.suffix == ".bin":
        values = np.fromfile(path, "<f4")
        bright = values[: len(values) // columns * columns].reshape(-1, columns)[:, 3]
    else:
        # scaled so that nothing is cut off
        bright = read_cloud(path, 2.0**24)[:, 3].numpy() * 2.0**24
    top = float(np.nanmax(bright, initial=0.0))
    return 1.0 if top <= 1 else 255.0 if top <= 255 else 65535.0

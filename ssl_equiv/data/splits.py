"""The published split files: which objects are for training and validation, and their labels.

``train_images.npy`` and ``val_images.npy`` are arrays of ``CLASS/OBJECT`` names (with any folders
before them); ``train_labels.npy`` and ``val_labels.npy``, where present, hold the class numbers of
the same objects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssl_equiv.errors import UserError
from ssl_equiv.files import load_array

SPLITS = ("train", "val")
SPLIT_FILES = tuple(f"{split}_{what}.npy" for split in SPLITS for what in ("images", "labels"))


@dataclass(frozen=True)
class Splits:
    """What split files say.

    Attributes:
        where: The place that they come from, for messages.
        members: ``class/object`` names of ``train`` and ``val``, in the files' order.
        labels: The number of each class named, or None where there are no label files.
    """

    where: str
    members: dict[str, list[str]]
    labels: dict[str, int] | None

    def class_order(self, classes: Iterable[str]) -> tuple[str, ...]:
        """``classes`` by their labels; those without one follow, sorted."""
        labels = self.labels or {}
        return tuple(sorted(classes, key=lambda name: (labels.get(name, len(labels) + 1e9), name)))

    def check_order(self, classes: tuple[str, ...], where: str) -> None:
        """Raise UserError unless the labels are the places in ``classes``, as ``where`` has it."""
        place = {name: label for label, name in enumerate(classes)}
        for name, label in (self.labels or {}).items():
            if place.get(name) != label:
                raise UserError(
                    f"{self.where}: the label files give class {name} the label {label} where "
                    f"{where} has {place.get(name, 'none')}: mend or delete the label files"
                )


def parse_splits(arrays: Mapping[str, np.ndarray], where: str) -> Splits | None:
    """Split files that were read already.

    Args:
        arrays: File name, one of :data:`SPLIT_FILES`, to its array.
        where: The place of the files, for messages.

    Returns:
        None where there are no lists of names.

    Raises:
        UserError: only one split is there, a file is not what it should be, or labels contradict
            the classes.
    """
    absent = [f"{split}_images.npy" for split in SPLITS if f"{split}_images.npy" not in arrays]
    if len(absent) == len(SPLITS):
        return None
    if absent:
        raise UserError(
            f"{where}/{absent[0]} is missing beside the other split file: give both or none"
        )
    members = {s: _names(arrays[f"{s}_images.npy"], f"{where}/{s}_images.npy") for s in SPLITS}
    labels: dict[str, int] = {}
    for split, names in members.items():
        if f"{split}_labels.npy" in arrays:
            path = f"{where}/{split}_labels.npy"
            _add_labels(labels, names, arrays[f"{split}_labels.npy"], path)
    return Splits(where, members, labels or None)


def read_splits(root: str | Path) -> Splits | None:
    """The split files in a folder; see :func:`parse_splits`."""
    paths = {name: Path(root) / name for name in SPLIT_FILES}
    arrays = {name: load_array(path) for name, path in paths.items() if path.exists()}
    return parse_splits(arrays, str(root))


def _names(found: np.ndarray, path: str) -> list[str]:
    if found.ndim != 1 or found.dtype.kind != "U":
        raise UserError(f"{path} is not a list of SYNSET/OBJ names: write it as one")
    names = []
    for name in found.tolist():
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if len(parts) < 2 or ".." in parts:
            raise UserError(f"{path} names {name!r}, which is not SYNSET/OBJ: mend it")
        names.append("/".join(parts[-2:]))
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise UserError(f"{path} names {twice} twice: leave one of them out")
    return names


def _add_labels(labels: dict[str, int], names: list[str], found: np.ndarray, path: str) -> None:
    if found.shape != (len(names),) or found.dtype.kind not in "iu":
        raise UserError(
            f"{path} is {found.dtype} of shape {found.shape}, not {len(names)} whole numbers, one "
            "for each name of the list of images: mend or delete it"
        )
    class_of = {label: name for name, label in labels.items()}
    for name, label in zip(names, found.tolist(), strict=True):
        class_name = name.split("/")[0]
        known = labels.setdefault(class_name, label)
        if known != label:
            raise UserError(
                f"{path} gives {name} the label {label}, but others of its class have {known}: "
                "mend or delete it"
            )
        other = class_of.setdefault(label, class_name)
        if other != class_name:
            raise UserError(
                f"{path} gives {name} the label {label} of the class {other}: mend or delete it"
            )

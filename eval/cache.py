"""Features at rest: a folder of memory-mapped arrays, keyed by what they were computed from."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from eval.errors import NotApplicable
from ssl_equiv.data.module import ViewDataModule
from ssl_equiv.errors import UserError
from ssl_equiv.files import load_array, read_json
from ssl_equiv.groups import Group, make_group

FORMAT = "ssl-equiv-features/1"
META = "meta.json"  # written last: a folder with it is whole


@dataclass(frozen=True)
class FeatureSet:
    """Frozen features of all views of a split's objects, in the order of their index.

    Args:
        features: ``(N, V, D)`` float32, memory-mapped where it comes from a cache.
        parts: Named columns of the features, ``{name: (first, past_last)}``; has ``all``.
        actions: Absolute group elements ``{factor: (N, V, dim)}``.
        groups: The group of each factor.
        labels: Class of each object, ``(N,)`` int64.
        index: Identity of each object in its data set, ``(N,)`` int64, ascending.
        split: Name of the split.
        class_names: ``class_names[label]``.
        key: What the features were computed from.
    """

    features: Tensor
    parts: Mapping[str, tuple[int, int]]
    actions: Mapping[str, Tensor]
    groups: Mapping[str, Group]
    labels: Tensor
    index: Tensor
    split: str
    class_names: tuple[str, ...]
    key: Mapping[str, Any]

    @property
    def num_objects(self) -> int:
        """N."""
        return self.features.shape[0]

    @property
    def num_views(self) -> int:
        """V."""
        return self.features.shape[1]

    def columns(self, part: str) -> tuple[int, int]:
        """First and past-last column of a part.

        Raises:
            UserError: the model has no such part.
        """
        if part not in self.parts:
            raise UserError(
                f"the model has no part {part!r} (it has {', '.join(self.parts)})"
                f"{_nearest(part, self.parts)}"
            )
        return self.parts[part]

    def group(self, factor: str) -> Group:
        """The group of a factor.

        Raises:
            NotApplicable: the data set has no such factor.
        """
        if factor not in self.groups:
            has = ", ".join(self.groups) or "none"
            raise NotApplicable(
                f"the data set has no factor {factor!r} (it has {has})"
                f"{_nearest(factor, self.groups)}"
            )
        return self.groups[factor]


def cache_key(model: nn.Module, data: ViewDataModule, split: str, precision: str) -> dict[str, Any]:
    """What features depend on, one entry a cause; equal keys mean equal features."""
    weights = hashlib.sha256()
    for name, value in model.state_dict().items():
        if isinstance(value, Tensor):
            weights.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            flat = value.detach().cpu().contiguous().flatten()
            weights.update(flat.view(torch.uint8).numpy().tobytes())
    # a module's repr is its architecture, less the addresses of functions
    architecture = re.sub(r" at 0x[0-9a-f]+", "", f"{type(model).__qualname__} {model!r}")
    return {
        "format": FORMAT,
        "weights": weights.hexdigest(),
        "architecture": hashlib.sha256(architecture.encode()).hexdigest(),
        "data": data.source.fingerprint,
        "split": split,
        "preprocessing": data.preprocess.to_dict(),
        "precision": precision,
    }


def stale_because(folder: Path, key: Mapping[str, Any]) -> str | None:
    """Why a cache does not hold the features of ``key``: None if it does, "" if there is none."""
    if not (folder / META).exists():
        return ""
    try:
        found = read_features(folder).key
    except UserError:
        return "damaged, or of another version"
    changed = [name for name in key if found.get(name) != key[name]]
    return f"other {', '.join(changed)}" if changed else None


def read_features(folder: Path) -> FeatureSet:
    """Open a cache; the features stay on disk until they are used.

    Raises:
        UserError: the cache is incomplete or damaged.
    """
    meta = read_json(folder / META)
    try:
        if meta["format"] != FORMAT:
            raise UserError(f"{folder} has format {meta['format']!r}, not {FORMAT!r}: delete it")
        # copy-on-write: torch wants writable memory, the file stays as it is
        features = np.load(folder / "features.npy", mmap_mode="c", allow_pickle=False)
        features_set = FeatureSet(
            features=torch.from_numpy(features),
            parts={name: (first, past) for name, (first, past) in meta["parts"].items()},
            actions={name: _tensor(folder / f"action-{name}.npy") for name in meta["groups"]},
            groups={name: make_group(group) for name, group in meta["groups"].items()},
            labels=_tensor(folder / "labels.npy"),
            index=_tensor(folder / "index.npy"),
            split=meta["split"],
            class_names=tuple(meta["class_names"]),
            key=meta["key"],
        )
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise UserError(f"{folder} is damaged ({error}): delete it") from error
    if any(len(a) != len(features) for a in (*features_set.actions.values(), features_set.index)):
        raise UserError(f"{folder} is damaged (its arrays differ in length): delete it")
    return features_set


def _tensor(path: Path) -> Tensor:
    return torch.from_numpy(load_array(path))


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    """What may have been meant, as the end of a message."""
    if not known:
        return ""
    close = difflib.get_close_matches(name, known, 1)
    return f": did you mean {close[0]!r}?" if close else f": choose one of {', '.join(known)}"

"""What every stored or rendered multi-view data set gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from ssl_equiv.data.draws import Draw, choose_views
from ssl_equiv.data.record import LatentSchema, Manifest, check_latents
from ssl_equiv.errors import UserError


class Source(ABC):
    """A multi-view data set at rest.

    Attributes:
        root: Its folder.
        schema: What the latent vectors mean.
        classes: Class names; ``labels[i]`` indexes them.
        objects: ``class/object`` of every object.
        num_views: Views per object.
        split: Split name to indices of its objects.
        outputs: What is stored beside each view, such as ``depth``.
        failed: ``class/object`` without views, which is in no split, to the reason.
        image_size: Width and height of every image where that is known without reading one.
        paths: Whether an object's views follow one another on a smooth path, where that is known.
        ranges: What the generator was told to draw each factor from, where that is known.
    """

    root: Path
    schema: LatentSchema
    classes: tuple[str, ...]
    objects: tuple[str, ...]
    num_views: int
    split: dict[str, np.ndarray]
    outputs: tuple[str, ...] = ()
    failed: Mapping[str, str] = MappingProxyType({})
    image_size: int | None = None
    paths: bool | None = None
    ranges: Mapping[str, Any] = MappingProxyType({})

    @property
    def labels(self) -> np.ndarray:
        """Class label of every object, ``(N,)`` int64."""
        of_class = {name: label for label, name in enumerate(self.classes)}
        return np.array([of_class[name.split("/")[0]] for name in self.objects], dtype=np.int64)

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """A digest that changes when the data set does; keys of feature caches contain it."""

    @abstractmethod
    def name_of(self, index: int, view: int) -> str:
        """Where a view is stored, for messages."""

    def choose(
        self, seed: int, draws: Sequence[Draw], num_views: int, consecutive: bool = False
    ) -> np.ndarray:
        """Views for training, by the numbers that :meth:`read` takes: ``(len(draws), num_views)``;
        such as follow one another if they are to be ``consecutive``.

        A pure function of seed, epoch and object, so that a resumed run sees the same.

        Raises:
            UserError: more views are asked for than an object has.
        """
        return choose_views(seed, draws, self.num_views, num_views, consecutive)

    @abstractmethod
    def read(
        self, index: int, views: Sequence[int]
    ) -> tuple[Sequence[bytes | np.ndarray], np.ndarray]:
        """Some views of an object, as JPEG or as uint8 pixels ``(H, W, 3)``, and their latents
        ``(len(views), L)``.
        """

    def read_output(self, index: int, views: Sequence[int], name: str) -> list[bytes]:
        """What is stored beside some views of an object, PNG bytes that
        :func:`ssl_equiv.data.geometry.decode` reads.

        Raises:
            UserError: the data set has no such output, or the object no views.
        """
        self._check_output(name)
        raise NotImplementedError  # a source that has outputs reads them

    def _check_output(self, name: str) -> None:
        if name not in self.outputs:
            stored = ", ".join(self.outputs) or "none"
            raise UserError(
                f"{self.root} has no output {name!r} (it has {stored}): generate with "
                f"--outputs '[{name}]'"
            )

    def _check_rendered(self, index: int) -> None:
        if (name := self.objects[index]) in self.failed:
            raise UserError(
                f"{self.root}: object {index} ({name}) has no views, it failed when the data set "
                f"was generated ({self.failed[name]}): leave it out, as the splits do"
            )


def on_paths(manifest: Manifest) -> bool | None:
    """Whether the views of an object lie on a path; None for converted data, which tell nothing."""
    return manifest.recipe.get("trajectory") is not None if manifest.recipe else None


def check_found(latents: np.ndarray, schema: LatentSchema, where: str) -> np.ndarray:
    """The latents ``(..., L)`` of a file, which errors call ``where``, if they are finite numbers.

    Raises:
        UserError: they are not, or have another width than the schema.
    """
    if latents.dtype.kind not in "fiu":
        raise UserError(f"{where} holds {latents.dtype} values, not numbers: generate it again")
    if latents.shape[-1:] != (schema.width,) or not np.isfinite(latents).all():
        check_latents(torch.from_numpy(latents), schema.width, where)
    return latents

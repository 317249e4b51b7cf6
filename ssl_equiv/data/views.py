"""Batches of views: decoded images with the group elements that made them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ssl_equiv.data.decode import decode_into, image_size
from ssl_equiv.data.draws import Draw
from ssl_equiv.data.preprocess import (
    DIEBENCH_MEAN,
    DIEBENCH_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Preprocess,
)
from ssl_equiv.data.recycle import SharedPool
from ssl_equiv.data.sources import Source
from ssl_equiv.errors import UserError
from ssl_equiv.groups import Group

__all__ = [
    "DIEBENCH_MEAN",
    "DIEBENCH_STD",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Preprocess",
    "ViewBatch",
    "ViewDataset",
]


@dataclass(frozen=True)
class ViewBatch:
    """V views of each of B objects.

    Args:
        images: ``(B, V, C, H, W)``; uint8 from the loader, normalised float in a training step. The
            loader lays them out in memory as ``(V, B, H, W, C)``: each view is channels-last.
        actions: Absolute group elements ``{factor: (B, V, dim)}``.
        groups: The group of each factor.
        label: Class of each object, ``(B,)``.
        index: Identity of each object in its data set, ``(B,)``.
        skipped: Unreadable objects that were left out while this batch was made.
    """

    images: Tensor
    actions: Mapping[str, Tensor]
    groups: Mapping[str, Group]
    label: Tensor
    index: Tensor
    skipped: int = 0

    @property
    def num_views(self) -> int:
        """V."""
        return self.images.shape[1]

    def relative(self, factor: str, start: int, end: int) -> Tensor:
        """The element from view ``start`` to view ``end``: ``g_start^-1 g_end``, ``(B, dim)``.

        Raises:
            UserError: the data set has no such factor.
        """
        if factor not in self.actions:
            raise UserError(
                f"the method asks for the factor {factor!r}, but the data set has "
                f"{', '.join(self.actions) or 'none'}: change the method's factors or the data"
            )
        action = self.actions[factor]
        return self.groups[factor].relative(action[:, start], action[:, end])

    def to(self, device: torch.device | str, **kwargs: Any) -> ViewBatch:
        """The batch on another device."""
        return self._map(lambda tensor: tensor.to(device, **kwargs))

    def pin_memory(self) -> ViewBatch:
        """The batch in page-locked memory."""
        return self._map(lambda tensor: tensor.pin_memory())

    def __reduce__(self) -> tuple[Any, ...]:
        # between processes a tensor is a file of shared memory: no small one is worth that
        small = {name: action.cpu().numpy() for name, action in self.actions.items()}
        label, index = self.label.cpu().numpy(), self.index.cpu().numpy()
        images: Tensor | _Lent = self.images
        if (place := SharedPool.locate(self.images)) is not None:
            images = _Lent(*place, tuple(self.images.permute(_STORED).shape))
        return _received, (images, small, self.groups, label, index, self.skipped)

    def _map(self, function: Any) -> ViewBatch:
        return replace(
            self,
            images=function(self.images),
            actions={name: function(action) for name, action in self.actions.items()},
            label=function(self.label),
            index=function(self.index),
        )


_STORED = (1, 0, 3, 4, 2)  # (B, V, C, H, W) to the order in memory, (V, B, H, W, C)
_SHOWN = (1, 0, 4, 2, 3)  # and back


class _Lent(NamedTuple):
    """Images that wait in a slot of a pool."""

    pool: int
    slot: int
    shape: tuple[int, ...]


def _received(
    images: Tensor | _Lent,
    actions: Mapping[str, np.ndarray],
    groups: Mapping[str, Group],
    label: np.ndarray,
    index: np.ndarray,
    skipped: int,
) -> ViewBatch:
    if isinstance(images, _Lent):
        images = SharedPool.receive(*images).permute(_SHOWN)
    elements = {name: torch.from_numpy(action) for name, action in actions.items()}
    return ViewBatch(
        images, elements, groups, torch.from_numpy(label), torch.from_numpy(index), skipped
    )


class ViewDataset(Dataset[ViewBatch]):
    """Decodes batches of views; a whole batch is made by one call, straight into one tensor.

    Args:
        source: Stored views.
        preprocess: Crop and size of the images.
        objects: Indices that draws may name: those of one split.
        num_views: Views drawn per object without replacement, or None for all in order.
        seed: Seed of the view draws.
        skip_bad_images: Put the next readable one of ``objects`` in the place of one that cannot
            be read, and count it, instead of raising.
        pool: Memory that loader processes share with their parent.
        consecutive: Draw views that follow one another.
    """

    def __init__(
        self,
        source: Source,
        preprocess: Preprocess,
        objects: np.ndarray,
        num_views: int | None = None,
        seed: int = 0,
        skip_bad_images: bool = False,
        pool: SharedPool | None = None,
        consecutive: bool = False,
    ) -> None:
        self.source, self.preprocess, self.pool = source, preprocess, pool
        self.consecutive = consecutive
        self.num_views, self.seed, self.skip_bad_images = num_views, seed, skip_bad_images
        self.objects = np.sort(objects)
        self.labels = source.labels
        self.groups = source.schema.groups

    def __len__(self) -> int:
        return len(self.objects)

    def __getitem__(self, draw: Draw) -> ViewBatch:
        return self.__getitems__([draw])

    def __getitems__(self, draws: list[Draw]) -> ViewBatch:
        """One batch; ``draws`` name the epoch and the objects.

        Raises:
            UserError: an image or latent cannot be read, or images differ in size.
        """
        if self.num_views is None:
            total = self.source.num_views
            chosen = np.broadcast_to(np.arange(total), (len(draws), total))
        else:
            chosen = self.source.choose(self.seed, draws, self.num_views, self.consecutive)
        canvas = _Canvas(chosen.shape[1], len(draws), self.pool)
        try:
            return self._batch(draws, chosen.tolist(), canvas)
        except BaseException:
            canvas.give_back()
            raise

    def _batch(self, draws: list[Draw], chosen: list[list[int]], canvas: _Canvas) -> ViewBatch:
        latents, read, skipped = [], [], 0
        for row, (draw, views) in enumerate(zip(draws, chosen, strict=True)):
            index, latent, failures = self._read(draw.item, views, canvas, row)
            skipped += failures
            latents.append(latent)
            read.append(index)
        stacked = torch.from_numpy(np.stack(latents)).float()
        return ViewBatch(
            images=canvas.images,
            actions=self.source.schema.elements(stacked),
            groups=self.groups,
            label=torch.from_numpy(self.labels[read]),
            index=torch.tensor(read),
            skipped=skipped,
        )

    def _read(
        self, index: int, views: list[int], canvas: _Canvas, row: int
    ) -> tuple[int, np.ndarray, int]:
        """Fill a row of the canvas; the object that was read, its latents, and failures before."""
        failures = 0
        while True:
            try:
                images, latents = self.source.read(index, views)
                for place, (image, view) in enumerate(zip(images, views, strict=True)):
                    name = partial(self.source.name_of, index, view)
                    self._place(image, canvas, place, row, name)
                return index, latents, failures
            except _OtherSize:
                raise
            except UserError:
                if not self.skip_bad_images or failures >= len(self):
                    raise
                failures += 1
                next_place = int(np.searchsorted(self.objects, index)) + 1
                index = int(self.objects[next_place % len(self)])

    def _place(
        self,
        image: bytes | np.ndarray,
        canvas: _Canvas,
        view: int,
        row: int,
        name: Callable[[], str],
    ) -> None:
        try:
            stored = image_size(image)
            size = self.preprocess.output_size(*stored)
            slot = canvas.slot(view, row, size)
            if slot is None:
                raise _OtherSize(
                    f"{name()} has {size[0]}x{size[1]} pixels where others have "
                    f"{canvas.size[0]}x{canvas.size[1]}: set data.preprocess.size"
                )
            if self.preprocess.keeps(*stored):
                decode_into(image, slot)
                return
            whole = np.empty((*stored, 3), np.uint8)
            decode_into(image, whole)
        except ValueError as error:
            raise UserError(
                f"{name()} is not a whole JPEG image ({error}): replace it or set "
                "data.skip_bad_images"
            ) from error
        shaped = self.preprocess.shape(torch.from_numpy(whole).permute(2, 0, 1), name())
        slot[...] = shaped.permute(1, 2, 0).numpy()


class _OtherSize(UserError):
    """A sound image that does not fit the batch: leaving it out would hide a missing setting."""


class _Canvas:
    """Memory of the images of V views of B objects, made when the first image tells its size.

    Args:
        num_views: V.
        num_objects: B.
        pool: Where the memory comes from while there is some.
    """

    def __init__(self, num_views: int, num_objects: int, pool: SharedPool | None) -> None:
        self.num_views, self.num_objects, self.pool = num_views, num_objects, pool
        self.size = (0, 0)

    def slot(self, view: int, row: int, size: tuple[int, int]) -> np.ndarray | None:
        """Where an image ``(H, W, 3)`` goes; None if it has another size than the first."""
        if self.size == (0, 0):
            shape = (self.num_views, self.num_objects, *size, 3)
            lent = None if self.pool is None else self.pool.take(shape)
            # numpy asks for huge pages: a fresh batch in small ones costs as much as its decoding
            self._pixels = torch.from_numpy(np.empty(shape, np.uint8)) if lent is None else lent
            self._slots, self.size = self._pixels.numpy(), size
        return self._slots[view, row] if size == self.size else None

    def give_back(self) -> None:
        """Free the memory of a batch that cannot be made: no receiver will."""
        if self.size != (0, 0):
            SharedPool.give_back(self._pixels)

    @property
    def images(self) -> Tensor:
        """All images, ``(B, V, 3, H, W)``."""
        return self._pixels.permute(_SHOWN)

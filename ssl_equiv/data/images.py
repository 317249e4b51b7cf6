"""The Lightning data module of image sets: every view is an augmentation of one image."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2 import functional as F

from ssl_equiv.data.draws import Draw, OrderedSampler, uniforms
from ssl_equiv.data.image_sets import holds_images, open_images
from ssl_equiv.data.image_sources import ImageSource
from ssl_equiv.data.module import ViewDataModule, ViewLoader
from ssl_equiv.data.views import IMAGENET_MEAN, IMAGENET_STD, Preprocess, ViewBatch
from ssl_equiv.errors import UserError
from ssl_equiv.transforms import Augmentation


class ImageDataset(Dataset[ViewBatch]):
    """Decodes batches of images and draws their views' elements.

    Without an augmentation a batch has one view, shaped by ``preprocess``, and no actions. With
    one it has the elements of ``num_views`` views, and either the bare images as its single
    view, uint8, to be augmented on the device, or the views themselves, float in [0, 1].

    Args:
        source: Stored images.
        preprocess: Shape of images that are not augmented.
        canvas: Side of the square that images are brought to first, pixels; None takes them as
            they are, all of one size.
        objects: Indices that draws may name: those of one split.
        augmentation: What makes the views.
        num_views: Views of each image.
        seed: Seed of the elements, which are a function of it, epoch, image and view alone.
        in_loader: Augment here rather than on the device.
        skip_bad_images: Put the next readable one of ``objects`` in the place of one that cannot
            be read, and count it, instead of raising.
    """

    def __init__(
        self,
        source: ImageSource,
        preprocess: Preprocess,
        canvas: int | None,
        objects: np.ndarray,
        augmentation: Augmentation | None = None,
        num_views: int = 1,
        seed: int = 0,
        in_loader: bool = False,
        skip_bad_images: bool = False,
    ) -> None:
        self.source, self.preprocess, self.canvas = source, preprocess, canvas
        self.objects = np.sort(objects)
        self.augmentation, self.num_views, self.seed = augmentation, num_views, seed
        self.in_loader, self.skip_bad_images = in_loader, skip_bad_images

    def __len__(self) -> int:
        return len(self.objects)

    def __getitem__(self, draw: Draw) -> ViewBatch:
        return self.__getitems__([draw])

    def __getitems__(self, draws: list[Draw]) -> ViewBatch:
        """One batch; ``draws`` name the epoch and the images.

        Raises:
            UserError: an image cannot be read, or images differ in size.
        """
        found = [self._read(draw.item) for draw in draws]
        index = [at for at, _, _ in found]
        sizes = {tuple(image.shape[-2:]) for _, image, _ in found}
        if len(sizes) > 1:
            raise UserError(
                f"{self.source.root} holds images of different sizes "
                f"({', '.join(f'{h}x{w}' for h, w in sorted(sizes)[:3])}): set data.canvas"
            )
        images = torch.stack([image for _, image, _ in found])
        batch = ViewBatch(
            images=images.unsqueeze(1),
            actions={},
            groups={},
            label=torch.from_numpy(self.source.labels[index]),
            index=torch.tensor(index),
            skipped=sum(failures for _, _, failures in found),
        )
        if self.augmentation is None:
            return batch
        (size,) = sizes
        # keyed by the image that is there, which is not the one drawn where that was skipped
        read = [Draw(draw.epoch, at) for draw, at in zip(draws, index, strict=True)]
        numbers = uniforms(self.seed, read, self.num_views, self.augmentation.num_draws)
        actions = self.augmentation.parameters(torch.from_numpy(numbers), (size[0], size[1]))
        batch = replace(batch, actions=actions, groups=self.augmentation.groups)
        return augment(batch, self.augmentation) if self.in_loader else batch

    def _read(self, index: int) -> tuple[int, Tensor, int]:
        """The image that was read, shaped, and how many before it were not."""
        failures = 0
        while True:
            try:
                image = self.source.image(index)
                break
            except UserError:
                if not self.skip_bad_images or failures >= len(self):
                    raise
                failures += 1
                next_place = int(np.searchsorted(self.objects, index)) + 1
                index = int(self.objects[next_place % len(self)])
        if self.canvas is not None and image.shape[-2:] != (self.canvas, self.canvas):
            image = F.center_crop(F.resize(image, [self.canvas], antialias=True), [self.canvas])
        if self.augmentation is None:
            image = self.preprocess.shape(image, self.source.name_of(index, 0))
        return index, image, failures


class ImageDataModule(ViewDataModule):
    """Augmented views of single images, each with the elements that made it.

    Loaders decode and draw; the views are made on the device, or, where that is the CPU and there
    are loader processes, in those. Either way they are the same, whatever the number of loaders
    and processes, and a resumed run goes on exactly.

    Args:
        root: Folder of an image set; see :func:`~ssl_equiv.data.image_sets.open_images`.
        augmentation: What makes the views of training, such as a preset by its class path
            (:mod:`ssl_equiv.transforms.presets`); None where images are only judged.
        num_views: Views of each image in a training batch.
        batch_size: Images per process in a batch.
        preprocess: Normalisation; and crop and size of images that are judged, not trained on.
        canvas: Side of the square that images are brought to when read (shorter side resized,
            centre cut), pixels: needed where sizes differ. Crops are drawn within it.
        splits: Splits whose images are trained on; for STL-10 ``[train, unlabeled]``.
        num_workers: Loader processes; None takes the cores that this process may use, at most 8.
        seed: Seed of the order and of all elements.
        skip_bad_images: Replace images that cannot be read, counting them, instead of stopping.

    Raises:
        UserError: no image set there, or it lacks a split.
    """

    source: ImageSource

    def __init__(
        self,
        root: str,
        augmentation: Augmentation | None = None,
        num_views: int = 2,
        batch_size: int = 256,
        preprocess: Preprocess = Preprocess(mean=IMAGENET_MEAN, std=IMAGENET_STD),  # noqa: B008
        canvas: int | None = None,
        splits: list[str] = ["train"],  # noqa: B006 (shown by --print_config, never changed)
        num_workers: int | None = None,
        seed: int = 0,
        skip_bad_images: bool = False,
    ) -> None:
        if num_views < 1:
            raise UserError(f"data.num_views is {num_views}: choose 1 or more")
        if canvas is not None and canvas < 1:
            raise UserError(f"data.canvas is {canvas}: choose 1 or more, or leave it out")
        super().__init__(
            batch_size=batch_size,
            num_views=1,  # as stored
            preprocess=preprocess,
            num_workers=num_workers,
            seed=seed,
            skip_bad_images=skip_bad_images,
            source=open_images(root),
        )
        self.num_views, self.augmentation, self.canvas = num_views, augmentation, canvas
        for split in splits:
            if split not in self.source.split:
                raise UserError(
                    f"data.splits: {root} has no split {split!r}: it has "
                    f"{', '.join(self.source.split)}"
                )
        self.source.split["train"] = np.sort(
            np.concatenate([self.source.split[split] for split in splits])
        )

    def train_dataloader(self) -> ViewLoader:
        """Shuffled batches of ``num_views`` views; incomplete batches are left out."""
        if self.augmentation is None:
            raise UserError(
                "data.augmentation: say what makes the views, such as class_path: "
                "ssl_equiv.transforms.presets.simclr_small"
            )
        sampler, dataset = self._train_sampler(), self._dataset("train", self.augmentation)
        return self._resumable(sampler, self._load(dataset, sampler, persistent=True))

    def all_views_dataloader(self, split: str, batch_size: int | None = None) -> Any:
        """Every image of a split once, in order, not augmented, shared out to the processes."""
        if split not in self.source.split or len(self.source.split[split]) == 0:
            some = (name for name, objects in self.source.split.items() if len(objects))
            raise UserError(
                f"{self.source.root} has no images in a split {split!r}: it has {', '.join(some)}"
            )
        size = max(1, 2 * self.batch_size) if batch_size is None else batch_size
        sampler = OrderedSampler(self.source.split[split], size, *self._process())
        return self._load(self._dataset(split), sampler)

    def on_after_batch_transfer(self, batch: ViewBatch, dataloader_idx: int) -> ViewBatch:
        """Make the views where the loader has not, and normalise, on the device."""
        if self.augmentation is not None and batch.actions and batch.images.dtype == torch.uint8:
            batch = augment(batch, self.augmentation)
        images = batch.images
        if images.is_floating_point():
            images = images * 255  # normalize takes levels
        return replace(batch, images=self.preprocess.normalize(images))

    def _image_size(self) -> int:
        first = Draw(0, int(self.source.split["train"][0]))
        return self._dataset("train", skip_bad_images=True)[first].images.shape[-1]

    def _dataset(
        self,
        split: str,
        augmentation: Augmentation | None = None,
        skip_bad_images: bool | None = None,
    ) -> ImageDataset:
        on_cpu = self.trainer is None or self.trainer.strategy.root_device.type == "cpu"
        return ImageDataset(
            self.source,
            self.preprocess,
            self.canvas,
            self.source.split[split],
            augmentation,
            self.num_views,
            self.seed,
            in_loader=on_cpu and self.num_workers > 0,
            skip_bad_images=self.skip_bad_images if skip_bad_images is None else skip_bad_images,
        )


def open_views(root: str, **options: Any) -> ViewDataModule:
    """The data module of whatever is in ``root``, to be judged: multi-view data or an image set.

    Args:
        root: Folder of a data set.
        options: Arguments that both kinds of module take.
    """
    return (ImageDataModule if holds_images(root) else ViewDataModule)(root, **options)


def augment(batch: ViewBatch, augmentation: Augmentation) -> ViewBatch:
    """The views that the batch's elements make of its images, float in [0, 1]."""
    images = batch.images[:, 0].float().div_(255)
    return replace(batch, images=augmentation.apply(images, batch.actions))


def _whole(batch: Any) -> Any:
    """What ``__getitems__`` makes is a batch already."""
    return batch

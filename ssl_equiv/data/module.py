"""The Lightning data module of multi-view data sets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
from lightning_utilities.core.rank_zero import rank_zero_warn
from torch.utils.data import DataLoader, Dataset

from ssl_equiv.data.draws import Draw, OrderedSampler, TrainSampler
from ssl_equiv.data.recycle import SharedPool
from ssl_equiv.data.sources import Source, open_source
from ssl_equiv.data.views import Preprocess, ViewBatch, ViewDataset
from ssl_equiv.errors import UserError
from ssl_equiv.signals import spare_loader

# cores on which a pass encodes no faster with loader processes: they would take their time from it,
# and each page that it writes to after they were forked is copied
_FEW = 4


class ViewLoader:
    """Batches of views, resumable in the middle of an epoch.

    The position counts the batches handed out, so a checkpoint written after a step continues
    with the next batch. Epochs follow one another by exhaustion: asking twice for an iterator
    does not skip one.

    Args:
        sampler: Who is in each batch of this process.
        loader: Makes the batches.
        redistribute: Continue a run whose global batch had another size, with the objects of the
            epoch that it has not seen (but for a part of a batch), instead of refusing.
    """

    def __init__(
        self,
        sampler: TrainSampler,
        loader: DataLoader[ViewBatch],
        redistribute: bool = False,
    ) -> None:
        self.sampler, self.loader, self.redistribute = sampler, loader, redistribute
        self.epoch = self.position = 0

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[ViewBatch]:
        self.sampler.epoch, self.sampler.first_batch = self.epoch, self.position
        for batch in self.loader:
            self.position += 1
            if self.position == len(self):
                self.epoch, self.position = self.epoch + 1, 0
            if batch.skipped:
                rank_zero_warn(f"{batch.skipped} unreadable objects were skipped in this batch")
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Where the next batch comes from."""
        size = self.sampler.batch_size * self.sampler.world_size
        return {"epoch": self.epoch, "position": self.position, "global_batch": size}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue from :meth:`state_dict`.

        Raises:
            UserError: the global batch had another size, and is not to be redistributed.
        """
        self.epoch, self.position = state["epoch"], state["position"]
        size = self.sampler.batch_size * self.sampler.world_size
        before = state.get("global_batch", size)
        if before == size:
            return
        if not self.redistribute:
            raise UserError(
                f"the run's global batch was {before} objects, now it is {size} "
                f"({self.sampler.world_size} processes of {self.sampler.batch_size}): choose "
                "data.batch_size and the number of processes to repeat it, or continue otherwise "
                "by --redistribute true"
            )
        self.position = batches_done(state, self.sampler)
        if self.position == len(self):
            self.epoch, self.position = self.epoch + 1, 0


def batches_done(state: dict[str, int], sampler: TrainSampler) -> int:
    """How many of a sampler's batches hold what a :class:`ViewLoader` had handed out of its epoch.

    Args:
        state: The loader's state, of any number of processes and batch size.
        sampler: The sampler of the continuation.
    """
    size = sampler.batch_size * sampler.world_size
    seen = state["position"] * state.get("global_batch", size)
    return min(-(-seen // size), len(sampler))


class ViewDataModule(pl.LightningDataModule):
    """Views of objects, each a known group element, from shards or the published folder.

    Args:
        root: Folder of the data set; or give ``source``.
        num_views: Views per object in a training batch, drawn without replacement.
        consecutive: Draw views that follow one another, for data that are paths.
        batch_size: Objects per process in a batch.
        preprocess: Crop, size and normalisation of the images.
        num_workers: Loader processes; None takes the cores that this process may use, at most 8,
            and none for a pass over all views on a CPU with few cores.
        seed: Seed of object order and view draws.
        skip_bad_images: Replace objects that cannot be read, counting them, instead of stopping.
        source: Where views come from instead of a folder, such as ``data_gen.live.LiveSource``.

    Attributes:
        redistribute: Whether a run may continue with a global batch of another size.

    Raises:
        UserError: no data set there, or it has fewer views or objects than asked for.
    """

    redistribute = False

    def __init__(
        self,
        root: str | None = None,
        num_views: int = 2,
        batch_size: int = 256,
        preprocess: Preprocess = Preprocess(),  # noqa: B008 (frozen; shown by --print_config)
        num_workers: int | None = None,
        seed: int = 0,
        skip_bad_images: bool = False,
        source: Source | None = None,
        consecutive: bool = False,
    ) -> None:
        super().__init__()
        if num_views < 1 or batch_size < 1:
            raise UserError("data.num_views and data.batch_size must be at least 1")
        if num_workers is not None and num_workers < 0:
            raise UserError(f"data.num_workers is {num_workers}: choose 0 or more")
        self.num_views, self.batch_size, self.consecutive = num_views, batch_size, consecutive
        self.preprocess, self.seed, self.skip_bad_images = preprocess, seed, skip_bad_images
        self._cores = len(os.sched_getaffinity(0))
        self._choose_workers = num_workers is None
        self.num_workers = min(self._cores, 8) if num_workers is None else num_workers
        if root is not None and source is not None:
            raise UserError("data.root and data.source are both given: leave one out")
        if root is not None:
            source = open_source(root)
        if source is None:
            raise UserError("no data: give data.root, a data set's folder, or data.source")
        self.source = source
        self._train: ViewLoader | None = None
        self._position: dict[str, int] | None = None
        if num_views > self.source.num_views:
            raise UserError(
                f"data.num_views is {num_views}, but the objects in {self.source.root} have "
                f"{self.source.num_views} views: lower it"
            )

    def description(self) -> dict[str, Any]:
        """What a checkpoint tells of its data: preprocessing, factors, classes, digest."""
        return {
            "preprocess": self.preprocess.to_dict(),
            "latents": self.source.schema.to_list(),
            "image_size": self._image_size(),
            "classes": len(self.source.classes),
            "fingerprint": self.source.fingerprint,
            "ranges": dict(self.source.ranges),
        }

    def train_dataloader(self) -> ViewLoader:
        """Shuffled batches of ``num_views`` views; incomplete batches are left out."""
        sampler, pool = self._train_sampler(), None
        if self.num_workers:
            num_bytes = sampler.batch_size * self.num_views * 3 * self._image_size() ** 2
            with suppress(OSError):  # more than the system promises: tensors go their usual way
                pool = SharedPool(self.num_workers, num_bytes)
        return self._resumable(sampler, self._loader(sampler, "train", self.num_views, pool, True))

    def _train_sampler(self) -> TrainSampler:
        if self.batch_size < 2:
            raise UserError(
                f"data.batch_size is {self.batch_size}: statistics over a batch need 2 at least "
                "for each process"
            )
        objects, (rank, world_size) = self.source.split["train"], self._process()
        batch_size = min(self.batch_size, len(objects) // world_size)
        if 1 < batch_size < self.batch_size:
            rank_zero_warn(
                f"data.batch_size is lowered from {self.batch_size} to {batch_size}: the data set "
                f"has {len(objects)} training objects for {world_size} processes"
            )
        return TrainSampler(objects, batch_size, self.seed, rank, world_size)

    def _resumable(self, sampler: TrainSampler, loader: DataLoader[ViewBatch]) -> ViewLoader:
        self._train = ViewLoader(sampler, loader, self.redistribute)
        if self._position is not None:
            self._train.load_state_dict(self._position)
        return self._train

    def state_dict(self) -> dict[str, Any]:
        """Where the next training batch comes from."""
        return {} if self._train is None else self._train.state_dict()

    def batches_done(self, state_dict: dict[str, Any]) -> int | None:
        """Batches of the epoch behind :meth:`state_dict`, where they are of another size now."""
        sampler = self._train_sampler()
        size = sampler.batch_size * sampler.world_size
        if state_dict.get("global_batch", size) == size:
            return None
        done = batches_done(state_dict, sampler)
        # the end of an epoch is stored as the start of the next
        return done if state_dict["position"] else len(sampler)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`.

        The trainer restores a loader's own state only if nobody has asked before for the number
        of steps of the run, which a schedule does; this comes before anything is asked.
        """
        self._position = state_dict or None

    def all_views_dataloader(self, split: str, batch_size: int | None = None) -> Any:
        """Every view of every object of a split once, in order, shared out to the processes."""
        if split not in self.source.split:
            raise UserError(
                f"{self.source.root} has no split {split!r}: it has {', '.join(self.source.split)}"
            )
        if len(self.source.split[split]) == 0:
            raise UserError(
                f"{self.source.root} has no objects in its split {split!r}: generate it with a "
                "larger val_fraction, or add split files"
            )
        if batch_size is None:
            batch_size = max(1, 2 * self.batch_size // self.source.num_views)
        sampler = OrderedSampler(self.source.split[split], batch_size, *self._process())
        return self._loader(sampler, split, None)

    def on_after_batch_transfer(self, batch: ViewBatch, dataloader_idx: int) -> ViewBatch:
        """Normalise on the device: bytes travel, not floats."""
        return replace(batch, images=self.preprocess.normalize(batch.images))

    def _image_size(self) -> int:
        if self.source.image_size is not None:
            return self.preprocess.output_size(*2 * (self.source.image_size,))[1]
        objects = self.source.split["train"]
        dataset = ViewDataset(self.source, self.preprocess, objects, 1, skip_bad_images=True)
        return dataset[Draw(0, int(objects[0]))].images.shape[-1]

    def _process(self) -> tuple[int, int]:
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    def _loader(
        self,
        sampler: Any,
        split: str,
        num_views: int | None,
        pool: SharedPool | None = None,
        persistent: bool = False,
    ) -> DataLoader[ViewBatch]:
        dataset = ViewDataset(
            self.source,
            self.preprocess,
            self.source.split[split],
            num_views,
            self.seed,
            self.skip_bad_images,
            pool,
            self.consecutive,
        )
        return self._load(dataset, sampler, persistent)

    def _load(
        self, dataset: Dataset[Any], sampler: Any, persistent: bool = False
    ) -> DataLoader[Any]:
        """A loader of a data set whose items are batches already."""
        device = None if self.trainer is None else self.trainer.strategy.root_device.type
        workers = self.num_workers
        if self._choose_workers and not persistent and device == "cpu" and self._cores <= _FEW:
            workers = 0
        return DataLoader(
            dataset,
            batch_sampler=sampler,
            num_workers=workers,
            collate_fn=_already_a_batch,
            worker_init_fn=spare_loader,
            persistent_workers=persistent and workers > 0,
            pin_memory=device == "cuda",
        )


def _already_a_batch(batch: Any) -> Any:
    return batch

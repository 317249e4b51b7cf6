"""Features of every view, computed once: a Lightning predict pass over any number of devices."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, RichProgressBar
from rich.progress import ProgressColumn, Task
from rich.text import Text
from torch import Tensor, nn

from eval.cache import FeatureSet, cache_key, read_features, stale_because
from eval.chunks import Chunks, publish
from eval.runner import make_trainer, quiet
from ssl_equiv.data.module import ViewDataModule
from ssl_equiv.data.views import ViewBatch
from ssl_equiv.errors import UserError
from ssl_equiv.representation import Representation

log = logging.getLogger(__name__)


class Encoder(Protocol):
    """What is judged: a ``torch.nn.Module`` with this method."""

    def encode(self, images: Tensor) -> Representation:
        """The representation ``(B, D)`` of normalised images ``(B, C, H, W)``."""
        ...


def extract(
    model: Encoder,
    data: ViewDataModule,
    cache_dir: str | Path,
    *,
    split: str,
    name: str = "features",
    batch_size: int | None = None,
    trainer_options: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> FeatureSet:
    """Features of all views of a split, from the cache where it holds just these.

    The cache is the folder ``cache_dir/name-split``. It is keyed by content: the model's weights
    and architecture, the data set's fingerprint, the split, the preprocessing and the precision.
    Features of another key there are stale: they are recomputed and one log line says why. A pass
    that was interrupted goes on with the objects that are missing.

    Args:
        model: A module with ``encode``; it is used in eval mode and left as it was.
        data: The data set.
        cache_dir: Where features are kept; all processes must see the same folder.
        split: Which objects.
        name: Tells caches of several models in one ``cache_dir`` apart.
        batch_size: Objects per batch and process; by default the data module's choice.
        trainer_options: Lightning Trainer arguments (devices, strategy, precision, ...). With
            ``precision="bf16-mixed"`` the pass runs under autocast; features are float32 anyway.
        progress: Show a progress bar with views per second.

    Returns:
        Memory-mapped features with the actions and labels of their views, in the order of index.

    Raises:
        UserError: features are not finite, no object could be read, or the folder cannot be
            written.
    """
    assert isinstance(model, nn.Module)
    folder = Path(cache_dir) / f"{name}-{split}"
    options = dict(trainer_options or {})
    key = cache_key(model, data, split, str(options.get("precision", "32-true")))
    reason = stale_because(folder, key)
    if reason is None:
        return read_features(folder)
    if reason:
        log.warning("%s: the cached features are stale (%s): recomputing them", folder, reason)
    chunks = Chunks(folder, key)
    callbacks: list[Callback] = [ViewProgressBar(split)] if progress else []
    module = FeaturePass(model, data, split, batch_size, chunks)
    trainer = make_trainer(options, callbacks=callbacks, enable_progress_bar=progress)
    with _as_found(model), quiet():
        trainer.predict(module, return_predictions=False)
    return read_features(folder)


class FeaturePass(pl.LightningModule):
    """Encode batches of views and write them to disk in chunks; process 0 then joins the chunks.

    Args:
        model: A module with ``encode``.
        data: The data set.
        split: Which objects.
        batch_size: Objects per batch and process, or None.
        chunks: Where results go.
    """

    def __init__(
        self,
        model: nn.Module,
        data: ViewDataModule,
        split: str,
        batch_size: int | None,
        chunks: Chunks,
    ) -> None:
        super().__init__()
        self.model, self.data, self.split = model, data, split
        self.batch_size, self.chunks = batch_size, chunks
        self.views_per_batch = 0

    def predict_dataloader(self) -> Any:
        """The data module's pass over all views, less the objects that are done already."""
        self.data.trainer, before = self.trainer, self.data.trainer
        try:
            loader = self.data.all_views_dataloader(self.split, self.batch_size)
        finally:
            self.data.trainer = before
        sampler = loader.batch_sampler
        sampler.objects = sampler.objects[~np.isin(sampler.objects, self.chunks.done())]
        self.views_per_batch = sampler.batch_size * self.data.source.num_views
        self.views_per_batch *= self.trainer.world_size
        return loader

    def on_after_batch_transfer(self, batch: ViewBatch, dataloader_idx: int) -> ViewBatch:
        """Normalise on the device, as in training."""
        return self.data.on_after_batch_transfer(batch, dataloader_idx)

    def predict_step(self, batch: ViewBatch, batch_idx: int) -> None:
        """Encode one batch of B objects with V views each."""
        objects, views = batch.images.shape[:2]
        images = batch.images.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        representation = self.model.encode(images)  # type: ignore[operator]
        features = representation.features.float()
        if features.ndim != 2 or len(features) != len(images):
            raise UserError(
                f"the model gives features {tuple(features.shape)} for {len(images)} images, not "
                "(images, width): judge a network that pools its features (timm: num_classes=0)"
            )
        if not torch.isfinite(features).all():
            index = batch.index[~torch.isfinite(features).view(objects, -1).all(dim=1)]
            raise UserError(
                f"the features of object {index[0].item()} ({self.split}) are not finite: the "
                "model's weights or the images are damaged; use another checkpoint or precision"
            )
        self.chunks.add(
            features.unflatten(0, (objects, views)),
            batch.actions,
            batch.label,
            batch.index,
            parts=dict(representation.parts),
        )

    def on_predict_end(self) -> None:
        """Join what all processes wrote."""
        self.chunks.flush()
        self.trainer.strategy.barrier()
        if self.trainer.is_global_zero:
            source = self.data.source
            expected = None if self.data.skip_bad_images else len(source.split[self.split])
            groups = {name: group.name for name, group in source.schema.groups.items()}
            publish(self.chunks, self.split, groups, source.classes, expected)
        self.trainer.strategy.barrier()


class ViewsPerSecond(ProgressColumn):
    """Views encoded per second, all processes together."""

    def __init__(self, bar: ViewProgressBar) -> None:
        super().__init__()
        self.bar = bar

    def render(self, task: Task) -> Text:
        """The mean speed over the last batches."""
        speed = task.finished_speed or task.speed or 0.0
        return Text(f"{speed * self.bar.views_per_batch:,.0f} views/s")


class ViewProgressBar(RichProgressBar):
    """Lightning's bar with views per second in place of batches per second.

    Args:
        split: Named beside the bar.
    """

    def __init__(self, split: str) -> None:
        super().__init__()
        self.split, self.views_per_batch = split, 0

    @property
    def predict_description(self) -> str:
        """What stands left of the bar."""
        return f"Features ({self.split})"

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note how many views a batch has."""
        assert isinstance(pl_module, FeaturePass)
        self.views_per_batch = pl_module.views_per_batch
        super().on_predict_start(trainer, pl_module)

    def configure_columns(self, trainer: pl.Trainer) -> list[Any]:
        """Lightning's columns, the last one replaced."""
        return [*super().configure_columns(trainer)[:-1], ViewsPerSecond(self)]


@contextmanager
def _as_found(model: nn.Module) -> Iterator[None]:
    """Give a model back with each of its modules in the mode it had."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training

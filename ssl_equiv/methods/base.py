"""What all methods share: a backbone, a step that sums named terms, an optimiser."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from ssl_equiv.backbones import BackboneConfig, create_backbone, feature_width
from ssl_equiv.backbones.lidar import EncoderConfig
from ssl_equiv.distributed import is_distributed, synchronize_batchnorm
from ssl_equiv.errors import UserError
from ssl_equiv.methods.optimizer import OptimizerConfig, schedule_factor
from ssl_equiv.regularizers.base import Regularizer
from ssl_equiv.representation import Representation

__all__ = ["Method", "OptimizerConfig", "class_path"]


class Method(pl.LightningModule):
    """Base of all methods.

    A subclass sets ``weights`` and implements :meth:`terms`; one that splits its representation
    overrides :attr:`parts`. The base sums ``weights[name] * terms[name]``, logs every term,
    and hands each view's representation to callbacks. Methods on other data than images override
    :meth:`make_backbone` and :meth:`encode_batch`; what they call a batch knows its ``num_views``
    and the ``label`` of its samples.

    Args:
        backbone: The network that is pretrained.
        optimizer: Optimiser and schedule.
        compile: Compile the backbone with ``torch.compile``.
        channels_last: Keep the backbone in channels-last memory format.

    Attributes:
        weights: Loss coefficient of each term.
        num_views: Views of each object that a step takes.
        parts: Named columns of the representation.
        dim: Width of the representation.
        regularizers: What else is added to the loss; see :meth:`regularize`.
        step_seed: Seed of this step, the same on every process: for draws keyed by sample.
    """

    weights: Mapping[str, float]
    num_views = 2

    def __init__(
        self,
        backbone: BackboneConfig | EncoderConfig,
        optimizer: OptimizerConfig,
        compile: bool = False,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)  # the subclass's arguments
        own = inspect.signature(type(self)).parameters
        for name in [name for name in self.hparams if name not in own]:
            del self.hparams[name]  # an argument of a parent class, which the subclass settles
        for name, value in self.hparams.items():
            if is_dataclass(value) and not isinstance(value, type):
                self.hparams[name] = asdict(value)  # checkpoints hold plain values only
        self.backbone, self.dim = self.make_backbone(backbone)
        self.optimizer_config = optimizer
        self.regularizers = nn.ModuleList()
        self.step_seed = 0
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.backbone.to(memory_format=self.memory_format)
        if compile:
            self.compile_backbone()

    def make_backbone(self, config: Any) -> tuple[nn.Module, int]:
        """The network that is pretrained, and the width of its representation."""
        backbone = create_backbone(config)
        return backbone, feature_width(backbone)

    def compile_backbone(self) -> None:
        """Compile what a step calls of the backbone."""
        self.backbone.compile()

    @property
    def parts(self) -> dict[str, tuple[int, int]]:
        """Named columns of the representation."""
        return {}

    @property
    def backbone_parts(self) -> dict[str, tuple[int, int]]:
        """Named columns of the backbone's own output, which is what is exported."""
        return self.parts

    def encode(self, images: Tensor) -> Representation:
        """The representation ``(B, D)`` of normalised images ``(B, C, H, W)``."""
        images = images.contiguous(memory_format=self.memory_format)
        return self.represent(self.backbone(images))

    def represent(self, features: Tensor) -> Representation:
        """Features ``(B, D)`` with the names of their columns.

        Raises:
            UserError: they have another width than the method was built for.
        """
        if features.ndim != 2 or features.shape[1] != self.dim:
            raise UserError(
                f"the backbone makes features {tuple(features.shape[1:])} of an image, where timm "
                f"states ({self.dim},): choose another model.backbone, or other options of it"
            )
        return Representation(features, self.parts)

    def observe(self, batch: Any) -> Any:
        """The views that a step learns from; a method that makes them itself overrides it."""
        return batch

    def encode_batch(self, batch: Any) -> list[Representation]:
        """The representation of each view of a batch."""
        return self.encode_views(batch.images)

    def encode_views(self, images: Tensor) -> list[Representation]:
        """The representation of each view of ``images (B, V, C, H, W)``."""
        # each view is a call of its own: BatchNorm sees one view at a time, as the papers' code
        return [self.encode(images[:, view]) for view in range(images.shape[1])]

    def terms(self, views: list[Any], batch: Any) -> dict[str, Tensor]:
        """Unweighted loss terms from the representation of each view."""
        raise NotImplementedError  # no abstract method: a LightningModule is no ABC to notice it

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """The loss: the weighted sum of the terms."""
        return torch.stack([weight * terms[name] for name, weight in self.weights.items()]).sum()

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """One step; returns the loss and, detached, the views' representations and labels."""
        self.check_views(batch)
        batch = self.observe(batch)
        views = self.encode_batch(batch)
        features = torch.stack([view.features for view in views], dim=1)
        return self.outcome(self.terms(views, batch), features, batch)

    def check_views(self, batch: Any) -> None:
        """Refuse a batch with another number of views than the method takes."""
        if batch.num_views != self.num_views:
            raise UserError(
                f"{type(self).__name__} takes {self.num_views} views of each object, not "
                f"{batch.num_views}: set data.num_views to {self.num_views}"
            )

    def outcome(self, terms: Mapping[str, Tensor], features: Tensor, batch: Any) -> dict[str, Any]:
        """Add the regularizers and log all terms.

        Returns:
            What a step does, with features ``(B, V, D)`` and terms detached.
        """
        loss, detached = self.total(terms), {name: term.detach() for name, term in terms.items()}
        for regularizer in self.regularizers:
            assert isinstance(regularizer, Regularizer)
            further = regularizer.terms(self.backbone, features, batch, self.step_seed)
            for name, term in further.items():
                loss = loss + regularizer.weights[name] * term
                detached[f"{regularizer.name}/{name}"] = term.detach()
        logged = {f"train/{name}": value for name, value in {**detached, **self.found()}.items()}
        self.log_dict({**logged, "train/loss": loss.detach()}, prog_bar=False)
        label = batch.label
        return {"loss": loss, "terms": detached, "features": features.detach(), "label": label}

    def regularize(self, regularizers: Sequence[Regularizer]) -> None:
        """Add terms of ``regularizers`` to the loss; to be called before training.

        Raises:
            UserError: two have one name, or one does not fit the method.
        """
        parts = {"all": (0, self.dim), **self.parts}
        for regularizer in regularizers:
            if regularizer.name in {other.name for other in self.regularizers}:
                raise UserError(
                    f"regularizers: there are two {type(regularizer).__name__}: leave one out"
                )
            regularizer.build(self.backbone, parts)
            self.regularizers.append(regularizer)

    def found(self) -> dict[str, Tensor]:
        """What the regularizers have learnt of the data, such as ``strength/rotation``."""
        each = [r.found() for r in self.regularizers if isinstance(r, Regularizer)]
        return {name: value for found in each for name, value in found.items()}

    def setup(self, stage: str) -> None:
        """Synchronise BatchNorm where there are several processes: losses see the global batch."""
        if stage == "fit" and is_distributed():
            for name, child in self.named_children():
                device = self.trainer.strategy.root_device
                setattr(self, name, synchronize_batchnorm(child, device))

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed this step's noise from (seed, process, step): a resumed run repeats it exactly."""
        seed = self.trainer.datamodule.seed if self.trainer.datamodule is not None else 0  # type: ignore[attr-defined]
        step = self.trainer.fit_loop.epoch_loop.total_batch_idx
        torch.manual_seed(hash((seed, self.global_rank, step)) & 0x7FFFFFFF)
        self.step_seed = hash((seed, step)) & 0x7FFFFFFF

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, once per accumulated batch, then :meth:`after_optimizer_step`."""
        step = self.trainer.global_step
        super().optimizer_step(*args, **kwargs)
        self.after_optimizer_step(step)

    def after_optimizer_step(self, step: int) -> None:
        """What follows optimiser step ``step`` (from 0), such as a moving average of weights."""

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam or AdamW, fused, with the configured schedule per step."""
        config = self.optimizer_config
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.name]
        optimizer = kind(
            [p for p in self.parameters() if p.requires_grad],  # a target network has none
            lr=config.lr,
            weight_decay=config.weight_decay,
            fused=True,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, schedule_factor(config, self.trainer.estimated_stepping_batches)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what is needed to make this method again from the file alone."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        checkpoint["ssl_equiv"] = {
            "class_path": class_path(type(self)),
            "data": {} if data is None else data.description(),
            "found": {name: value.item() for name, value in self.found().items()},
        }


def class_path(cls: type) -> str:
    """The name by which a class is imported."""
    return f"{cls.__module__}.{cls.__qualname__}"

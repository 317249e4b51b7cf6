"""A linear classifier trained beside the method, on features that carry no gradient back."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from ssl_equiv.data.views import ViewBatch
from ssl_equiv.methods.base import Method

_UNKNOWN = -100  # label of an image that has none, as in STL-10's unlabelled split


class OnlineProbe(pl.Callback):
    """Watch linear separability while a method trains.

    Each batch is classified before it is learnt from, so ``probe/top1`` is an accuracy on images
    whose draw is new; labels and features never reach the method's loss.

    Args:
        num_classes: Number of classes.
        lr: Learning rate of the probe's Adam.
    """

    def __init__(self, num_classes: int, lr: float = 1e-3) -> None:
        self.num_classes, self.lr = num_classes, lr
        self._restored: dict[str, Any] | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Build the classifier, the same on every process."""
        assert isinstance(pl_module, Method)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.head = nn.Linear(pl_module.dim, self.num_classes).to(pl_module.device)
        self.optimizer = torch.optim.Adam(self.head.parameters(), lr=self.lr)
        if self._restored is not None:
            self.head.load_state_dict(self._restored["head"])
            self.optimizer.load_state_dict(self._restored["optimizer"])

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: ViewBatch,
        batch_idx: int,
    ) -> None:
        """Classify the batch, log, then take one step."""
        features = outputs["features"].flatten(0, 1).float()
        label = outputs["label"].repeat_interleave(outputs["features"].shape[1])
        known = label != _UNKNOWN
        with torch.enable_grad(), torch.autocast(features.device.type, enabled=False):
            logits = self.head(features)
            # a sum over those that have a label: none of them gives 0, not NaN
            loss = F.cross_entropy(logits, label, ignore_index=_UNKNOWN, reduction="sum")
            loss = loss / known.sum().clamp_min(1)
            gradients = torch.autograd.grad(loss, list(self.head.parameters()))
        for parameter, gradient in zip(self.head.parameters(), gradients, strict=True):
            if trainer.world_size > 1:
                dist.all_reduce(gradient)
                gradient /= trainer.world_size
            parameter.grad = gradient
        self.optimizer.step()
        right = (logits.argmax(1) == label).sum() / known.sum().clamp_min(1)
        pl_module.log("probe/loss", loss.detach())
        pl_module.log("probe/top1", right, prog_bar=True)

    def state_dict(self) -> dict[str, Any]:
        """The classifier and its optimiser, for exact resume."""
        return {"head": self.head.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state until the classifier is built."""
        self._restored = state_dict

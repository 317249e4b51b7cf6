"""What probes share: networks on frozen features whose parts and seeds train at once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MetricCollection

from eval.cache import FeatureSet
from eval.stacked import Draws, stacked_mlp
from ssl_equiv.errors import UserError

_READY_BYTES = 1 << 30  # of training features that are kept as steps want them
_LEAST_SPREAD = 0.05  # of the columns' typical deviation: what a column counts for at least


@dataclass(frozen=True)
class ProbeRecipe:
    """How a probe is trained. The defaults are the published protocol (SIE, EquiCaps).

    Args:
        epochs: Visits of each object, each with one of its views (or one ordered pair) drawn anew.
        batch_size: Samples per step and seed.
        lr: Learning rate of Adam.
        schedule: ``constant``, or ``one_cycle``: up to ``lr`` in a tenth of the steps, then by a
            cosine to almost zero.
        standardize: Shift and scale each feature to mean 0 and deviation 1 over the training views
            first; columns that hardly vary stay smaller. The papers do not; it makes short
            recipes converge.
        hidden: Hidden widths of the regressor; none makes it linear.
        precision: As Lightning's; ``auto`` takes bf16 where the hardware multiplies it natively.
    """

    epochs: int = 300
    batch_size: int = 256
    lr: float = 1e-3
    schedule: Literal["constant", "one_cycle"] = "constant"
    standardize: bool = False
    hidden: tuple[int, ...] = (1024, 1024)
    precision: str = "32-true"


class StackedProbe(nn.Module):
    """Base of probes: ``len(parts) * len(seeds)`` members over one table of features.

    Batches are index tensors; features are gathered on the device where they lie. Parts share a
    seed's draws. On several processes each takes a slice of every batch, so the result does not
    depend on their number.

    Args:
        train: Features to learn from.
        val: Features to be judged on.
        parts: Names of parts of one width.
        seeds: Seeds; each fixes weights and batches.
        recipe: How to train.
    """

    picks: int  # views that make a sample
    val_batch: int = 4096  # samples that are judged at a time
    metrics: MetricCollection
    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        train: FeatureSet,
        val: FeatureSet,
        parts: Sequence[str],
        seeds: Sequence[int],
        recipe: ProbeRecipe,
    ) -> None:
        super().__init__()
        self.sets = {"train": train, "val": val}
        self.tables = {name: features.features for name, features in self.sets.items()}
        self.ready = False  # whether the training table is as steps want it
        self.parts, self.seeds, self.recipe = tuple(parts), tuple(seeds), recipe
        self.columns = [train.columns(part) for part in parts]
        widths = {past - first for first, past in self.columns}
        if len(widths) != 1:
            raise UserError(f"parts {', '.join(parts)} differ in width: probe them one by one")
        self.width = widths.pop()
        self.members = (len(self.parts), len(self.seeds))
        self.draws = Draws(
            seeds, train.num_objects, train.num_views, self.picks, recipe.epochs, recipe.batch_size
        )
        if recipe.standardize:
            mean, std = _moments(train.features)
            self.register_buffer("mean", mean)
            self.register_buffer("scale", 1 / std)

    def judge_on(self, views: FeatureSet) -> None:
        """Judge on other features from now on."""
        self.sets["val"], self.tables["val"] = views, views.features
        for module in self.modules():
            if isinstance(module, MetricCollection):
                module.reset()

    def build(self, inputs: int, hidden: Sequence[int], outputs: int) -> None:
        """Make the networks, one a member."""
        seeds = self.seeds * len(self.parts)
        self.net = stacked_mlp([inputs, *hidden, outputs], seeds)

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.net.parameters()).device

    @abstractmethod
    def answers(self, chosen: Tensor) -> Tensor:
        """What answers training samples ``(1 + picks, S, B)`` best, ``(S, B, ...)``."""

    @abstractmethod
    def loss(self, output: Tensor, answers: Tensor) -> Tensor:
        """Mean loss of each member, ``(P, S)``, of outputs ``(P, S, B, o)``."""

    @abstractmethod
    def judge(self, output: Tensor, chosen: Tensor) -> None:
        """Update the metrics with outputs ``(P, S, B, o)`` of validation samples ``(1 + k, B)``."""

    @abstractmethod
    def results(self) -> dict[str, Tensor]:
        """The metrics, ``(P, S)`` each."""

    @abstractmethod
    def baseline(self) -> dict[str, float]:
        """What each metric gives to a constant answer, the best on the training targets."""

    def inputs(self, split: str, chosen: Tensor) -> Tensor:
        """Features ``(P, S, B, d)`` of samples ``(1 + picks, [S,] B)`` of a split."""
        table = self.tables[split]
        chosen = chosen.to(table.device)
        rows, flat = chosen[0] * table.shape[1] + chosen[1:], table.flatten(0, 1)
        picked = [F.embedding(row, flat).to(self.device) for row in rows]
        if self.recipe.standardize and not (split == "train" and self.ready):
            picked = [(x - self.mean) * self.scale for x in picked]
        x_PSBD = picked[0].new_empty(
            len(self.parts), *chosen.shape[1:], len(picked) * self.width, device=self.device
        )
        for x_SBD, (a, b) in zip(x_PSBD, self.columns, strict=True):
            torch.cat([x[..., a:b] for x in picked], dim=-1, out=x_SBD)
        if x_PSBD.ndim == 3:  # validation samples are the same for all seeds
            x_PSBD = x_PSBD.unsqueeze(1).expand(-1, self.members[1], -1, -1)
        return x_PSBD

    def forward(self, split: str, chosen: Tensor) -> Tensor:
        """Outputs ``(P, S, B, o)`` for samples ``(1 + picks, [S,] B)`` of a split."""
        output: Tensor = self.net(self.inputs(split, chosen).flatten(0, 1))
        return torch.unflatten(output, 0, self.members).float()

    def make_ready(self, precision: str) -> None:
        """Have the training features ready for steps where there is room; else they stay on disk.

        Ready is: standardised and in the type of products, which changes no number of a step, and
        on the accelerator.

        Args:
            precision: As Lightning's, of the steps.
        """
        room = _READY_BYTES
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            room = free // 2
            if sum(table.nbytes for table in self.tables.values()) < room:
                self.tables = {name: table.to(self.device) for name, table in self.tables.items()}
        half = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
        table = self.tables["train"]
        dtype = half.get(precision, table.dtype)
        if table.numel() * dtype.itemsize < room:
            ready = torch.empty(table.shape, dtype=dtype, device=table.device)
            for some, of in zip(torch.split(ready, 1024), torch.split(table, 1024), strict=True):
                standard = self.recipe.standardize
                some.copy_((of.to(self.device) - self.mean) * self.scale if standard else of)
            self.tables["train"], self.ready = ready, True

    def val_samples(self) -> Tensor:
        """All views of the validation objects, ``(2, N V)``."""
        val = self.sets["val"]
        return torch.cartesian_prod(torch.arange(val.num_objects), torch.arange(val.num_views)).T


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each column, ``(D,)``, some objects at a time."""
    total = torch.zeros(features.shape[-1], dtype=torch.float64)
    squares, count = total.clone(), features.shape[0] * features.shape[1]
    for some in torch.split(features, 1024):
        flat = some.flatten(0, 1).double()
        total += flat.sum(dim=0)
        squares += flat.square().sum(dim=0)
    mean = total / count
    std = (squares / count - mean.square()).clamp_min(0).sqrt()
    # columns that hardly ever vary would be blown up by the rare view in which they do
    floor = (_LEAST_SPREAD * std.square().mean().sqrt()).clamp_min(1e-6 * mean.abs().max())
    return mean.float(), std.clamp_min(floor.clamp_min(1e-12)).float()

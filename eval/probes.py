"""The linear probe: classification of single views."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MetricCollection

from eval.cache import FeatureSet
from eval.metrics import TopKAccuracy, top_k_accuracy
from eval.probe import ProbeRecipe, StackedProbe
from ssl_equiv.errors import UserError
from ssl_equiv.heads import equiangular_basis


class LinearProbe(StackedProbe):
    """Linear classification of single views: ``top1`` and ``top5`` in [0, 1].

    Arguments as :class:`StackedProbe`; ``recipe.hidden`` is not used.

    Raises:
        UserError: all training objects have one class.
    """

    picks = 1
    smoothing = 0.0  # share of the target that is spread over all classes

    def __init__(
        self,
        train: FeatureSet,
        val: FeatureSet,
        parts: Sequence[str],
        seeds: Sequence[int],
        recipe: ProbeRecipe,
    ) -> None:
        super().__init__(train, val, parts, seeds, recipe)
        present = torch.unique(train.labels)
        if len(present) < 2:
            name = train.class_names[int(present[0])]
            raise UserError(
                f"all {train.num_objects} training objects are of the class {name!r}: a linear "
                "probe needs two classes or more; leave it out or add objects"
            )
        self.num_classes = len(train.class_names)
        self.build(self.width, (), self.num_classes)
        self.metrics = MetricCollection(
            {f"top{k}": TopKAccuracy(k, self.members) for k in (1, 5)}, compute_groups=False
        )

    def answers(self, chosen: Tensor) -> Tensor:
        """Classes, ``(S, B)``."""
        return self.sets["train"].labels[chosen[0]]

    def loss(self, output: Tensor, answers: Tensor) -> Tensor:
        """Cross-entropy."""
        losses = F.cross_entropy(
            output.movedim(-1, 1),
            answers.expand(output.shape[:-1]),
            reduction="none",
            label_smoothing=self.smoothing,
        )
        return losses.mean(dim=-1)

    def judge(self, output: Tensor, chosen: Tensor) -> None:
        """Count hits."""
        self.metrics.update(output, self.sets["val"].labels[chosen[0]].to(output.device))

    def results(self) -> dict[str, Tensor]:
        """``top1``, ``top5``."""
        return self.metrics.compute()

    def baseline(self) -> dict[str, float]:
        """The most frequent training classes, whatever the image."""
        frequency = torch.bincount(self.sets["train"].labels, minlength=self.num_classes).float()
        answers = frequency.expand(len(self.sets["val"].labels), -1)
        return {
            f"top{k}": top_k_accuracy(answers, self.sets["val"].labels, k).item() for k in (1, 5)
        }


class EquiangularProbe(LinearProbe):
    """A linear map to fixed equiangular basis vectors, one a class (arXiv 2303.11637).

    Classes are judged by the cosine with their vector over tau; the vectors have as many dimensions
    as there are classes, at most the features'. Arguments and errors as :class:`LinearProbe`.
    """

    temperature = 0.07
    smoothing = 0.1
    basis: Tensor

    def build(self, inputs: int, hidden: Sequence[int], outputs: int) -> None:
        """Make the networks and the vectors."""
        dim = min(inputs, outputs)
        super().build(inputs, hidden, dim)
        self.register_buffer("basis", equiangular_basis(outputs, dim).clone())

    def forward(self, split: str, chosen: Tensor) -> Tensor:
        """Logits ``(P, S, B, K)``."""
        return F.normalize(super().forward(split, chosen), dim=-1) @ self.basis.T / self.temperature

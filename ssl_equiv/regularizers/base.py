"""What is added to any method's loss beside its own terms."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

from ssl_equiv.data.views import ViewBatch


class Regularizer(nn.Module, ABC):
    """Further terms of a method's loss; its parameters are trained, saved and resumed with it.

    A method calls it once a step with what the step has made anyway. Statistics over the batch
    must be those of the global batch (``ssl_equiv.distributed``), and draws keyed by the samples'
    index and the step's seed, so that several processes learn what one would.

    Attributes:
        name: Its terms are logged as ``train/<name>/<term>``; unique among a method's.
        weights: Coefficient of each term.
    """

    name: str
    weights: Mapping[str, float]

    def build(self, backbone: nn.Module, parts: Mapping[str, tuple[int, int]]) -> None:
        """Make what depends on the method, once, before training.

        Args:
            backbone: The network that is pretrained.
            parts: Names of the representation's columns, ``all`` among them.

        Raises:
            UserError: the regularizer does not fit the method.
        """

    @abstractmethod
    def terms(
        self, backbone: nn.Module, features: Tensor, batch: ViewBatch, seed: int
    ) -> dict[str, Tensor]:
        """Unweighted terms of one step.

        Args:
            backbone: The network that is pretrained.
            features: Representations of the views that were encoded, ``(B, V, D)``.
            batch: What the step learns from; the first V of its views are those encoded.
            seed: Seed of this step, the same on every process.
        """

    def found(self) -> dict[str, Tensor]:
        """What it has learnt of the data, detached scalars by name: logged, saved, reported."""
        return {}

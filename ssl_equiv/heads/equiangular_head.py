"""A classifier whose weights are equiangular basis vectors (arXiv 2303.11637)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ssl_equiv.errors import UserError
from ssl_equiv.heads.equiangular import equiangular_basis, extend_basis
from ssl_equiv.precision import at_least_float32

_BLOCK = 65536  # classes whose cosines are held at a time
_SHORT = 1000  # one class in so many comes on an approximate search's short list


class EquiangularHead(nn.Module):
    """Classification by cosines with fixed equiangular vectors: no weights that grow with K.

    Its loss is ``equiangular_loss(head.project(features), label, head.basis)`` of
    :mod:`ssl_equiv.losses`, which never holds more than a block of logits; for few classes plain
    cross-entropy of the logits is the same.

    Args:
        features: Width of the features.
        num_classes: K.
        dim: d, the vectors' dimension; None for the features' own.
        projection: Whether a learnt linear map takes the features to the vectors' space, as the
            last layer of the paper's networks does. Without it features need the vectors' width,
            and those that end in a ReLU, which lie in one orthant, learn slower.
        temperature: tau, by which cosines are divided.
        seed: Seed of the basis.

    Attributes:
        basis: ``(K, d)``, a buffer.

    Raises:
        UserError: a size is below 1, the temperature is not above 0, or features of another width
            than d are to go without a projection.
    """

    basis: Tensor

    def __init__(
        self,
        features: int,
        num_classes: int,
        dim: int | None = None,
        projection: bool = True,
        temperature: float = 0.07,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if features < 1 or not temperature > 0:
            raise UserError(
                f"an equiangular head of {features} features and temperature {temperature}: choose "
                "1 or more, and above 0"
            )
        self.temperature = temperature
        dim = features if dim is None else dim
        if dim != features and not projection:
            raise UserError(
                f"{features} features and vectors of dimension {dim}: leave projection on, or "
                "dim out"
            )
        self.register_buffer("basis", equiangular_basis(num_classes, dim, seed).clone())
        self.project: nn.Module = nn.Linear(features, dim) if projection else nn.Identity()
        self._sketch: tuple[Tensor, Tensor, Tensor] | None = None

    def forward(self, features: Tensor) -> Tensor:
        """Logits ``(B, K)`` of features ``(B, D)``."""
        unit = _unit(self.project(features))
        return unit @ self.basis.T.to(unit.dtype) / self.temperature

    @torch.no_grad()
    def predict(self, features: Tensor, coarse_dims: int | None = None) -> Tensor:
        """The nearest class of each of ``features (B, D)``, ``(B,)`` int64.

        Args:
            features: The features.
            coarse_dims: For very many classes: rank all by cosines after a fixed random projection
                to so many dimensions, then only the best 0.1% by all. Approximate; None is exact.
                The projected basis, ``(K, coarse_dims)``, is kept for the next call.

        Raises:
            UserError: ``coarse_dims`` is not in [1, d].
        """
        unit = _unit(self.project(features))
        if coarse_dims is None:
            return _best(unit, self.basis, 1)[1][:, 0]
        if not 1 <= coarse_dims <= self.basis.shape[1]:
            raise UserError(
                f"coarse_dims is {coarse_dims}: choose from 1 to {self.basis.shape[1]}, or None"
            )
        projection, basis = self._projected(coarse_dims)
        keep = min(len(basis), max(32, len(basis) // _SHORT))
        _, short = _best(unit @ projection.to(unit), basis, keep)
        found = []
        for some, candidates in zip(*(torch.split(x, 64) for x in (unit, short)), strict=True):
            exact = (self.basis[candidates].to(unit.dtype) @ some[:, :, None]).squeeze(2)
            found.append(candidates.gather(1, exact.argmax(dim=1, keepdim=True)).squeeze(1))
        return torch.cat(found)

    def extend(self, num_classes: int, seed: int = 0) -> None:
        """Make room for more classes; the vectors of the old ones stay, bit for bit."""
        self.basis = extend_basis(self.basis, num_classes, seed)

    def _projected(self, dims: int) -> tuple[Tensor, Tensor]:
        """An orthonormal projection ``(d, dims)`` and the projected basis."""
        kept = self._sketch
        if kept is None or kept[0] is not self.basis or kept[1].shape[1] != dims:
            # not the first dimensions: algebra's vectors are zero or alike in them
            drawn = torch.randn(
                self.basis.shape[1], dims, generator=torch.Generator().manual_seed(0)
            )
            projection = torch.linalg.qr(drawn).Q.to(self.basis)
            kept = self._sketch = (self.basis, projection, self.basis @ projection)
        return kept[1], kept[2]


def _unit(features: Tensor) -> Tensor:
    return normalize(at_least_float32(features), dim=1)  # norms overflow in float16


def _best(unit: Tensor, basis: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """The largest cosines and their classes, ``(B, number)``, a block of classes at a time."""
    values, labels = unit.new_empty(len(unit), 0), torch.empty(len(unit), 0).to(unit.device).long()
    for first in range(0, len(basis), _BLOCK):
        cosines = unit @ basis[first : first + _BLOCK].T.to(unit.dtype)
        value, label = cosines.topk(min(number, cosines.shape[1]), dim=1, sorted=False)
        values, labels = torch.cat([values, value], 1), torch.cat([labels, label + first], 1)
        if values.shape[1] > number:
            values, chosen = values.topk(number, dim=1, sorted=False)
            labels = labels.gather(1, chosen)
    return values, labels

"""What every group of actions offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NoReturn, TypeAlias

import torch
from torch import Tensor

from ssl_equiv.groups.checks import check_last

Range: TypeAlias = "float | Sequence[float] | Mapping[str, Range]"
"""One end of a sampling box: a number for all coordinates, one each, or by factor name."""


class Group(ABC):
    """A group whose elements are tensors ``(..., dim)``; the object itself holds no state.

    Every operation broadcasts over leading dimensions, keeps dtype and device, is differentiable,
    and returns the canonical form of its result. A tensor of the wrong width or a bad range
    raises ValueError; what a group does not have (a semigroup's inverse, a discrete group's
    logarithm) raises TypeError.

    Attributes:
        name: Unique; ``make_group(name)`` gives an equal object for every simple group.
        dim: Width of an element.
        log_dim: Width of a tangent vector, the dimension of the Lie algebra.
        point_dim: Width of the points it acts on.
        range_dim: How many numbers an end of a sampling box has.
        default_range: The box that ``sample`` draws from where none is given.
        identity_element: The neutral element, as numbers.
        invertible: False for a semigroup: ``compose`` and ``act`` only.
    """

    name: str
    dim: int
    log_dim: int
    point_dim: int
    range_dim: int
    default_range: tuple[float, float]
    identity_element: tuple[float, ...]
    invertible: bool = True

    def identity(
        self,
        shape: Sequence[int] = (),
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """The neutral element, ``(*shape, dim)``, in its own memory."""
        one = torch.tensor(self.identity_element, dtype=dtype, device=device)
        return one.expand(*shape, self.dim).clone()

    def compose(self, g: Tensor, h: Tensor) -> Tensor:
        """First ``h``, then ``g``: ``matrix(compose(g, h)) = matrix(g) @ matrix(h)``."""
        self._check(g, h)
        return self._compose(g, h)

    def inverse(self, g: Tensor) -> Tensor:
        """The element that undoes ``g``; TypeError for a semigroup."""
        self._check(g)
        return self._inverse(g)

    def relative(self, g1: Tensor, g2: Tensor) -> Tensor:
        """``g1⁻¹ g2``, the action that leads from ``g1`` to ``g2`` in the frame of ``g1``."""
        return self.compose(self.inverse(g1), g2)

    def sample(
        self,
        shape: Sequence[int],
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        low: Range | None = None,
        high: Range | None = None,
    ) -> Tensor:
        """Independent elements, ``(*shape, dim)``, on the generator's device if none is named.

        Uniform in the group's own coordinates (see each class) between ``low`` and ``high``, or
        from ``default_range`` without them. ``low = high`` gives the element itself.
        """
        if (low is None) != (high is None):
            raise ValueError(f"{self.name}: give both low and high, or neither")
        if device is None and generator is not None:
            device = generator.device
        return self._sample(tuple(shape), low, high, generator, dtype, device)

    def matrix(self, g: Tensor) -> Tensor:
        """A faithful matrix representation, ``(..., n, n)``."""
        self._check(g)
        return self._matrix(g)

    def log(self, g: Tensor) -> Tensor:
        """The shortest tangent vector ``v`` with ``exp(v) = g``, ``(..., log_dim)``."""
        self._check(g)
        return self._log(g)

    def exp(self, v: Tensor) -> Tensor:
        """The element reached from the identity along the tangent vector ``v (..., log_dim)``."""
        check_last(v, (self.log_dim,), f"{self.name} tangent vector")
        return self._exp(v)

    def distance(self, g: Tensor, h: Tensor) -> Tensor:
        """A left-invariant metric, ``(...)``: the length of ``log(relative(g, h))`` by default."""
        self._check(g, h)
        return self._distance(g, h)

    def act(self, g: Tensor, points: Tensor) -> Tensor:
        """Move ``points (..., N, point_dim)``, each set by its element ``g (..., dim)``."""
        self._check(g)
        if points.ndim < 2 or points.shape[-1] != self.point_dim:
            wanted = f"(..., N, {self.point_dim})"
            raise ValueError(f"{self.name} points: expected {wanted}, got {tuple(points.shape)}")
        return self._act(g, points)

    def __repr__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Group) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    @abstractmethod
    def _compose(self, g: Tensor, h: Tensor) -> Tensor: ...

    @abstractmethod
    def _matrix(self, g: Tensor) -> Tensor: ...

    @abstractmethod
    def _act(self, g: Tensor, points: Tensor) -> Tensor: ...

    def _inverse(self, g: Tensor) -> Tensor:
        self._lacks("inverse")

    def _log(self, g: Tensor) -> Tensor:
        self._lacks("logarithm")

    def _exp(self, v: Tensor) -> Tensor:
        self._lacks("exponential")

    def _distance(self, g: Tensor, h: Tensor) -> Tensor:
        return norm(self.log(self.relative(g, h)))

    def _from_range(self, drawn: Tensor) -> Tensor:
        """The element at coordinates ``(..., range_dim)`` of the sampling box."""
        return drawn

    def _bounds(self, low: Range, high: Range) -> Tensor:
        """The box that draws are uniform in, ``(2, range_dim)``, float64 on the CPU."""
        try:
            ends = [torch.as_tensor(end, dtype=torch.float64, device="cpu") for end in (low, high)]
            box = torch.stack([end.expand(self.range_dim) for end in ends])
        except (TypeError, RuntimeError, ValueError):
            count = f"1 or {self.range_dim} numbers" if self.range_dim > 1 else "a number"
            raise ValueError(f"{self.name}: low and high take {count}: {low}, {high}") from None
        if not (box.isfinite().all() and (box[0] <= box[1]).all()):
            raise ValueError(f"{self.name}: need finite low <= high, got {low}, {high}")
        return box

    def _sample(
        self,
        shape: tuple[int, ...],
        low: Range | None,
        high: Range | None,
        generator: torch.Generator | None,
        dtype: torch.dtype | None,
        device: torch.device | str | None,
    ) -> Tensor:
        if low is None or high is None:
            low, high = self.default_range
        box = self._bounds(low, high)
        size = (*shape, self.range_dim)
        unit = torch.rand(size, generator=generator, dtype=dtype, device=device)
        bottom, top = box.to(unit).unbind()
        return self._from_range(bottom + (top - bottom) * unit)

    def _check(self, *elements: Tensor) -> None:
        for g in elements:
            check_last(g, (self.dim,), f"{self.name} element")

    def _lacks(self, what: str) -> NoReturn:
        kind = "group" if self.invertible else "semigroup"
        raise TypeError(f"{self.name} is a {kind} without {what}")


def norm(vector: Tensor) -> Tensor:
    """Euclidean length along the last dimension; its gradient at zero is zero."""
    length: Tensor = torch.linalg.vector_norm(vector, dim=-1)
    return length


def homogeneous(linear: Tensor, translation: Tensor) -> Tensor:
    """``[[linear, translation], [0, 1]]``: ``(..., n, n)`` and ``(..., n)`` to ``n + 1``."""
    top = torch.cat((linear, translation.unsqueeze(-1)), dim=-1)
    bottom = torch.zeros_like(top[..., :1, :])
    bottom[..., -1] = 1
    return torch.cat((top, bottom), dim=-2)

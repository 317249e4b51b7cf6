"""Direct products with named factors."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import pad

from ssl_equiv.groups.base import Group, Range, norm


class Product(Group):
    """Independent factors side by side; an element is their concatenation, in order.

    Everything goes factor by factor: tangent vectors and points are concatenated too, ``matrix``
    is block diagonal, and ``distance`` is the root of the sum of squares of the factors' (mixed
    units, each with weight 1). ``sample`` takes ranges by factor name; a factor that is not named
    keeps its own default.

    Args:
        factors: Name to group, in the order of the columns; at least one.
    """

    def __init__(self, factors: Mapping[str, Group]) -> None:
        if not factors:
            raise ValueError("Product: need at least one factor")
        self.factors = dict(factors)
        groups = self.factors.values()
        self.name = f"Product({', '.join(f'{name}={g.name}' for name, g in self.factors.items())})"
        self.dim = sum(group.dim for group in groups)
        self.log_dim = sum(group.log_dim for group in groups)
        self.point_dim = sum(group.point_dim for group in groups)
        self.identity_element = tuple(x for group in groups for x in group.identity_element)
        self.invertible = all(group.invertible for group in groups)

    def split(self, g: Tensor) -> dict[str, Tensor]:
        """The factors' elements by name."""
        self._check(g)
        return dict(zip(self.factors, self._columns(g, "dim"), strict=True))

    def join(self, elements: Mapping[str, Tensor]) -> Tensor:
        """The inverse of ``split``; leading dimensions broadcast."""
        if set(elements) != set(self.factors):
            raise ValueError(f"{self}: got elements named {', '.join(elements) or 'nothing'}")
        parts = [elements[name] for name in self.factors]
        for group, part in zip(self.factors.values(), parts, strict=True):
            group._check(part)
        shape = torch.broadcast_shapes(  # type: ignore[no-untyped-call]
            *(part.shape[:-1] for part in parts)
        )
        return torch.cat([part.expand(*shape, part.shape[-1]) for part in parts], dim=-1)

    def _compose(self, g: Tensor, h: Tensor) -> Tensor:
        each = self._each(Group.compose, self._columns(g, "dim"), self._columns(h, "dim"))
        return torch.cat(each, dim=-1)

    def _inverse(self, g: Tensor) -> Tensor:
        return torch.cat(self._each(Group.inverse, self._columns(g, "dim")), dim=-1)

    def _matrix(self, g: Tensor) -> Tensor:
        blocks = self._each(Group.matrix, self._columns(g, "dim"))
        size, start, rows = sum(block.shape[-1] for block in blocks), 0, []
        for block in blocks:
            end = start + block.shape[-1]
            rows.append(pad(block, (start, size - end)))
            start = end
        return torch.cat(rows, dim=-2)

    def _act(self, g: Tensor, points: Tensor) -> Tensor:
        parts = self._columns(points, "point_dim")
        return torch.cat(self._each(Group.act, self._columns(g, "dim"), parts), dim=-1)

    def _log(self, g: Tensor) -> Tensor:
        return torch.cat(self._each(Group.log, self._columns(g, "dim")), dim=-1)

    def _exp(self, v: Tensor) -> Tensor:
        return torch.cat(self._each(Group.exp, self._columns(v, "log_dim")), dim=-1)

    def _distance(self, g: Tensor, h: Tensor) -> Tensor:
        each = self._each(Group.distance, self._columns(g, "dim"), self._columns(h, "dim"))
        return norm(torch.stack(each, dim=-1))

    def _sample(
        self,
        shape: tuple[int, ...],
        low: Range | None,
        high: Range | None,
        generator: torch.Generator | None,
        dtype: torch.dtype | None,
        device: torch.device | str | None,
    ) -> Tensor:
        lows, highs = self._by_factor(low), self._by_factor(high)
        drawn = [
            group.sample(
                shape,
                generator=generator,
                dtype=dtype,
                device=device,
                low=lows.get(name),
                high=highs.get(name),
            )
            for name, group in self.factors.items()
        ]
        return torch.cat(drawn, dim=-1)

    def _columns(self, tensor: Tensor, width: str) -> tuple[Tensor, ...]:
        """``tensor`` cut at the factors' ``dim``, ``log_dim`` or ``point_dim``."""
        widths = [int(getattr(group, width)) for group in self.factors.values()]
        return torch.split(tensor, widths, dim=-1)

    def _each(self, operation: Callable[..., Tensor], *columns: tuple[Tensor, ...]) -> list[Tensor]:
        """``operation(group, *parts)`` for every factor."""
        return [operation(*each) for each in zip(self.factors.values(), *columns, strict=True)]

    def _by_factor(self, end: Range | None) -> Mapping[str, Range]:
        if end is None:
            return {}
        if isinstance(end, Mapping) and set(end) <= set(self.factors):
            return end
        raise ValueError(f"{self}: low and high are ranges by factor name, got {end}")

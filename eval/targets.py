"""What a regressor predicts from two views: the group element between them, in a convention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ssl_equiv.errors import UserError
from ssl_equiv.groups import SO3, Group
from ssl_equiv.groups.conversions import quat_conjugate, quat_multiply

Convention = Literal["canonical", "published"]


@dataclass(frozen=True)
class RelativeAction:
    """The relative element ``g1⁻¹ g2`` of one factor.

    A rotation has two quaternions. ``canonical`` targets have w >= 0: a function of the rotation
    alone, which jumps where it turns by 180 degrees. ``published`` targets (SIE, EquiCaps) are
    the plain product of the views' own quaternions: continuous, with w < 0 in about 4.5% of pairs
    of views within ±90 degrees. The two give different R², and a predictor of one is no
    predictor of the other, so each is trained for.

    Args:
        factor: Name of the factor of variation.
        group: Its group.
        convention: Sign of quaternions; only rotations know ``published``.
    """

    factor: str
    group: Group
    convention: Convention = "canonical"

    def __post_init__(self) -> None:
        if self.convention == "published" and not self.is_rotation:
            raise UserError(
                f"the published convention is one of rotations, but {self.factor} is of "
                f"{self.group}: use 'canonical'"
            )

    @property
    def is_rotation(self) -> bool:
        """Whether targets are quaternions, so that degrees make sense."""
        return isinstance(self.group, SO3)

    @property
    def suffix(self) -> str:
        """What metrics' names end in."""
        return "" if self.convention == "canonical" else f"_{self.convention}"

    def __call__(self, actions: Mapping[str, Tensor], chosen: Tensor) -> Tensor:
        """Targets of pairs of views.

        Args:
            actions: Absolute elements ``{factor: (N, V, dim)}``.
            chosen: Object, first view and second view of each pair, ``(3, ...)`` int64.

        Returns:
            ``(..., dim)`` float32.
        """
        objects, first, second = chosen
        elements = actions[self.factor]
        start, end = elements[objects, first], elements[objects, second]
        if self.convention == "published":
            return quat_multiply(quat_conjugate(start), end).float()
        return self.group.relative(start, end).float()

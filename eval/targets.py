"""What a regressor predicts: the group element of a view, or the one between two views."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from eval.cache import FeatureSet
from eval.coordinates import Arc, Coordinates, Logarithm, Quaternion, Sign, SixD, Vector
from eval.errors import NotApplicable
from ssl_equiv.groups import SE3, SO3, Circle, Flip, Group, Hue, Scale, Translation
from ssl_equiv.groups.conversions import quat_conjugate, quat_multiply

Convention = Literal["canonical", "published"]
Head = Literal["quaternion", "6d"]
EVERY = "all"
_COLOR = ("floor_hue", "light_hue")
_CONSTANT = 1e-6  # elements that differ by less, in the unit of their group, differ by rounding


@dataclass(frozen=True)
class Quantity:
    """What views differ in: a factor of the data set, one half of a pose, or several hues at once.

    Args:
        name: What figures are named after.
        factor: What selects it beside its name; a pose's halves share one.
        sources: Factors of the data set that it is made of.
        group: Where the elements of views are compared.
        part: For poses, the half that is looked at.
    """

    name: str
    factor: str
    sources: tuple[str, ...]
    group: Group
    part: Literal["", "rotation", "translation"] = ""

    @property
    def value_group(self) -> Group:
        """The group of what is regressed."""
        if not isinstance(self.group, SE3):
            return self.group
        return self.group.linear if self.part == "rotation" else Translation(3)

    def elements(self, views: FeatureSet) -> Tensor:
        """Elements of views, ``(N, V, dim)``.

        Raises:
            NotApplicable: these views lack a factor.
        """
        for source in self.sources:
            views.group(source)
        found = [views.actions[source] for source in self.sources]
        if isinstance(self.group, SE3) and len(found) == 2:
            return self.group.pose(*found)
        return torch.cat(found, dim=-1)

    def value(self, element: Tensor) -> Tensor:
        """What is regressed of an element."""
        if not isinstance(self.group, SE3):
            return element
        return self.group.parts(element)[0 if self.part == "rotation" else 1]


def quantities(views: FeatureSet) -> dict[str, Quantity]:
    """All that can be regressed on some views, by name.

    Every factor of the data set by its own name, a pose as its halves (``NAME_rotation``,
    ``NAME_translation``). Where there are a ``rotation`` R and a ``translation`` T of space also
    ``pose_object_translation`` and ``pose_base_translation``, the translations of the poses T R
    and R T (see :class:`ssl_equiv.groups.SE3`; of relative poses, R1⁻¹ (T2 - T1) and
    R1⁻¹ R2 T2 - T1), and where there are two hues ``color``, their plain differences as one.
    """
    found: list[Quantity] = []
    for name, group in views.groups.items():
        if isinstance(group, SE3):
            found += [Quantity(f"{name}_{p}", name, (name,), group, p) for p in _HALVES]
        else:
            found.append(Quantity(name, name, (name,), group))
    scene = ("rotation", "translation")
    if [views.groups.get(name) for name in scene] == [SO3(), Translation(3)]:
        for frame in (SE3("object"), SE3("base")):
            name = f"pose_{frame.frame}"
            found.append(Quantity(f"{name}_translation", name, scene, frame, "translation"))
    if all(isinstance(views.groups.get(name), Hue) for name in _COLOR):
        found.append(Quantity("color", "color", _COLOR, Translation(len(_COLOR))))
    return {quantity.name: quantity for quantity in found}


_HALVES: tuple[Literal["rotation", "translation"], ...] = ("rotation", "translation")


def select(views: FeatureSet, factors: Sequence[str]) -> list[Quantity]:
    """The quantities that are named, in order and each once.

    Args:
        views: Features with the actions of their views.
        factors: Names of quantities, or of poses for both of their halves, or ``all``.

    Raises:
        NotApplicable: the data set has no such factor.
    """
    known = quantities(views)
    found: dict[str, Quantity] = {}
    for factor in factors:
        chosen = {n: q for n, q in known.items() if factor in (EVERY, n, q.factor)}
        if not chosen:
            close = difflib.get_close_matches(factor, known, 1)
            if not known:
                raise NotApplicable(
                    f"the data set tells no factors of its views, so not {factor!r}: judge on data "
                    "whose views are known group elements"
                )
            names = ", ".join(known)
            hint = f"did you mean {close[0]!r}?" if close else f"choose one of {names}"
            raise NotApplicable(f"the data set has no factor {factor!r} (it has {names}): {hint}")
        found |= chosen
    return list(found.values())


@dataclass(frozen=True)
class Target:
    """One quantity in the coordinates in which it is regressed and judged.

    A relative rotation has two quaternions. ``canonical`` targets have w >= 0: a function of the
    rotation alone, which jumps where it turns by 180 degrees. ``published`` targets (SIE,
    EquiCaps) are the plain product of the views' own quaternions: continuous, with w < 0 in about
    4.5% of pairs of views within ±90 degrees. The two give different R², and a predictor of one is
    no predictor of the other, so each is trained for. Colours are published as plain differences
    of hues, in (-1, 1).

    Args:
        quantity: What is predicted.
        coordinates: How.
        relative: Predict ``g1⁻¹ g2`` of two views, not ``g`` of one.
        suffix: What figures' names end in.
        plain: Take the product of quaternions as it comes out.
    """

    quantity: Quantity
    coordinates: Coordinates
    relative: bool = True
    suffix: str = ""
    plain: bool = False

    def metric(self, name: str) -> str:
        """The full name of a figure."""
        prefix = "" if self.relative else "absolute_"
        return f"{prefix}{self.quantity.name}_{name}{self.suffix}"

    def values(self, elements: Tensor, chosen: Tensor) -> Tensor:
        """What samples are to be predicted as.

        Args:
            elements: The quantity's elements ``(N, V, dim)``.
            chosen: Object and view of each sample ``(2, ...)``, or object, first and second view
                ``(3, ...)``; int64.

        Returns:
            Elements of the quantity's value group, ``(..., d)`` float32.
        """
        at = [elements[chosen[0], views] for views in chosen[1:]]
        if not self.relative:
            return self.quantity.value(at[0]).float()
        if self.plain:
            return quat_multiply(quat_conjugate(at[0]), at[1]).float()
        return self.quantity.value(self.quantity.group.relative(*at)).float()


def make_targets(
    train: FeatureSet,
    factors: Sequence[str],
    *,
    relative: bool = True,
    conventions: Sequence[Convention] = ("canonical",),
    heads: Sequence[Head] = ("quaternion",),
) -> list[Target]:
    """The targets of a regressor, a factor's one after the other.

    Args:
        train: The views that are learnt from.
        factors: As of :func:`select`.
        relative: Between two views, or of one.
        conventions: Of relative rotations, and whether there is the published target of colours;
            what has no published target has the canonical one.
        heads: Of rotations; the 6-D one has no published target.

    Raises:
        NotApplicable: the data set has no such factor.
    """
    found = []
    for quantity in select(train, factors):
        group = quantity.value_group
        if isinstance(group, SO3):
            wanted: Sequence[Convention] = conventions if relative else ("canonical",)
            quat = Quaternion()
            if "quaternion" in heads:
                found += [_rotation(quantity, quat, relative, convention) for convention in wanted]
            if "6d" in heads:
                found.append(Target(quantity, SixD(), relative, "_6d"))
        elif quantity.name == "color":
            if relative and "published" in conventions:
                found.append(Target(quantity, Vector(_COLOR), relative, "_published"))
        else:
            coordinates = _coordinates(group, quantity, None if relative else train)
            found.append(Target(quantity, coordinates, relative))
    return found


def is_constant(target: Target, train: FeatureSet) -> bool:
    """Whether a target is the same for all that can be asked of the training views."""
    elements = target.quantity.elements(train).double()
    if not target.relative:
        elements = elements.flatten(0, 1)[None]
    elif elements.shape[1] < 2:
        return False  # there is nothing to compare: another complaint
    group = target.quantity.group
    first = elements[:, :1].expand_as(elements)
    values = target.quantity.value(group.relative(first, elements))
    still = target.quantity.value(group.identity().to(elements))
    return bool((target.quantity.value_group.distance(values, still) < _CONSTANT).all())


def _rotation(
    quantity: Quantity, quat: Quaternion, relative: bool, convention: Convention
) -> Target:
    published = convention == "published"
    return Target(quantity, quat, relative, "_published" if published else "", plain=published)


def _coordinates(group: Group, quantity: Quantity, around: FeatureSet | None) -> Coordinates:
    """Coordinates of what is no rotation; absolute angles count from the mean of ``around``."""
    if isinstance(group, Circle):
        arc = Arc(group.turn)
        if around is not None:
            views = quantity.elements(around).flatten(0, 1)
            return Arc(group.turn, arc.mean(views))
        return arc
    if isinstance(group, Flip):
        return Sign(_axes(group.dim))
    return Logarithm() if isinstance(group, Scale) else Vector(_axes(group.dim))


def _axes(dim: int) -> tuple[str, ...]:
    return tuple("xyz"[:dim]) if dim <= 3 else tuple(f"dim{i}" for i in range(dim))

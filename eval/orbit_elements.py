"""What orbit the views of a data set lie on, told from their group elements."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from eval.cache import FeatureSet
from eval.orbit_plots import Geometry
from ssl_equiv.errors import UserError
from ssl_equiv.groups import SO2, SO3, Group

_SAME = 1e-3  # elements closer than this are one; stored in float32
_UP = (0.0, 0.0, 1.0)


def varying_factor(views: FeatureSet, factor: str | None, where: str) -> str:
    """The one factor that differs between an object's views.

    Args:
        views: Features with the views' elements.
        factor: Which it should be; None finds it.
        where: The data set, for messages.

    Raises:
        UserError: there is no such factor, it does not vary, or others vary as well.
    """
    if not views.groups:
        raise UserError(
            f"{where} tells no factors of its views, so it is no orbit: generate one, as with "
            "configs/data/orbit_so3.yaml"
        )
    if factor is not None:
        views.group(factor)  # an unknown one is told
    varying = [
        name
        for name, group in views.groups.items()
        if (group.distance(views.actions[name][:, :1], views.actions[name]) > _SAME).any()
    ]
    if factor is None and len(varying) == 1:
        return varying[0]
    if factor is None or varying != [factor]:
        told = f"{factor} should vary" if factor else "one factor should vary"
        raise UserError(
            f"{where} is no orbit: {told} between an object's views, but "
            f"{', '.join(varying) or 'nothing'} does: generate with a grid or a trajectory over "
            "the columns of one factor, as configs/data/orbit_so3.yaml"
        )
    return factor


def geometry_of(views: FeatureSet, factor: str, reference: int | None = None) -> Geometry:
    """The orbit that the views lie on.

    Where all objects are at the same elements up to one of their own (a grid), the line is the
    element's coordinate if there is but one, such as the angle about an axis, and else its distance
    from the reference; rotations about more than one axis are on a sphere too. Where not (random
    paths), it is the distance from the reference.

    Args:
        views: Features with the views' elements.
        factor: Factor that varies.
        reference: Number of the reference view; by default that nearest to the identity on a grid,
            the first on a path.

    Raises:
        UserError: objects have no such view.
    """
    group, elements = views.group(factor), views.actions[factor].double()
    if reference is not None and not 0 <= reference < views.num_views:
        raise UserError(
            f"RenderedOrbits: reference is {reference}, but objects have {views.num_views} views: "
            f"choose from 0 to {views.num_views - 1}"
        )
    on_grid = _steps(group, elements, 0) is not None
    if reference is None:
        one = group.identity(dtype=elements.dtype)
        reference = int(group.distance(one, elements).mean(dim=0).argmin()) if on_grid else 0
    steps = _steps(group, elements, reference)
    degrees = isinstance(group, SO2 | SO3)
    unit, scale = (" (degrees)", 180 / math.pi) if degrees else ("", 1.0)
    kind = "angle from the reference" if degrees else "distance from the reference"
    distance = scale * group.distance(elements[:, [reference]], elements)
    found = Geometry(
        f"rendered_{factor}",
        reference,
        tuple(f"view {number}" for number in range(views.num_views)),
        x=distance.numpy(),
        x_label=f"{factor}: {kind}{unit}",
    )
    if steps is None:
        return found
    along = scale * _coordinate(group.log(steps))
    found = replace(found, x=along.numpy())
    sign = "+" if (along < 0).any() else ""
    mark = "°" if degrees else ""
    points = tuple(f"{factor} {x:{sign}.{0 if degrees else 2}f}{mark}" for x in along.tolist())
    if (along < 0).any():
        found = replace(found, x_label=f"{factor}: from the reference{unit}")
    if isinstance(group, SO3) and _rank(group.log(steps)) > 1:
        same = bool((group.distance(elements[:1], elements) < _SAME).all())
        up = group.act(elements[0] if same else steps, torch.tensor([[*_UP]]).to(steps))[:, 0]
        found = replace(
            found,
            directions=up.numpy().astype(np.float64),
            direction_text="A direction is where the object's upright axis points"
            + ("." if same else ", as seen from the reference."),
        )
        points = tuple(
            f"up to ({', '.join(f'{c:+.1f}' for c in place)}), {x:.0f}° away"
            for place, x in zip(up.tolist(), along.tolist(), strict=True)
        )
    return replace(found, points=points)


def _steps(group: Group, elements: Tensor, reference: int) -> Tensor | None:
    """Elements ``(T, dim)`` from the reference to each view that all objects ``(N, T, dim)`` share,
    in the world's or in the objects' own frame; None where they do not.
    """
    start = elements[:, [reference]]
    in_world = group.compose(elements, group.inverse(start).expand_as(elements))
    for steps in (in_world, group.relative(start.expand_as(elements), elements)):
        if (group.distance(steps[:1], steps) < _SAME).all():
            return steps[0]
    return None


def _coordinate(tangent: Tensor) -> Tensor:
    """Signed place on a line through the identity of ``(T, k)``, or, off a line, the distance."""
    if _rank(tangent) > 1:
        distance: Tensor = tangent.norm(dim=-1)
        return distance
    axis = torch.linalg.svd(tangent, full_matrices=False).Vh[0]
    return torch.matmul(tangent, axis * axis[axis.abs().argmax()].sign())


def _rank(tangent: Tensor) -> int:
    values = torch.linalg.svdvals(tangent)
    return int((values > _SAME * values[0]).sum())

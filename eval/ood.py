"""In and out of the training range: which views show elements that training never came near.

Every factor has its own range, found from the elements of the training views:

* numbers (translations, scales, hues as plain numbers): the box from the least to the greatest of
  each coordinate. A view drawn as the n training views leaves it with probability 2/(n + 1) a
  coordinate.
* angles (SO(2), hue): the circle without its holes. A hole is a gap between neighbouring training
  angles that is longer than half a turn, or 20 times as long as the median gap (of n angles drawn
  uniformly, a gap is that long with probability n e^-14).
* rotations: all that are no farther, by geodesic distance, from the nearest training rotation than
  the most isolated training rotation is from its own nearest. A view drawn as the n training views
  is farther with probability 1/(n + 1). Euler angles would not do: each rotation has two triples.
* flips: those that were seen. Poses: their rotation and their translation, as above.

Products of factors have no range of their own: a view is out where any factor is.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy.spatial import KDTree
from torch import Tensor

from eval.cache import FeatureSet
from eval.targets import EVERY, select
from ssl_equiv.groups import SO3, Circle, Flip, Group

log = logging.getLogger(__name__)
_ROUNDING = 1e-6  # of a range's extent
_HOLE = 20.0  # times the median gap
_MAX_ROTATIONS = 50_000  # of the training set: a tree of more tells nothing new


def out_of_range(train: FeatureSet, views: FeatureSet, factors: Sequence[str] = (EVERY,)) -> Tensor:
    """Whether views show an element outside the range of the training views.

    Args:
        train: Views that were learnt from.
        views: Views to be told apart, ``(N, V)``.
        factors: Factors that are looked at, or ``all``.

    Returns:
        ``(N, V)`` bool.

    Raises:
        UserError: one of the sets lacks a factor.
    """
    out = torch.zeros(views.features.shape[:2], dtype=torch.bool)
    for quantity in select(train, factors):
        if len(quantity.sources) > 1:
            continue  # made of factors that have their own turn
        learnt, asked = (
            quantity.value(quantity.elements(some)).double() for some in (train, views)
        )
        group = quantity.value_group
        out |= _outside(group, learnt.flatten(0, 1), asked.flatten(0, 1)).view_as(out)
    return out


def split_by_range(
    train: FeatureSet, views: FeatureSet, factors: Sequence[str] = (EVERY,)
) -> dict[str, FeatureSet]:
    """The views inside and those outside the training range, as sets of their own.

    Sets are rectangular: the number of views of an object is chosen so that most views remain, 2 at
    least (if objects have 2 at all); objects with fewer are left out of that set, and so are the
    views that an object has beyond. A line in the log counts what remains.

    Args:
        train: Views that were learnt from.
        views: Views to be told apart.
        factors: Factors that are looked at, or ``all``.

    Returns:
        ``in`` and ``out``; one is missing where too few views would be in it. Of relative actions
        both views are then in, or both out; the action between two views outside may be one that
        was trained on.

    Raises:
        UserError: one of the sets lacks a factor.
    """
    out = out_of_range(train, views, factors)
    found = {}
    for name, mask in (("in", ~out), ("out", out)):
        some = views if mask.all() else _rectangle(views, mask)
        if some is None:
            if mask.any():
                log.info(
                    "%s: %d views are %s of the training range, too few an object to be judged",
                    views.split,
                    mask.sum(),
                    name,
                )
            continue
        kept = some.num_objects * some.num_views
        log.info(
            "%s: %d views are %s of the training range, %d of them (%d of each of %d objects) are "
            "judged as such",
            views.split,
            mask.sum(),
            name,
            kept,
            some.num_views,
            some.num_objects,
        )
        found[name] = replace(some, key={**views.key, "range": name, "factors": list(factors)})
    return found


def _rectangle(views: FeatureSet, mask: Tensor) -> FeatureSet | None:
    """The masked views, as many of each object that has so many; None where none has enough."""
    each = mask.sum(dim=1)
    least = min(2, views.num_views)
    counts = torch.arange(least, views.num_views + 1)
    remain = (each[:, None] >= counts).sum(dim=0) * counts
    if not remain.any():
        return None
    number = int(counts[remain.argmax()])
    objects = torch.nonzero(each >= number)[:, 0]
    # views that are in the mask come first, in their own order
    chosen = (~mask[objects]).int().argsort(dim=1, stable=True)[:, :number]
    rows = objects[:, None]
    return replace(
        views,
        features=views.features[rows, chosen],
        actions={name: element[rows, chosen] for name, element in views.actions.items()},
        labels=views.labels[objects],
        index=views.index[objects],
    )


def _outside(group: Group, learnt: Tensor, asked: Tensor) -> Tensor:
    """Whether elements ``(m, d)`` are out of the range of ``(n, d)``, ``(m,)``."""
    if isinstance(group, SO3):
        return _far(learnt, asked)
    if isinstance(group, Circle):
        return _in_a_hole(learnt[:, 0] / group.turn, asked[:, 0] / group.turn)
    if isinstance(group, Flip):
        seen = {tuple(flip) for flip in learnt.tolist()}
        return torch.tensor([tuple(flip) not in seen for flip in asked.tolist()])
    low, high = learnt.amin(dim=0), learnt.amax(dim=0)
    margin = _ROUNDING * torch.maximum(high - low, torch.maximum(low.abs(), high.abs()))
    return ((asked < low - margin) | (asked > high + margin)).any(dim=-1)


def _in_a_hole(learnt: Tensor, asked: Tensor) -> Tensor:
    """As :func:`_outside` for angles in turns."""
    angles = np.unique(np.mod(learnt.numpy(), 1.0))
    gaps = np.diff(angles, append=angles[0] + 1)
    hole = (gaps > 0.5) | (gaps > _HOLE * np.median(gaps))
    points = np.mod(asked.numpy(), 1.0)
    # the training angle before each point, around the circle: -1 is the last one
    before = np.searchsorted(angles, points, side="right") - 1
    past = np.mod(points - angles[before], 1.0)
    left = gaps[before] - past
    return torch.from_numpy(hole[before] & (np.minimum(past, left) > _ROUNDING))


def _far(learnt: Tensor, asked: Tensor) -> Tensor:
    """As :func:`_outside` for rotations."""
    quats = learnt.numpy()
    if len(quats) > _MAX_ROTATIONS:
        some = np.random.default_rng(0).choice(len(quats), _MAX_ROTATIONS, replace=False)
        quats = quats[some]
    quats = np.unique(quats, axis=0)  # views of a grid repeat: their distance says nothing
    tree = KDTree(np.concatenate([quats, -quats]))  # q and -q are one rotation
    # chords grow with the angle, so they are compared as they are; -q is never q's neighbour
    # unless there is no other
    own = tree.query(quats, k=[2])[0][:, 0] if len(quats) > 1 else np.zeros(1)
    reach = own.max() + _ROUNDING
    nearest, _ = tree.query(asked.numpy(), distance_upper_bound=2 * reach + _ROUNDING)
    return torch.from_numpy(nearest > reach)

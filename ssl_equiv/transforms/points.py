"""Motions of point clouds: flips, yaw, scale and translation, on points, flow and boxes together.

Draw, element, apply: :class:`PointMotions` makes elements of uniform numbers, ``motion`` joins them
into one element of :data:`MOTION`, and ``move_points`` and ``move_boxes`` apply it. Clouds of a
batch each have an element of their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ssl_equiv.boxes import Boxes
from ssl_equiv.errors import UserError
from ssl_equiv.groups import SO2, Flip, Group, Scale, Semidirect, Translation, Upright
from ssl_equiv.groups.conversions import wrap_angle
from ssl_equiv.points import PointBatch

UPRIGHT = Upright()
MOTION = Semidirect(UPRIGHT)
"""``p -> s R(yaw) M p + t``; elements are yaw, mirror, scale, then t, ``(..., 6)``."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class PointMotions:
    """The distribution of the motions of a view; a factor's range of no width switches it off.

    Args:
        yaw: Radians, uniform.
        translation: Metres, uniform in each axis.
        scale: Factor, log-uniform.
        flip: Probability that x changes its sign, and y.

    Raises:
        UserError: a range is out of place.
    """

    yaw: Interval = (-math.pi / 2, math.pi / 2)
    translation: Interval = (-0.2, 0.2)
    scale: Interval = (0.95, 1.05)
    flip: tuple[float, float] = (0.5, 0.5)

    num_draws = 7
    """Uniform numbers that a view is made from."""

    def __post_init__(self) -> None:
        for name in ("yaw", "translation", "scale"):
            low, high = getattr(self, name)
            if not (math.isfinite(low) and math.isfinite(high) and low <= high):
                raise UserError(f"motions.{name} is ({low}, {high}): give two numbers, low <= high")
        if self.scale[0] <= 0:
            raise UserError(f"motions.scale is {self.scale}: factors are more than 0")
        if not all(0 <= p <= 1 for p in self.flip):
            raise UserError(f"motions.flip is {self.flip}: give probabilities of x and y in [0, 1]")

    @property
    def groups(self) -> dict[str, Group]:
        """The group of each factor, in the order in which they are applied, and of ``motion``."""
        return {
            "flip": Flip(2),
            "yaw": SO2(),
            "scale": Scale(3),
            "translation": Translation(3),
            "motion": MOTION,
        }

    def parameters(self, uniform: Tensor) -> dict[str, Tensor]:
        """Elements ``{factor: (..., dim)}``, with their product, from ``(..., 7)`` in [0, 1)."""
        flip = 1 - 2 * (uniform[..., :2] < uniform.new_tensor(self.flip)).to(uniform)
        log_low, log_high = map(math.log, self.scale)
        elements = {
            "flip": flip,
            "yaw": _between(*self.yaw, uniform[..., 2:3]),
            "scale": _between(log_low, log_high, uniform[..., 3:4]).exp(),
            "translation": _between(*self.translation, uniform[..., 4:7]),
        }
        return {**elements, "motion": motion(elements)}

    def sample(
        self, shape: Sequence[int], generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Elements ``{factor: (*shape, dim)}``, float32 on the generator's device."""
        device = generator.device if generator is not None else None
        uniform = torch.rand(*shape, self.num_draws, generator=generator, device=device)
        return self.parameters(uniform)


def _between(low: float, high: float, uniform: Tensor) -> Tensor:
    return low + (high - low) * uniform


def identity(shape: Sequence[int] = ()) -> dict[str, Tensor]:
    """The neutral elements ``{factor: (*shape, dim)}``, with their product."""
    groups = PointMotions().groups
    return {name: group.identity(shape) for name, group in groups.items()}


def motion(elements: Mapping[str, Tensor]) -> Tensor:
    """One element ``(..., 6)`` of :data:`MOTION`: flip, then yaw, scale, translation."""
    linear = UPRIGHT.element(elements["flip"], elements["yaw"], elements["scale"])
    return MOTION.element(linear, elements["translation"])


def move_points(batch: PointBatch, elements: Tensor) -> PointBatch:
    """Move each cloud by its element, and its flow as the difference of moved points.

    Both sweeps of a flow must be moved by the same element: then ``p + flow`` is moved with p.

    Args:
        batch: B clouds.
        elements: Of :data:`MOTION`, ``(B, 6)``.

    Raises:
        ValueError: there are not as many elements as clouds.
    """
    if tuple(elements.shape) != (batch.size, MOTION.dim):
        raise ValueError(
            f"{batch.size} clouds need elements ({batch.size}, 6), got {elements.shape}"
        )
    elements = elements.to(batch.points)
    linear, shift = MOTION.parts(elements[batch.batch_index])
    points = batch.points.clone()
    points[:, :3] = _linear(linear, batch.points) + shift
    flow = None if batch.flow is None else _linear(linear, batch.flow)
    return replace(batch, points=points, flow=flow)


def move_boxes(values: Tensor, elements: Tensor) -> Tensor:
    """Move boxes ``(..., 7)`` by elements ``(..., 6)``, which broadcast; contents stay inside.

    A mirrored box is the box of the mirrored heading: its yaw changes sign before it is turned.
    """
    linear, shift = MOTION.parts(elements.to(values))
    yaw, mirror, scale = linear.unbind(-1)
    centre = _linear(linear, values) + shift
    size = values[..., 3:6] * scale.unsqueeze(-1)
    heading = wrap_angle(yaw + mirror * values[..., 6])
    return torch.cat((centre, size.expand(*centre.shape), heading.unsqueeze(-1)), dim=-1)


def move_annotations(boxes: Boxes, element: Tensor) -> Boxes:
    """The boxes of a sweep, all moved by one element ``(6,)``; what a camera saw of them stays."""
    return boxes.with_values(move_boxes(boxes.values, element))


def _linear(linear: Tensor, points: Tensor) -> Tensor:
    """``s R(yaw) M p`` for one element a point: ``(..., 3)`` and ``(..., 3+)``."""
    yaw, mirror, scale = linear.unbind(-1)
    along, across = scale * yaw.cos(), scale * yaw.sin()
    x, y = points[..., 0], mirror * points[..., 1]
    turned = (along * x - across * y, across * x + along * y, scale * points[..., 2])
    return torch.stack(turned, dim=-1)

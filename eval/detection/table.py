"""Boxes of many frames as one table: what detection metrics take and add up over processes."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

DONT_CARE = -1
"""Label of an image region whose objects are not annotated."""


@dataclass(frozen=True)
class BoxTable:
    """Boxes, one row each, rows of one frame in any place.

    Args:
        frame: Number of the frame, ``(N,)`` int64.
        boxes: ``(N, 7)`` centre x, y, z, length, width, height in metres, yaw about +z.
        label: Class number ``(N,)`` int64; :data:`DONT_CARE` of a region.
        score: Confidence, the higher the surer, ``(N,)``; of no meaning in ground truth.
        height: Height in the image ``(N,)``, pixels.
        truncation: Share of the object outside the image, ``(N,)`` in [0, 1].
        occlusion: 0 visible, 1 partly, 2 largely occluded, 3 unknown, ``(N,)``.
        num_points: Points inside, ``(N,)``; -1 where not counted.
        image_box: Left, top, right, bottom in the image, pixels, ``(N, 4)``; NaN where not known.
    """

    frame: Tensor
    boxes: Tensor
    label: Tensor
    score: Tensor
    height: Tensor
    truncation: Tensor
    occlusion: Tensor
    num_points: Tensor
    image_box: Tensor

    def __post_init__(self) -> None:
        rows = len(self.frame)
        for field in fields(self):
            column = getattr(self, field.name)
            width = _WIDTHS.get(field.name)
            expected = (rows,) if width is None else (rows, width)
            if tuple(column.shape) != expected:
                raise ValueError(f"{field.name} is {tuple(column.shape)}, not {expected}")

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, rows: Tensor) -> BoxTable:
        """Rows by mask or numbers."""
        return BoxTable(*(column[rows] for column in self.columns))

    @property
    def columns(self) -> tuple[Tensor, ...]:
        """All columns, in the order of the fields."""
        return tuple(getattr(self, field.name) for field in fields(self))

    @property
    def is_by_frame(self) -> bool:
        """Whether the rows of each frame stand together, frames ascending."""
        return bool((self.frame.diff() >= 0).all())

    def by_frame(self) -> BoxTable:
        """The rows sorted by frame, in their order within each."""
        return self if self.is_by_frame else self[self.frame.argsort(stable=True)]

    def pack(self) -> Tensor:
        """All columns in one float64 tensor, ``(N, 18)``."""
        columns = (column if column.ndim == 2 else column[:, None] for column in self.columns)
        return torch.cat([column.double() for column in columns], dim=1)

    @classmethod
    def unpack(cls, packed: Tensor) -> BoxTable:
        """The table of :meth:`pack`."""
        columns = torch.split(packed, [_WIDTHS.get(field.name, 1) for field in fields(cls)], dim=1)
        named = {
            field.name: column if field.name in _WIDTHS else column[:, 0]
            for field, column in zip(fields(cls), columns, strict=True)
        }
        for name in ("frame", "label"):
            named[name] = named[name].long()
        return cls(**named)

    @classmethod
    def make(
        cls,
        frame: Tensor,
        boxes: Tensor,
        label: Tensor,
        score: Tensor | None = None,
        height: Tensor | None = None,
        truncation: Tensor | None = None,
        occlusion: Tensor | None = None,
        num_points: Tensor | None = None,
        image_box: Tensor | None = None,
    ) -> BoxTable:
        """A table in which what is not given is surely seen: no detection or object is ignored."""
        boxes = boxes.double().view(-1, 7)
        rows = len(boxes)

        def column(given: Tensor | None, default: float) -> Tensor:
            return boxes.new_full((rows,), default) if given is None else given.to(boxes)

        if image_box is None:
            image_box = boxes.new_full((rows, 4), torch.nan)
        if height is None:
            spans = image_box[:, 3] - image_box[:, 1]
            height = torch.where(spans.isnan(), torch.inf, spans)
        return cls(
            frame.long().expand(rows),
            boxes,
            label.long().expand(rows),
            column(score, 1.0),
            column(height, torch.inf),
            column(truncation, 0.0),
            column(occlusion, 0.0),
            column(num_points, -1.0),
            image_box.to(boxes),
        )

    @classmethod
    def cat(cls, tables: list[BoxTable]) -> BoxTable:
        """Rows of all tables."""
        if not tables:
            none = torch.zeros(0)
            return cls.make(none, none.view(0, 7), none)
        columns = zip(*(table.columns for table in tables), strict=True)
        return cls(*(torch.cat(column) for column in columns))


_WIDTHS = {"boxes": 7, "image_box": 4}
WIDTH = sum(_WIDTHS.get(field.name, 1) for field in fields(BoxTable))
"""Columns of :meth:`BoxTable.pack`."""


def pairs_within_frames(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """All pairs of rows of one frame.

    Args:
        first: Frame of each row of a table, ascending, ``(N,)``.
        second: Of each row of another, ascending, ``(M,)``.

    Returns:
        Row in the first table and row in the second of each pair, ``(K,)`` each, sorted by the
        first, then the second.
    """
    start = torch.searchsorted(second, first)
    count = torch.searchsorted(second, first, right=True) - start
    row = torch.arange(len(first), device=first.device).repeat_interleave(count)
    before = count.cumsum(0) - count
    return row, start[row] + torch.arange(len(row), device=first.device) - before[row]


def slots_within_frames(frame: Tensor) -> Tensor:
    """Number of each row within its frame, ``(N,)``, of frames ``(N,)`` in ascending order."""
    return torch.arange(len(frame), device=frame.device) - torch.searchsorted(frame, frame)

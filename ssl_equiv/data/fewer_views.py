"""A data set less some of its views."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ssl_equiv.data.source import Source
from ssl_equiv.errors import UserError

_SHARED = (
    *("root", "schema", "classes", "objects", "split", "outputs", "failed"),
    *("image_size", "paths", "ranges"),
)


class FewerViews(Source):
    """The first views of each object, in their order: views on a path still follow one another.

    Args:
        source: What is stored.
        num_views: How many views of each object.

    Raises:
        UserError: that is none, or more than an object has.
    """

    def __init__(self, source: Source, num_views: int) -> None:
        if not 1 <= num_views <= source.num_views:
            raise UserError(
                f"{num_views} views of each object are asked for, but those in {source.root} have "
                f"{source.num_views}: choose from 1 to {source.num_views}"
            )
        self.whole, self.num_views = source, num_views
        for name in _SHARED:
            setattr(self, name, getattr(source, name))

    @property
    def fingerprint(self) -> str:
        """That of the whole and the number of views."""
        return f"{self.whole.fingerprint}-first{self.num_views}"

    def name_of(self, index: int, view: int) -> str:
        """Where a view is stored, for messages."""
        return self.whole.name_of(index, view)

    def read(
        self, index: int, views: Sequence[int]
    ) -> tuple[Sequence[bytes | np.ndarray], np.ndarray]:
        """Some of the views, as the whole gives them."""
        return self.whole.read(index, views)

    def read_output(self, index: int, views: Sequence[int], name: str) -> list[bytes]:
        """What is stored beside some of the views."""
        return self.whole.read_output(index, views, name)

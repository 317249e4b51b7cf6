"""Random views with known elements, for tests of single methods."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_equiv.data.views import ViewBatch
from ssl_equiv.groups import SO3, Hue
from ssl_equiv.methods import Method


def random_batch(objects: int = 6, views: int = 2) -> ViewBatch:
    """Noise pictures of 32 pixels, with a rotation and a floor hue."""
    generator = torch.Generator().manual_seed(1)
    groups = {"rotation": SO3(), "floor_hue": Hue()}
    return ViewBatch(
        images=torch.randn(objects, views, 3, 32, 32, generator=generator),
        actions={n: g.sample((objects, views), generator=generator) for n, g in groups.items()},
        groups=groups,
        label=torch.arange(objects),
        index=torch.arange(objects),
    )


def terms_of(method: Method, batch: ViewBatch) -> dict[str, Tensor]:
    """The terms of one step."""
    return method.terms(method.encode_views(batch.images), batch)

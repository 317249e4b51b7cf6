"""A method's predictor as graphs that run without this package."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_equiv.data.record import LatentSchema
from ssl_equiv.errors import UserError
from ssl_equiv.export.graphs import export_program
from ssl_equiv.export.sources import Backbone
from ssl_equiv.methods.base import Method
from ssl_equiv.methods.predictive import Predictive


class _Embed(nn.Module):
    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, features: Tensor) -> Tensor:
        assert isinstance(self.method, Predictive)
        return self.method.embed(features)


class _Predict(nn.Module):
    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, embedding: Tensor, elements: Tensor) -> Tensor:
        assert isinstance(self.method, Predictive)
        return self.method.predict(embedding, elements)


class _Encode(nn.Module):
    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, images: Tensor) -> Tensor:
        return self.method.encode(images).features


def write_predictor(
    method: Method, backbone: Backbone, images: Tensor, folder: Path
) -> dict[str, Any] | None:
    """Write ``embed.pt2`` and ``predictor.pt2``, programs of ``torch.export``.

    ``embed`` takes features ``(B, D)`` of the exported backbone and gives ``(B, E)``; ``predict``
    takes embeddings and relative elements ``(B, 1, K)`` and gives where they move, ``(B, 1, E)``.
    Where the predictor moves more than the backbone's output, such as capsules, ``encode.pt2``
    makes the features from images.

    Args:
        method: Whose predictor it is.
        backbone: What is exported, with the factors of its data.
        images: Normalised images ``(B, 3, H, W)``, for tracing.
        folder: Where to.

    Returns:
        What the element's columns mean, plain data; None where the method has no predictor, or
        one that no graph can express, of which a warning tells.
    """
    factors = backbone.origin.get("factors")
    if not isinstance(method, Predictive) or not method.factors or not factors:
        return None
    method = method.eval()
    groups = LatentSchema.from_list(factors).groups
    if not set(method.factors) <= groups.keys():  # elements that the method draws itself
        return None
    group, _ = method.elements({name: g.identity((2,)) for name, g in groups.items()}, groups)
    identity = group.identity((2,))
    own = type(method).encode is not Method.encode
    made = [folder / name for name in ("encode.pt2", "embed.pt2", "predictor.pt2")]
    with torch.no_grad():
        features = method.encode(images[:2]).features
        embedding = method.embed(features)
    try:
        if own:
            export_program(_Encode(method), images[:2], made[0])
        export_program(_Embed(method), features, made[1])
        export_program(_Predict(method), (embedding, identity[:, None]), made[2])
    except UserError as error:
        warnings.warn(f"the predictor is left out: {error}", stacklevel=2)
        for path in made:
            path.unlink(missing_ok=True)
        return None
    return {
        "features": "encode.pt2" if own else "the backbone",
        "width": features.shape[1],
        "embedding": embedding.shape[1],
        "element": group.name,
        "columns": identity.shape[1],
        "identity": identity[0].tolist(),
        "factors": {name: groups[name].name for name in method.factors},
        "directions": method.directions,
        "relative": "the element that carries the first view to the second, inverse(g1) g2",
    }

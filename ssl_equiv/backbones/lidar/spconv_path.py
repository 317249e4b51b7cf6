"""The same convolutions by spconv, where that is installed and the voxels lie on a GPU.

spconv (Apache-2.0) stays optional: it is compiled for single versions of CUDA and not needed for
anything. Its weights have the layout of :class:`SparseConv3d`'s, so both share one parameter.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from ssl_equiv.backbones.lidar.sparse import SparseConv3d, SparseMap

_TWIN, _CACHE = "_spconv_twin", "spconv"


@cache
def installed() -> bool:
    """Whether spconv is there; it is not imported for that."""
    return importlib.util.find_spec("spconv") is not None


def usable(features: Tensor) -> bool:
    """Whether spconv is there and computes rightly and backwards: on a GPU alone."""
    return features.is_cuda and installed()


def convolve(layer: SparseConv3d, voxels: SparseMap) -> SparseMap:
    """What ``layer`` makes of ``voxels``; outputs of strided layers come in spconv's order."""
    library: Any = importlib.import_module("spconv.pytorch")
    twin = _twin(layer, library)
    given = library.SparseConvTensor(
        voxels.features,
        voxels.coordinates.int().contiguous(),  # of other strides it takes wrong numbers
        list(voxels.shape),
        voxels.size,
    )
    given.indice_dict = voxels.rules.setdefault(_CACHE, {})
    made = twin(given)
    z, y, x = made.spatial_shape
    coordinates = voxels.coordinates if layer.submanifold else made.indices.long()
    return replace(voxels, features=made.features, coordinates=coordinates, shape=(z, y, x))


def _twin(layer: SparseConv3d, library: Any) -> Any:
    """spconv's layer with the weight of ours; no module of ours, so that it has no state."""
    held = layer.__dict__.get(_TWIN)
    if held is None:
        out, *kernel, into = layer.weight.shape
        options: dict[str, Any] = {"bias": False, "indice_key": layer.key or None}
        if layer.submanifold:
            twin = library.SubMConv3d(into, out, kernel, padding=list(layer.padding), **options)
        else:
            twin = library.SparseConv3d(
                into, out, kernel, list(layer.stride), list(layer.padding), **options
            )
        held = layer.__dict__[_TWIN] = (twin,)  # in a tuple it is not registered
    (twin,) = held
    twin._parameters["weight"] = layer.weight  # a copy of the layer has another weight
    return twin.train(layer.training)

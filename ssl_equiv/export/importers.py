"""Importers of the checkpoints that papers published: SIE, EquiCaps, seq-JEPA.

Each makes the method here that has a file's weights, or a backbone where the file holds nothing
else. Modules are known by the names that the published checkpoints give them. Inside each, names
and shapes must be just those expected; modules beside them, such as online evaluators, are left
out and named. Sizes come from the tensors. What no tensor tells is the published default:
normalisation, image size, attention heads.

The layouts are tested on state dicts of the published shapes, and the heads' by published numbers;
they were not tested on downloaded files.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from torch import nn

from ssl_equiv.backbones import BackboneConfig, create_backbone
from ssl_equiv.data.record import DIEBENCH, DIEBENCH_T, LatentSchema
from ssl_equiv.data.views import Preprocess
from ssl_equiv.errors import UserError
from ssl_equiv.export.hypernetworks import deep_predictor, linear_predictor
from ssl_equiv.export.published import Published, Weights, read_published, shapes_of, strict
from ssl_equiv.files import file_sha256
from ssl_equiv.heads.capsules import from_published
from ssl_equiv.methods import PLS, SIE, EquiCaps, Method, MomentumConfig, SeqJEPA

log = logging.getLogger(__name__)
_T = TypeVar("_T")

_STRIDE = 32  # of a ResNet: pixels of the image for one position of the map
# factors of the published runs, and the views that seq-JEPA observed, by entries of an action
_FACTORS = {4: ("rotation",), 6: ("rotation", "floor_hue", "light_hue")}
_OBSERVATIONS = {4: 3, 6: 4}


@dataclass(frozen=True)
class Imported:
    """A published network with its weights.

    Attributes:
        config: Which timm model the backbone is.
        model: The backbone, in evaluation mode.
        method: The method around it, in evaluation mode; None where the file has no heads.
        parts: Named columns of the backbone's output.
        preprocess: What images go through before it.
        origin: Where it comes from, plain data.
    """

    config: BackboneConfig
    model: nn.Module
    method: Method | None
    parts: dict[str, tuple[int, int]]
    preprocess: Preprocess
    origin: dict[str, Any]


@dataclass(frozen=True)
class _Training:
    """What no tensor tells: the paper, the images that were seen, the factors of the data."""

    paper: str
    image_size: int
    preprocess: Preprocess
    schema: LatentSchema | None = DIEBENCH


_SIE = _Training("SIE, arXiv 2302.10283", 256, Preprocess(size=256))
_EQUICAPS = _Training("EquiCaps, arXiv 2506.09895", 256, Preprocess(size=256))
_SEQJEPA = _Training("seq-JEPA, arXiv 2505.03176", 128, Preprocess(size=128))
_STL10 = Preprocess(mean=(0.4467, 0.4398, 0.4066), std=(0.2603, 0.2566, 0.2713))
_SACCADES = replace(_SEQJEPA, image_size=32, preprocess=_STL10, schema=None)


def sie(found: Published) -> Imported:
    """SIE (arXiv 2302.10283): ``model.pth``, or ``final_weights.pth`` with the backbone alone.

    A backbone alone is split in half, as the paper's. A file without an invariant projector is
    taken for "only equivariant".
    """
    marker = "projector_equi.0.weight"
    if (root := found.root(marker)) is None:
        half = found.dim // 2
        return _alone(found, marker, _SIE, {"inv": (0, half), "equi": (half, found.dim)})
    equi_in, widths = _layers(found, f"{root}projector_equi.")
    equi_out, inv_in, names = widths[-1], 0, ["projector_equi"]
    if found.names(f"{root}projector_inv."):
        names.append("projector_inv")
        inv_in, inv_widths = _layers(found, f"{root}projector_inv.")
        widths = [sum(pair) for pair in zip(inv_widths, widths, strict=False)]
    if inv_in + equi_in != found.dim:
        raise UserError(
            f"{found.path} holds a {found.config.name} of {found.dim} features, but projectors of "
            f"{inv_in} and {equi_in}: it is of another method than SIE, which shares them out"
        )
    deep = bool(found.names(f"{root}predictor.hypernet.net.2."))
    action_dim = found.need(f"{root}predictor.hypernet.net.0.weight").shape[1]
    method = SIE(
        found.config,
        equi_dim=equi_in,
        predictor="deep" if deep else "linear",
        projector_widths=tuple(widths),
        factors=_factors(found, action_dim),
        action_dim=action_dim,
    )
    state = _modules(found, root, method, {name: name for name in names})
    predictor = deep_predictor if deep else linear_predictor
    section = predictor(found, f"{root}predictor.hypernet.net.", action_dim, equi_out)
    return _whole(found, method, state | _named(section, "predictor."), root, _SIE)


def equicaps(found: Published) -> Imported:
    """EquiCaps (arXiv 2506.09895), 3x3 or 4x4, with its capsules or the backbone alone.

    The file does not tell the frame of rigid motions, which only further training needs.
    """
    marker = "projector.fc.W1"
    if (root := found.root(marker)) is None:
        return _alone(found, marker, _EQUICAPS)
    inputs, votes, pose = found.need(root + marker, 3).shape
    if pose not in (9, 16) or votes % pose or inputs % (votes // pose):
        raise UserError(
            f"{found.path} has {marker} of {inputs}x{votes}x{pose} numbers: EquiCaps has "
            "positions·N x N·P x P, with P = 9 or 16"
        )
    num = votes // pose
    side = math.isqrt(inputs // num)  # of the map, each of whose positions has N capsules
    method = EquiCaps(
        found.config,
        image_size=side * _STRIDE,
        pose="3x3" if pose == 9 else "4x4",
        factors=("rotation",) if pose == 9 else ("rotation", "translation"),
        num_capsules=num,
    )
    shapes = {
        "fc.W1": (side**2 * num, num * pose, pose),
        "fc.W2": (side**2 * num, num, pose),
        "fc.b2": (1, 1, side**2 * num, num),
    }
    for kind, channels in (("a", num), ("pose", num * pose)):
        shapes[f"conv_{kind}.weight"] = (channels, found.dim, 3, 3)
        shapes |= _named(shapes_of(nn.BatchNorm2d(channels)), f"bn_{kind}.")
    state = from_published(found.section(f"{root}projector.", shapes))
    training = replace(
        _EQUICAPS,
        image_size=method.image_size,
        preprocess=Preprocess(size=method.image_size),
        schema=DIEBENCH if pose == 9 else DIEBENCH_T,
    )
    return _whole(found, method, _named(state, "capsules."), root, training)


def seqjepa(found: Published) -> Imported:
    """seq-JEPA (arXiv 2505.03176) on 3DIEBench, or across saccades (PLS).

    Saccades are told by actions of two entries or, for a backbone alone, by the stem for small
    images. For their images STL-10's statistics are assumed.
    """
    marker = "agg_token"
    if (root := found.root(marker)) is None:
        return _alone(found, marker, _SACCADES if found.config.cifar_stem else _SEQJEPA)
    action_width, action_dim = found.need(f"{root}action_proj.0.weight").shape
    layers = "transformer_encoder.transformer_encoder.layers"
    arguments: dict[str, Any] = {
        "action_width": action_width,
        "layers": len({name.split(".")[0] for name in found.names(f"{root}{layers}.")}),
        "predictor_width": len(found.need(f"{root}predictor.0.weight")),
        "momentum": None if found.target is None else MomentumConfig(),
    }
    if action_dim != 2:
        arguments |= {"factors": _factors(found, action_dim), "action_dim": action_dim}
        arguments |= {"observations": _OBSERVATIONS[action_dim]}
    method: SeqJEPA = (PLS if action_dim == 2 else SeqJEPA)(found.config, **arguments)
    theirs = {
        "action_proj.0": "head.action_linear",
        "action_proj.1": "head.action_norm",
        layers: "head.transformer.layers",
        "transformer_encoder.norm": "head.transformer.norm",
        "predictor": "head.predictor",
    }
    state = _modules(found, root, method, theirs)
    token = found.section(root + marker, {"": tuple(method.head.aggregate_token.shape)})[""]
    state["head.aggregate_token"] = token
    if found.target is None:  # a target that is not whole is none: let it be told
        found.section(f"{root}target_encoder.", {})
    else:
        state |= _named(found.target, "target.network.")
    return _whole(found, method, state, root, _SACCADES if action_dim == 2 else _SEQJEPA)


IMPORTERS: dict[str, Callable[[Published], Imported]] = {
    "sie": sie,
    "equicaps": equicaps,
    "seqjepa": seqjepa,
}


def import_published(family: str, path: str | Path) -> Imported:
    """Import a checkpoint file of a paper.

    Args:
        family: A key of :data:`IMPORTERS`.
        path: The file that was published, or one of the same layout.

    Raises:
        UserError: no such file, pickled objects in it, or another method or architecture; the
            names that are absent or too many are told.
    """
    return IMPORTERS[family](read_published(path))


def _whole(
    found: Published, method: Method, heads: Weights, root: str, training: _Training
) -> Imported:
    """The method with its weights, of which ``heads`` are all but the backbone's."""
    method.load_state_dict(_named(found.backbone, "backbone.") | heads)
    if left_out := found.beside(root):
        log.warning("%s: not imported: %s", found.path, ", ".join(left_out))
    cls = type(method)
    origin = _origin(found, training) | {
        "method": {
            "class_path": f"{cls.__module__}.{cls.__qualname__}",
            "init_args": dict(method.hparams),
        },
        "left_out": left_out,
    }
    parts = method.backbone_parts
    return Imported(
        found.config, method.backbone, method.eval(), parts, training.preprocess, origin
    )


def _alone(
    found: Published,
    marker: str,
    training: _Training,
    parts: Mapping[str, tuple[int, int]] = MappingProxyType({}),
) -> Imported:
    """The backbone of a file that holds nothing else.

    Raises:
        UserError: it holds heads of another method, without ``marker``.
    """
    if found.rest:
        strict(found.rest, {marker: ()}, "", found.path)
    model = create_backbone(found.config)
    model.load_state_dict(found.backbone)
    origin = _origin(found, training)
    return Imported(found.config, model.eval(), None, dict(parts), training.preprocess, origin)


def _origin(found: Published, training: _Training) -> dict[str, Any]:
    schema = training.schema
    return {
        "imported": f"{found.path.name} of {training.paper}",
        "sha256": file_sha256(found.path),
        "image_size": training.image_size,
        **({} if schema is None else {"factors": schema.to_list()}),
    }


def _modules(found: Published, root: str, method: Method, theirs: Mapping[str, str]) -> Weights:
    """The state of those of the method's modules that the file has under other names."""
    state: Weights = {}
    for name, ours in theirs.items():
        shapes = shapes_of(method.get_submodule(ours))
        state |= _named(found.section(f"{root}{name}.", shapes), f"{ours}.")
    return state


def _layers(found: Published, prefix: str) -> tuple[int, list[int]]:
    """Width in and widths of the layers of a Sequential projector."""
    first = found.need(f"{prefix}0.weight")
    numbers = sorted(
        {int(n) for n in (k.split(".")[0] for k in found.names(prefix)) if n.isdigit()}
    )
    layers = [found.rest.get(f"{prefix}{number}.weight", first.new_empty(0)) for number in numbers]
    return first.shape[-1], [len(weight) for weight in layers if weight.ndim == 2]


def _factors(found: Published, action_dim: int) -> tuple[str, ...]:
    if action_dim not in _FACTORS:
        known = ", ".join(f"{dim} ({', '.join(names)})" for dim, names in _FACTORS.items())
        raise UserError(
            f"{found.path} is conditioned on actions of {action_dim} entries; known are {known}"
        )
    return _FACTORS[action_dim]


def _named(values: Mapping[str, _T], prefix: str) -> dict[str, _T]:
    return {prefix + name: value for name, value in values.items()}

"""Small versions of every method, for the tests that run all of them."""

from __future__ import annotations

from typing import Any

import ssl_equiv.methods
from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.methods import Method, MomentumConfig
from ssl_equiv.methods.essl3d import Objective
from ssl_equiv.methods.lidar import LidarMethod
from tests.backbones.lidar.clouds import PILLARS, VOXELS

MOMENTUM = MomentumConfig(schedule="constant")
# arguments of a method beside its backbone; a method with a projector needs no entry
SEQUENCE = {"action_width": 32, "layers": 1, "predictor_width": 24, "momentum": MOMENTUM}
CAPSULES = {
    "backbone": BackboneConfig("test_resnet", options={"output_stride": 16}),
    "image_size": 32,
    "num_capsules": 4,
}
OPTIONS: dict[str, dict[str, Any]] = {
    "BYOL": {"hidden_width": 32, "embedding_width": 16, "momentum": MOMENTUM},
    "Supervised": {},
    "EquiCaps": CAPSULES,
    "CapsIE": {**CAPSULES, "pose_dim": 9},
    "SeqJEPA": {**SEQUENCE, "observations": 2},
    "PLS": {**SEQUENCE, "observations": 2, "patch": 16},
    "ConvIJEPA": {
        "backbone": BackboneConfig("test_resnet", options={"output_stride": 8}),
        "predictor_width": 24,
        "predictor_depth": 1,
        "momentum": MOMENTUM,
    },
}
DEFAULT = {"projector_widths": (24, 24, 24)}
# of methods on sweeps; by default their encoder is of pillars
LIDAR: dict[str, dict[str, Any]] = {
    "ESSL3D": {
        "points": 64,
        "projector_widths": (16, 8),
        "predictor_widths": (16, 8),
        "momentum": MOMENTUM,
    },
    "PointContrast": {"points": 64, "projector_widths": (16, 8)},
    "DepthContrast": {"queue": 16, "projector_widths": (16, 8), "momentum": MOMENTUM},
    "BevMAE": {"decoder_width": 8, "drawn": 4, "kept": 6},
    "ALSO": {"points": 64, "hidden": 16},
    "BevJEPA": {"predictor_width": 8, "predictor_depth": 1, "momentum": MOMENTUM},
}
# further settings that must train on several processes: the class, and what differs
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    # a network with layers behind its map, which no loss of ConvIJEPA reaches
    "ConvIJEPA_behind": (
        "ConvIJEPA",
        {
            "backbone": BackboneConfig("test_convnext", options={"output_stride": 8}),
            "predictor_width": 24,
            "predictor_depth": 1,
            "momentum": MOMENTUM,
        },
    ),
    # one process has no sweep with another before it: others' statistics wait for it all the same
    "ESSL3D_firsts": ("ESSL3D", {"backbone": PILLARS, **LIDAR["ESSL3D"]}),
    "ESSL3D_voxels": ("ESSL3D", {"backbone": VOXELS, **LIDAR["ESSL3D"]}),
    "ESSL3D_classified": (
        "ESSL3D",
        {
            "backbone": PILLARS,
            **LIDAR["ESSL3D"],
            "translation": Objective("classification", -0.2, 0.2, 5),
            "scale": Objective("classification", 0.95, 1.05, 4),
            "flip": Objective("classification", -1, 1, 2),
            "flow_weight": 0.0,
        },
    ),
}


def tiny(name: str) -> Method:
    """A method by its name, or a variant's, on a network of a few thousand weights."""
    if name in VARIANTS:
        of, given = VARIANTS[name]
        made: Method = getattr(ssl_equiv.methods, of)(**given)
        return made
    kind: type[Method] = getattr(ssl_equiv.methods, name)
    if name in LIDAR:
        return kind(**{"backbone": PILLARS, **LIDAR[name]})  # type: ignore[call-arg]
    options = OPTIONS.get(name, DEFAULT)
    return kind(**{"backbone": BackboneConfig("test_resnet"), **options})  # type: ignore[call-arg]


def image_methods() -> list[str]:
    """Names of every method on images."""
    return [n for n in all_methods() if not issubclass(getattr(ssl_equiv.methods, n), LidarMethod)]


def lidar_methods() -> list[str]:
    """Names of every method on sweeps."""
    return [n for n in all_methods() if issubclass(getattr(ssl_equiv.methods, n), LidarMethod)]


def all_methods() -> list[str]:
    """Names of every method, so that a new one is tested without being listed here."""
    found = {name: getattr(ssl_equiv.methods, name) for name in ssl_equiv.methods.__all__}
    return sorted(
        n
        for n, o in found.items()
        if isinstance(o, type) and issubclass(o, Method) and o is not Method
    )

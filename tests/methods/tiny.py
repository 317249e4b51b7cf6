"""Small versions of every method, for the tests that run all of them."""

from __future__ import annotations

from typing import Any

import ssl_equiv.methods
from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.methods import Method, MomentumConfig

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


def tiny(name: str) -> Method:
    """A method by its name, on a network of a few thousand weights."""
    kind: type[Method] = getattr(ssl_equiv.methods, name)
    options = OPTIONS.get(name, DEFAULT)
    return kind(**{"backbone": BackboneConfig("test_resnet"), **options})  # type: ignore[call-arg]


def all_methods() -> list[str]:
    """Names of every method, so that a new one is tested without being listed here."""
    found = {name: getattr(ssl_equiv.methods, name) for name in ssl_equiv.methods.__all__}
    return sorted(
        n
        for n, o in found.items()
        if isinstance(o, type) and issubclass(o, Method) and o is not Method
    )

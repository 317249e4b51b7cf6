"""Names of classes and files, and how the data sets number the former."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ssl_equiv.errors import UserError

KITTI_CLASSES = ["Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc"]
"""KITTI's annotated classes; its DontCare has no box in space and is left out."""

SEMANTIC_KITTI_CLASSES = [
    *("car", "bicycle", "motorcycle", "truck", "other-vehicle", "person", "bicyclist"),
    *("motorcyclist", "road", "parking", "sidewalk", "other-ground", "building", "fence"),
    *("vegetation", "trunk", "terrain", "pole", "traffic-sign"),
]
"""The 19 classes of SemanticKITTI's single-scan benchmark, in its order."""

SIMULATION = "simulation.json"
"""Written last by the simulator: what it was told."""
_PLAN = "plan.json"

_TRAINING_IDS = {
    **{10: 0, 11: 1, 13: 4, 15: 2, 16: 4, 18: 3, 20: 4, 30: 5, 31: 6, 32: 7, 40: 8, 44: 9},
    **{48: 10, 49: 11, 50: 12, 51: 13, 60: 8, 70: 14, 71: 15, 72: 16, 80: 17, 81: 18},
    **{252: 0, 253: 6, 254: 5, 255: 7, 256: 4, 257: 4, 258: 3, 259: 4},  # moving
}
_LOOK_UP = np.full(1 << 16, -1, np.int64)
_LOOK_UP[list(_TRAINING_IDS)] = list(_TRAINING_IDS.values())


def semantic_kitti_classes(ids: np.ndarray) -> np.ndarray:
    """SemanticKITTI's ids ``(N,)`` as indices of :data:`SEMANTIC_KITTI_CLASSES`; -1 unlabelled."""
    found: np.ndarray = _LOOK_UP[ids]
    return found


def check_finished(root: Path) -> None:
    """Raise UserError for a simulated data set that is not whole yet."""
    if (root / _PLAN).exists() and not (root / SIMULATION).exists():
        raise UserError(f"{root}: the simulation is not finished: run the same command again")

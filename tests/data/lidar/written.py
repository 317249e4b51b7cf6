"""Small data sets written by hand, with numbers that the tests know."""

from __future__ import annotations

from pathlib import Path

import numpy as np

POINTS = np.array(
    [[10, 0, 0, 0.5], [10, 1, -0.5, 0.25], [20, -4, 0.3, 1.0], [-5, 2, 0, 0.0]], np.float32
)

# the camera looks along x: x right = -y, y down = -z, z ahead = x; 0.1 m before the sensor
CALIBRATION = """\
P0: 1 0 0 0 0 1 0 0 0 0 1 0
P2: 700 0 600 0 0 700 180 0 0 0 1 0
R0_rect: 1 0 0 0 1 0 0 0 1
Tr_velo_to_cam: 0 -1 0 0 0 0 -1 0 1 0 0 -0.1
"""

# a car 20 m ahead and 4 m to the right that drives ahead, and one that crosses to the left
LABELS = """\
Car 0.00 1 -1.5 500 150 560 190 1.50 1.60 4.00 4.00 0.60 19.90 -1.570796
Cyclist 0.25 0 0.1 1 2 3 4 1.70 0.60 1.80 -1.00 0.80 9.90 3.141593
DontCare -1 -1 -10 503.89 169.71 590.61 190.13 -1 -1 -1 -1000 -1000 -1000 -10
"""


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def kitti(root: Path, sweeps: int = 3) -> Path:
    """The object benchmark's layout: all sweeps alike."""
    for number in range(sweeps):
        name = f"{number:06d}"
        write(root / f"training/velodyne/{name}.bin", POINTS.tobytes())
        write(root / f"training/calib/{name}.txt", CALIBRATION)
        write(root / f"training/label_2/{name}.txt", LABELS)
    return root

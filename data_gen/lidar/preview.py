"""A sheet of simulated sweeps from above."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from data_gen.lidar.simulate import SimulatedSweep
from ssl_equiv.boxes import Boxes
from ssl_equiv.data.lidar.names import KITTI_CLASSES
from ssl_equiv.data.lidar.picture import birds_eye


def sheet(sweeps: Sequence[SimulatedSweep], size: int = 640) -> Image.Image:
    """The first sweeps of sequences, two in a row, with boxes and with what moves."""
    columns = min(2, len(sweeps))
    rows = -(-len(sweeps) // columns)
    page = Image.new("RGB", (columns * size, rows * size))
    for number, sweep in enumerate(sweeps):
        values = np.array([a.box for a in sweep.annotations], np.float32).reshape(-1, 7)
        labels = np.array([KITTI_CLASSES.index(a.class_name) for a in sweep.annotations], np.int64)
        picture = birds_eye(
            sweep.points,
            Boxes.make(values, labels),
            flow=sweep.flow,
            names=KITTI_CLASSES,
            size=size,
            title=f"sequence {number}: {len(sweep.points)} points",
        )
        page.paste(picture, (number % columns * size, number // columns * size))
    return page

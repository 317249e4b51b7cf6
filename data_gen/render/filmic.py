"""Blender's Filmic view as a curve of each channel, measured.

Blender 4.2.23 (``bpy``) was given grey ramps under the view transform Filmic, look None, exposure
0, gamma 1, and wrote 16-bit files. Its further step, which draws saturated highlights towards
white, acts on colours with a channel above 8: below, this curve is within a tenth of a byte of
the true view (90,000 colours drawn), above it leaves them saturated.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BRIGHTEST = 16.0
"""Linear light that filmic shows as white, to the byte."""

_GREY = 0.18
_FIRST_STOP, _STOPS_A_KNOT = -10.0, 0.25
# bytes at every quarter of a stop from 10 stops below middle grey (0.18) to 6.5 above
_KNOTS = (
    *(0.0, 0.23, 0.49, 0.77, 1.1, 1.47, 1.88, 2.34, 2.87, 3.46, 4.12, 4.86, 5.7, 6.64, 7.69, 8.87),
    *(10.19, 11.67, 13.32, 15.16, 17.21, 19.49, 22.02, 24.82, 27.92, 31.33, 35.09, 39.2, 43.69),
    *(48.58, 53.88, 59.58, 65.71, 72.25, 79.19, 86.51, 94.19, 102.18, 110.44, 118.92, 127.55),
    *(136.16, 144.77, 153.34, 161.78, 170.04, 178.04, 185.72, 193.05, 199.99, 206.5, 212.57),
    *(218.17, 223.31, 228.0, 232.23, 236.02, 239.4, 242.39, 245.0, 247.27, 249.21, 250.86),
    *(252.25, 253.38, 254.29, 255.0),
)


def filmic(value: NDArray[np.floating]) -> NDArray[np.float64]:
    """Display values in [0, 1] of linear light, any shape; 0 below 0.00018, 1 above 16.3."""
    stops = _FIRST_STOP + _STOPS_A_KNOT * np.arange(len(_KNOTS))
    darkest = _GREY * 2.0**_FIRST_STOP
    shown = np.interp(np.log2(np.maximum(value, darkest) / _GREY), stops, _KNOTS)
    return np.asarray(shown / 255, np.float64)

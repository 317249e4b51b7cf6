"""``python -m tests.parity DIR``: compare this package with files of published numbers.

Each file holds inputs, weights and outputs of a published implementation; its kind is told by its
name, its sizes by its arrays. One line a file: the largest relative error of the loss, its terms,
the outputs and the gradients, as it is and as it is judged, which leaves out absolute differences
up to 1e-6: a gradient that is zero but for rounding has no relative error. Exit 1 above the
tolerance or where a kind is unknown.
A family of files is a module here with ``KINDS``: patterns of names and their comparisons.
"""

from __future__ import annotations

import fnmatch
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from tests.parity import capsules, parts, seqjepa, sie
from tests.parity.common import Arrays, Errors

TOLERANCE = 1e-4
# files of the golden set that hold something other than numbers of a published method
OTHER = {"cycles_*.npz": "python -m data_gen.compare FILE checks it"}
KINDS: dict[str, Callable[[Arrays], Errors]] = {
    **sie.KINDS,
    **capsules.KINDS,
    **seqjepa.KINDS,
    **parts.KINDS,
}


def check(path: Path) -> tuple[bool, str]:
    """Compare one file; returns whether it agrees and the line to print."""
    for pattern, reason in OTHER.items():
        if fnmatch.fnmatch(path.name, pattern):
            return True, f"-     {path.name}: not a published method's numbers; {reason}"
    for pattern, compare in KINDS.items():
        if fnmatch.fnmatch(path.name, pattern):
            with np.load(path, allow_pickle=False) as arrays:
                errors = compare(dict(arrays))
            judged = max(errors, key=lambda name: _nan_is_worst(errors[name].counted))
            agrees = errors[judged].counted <= TOLERANCE  # false for NaN
            figures = f"{len(errors)} quantities, {_told(errors, judged)}"
            return agrees, f"{'ok   ' if agrees else 'WRONG'} {path.name}: {figures}"
    return False, f"?     {path.name}: no method here makes this kind of file"


def _told(errors: Errors, judged: str) -> str:
    """What is judged, and the worst relative error of all with the difference behind it."""
    worst = max(errors, key=lambda name: _nan_is_worst(errors[name].relative))
    relative, difference = errors[worst].relative, errors[worst].difference
    counted = f"{errors[judged].counted:.1e} ({judged})" if errors[judged].counted else "none"
    return (
        f"judged {counted}; worst relative {relative:.1e} ({worst}, where the difference is "
        f"{difference:.1e})"
    )


def _nan_is_worst(error: float) -> float:
    return float("inf") if error != error else error


def main(folder: str) -> int:
    """Check every ``.npz`` file of a folder; returns the exit code."""
    files = sorted(Path(folder).glob("*.npz"))
    if not files:
        print(f"error: no .npz files in {folder}: give the folder of golden files", file=sys.stderr)
        return 2
    torch.manual_seed(0)
    results = [check(path) for path in files]
    for _, line in results:
        print(line)
    return 0 if all(agrees for agrees, _ in results) else 1

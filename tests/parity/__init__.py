"""``python -m tests.parity DIR``: compare this package with files of published numbers.

Each file holds inputs, weights and outputs of a published implementation; its kind is told by its
name, its sizes by its arrays. One line a file: the largest relative error of the loss, its terms,
the outputs and the gradients. Exit 1 above the tolerance or where a kind is unknown.
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
            worst = max(errors, key=lambda name: _nan_is_worst(errors[name]))
            agrees = errors[worst] <= TOLERANCE  # false for NaN
            figures = f"{len(errors)} quantities, worst {errors[worst]:.1e} ({worst})"
            return agrees, f"{'ok   ' if agrees else 'WRONG'} {path.name}: {figures}"
    return False, f"?     {path.name}: no method here makes this kind of file"


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

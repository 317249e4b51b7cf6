"""``python -m eval.detection RESULTS LABELS [NAMES]``: KITTI's AP of a folder of results."""

from __future__ import annotations

import sys
from pathlib import Path

from eval.detection.kitti import KINDS, kitti_ap
from eval.detection.kitti_files import read_kitti
from ssl_equiv.data.lidar.names import KITTI_CLASSES
from ssl_equiv.errors import UserError

_USAGE = "usage: python -m eval.detection RESULTS LABELS [NAMES]"


def main(args: list[str]) -> None:
    """Print a table of what a folder of results is worth.

    Args:
        args: The folder of results; that of annotations (``training/label_2``); optionally a file
            of names, such as ``ImageSets/val.txt``, by default those of the results.

    Raises:
        UserError: a folder or a file in it is missing or damaged.
    """
    if len(args) not in (2, 3):
        raise UserError(_USAGE)
    results, labels = map(Path, args[:2])
    frames = sorted(path.stem for path in results.glob("*.txt"))
    if len(args) == 3:
        frames = Path(args[2]).read_text().split()
    if not frames:
        raise UserError(f"{results} holds no .txt files: give a folder of KITTI results")
    found = kitti_ap(
        read_kitti(results, frames, results=True),
        read_kitti(labels, frames, results=False),
        KITTI_CLASSES,
        kinds=KINDS,
    )
    print(f"{len(frames)} frames; AP in percent: easy, moderate, hard")
    for name in dict.fromkeys(key.rpartition("_")[0] for key in found):
        levels = [100 * found[f"{name}_{level}"] for level in ("easy", "moderate", "hard")]
        print(f"{name:24} {'  '.join(f'{value:6.2f}' for value in levels)}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")

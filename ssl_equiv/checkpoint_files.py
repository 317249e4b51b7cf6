"""The checkpoint files of a run: which are kept, which is the last, which the best."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ssl_equiv.checkpoint import BEST, CHECKPOINTS, FAILED, LAST, read_checkpoint
from ssl_equiv.errors import UserError

_STEP = re.compile(r"step-(\d+)\.ckpt")


class CheckpointFiles:
    """The newest files ``RUN/checkpoints/step-00001000.ckpt``; ``last.ckpt`` and ``best.ckpt``
    are links to two of them.

    Args:
        run: Run directory.
        keep: How many of the newest are kept, besides the best.
    """

    def __init__(self, run: str | os.PathLike[str], keep: int = 2) -> None:
        self.folder, self.keep = Path(run) / CHECKPOINTS, keep
        self.last, self.best = self.folder / LAST, self.folder / BEST

    def path(self, step: int) -> Path:
        """Where the state after ``step`` optimiser steps is written."""
        return self.folder / f"step-{step:08d}.ckpt"

    def step(self, path: Path) -> int | None:
        """The step whose state is written to ``path``; None if it is none of these files."""
        name = _STEP.fullmatch(path.name)
        return int(name[1]) if name and path.parent == self.folder else None

    def steps(self) -> list[int]:
        """The steps whose states are there, newest first."""
        if not self.folder.is_dir():
            return []
        names = (_STEP.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted((int(name[1]) for name in names if name), reverse=True)

    def publish(self, step: int, best: bool = False) -> None:
        """Make a whole new file the last one, and the best if it is; delete what is too old."""
        _link(self.path(step), self.last)
        if best:
            _link(self.path(step), self.best)
        kept = {self.path(step).name, *(self.path(s).name for s in self.steps()[: self.keep])}
        if self.best.is_symlink():
            kept.add(os.readlink(self.best))
        for old in self.steps():
            if self.path(old).name not in kept:
                self.path(old).unlink(missing_ok=True)

    def open(self, *, repair: bool) -> tuple[Path, dict[str, Any]] | None:
        """The newest state that can be read, telling of damaged ones; None if there is no file.

        Args:
            repair: Put damaged files aside as ``damaged.ckpt``, so that the one that is read is
                the last; for one process of a run. What is read does not depend on it.

        Raises:
            UserError: there are files, but none can be read.
        """
        reasons: list[str] = []
        for path in self._candidates():
            try:
                checkpoint = read_checkpoint(path)
            except UserError as error:
                if path.exists():  # else the process that repairs was faster
                    reasons.append(str(error))
                continue
            for reason in reasons:
                warnings.warn(f"{reason}; continuing from {path}", stacklevel=2)
            if reasons and repair:
                self._make_last(path)
            return path, checkpoint
        if reasons:
            raise UserError(
                f"{reasons[0]}; none of the run's other checkpoints can be read either: start "
                "anew in another --out"
            )
        return None

    def discard(self, step: int) -> Path | None:
        """The last good state, once the loss of the step from the state ``step`` was no number.

        Where the last one is that very state, nobody has ever learnt from it: its weights may be
        those of a step that broke them. It is put aside as ``failed.ckpt``, and the one before,
        which a finite loss followed, becomes the last.

        Returns:
            The last state, or None where no good one remains.
        """
        broken = self.path(step)
        with contextlib.suppress(FileNotFoundError):  # another process may have done it
            if broken.exists():
                before = [s for s in self.steps() if s < step]
                if before:
                    _link(self.path(before[0]), self.last)
                else:
                    self.last.unlink(missing_ok=True)
                if self.best.is_symlink() and os.readlink(self.best) == broken.name:
                    self.best.unlink()
                os.replace(broken, self.folder / FAILED)
        return self.last if self.last.exists() else None

    def _candidates(self) -> Iterator[Path]:
        """The last one, then the others from the newest on."""
        seen = set()
        for path in (self.last, *(self.path(step) for step in self.steps())):
            real = path.resolve()
            if path.exists() and real not in seen:
                seen.add(real)
                yield path

    def _make_last(self, path: Path) -> None:
        damaged = self.last.resolve()
        if damaged.exists() and damaged != path.resolve():
            os.replace(damaged, self.folder / "damaged.ckpt")
        _link(path, self.last)


def _link(target: Path, link: Path) -> None:
    """Let ``link`` name ``target`` beside it, in the place of what it named before."""
    descriptor, temporary = tempfile.mkstemp(
        dir=link.parent, prefix=f".{link.name}.", suffix=".partial"
    )
    os.close(descriptor)
    try:
        os.unlink(temporary)
        os.symlink(target.name, temporary)
    except OSError:  # a file system without links
        shutil.copyfile(target, temporary)
    os.replace(temporary, link)

"""Checkpoints written in the background: training waits for a copy in memory, not for the disk."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import Tensor

from ssl_equiv.checkpoint import read_checkpoint
from ssl_equiv.files import atomic_write


class BackgroundCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files through a temporary name, a flush to disk, and a rename.

    One file is written at a time; a second one waits for the first. What goes wrong in the
    background is raised by the next :meth:`wait`, and :attr:`failure` tells of it before.

    Attributes:
        written: Called, in the background, with the path of every file that is whole.
    """

    def __init__(self) -> None:
        super().__init__()
        self.written: Callable[[Path], None] | None = None
        self._writer: ThreadPoolExecutor | None = None
        self._pending: Future[None] | None = None
        self._copies: dict[str, Tensor] = {}

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Copy the state and begin to write it.

        Args:
            checkpoint: Plain values and tensors.
            path: The file, which is whole or stays as it was.
            storage_options: Not used: the file is a local one.
        """
        self.wait()
        snapshot = self._copy(checkpoint, "")
        self._writer = self._writer or ThreadPoolExecutor(1, "checkpoint")
        self._pending = self._writer.submit(self._write, snapshot, Path(path))

    def load_checkpoint(
        self, path: Any, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint without unpickling objects."""
        self.wait()
        return read_checkpoint(path, map_location)

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a checkpoint, once nothing is being written."""
        self.wait()
        super().remove_checkpoint(path)

    @property
    def failure(self) -> BaseException | None:
        """Why the last file could not be written, if that is known by now."""
        if self._pending is None or not self._pending.done():
            return None
        return self._pending.exception()

    @property
    def writing(self) -> bool:
        """Whether a file is being written."""
        return self._pending is not None and not self._pending.done()

    def wait(self) -> None:
        """Return when nothing is being written any more; raise what went wrong."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def teardown(self) -> None:
        """End the background thread, after what it is writing; an error was told by then."""
        with contextlib.suppress(Exception):
            self.wait()
        if self._writer is not None:
            self._writer.shutdown()
            self._writer = None
        self._copies.clear()

    def _copy(self, value: Any, name: str) -> Any:
        """``value`` with tensors copied to the CPU, into the memory of the copy before."""
        if isinstance(value, Tensor):
            # fresh memory costs twice the copying: the kernel clears every page of it
            old = self._copies.get(name)
            if old is None or old.shape != value.shape or old.dtype != value.dtype:
                old = torch.empty_like(value.detach(), device="cpu")
                self._copies[name] = old
            return old.copy_(value.detach())
        if isinstance(value, dict):
            copied = copy.copy(value)  # a state dict carries the versions of its modules
            copied.update((k, self._copy(v, f"{name}/{k}")) for k, v in value.items())
            return copied
        if isinstance(value, (list, tuple)):
            return type(value)(self._copy(v, f"{name}/{i}") for i, v in enumerate(value))
        return value

    def _write(self, checkpoint: dict[str, Any], path: Path) -> None:
        with atomic_write(path) as file:
            torch.save(checkpoint, file)
        if self.written is not None:
            self.written(path)

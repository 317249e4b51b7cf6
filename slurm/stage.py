"""Copies a data set's shards to a node's own disk, once per node, before a run reads them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ssl_equiv.errors import UserError
from ssl_equiv.files import atomic_write, make_directory

MANIFEST = "manifest.json"
_PIECE = 16 << 20  # bytes
_COPIES = 4  # at once: a network's file system answers several readers better than one
_ENDING = {signal.SIGUSR1, signal.SIGTERM}


def local_folder(given: str | None) -> Path:
    """The folder for staged data: the one given, else SLURM_TMPDIR or TMPDIR; variables expand.

    Raises:
        UserError: nothing names one, or it does not exist.
    """
    path = given or os.environ.get("SLURM_TMPDIR") or os.environ.get("TMPDIR")
    if not path:
        raise UserError(
            "nothing names the node's own disk: set local_disk in the site file (neither "
            "SLURM_TMPDIR nor TMPDIR is set here)"
        )
    expanded = Path(os.path.expandvars(path))
    if given:
        make_directory(expanded)
    elif not expanded.is_dir():
        raise UserError(f"{expanded} does not exist on this node: set local_disk in the site file")
    return expanded


def stage(data: Path, local: Path) -> Path:
    """Copy the shards in ``data`` into a folder in ``local``; what is whole there is kept.

    The folder's name tells the data set's content, so another version is another folder. Processes
    of one node that call this together copy once; the manifest comes last.

    Args:
        data: A data set of shards.
        local: Folder on the node's own disk.

    Returns:
        The copy's folder.

    Raises:
        UserError: no shards there, one has another size than its manifest says, too little space,
            or a signal asks the job to end.
    """
    try:
        text = (data / MANIFEST).read_bytes()
        shards: list[dict[str, Any]] = json.loads(text)["shards"]
        sizes = {str(shard["name"]): int(shard["bytes"]) for shard in shards}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{data} holds no manifest of shards: only shards are staged") from error
    if not sizes:
        raise UserError(f"{data} is no data set of shards: 'ssl-equiv convert' makes one")
    if any(Path(name).name != name for name in sizes):
        raise UserError(f"{data}: a shard's name is no plain file name")
    for name in list(sizes):
        index = data / (name.removesuffix(".tar") + ".index.npy")
        if index.is_file():  # it can be left out
            sizes[index.name] = index.stat().st_size
    target = local / f"{data.resolve().name}-{hashlib.sha256(text).hexdigest()[:12]}"
    make_directory(target)
    with _alone(target):
        missing = [name for name, size in sizes.items() if not _whole(target / name, size)]
        needed, free = sum(sizes[name] for name in missing), shutil.disk_usage(target).free
        if needed > free:
            raise UserError(
                f"{local} has {free / 1e9:.1f} GB free of the {needed / 1e9:.1f} needed"
            )
        with ThreadPoolExecutor(_COPIES) as pool:
            copies = [pool.submit(_copy, data / n, target / n, sizes[n]) for n in missing]
            try:
                for copied in copies:
                    copied.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        if not _whole(target / MANIFEST, len(text)):
            with atomic_write(target / MANIFEST) as file:
                file.write(text)
    return target


def _copy(source: Path, target: Path, size: int) -> None:
    with open(source, "rb") as read, atomic_write(target) as write:
        while piece := read.read(_PIECE):
            # held back by the launcher: whoever runs next acts upon it at once
            if signal.sigpending() & _ENDING:
                raise UserError("the job is asked to end")
            write.write(piece)
        if write.tell() != size:
            raise UserError(f"{source} has {write.tell()} bytes, not {size} as its manifest says")


def _whole(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait for other processes of this node that stage the same."""
    with open(folder / ".lock", "a") as file:
        with contextlib.suppress(OSError):  # all writes are atomic and repeatable, lock or no lock
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run_staged(data: str, key: str, local: str | None, command: list[str]) -> None:
    """Become ``command``, told by ``--key`` where the copy is; unstaged, with a line, if need be.

    A job that cannot stage trains from the shared data, only slower, rather than be lost.
    """
    try:
        root = stage(Path(data), local_folder(local))
        command = [*command, f"--{key}={root}"]
    except (UserError, OSError) as error:
        reason = " ".join(str(error).split())
        print(f"not staged ({reason}): reading {data} where it lies", file=sys.stderr, flush=True)
    os.execvp(command[0], command)

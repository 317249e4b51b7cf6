"""Files that are either whole or absent, and arrays that are never unpickled."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from ssl_equiv.errors import UserError

_TEMPORARY_SUFFIX = ".partial"


@contextlib.contextmanager
def writing(path: str | os.PathLike[str], *, full_disk_only: bool = False) -> Iterator[None]:
    """Turn the operating system's refusals while writing ``path`` into one clear line.

    ``full_disk_only`` is for code that reads other files too: any other refusal may be theirs.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        number = _system_error(error)
        reason = {
            errno.ENOSPC: "the disk is full: free some space and run the same command again",
            errno.EDQUOT: "the disk quota is used up: free some space and run it again",
            errno.EACCES: "no permission to write there: choose another place or change its rights",
            errno.EPERM: "no permission to write there: choose another place or change its rights",
            errno.EROFS: "the file system is read-only: choose another place",
            errno.ENOTDIR: "a part of this path is a file, not a folder: choose another place",
            errno.ENOENT: "there is no such place: choose another",
            errno.EFBIG: "the file is larger than the file system allows: choose another place",
            errno.EIO: "the disk reports an error: choose another place",
            errno.EEXIST: "a file stands where a folder is needed: choose another place",
            errno.EISDIR: "a folder stands where a file is needed: choose another place",
            errno.ENAMETOOLONG: "the name is longer than the file system allows: shorten it",
        }.get(number)
        if reason is None or (full_disk_only and number not in (errno.ENOSPC, errno.EDQUOT)):
            raise
        raise UserError(f"cannot write {os.fspath(path)}: {reason}") from error


def _system_error(error: BaseException | None) -> int:
    """The ``errno`` behind an exception: libraries wrap it, or tell it in words alone."""
    while error is not None:
        if isinstance(error, OSError) and error.errno:
            return error.errno
        if "No space left on device" in str(error):
            return errno.ENOSPC
        error = error.__cause__ or error.__context__
    return 0


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a temporary file beside ``path`` and rename it over ``path`` once written.

    The file is flushed to disk before the rename, so a reader finds the old file or the whole
    new one. On any error the temporary file is removed and ``path`` is left as it was.

    Raises:
        UserError: the disk is full, or the place cannot be written.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}.", suffix=_TEMPORARY_SUFFIX
        )
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            # mkstemp makes private files; results are meant to be shared as the umask allows
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(temporary, 0o666 & ~umask)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise


def make_directory(path: str | os.PathLike[str]) -> Path:
    """Create a folder and its parents; a place that cannot be written is a ``UserError``."""
    with writing(path):
        Path(path).mkdir(parents=True, exist_ok=True)
    return Path(path)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` as indented JSON, whole or not at all."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with atomic_write(path) as file:
        file.write(text.encode())


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file; a missing or damaged one is a ``UserError`` that names it."""
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError as error:
        raise UserError(f"{os.fspath(path)} does not exist") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(
            f"{os.fspath(path)} is not readable JSON ({error}): it may be damaged; make it again"
        ) from error


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, read in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 22):
            digest.update(piece)
    return digest.hexdigest()


def load_array(path: str | os.PathLike[str] | IO[bytes], name: str | None = None) -> np.ndarray:
    """Load one ``.npy`` array, never unpickling; ``name`` is told in place of an open file.

    Raises:
        UserError: the file is missing, cut short, not an array, or needs pickle.
    """
    where = name or os.fspath(path)  # type: ignore[arg-type]
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise UserError(f"{where} does not exist") from error
    except (OSError, ValueError, EOFError) as error:
        pickled = "allow_pickle" in str(error) or "pickle" in str(error).lower()
        reason = (
            "it holds pickled objects, which are never loaded: save a plain numeric array"
            if pickled
            else "it is cut short or not a .npy array: copy or make it again"
        )
        raise UserError(f"cannot read the array {where}: {reason}") from error
    if not isinstance(array, np.ndarray):
        raise UserError(f"{where} is an archive, not one .npy array: name a .npy file")
    return array

"""The plan of a data set: what its bytes depend on, and who may write into its folder.

``plan.json`` is written first and the manifest last: a folder with a plan and no manifest is
unfinished, and the same command completes it. A run holds a lock on the plan, which the operating
system gives back however the run ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_gen.sources import ObjectSource
from data_gen.writers import Writer
from ssl_equiv.errors import UserError
from ssl_equiv.files import read_json, write_json, writing

PLAN = "plan.json"
_OLD = 86_400.0  # seconds after which a temporary file is no live job's


def claim(out: Path, plan: dict[str, Any], *, shared: bool = False) -> Claim:
    """Write the plan into ``out``, or check that the folder's own is the same, and lock it.

    Args:
        out: Folder of the data set.
        plan: Plain data that the data set's bytes depend on.
        shared: Let other runs that are shared write at the same time.

    Raises:
        UserError: the folder holds another plan or someone else's files, cannot be written, or
            another run is writing into it.
    """
    path = out / PLAN
    # listed first: a job that starts at the same time writes its plan before anything else
    others = any(p.name != PLAN and not p.name.endswith(".partial") for p in out.iterdir())
    if path.exists():
        _compare(out, read_json(path), plan)
    elif others:
        raise UserError(
            f"{out} is not empty and holds no {PLAN} of the generator: choose another folder"
        )
    else:
        _publish(path, plan)
    held = Claim(out, shared)
    # of jobs that started together, another may have written it
    _compare(out, read_json(path), plan)
    held.sweep()
    return held


class Claim:
    """The right to write into a data set's folder, until it is closed.

    Attributes:
        alone: Whether no other run can be writing there.
    """

    def __init__(self, out: Path, shared: bool) -> None:
        self.out = out
        with writing(out / PLAN):
            self._file = open(out / PLAN, "r+b")  # noqa: SIM115 (NFS locks only what is open for writing)
        try:
            self.alone = self._lock(fcntl.LOCK_SH if shared else fcntl.LOCK_EX) and not shared
        except UserError:
            self._file.close()
            raise

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _lock(self, kind: int) -> bool:
        """Whether the file system locks; all writes are atomic and repeatable, lock or no lock."""
        try:
            fcntl.flock(self._file, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another run is writing into {self.out}: wait for it, or start all runs with "
                "--shard I/N to share the work"
            ) from error
        except OSError:
            return False
        return True

    def last(self) -> bool:
        """Whether no other run is left; a shared claim becomes this run's alone if so."""
        with contextlib.suppress(UserError):
            self.alone = self.alone or self._lock(fcntl.LOCK_EX)
        return self.alone

    def sweep(self) -> None:
        """Remove the temporary files of runs that were killed, and of no live one."""
        for left in [*self.out.glob(".*.partial"), *self.out.glob("*/.*.partial")]:
            with contextlib.suppress(FileNotFoundError):  # another run's, which it has just renamed
                if self.alone or time.time() - left.stat().st_mtime > _OLD:
                    shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink()


def accept_repaired(
    plan: dict[str, Any], writer: Writer, names: list[str], source: ObjectSource
) -> None:
    """Let the plan of a data set that is begun hold though meshes have changed since: those of
    objects that failed, and those from which objects were rendered after they had failed.
    """
    path, new = writer.root / PLAN, plan["meshes"]
    old = read_json(path).get("meshes") if path.is_file() else None
    if not (isinstance(old, dict) and new):
        return
    for unit in writer.units():
        members = names[unit.start : unit.stop]
        changed = [i for i in unit if old.get(names[i], new[names[i]]) != new[names[i]]]
        if not (changed and writer.present(unit, members)):
            continue
        told = writer.descriptions(unit, members)
        for i in changed:
            known = told[names[i]]
            if "failed" in known or known["mesh_sha256"] == next(iter(source.digests(i).values())):
                new[names[i]] = old[names[i]]


def objects_digest(names: list[str]) -> str:
    """SHA-256 over ``class/object`` names."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def _publish(path: Path, plan: dict[str, Any]) -> None:
    """Write the plan unless another run is quicker: all must lock one and the same file."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        write_json(temporary, plan)
        try:
            os.link(temporary, path)
        except OSError:  # it is there by now, or the file system has no links
            if not path.exists():
                os.replace(temporary, path)
    except (OSError, UserError):
        if not path.exists():  # or else that other run has already swept the folder
            raise
    finally:
        temporary.unlink(missing_ok=True)


def _compare(out: Path, old: Any, plan: dict[str, Any]) -> None:
    different = list(differences("", old, plan))
    if different:
        shown = "; ".join(different[:3]) + ("; ..." if len(different) > 3 else "")
        raise UserError(
            f"{out} was begun with another plan ({shown}): repeat that command, or choose "
            "another folder"
        )


def differences(name: str, old: Any, new: Any) -> Iterator[str]:
    """Where two pieces of plain data differ, a line each; ``name`` is that of both."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from differences(f"{name}.{key}".lstrip("."), old.get(key), new.get(key))
    elif old != new and old != (list(new) if isinstance(new, tuple) else new):
        yield f"{name} was {_short(old)}, now {_short(new)}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

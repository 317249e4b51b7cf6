"""What is particular to a cluster: one YAML file, read before every submission."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from ssl_equiv.errors import UserError

KINDS = ("pretrain", "eval", "generate", "report")
_WITHOUT_GPUS = ("generate", "report")  # but where their own sections say otherwise
_VARIABLE = "SSL_EQUIV_SLURM"
_DEFAULT = Path("~/.config/ssl-equiv/slurm.yaml")


@dataclass(frozen=True)
class Site:
    """Defaults of all jobs, or of one kind; a key that is empty is left to Slurm.

    Attributes:
        account: Whom the job is charged to.
        partition: Where it runs.
        qos: Quality of service.
        constraint: Features that nodes must have.
        gpu_type: Asked for with the GPUs, as in ``a100``.
        gpus_per_node: Used where the command line does not say; by generation and report only
            where their own sections say so.
        cpus_per_task: Likewise.
        mem: Memory per node, as Slurm writes it, likewise.
        time: Time limit, likewise.
        sbatch: Further options of ``sbatch``, one each, as in ``--exclusive``.
        env: Environment variables of the job; values are taken literally.
        setup: Lines of shell before the command: modules, conda, ulimit.
        venv: A virtual environment to activate.
        container_image: Image that the tasks run in, by the pyxis plugin.
        container_mounts: ``HOST:CONTAINER`` folders besides the working and the run directory.
        local_disk: Folder on a node's own disk for ``--stage``; the shell expands variables in it.
    """

    account: str = ""
    partition: str = ""
    qos: str = ""
    constraint: str = ""
    gpu_type: str = ""
    gpus_per_node: str = ""
    cpus_per_task: str = ""
    mem: str = ""
    time: str = ""
    sbatch: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    setup: tuple[str, ...] = ()
    venv: str = ""
    container_image: str = ""
    container_mounts: tuple[str, ...] = ()
    local_disk: str = ""


_LISTS = ("sbatch", "setup", "container_mounts")
_NAMES = tuple(field.name for field in fields(Site))


def site_file(given: str | None = None) -> Path | None:
    """The file meant by ``--site``, else by SSL_EQUIV_SLURM, else the user's own; None: none.

    Raises:
        UserError: the file that is named does not exist.
    """
    for path, why in ((given, "--site"), (os.environ.get(_VARIABLE), _VARIABLE)):
        if path:
            if not Path(path).expanduser().is_file():
                raise UserError(f"{path} does not exist: it is named by {why}")
            return Path(path).expanduser()
    return _DEFAULT.expanduser() if _DEFAULT.expanduser().is_file() else None


def read_site(path: Path | None, kind: str) -> Site:
    """The defaults of a kind of job: the file's own, then those of its section ``kind``.

    Raises:
        UserError: an unknown key (the nearest is told) or a value of a wrong kind.
    """
    if path is None:
        return Site()
    try:
        # every value as it is written: YAML would read 24:00:00 as the number 86400
        raw = yaml.load(path.read_text(), Loader=yaml.BaseLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is not readable YAML: {reason}") from error
    if raw in (None, ""):
        return Site()
    if not isinstance(raw, dict):
        raise UserError(f"{path} must hold keys, as in 'partition: gpu'")
    sections = {key: value or {} for key, value in raw.items() if key in KINDS}
    site = _filled(Site(), {k: v for k, v in raw.items() if k not in KINDS}, str(path))
    if kind in _WITHOUT_GPUS:
        site = replace(site, gpus_per_node="")
    for name, section in sections.items():  # all are checked, whichever is asked for
        if not isinstance(section, dict):
            raise UserError(f"{path}: {name} must hold keys, as in '{name}: {{partition: cpu}}'")
        filled = _filled(site, section, f"{path}: {name}")
        if name == kind:
            return filled
    return site


def _filled(site: Site, raw: Mapping[str, Any], where: str) -> Site:
    values: dict[str, Any] = {}
    for key, value in raw.items():
        if key not in _NAMES:
            close = difflib.get_close_matches(key, (*_NAMES, *KINDS), 1, cutoff=0.5)
            hint = f"did you mean {close[0]}?" if close else f"it is one of {', '.join(_NAMES)}"
            raise UserError(f"{where}: unknown key {key}: {hint}")
        if key == "env":
            if not isinstance(value, dict) or any(
                isinstance(v, list | dict) for v in value.values()
            ):
                raise UserError(f"{where}: env must be a mapping, as in 'env: {{NAME: value}}'")
            values[key] = {**site.env, **value}
        elif key in _LISTS:
            lines = [value] if isinstance(value, str) else value
            if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
                raise UserError(f"{where}: {key} must be a list of lines")
            values[key] = tuple(line for line in lines if line)
        elif not isinstance(value, str):
            raise UserError(f"{where}: {key} must be one value")
        elif key in ("gpus_per_node", "cpus_per_task") and value and not value.isdecimal():
            raise UserError(f"{where}: {key} is {value!r}: give a whole number")
        else:
            values[key] = value
    return replace(site, **values)

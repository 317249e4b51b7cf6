"""Job scripts: a template of ``slurm/templates`` with its ``{{names}}`` filled in."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from slurm.resources import Resources
from slurm.site import Site
from ssl_equiv.errors import UserError

_NAME = re.compile(r"\{\{(\w+)\}\}")
LOG = "slurm-%j.out"
ARRAY_LOG = "slurm-%A_%a.out"
_UNSAFE = re.compile(r'["\n\r\\`]')


class Shell(str):
    """A word of a command in which the shell puts its variables."""


@dataclass(frozen=True)
class Job:
    """One script to queue.

    Attributes:
        kind: ``pretrain``, ``eval``, ``generate``, ``report`` or ``sweep``: its template.
        name: Shown by ``squeue``.
        folder: Where script and logs lie.
        command: What each task runs, a word each.
        resources: What it asks for.
        site: What is particular to the cluster.
        cwd: Folder that relative paths are meant from.
        mounts: Folders that a container needs besides the site's.
        array: Indices of an array of jobs, or "".
        dependency: When it may start, as Slurm writes it, or "".
        warning: Seconds before the time limit at which pretraining is told to save.
        stage: The command that brings the data to the node, before ``command``; or empty.
        runs: Of an array over runs: their folders, which ``$run`` names in ``command``.
    """

    kind: str
    name: str
    folder: Path
    command: Sequence[str]
    resources: Resources
    site: Site
    cwd: Path
    mounts: Sequence[Path] = ()
    array: str = ""
    dependency: str = ""
    warning: int = 120
    stage: Sequence[str] = ()
    runs: Sequence[str] = ()


def render(job: Job) -> str:
    """The script of a job."""
    site, resources = job.site, job.resources
    log = ARRAY_LOG if job.array else LOG
    values: dict[str, object] = {
        "name": job.name,
        "nodes": resources.nodes,
        "tasks_per_node": resources.tasks_per_node,
        "cpus_per_task": resources.cpus_per_task,
        "gpus_per_node": _gpus(site.gpu_type, resources.gpus_per_node),
        "mem": resources.mem,
        "time": resources.time,
        "array": job.array,
        "dependency": job.dependency,
        "kill_on_invalid_dep": "yes" if job.dependency else "",
        "chdir": job.cwd,
        "output": f"{job.folder}/".replace("%", "%%") + log,
        "warning": job.warning,
        "site": "\n".join(_site_lines(site)),
        "environment": "\n".join(_environment(site)),
        "srun": "".join(f" {option}" for option in _srun(job)),
        "activate": _inside(site),
        "stage": " ".join(_word(word) for word in job.stage),
        "command": " ".join(_word(word) for word in job.command),
        "runs": _runs(job.runs),
    }
    template = (files("slurm") / "templates" / f"{job.kind}.sbatch").read_text()
    return fill(template, values)


def fill(template: str, values: Mapping[str, object]) -> str:
    """Put values for names; a ``#SBATCH`` line or a lone name whose value is empty is left out."""
    lines = []
    for line in template.splitlines():
        names = _NAME.findall(line)
        option = line.startswith("#SBATCH")
        empty = [name for name in names if values[name] in (None, "")]
        if empty and (option or line.strip(" \\") == f"{{{{{empty[0]}}}}}"):
            continue
        for name in names:
            text = "" if values[name] is None else str(values[name])
            text = _option_value(text) if option else text
            line = line.replace(f"{{{{{name}}}}}", text)
        lines.append(line.rstrip())
    return "\n".join(lines) + "\n"


def _option_value(text: str) -> str:
    """A value of a ``#SBATCH`` line; Slurm reads quotation marks there, and no escapes."""
    if _UNSAFE.search(text):
        raise UserError(f"{text!r} cannot stand in a job script: rename the folder or the value")
    return f'"{text}"' if re.search(r"[\s'#;]", text) else text


def _gpus(kind: str, number: int) -> str:
    return f"{kind}:{number}" if kind and number else str(number or "")


def _site_lines(site: Site) -> list[str]:
    options = {name: getattr(site, name) for name in ("account", "partition", "qos", "constraint")}
    lines = [f"#SBATCH --{name}={_option_value(text)}" for name, text in options.items() if text]
    for option in site.sbatch:
        text = option if option.startswith("-") else f"--{option}"
        if "\n" in text:
            raise UserError(f"sbatch: {option!r} is several lines: give one option each")
        lines.append(f"#SBATCH {text}")
    return lines


def _environment(site: Site) -> list[str]:
    lines = [*site.setup]
    if site.venv and not site.container_image:
        lines.append(_activation(site))
    elif not (site.setup or site.container_image):
        # nothing is said: the environment that submits is the one that runs
        lines.append(f'export PATH="{_quoted(str(Path(sys.prefix) / "bin"))}:$PATH"')
    for name, value in site.env.items():
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise UserError(f"env: {name!r} is no name of an environment variable")
        lines.append(f"export {name}={shlex.quote(value)}")
    return lines


def _activation(site: Site) -> str:
    return f'source "{_quoted(str(Path(site.venv).expanduser()))}/bin/activate"'


def _inside(site: Site) -> str:
    """What a task does before its command, where the script's own environment does not reach."""
    return f"{_activation(site)}; " if site.venv and site.container_image else ""


def _srun(job: Job) -> list[str]:
    options = []
    if job.site.container_image:
        mounts = [*job.site.container_mounts]
        if job.stage and job.site.local_disk:
            mounts.append(f"{job.site.local_disk}:{job.site.local_disk}")
        targets = {mount.split(":")[1] if ":" in mount else mount for mount in mounts}
        for path in dict.fromkeys(str(p) for p in (job.cwd, *job.mounts)):
            if not any(Path(path).is_relative_to(target) for target in targets):
                mounts.append(f"{path}:{path}")
        options += [
            f"--container-image={shlex.quote(job.site.container_image)}",
            f'--container-mounts="{",".join(_quoted(mount) for mount in mounts)}"',
            f'--container-workdir="{_quoted(str(job.cwd))}"',
        ]
    if job.resources.cpus_per_task:  # sbatch's own is not handed on
        options.append(f"--cpus-per-task={job.resources.cpus_per_task}")
    return options


def _quoted(text: str) -> str:
    """Text for the inside of double quotes, where ``$NAME`` keeps its meaning."""
    if _UNSAFE.search(text):
        raise UserError(f"{text!r} cannot stand in a job script: rename the folder or the value")
    return text


def _word(word: str) -> str:
    return f'"{_quoted(word)}"' if isinstance(word, Shell) else shlex.quote(word)


def _runs(names: Sequence[str]) -> str:
    """Lines that choose the run of an array's task."""
    if not names:
        return ""
    listed = "\n".join(f"    {shlex.quote(name)}" for name in names)
    return f'runs=(\n{listed}\n)\nrun="${{runs[$SLURM_ARRAY_TASK_ID]}}"\necho "$run"'

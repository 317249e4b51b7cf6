"""What is asked of the cluster: the command line over the site file over the configuration."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from slurm.cluster import job_states
from slurm.resources import Resources, seconds
from slurm.site import Site, read_site, site_file
from ssl_equiv.errors import UserError

Given = argparse.Namespace
_SITE_OPTIONS = ("account", "partition", "qos", "constraint", "container_image")
# what the templates set: another value in the site's lines would contradict it
_OURS = {"nodes", "ntasks", "ntasks-per-node", "array", "output", "error", "open-mode", "signal"}
_OURS |= {"chdir", "requeue", "no-requeue", "dependency", "job-name", "gpus-per-node", "time"}
_SHORT = {"N": "nodes", "n": "ntasks", "a": "array", "o": "output", "e": "error", "D": "chdir"}
_SHORT |= {"d": "dependency", "J": "job-name", "t": "time"}
_AFTER = re.compile(r"(?:(after(?:ok|any|notok|corr)?):)?(\d+(?:_\d+)?(?:[,:]\d+(?:_\d+)?)*)")


def site_of(kind: str, given: Given) -> Site:
    """The site's defaults of a kind of job, with what the command line says instead."""
    site = read_site(site_file(given.site), kind)
    said = {name: getattr(given, name) for name in _SITE_OPTIONS if getattr(given, name)}
    site = replace(site, **said, sbatch=(*site.sbatch, *given.sbatch))
    for option in site.sbatch:
        name = re.split(r"[=\s]", option.lstrip("-"), maxsplit=1)[0]
        if not option.startswith("--"):
            name = _SHORT.get(name[:1], name) if option.startswith("-") else name
        if name in _OURS:
            raise UserError(
                f"sbatch option {option!r}: the launcher sets --{name} itself, from its own "
                "options: leave it out"
            )
    return site


def inherit(later: Given, first: Given, kind: str) -> None:
    """Let a later job of a chain have the first one's site options, but for what is said for it."""
    if later.site is None:
        later.site = first.site
    path = site_file(later.site)
    own, common = read_site(path, kind), read_site(path, "")
    for name in _SITE_OPTIONS:
        if getattr(later, name) is None and getattr(own, name) == getattr(common, name):
            setattr(later, name, getattr(first, name))
    if own.sbatch == common.sbatch:
        later.sbatch = [*first.sbatch, *later.sbatch]


def resources_of(
    given: Given, site: Site, gpus: int, devices: int | None = None, on_cpu: bool = False
) -> Resources:
    """Resources of a job.

    Args:
        given: The launcher's options.
        site: The site's defaults.
        gpus: GPUs of a node where neither says.
        devices: How many the configuration names; None: it does not.
        on_cpu: The configuration wants no GPU, whatever the site has.

    Raises:
        UserError: tasks and devices disagree, or a number is out of range.
    """
    asked = given.gpus_per_node
    if asked is None:
        asked = (devices or gpus) if gpus else 0
        if site.gpus_per_node and not on_cpu:
            asked = int(site.gpus_per_node)
    tasks = given.tasks_per_node
    if tasks is None:
        tasks = asked or devices or 1
    cores = given.cpus_per_task
    if cores is None and site.cpus_per_task:
        cores = int(site.cpus_per_task)
    resources = Resources(
        1 if given.nodes is None else given.nodes,
        asked,
        tasks,
        cores,
        given.mem or site.mem,
        given.time or site.time,
    )
    if devices is not None and devices != tasks:
        what = "--gpus_per_node" if asked else "--tasks_per_node"
        raise UserError(
            f"the configuration has {devices} devices, but {what} is {tasks}, and every device has "
            "one task: make them equal, or leave 'devices' out of the configuration"
        )
    return resources


def devices_of(
    trainer: Mapping[str, Any], given: Given, site: Site
) -> tuple[Resources, dict[str, Any]]:
    """Resources of a pretraining job, and what the trainer's configuration says with them.

    Raises:
        UserError: the configuration's devices, nodes or accelerator are others.
    """
    accelerator = str(trainer.get("accelerator") or "auto")
    on_cpu = accelerator == "cpu"
    if on_cpu and given.gpus_per_node:
        raise UserError(
            f"trainer.accelerator is cpu, but --gpus_per_node is {given.gpus_per_node}: change one"
        )
    nodes = int(trainer.get("num_nodes") or 1)
    if given.nodes is None:
        given.nodes = nodes
    elif nodes not in (1, given.nodes):
        raise UserError(
            f"trainer.num_nodes is {nodes}, but --nodes is {given.nodes}: make them equal, or "
            "leave it out of the configuration"
        )
    resources = resources_of(
        given, site, 0 if on_cpu else 1, _count(trainer.get("devices")), on_cpu
    )
    if not resources.gpus_per_node and accelerator not in ("auto", "cpu"):
        raise UserError(
            f"trainer.accelerator is {accelerator}, but --gpus_per_node is 0: change one"
        )
    changed: dict[str, Any] = {"num_nodes": resources.nodes, "devices": resources.tasks_per_node}
    if accelerator == "auto":
        changed["accelerator"] = "gpu" if resources.gpus_per_node else "cpu"
    if resources.tasks > 1 and trainer.get("strategy") in (None, "auto"):
        changed["strategy"] = "ddp"
    return resources, {**trainer, **changed}


def _count(devices: Any) -> int | None:
    """How many devices Lightning's ``devices`` names; None where it takes what there is."""
    if isinstance(devices, list):
        return len(devices)
    text = str(devices)
    if "," in text:
        return len([part for part in text.split(",") if part.strip()])
    return int(text) if text.isdecimal() and int(text) else None


def check_warning(given: Given, resources: Resources) -> None:
    """Raise UserError where the warning would come before the job has begun."""
    if given.warning < 1:
        raise UserError(f"--warning is {given.warning}: give seconds before the time limit")
    limit = seconds(resources.time) if resources.time else float("inf")
    if limit <= given.warning:
        raise UserError(
            f"--time is {resources.time} ({limit:.0f} s), no more than the {given.warning} s "
            "before its end at which the run saves (--warning): give more time (24:00 is minutes, "
            "24:00:00 is hours) or less warning"
        )


def after(text: str | None) -> tuple[str, ...]:
    """Numbers of the jobs in ``--after``."""
    return tuple(re.findall(r"\d+(?:_\d+)?", text.partition(":")[2] or text)) if text else ()


def dependency(text: str | None) -> str:
    """``--after`` as Slurm writes it: ``12,13`` means after both have ended well.

    Raises:
        UserError: it has another form, or Slurm knows no such job (it would start at once).
    """
    if not text:
        return ""
    found = _AFTER.fullmatch(text)
    if found is None:
        raise UserError(f"--after is {text!r}: give job numbers, as in 12,13 or afterany:12")
    jobs = after(text)
    states = job_states(jobs)
    if states is not None:
        names = {name.partition("_")[0] for name in states} | states.keys()
        if unknown := [job for job in jobs if job not in names]:
            raise UserError(f"--after: Slurm knows no job {', '.join(unknown)}")
    return f"{found[1] or 'afterok'}:{':'.join(jobs)}"

"""Configurations of runs: what kind of data they name, and how two of them differ."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace

from ssl_equiv.errors import UserError

CONFIG = "config.yaml"
# may differ between the run and its continuation: they do not change what is learnt
_FREE = {
    "config",
    "trainer.max_steps",
    "trainer.max_epochs",
    "trainer.max_time",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
    "trainer.log_every_n_steps",
    "trainer.profiler",
    "data.num_workers",
    "data.root",
    "data.init_args.num_workers",
    "data.init_args.root",
    "checkpoint_every_n_steps",
    "checkpoint_every_minutes",
    "keep_checkpoints",
    "best_metric",
    "best_mode",
    "requeue",
    "redistribute",
    "out",
}
# what --redistribute lets differ besides
_SHARES = {
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "trainer.accelerator",
    "trainer.accumulate_grad_batches",
    "data.batch_size",
    "data.init_args.batch_size",
}


def names_data_class(args: list[str]) -> bool:
    """Whether the data are given by class path, and not by the arguments of ViewDataModule alone.

    An unreadable configuration is not told here: the parser tells it.
    """
    for place, arg in enumerate(args):
        key, _, value = arg.partition("=")
        if key in ("--data", "--data.class_path"):
            return True
        if key == "--config":
            path = Path(value or (args[place + 1] if place + 1 < len(args) else ""))
            try:
                config = yaml.safe_load(path.read_text())
            except (OSError, ValueError, yaml.YAMLError):
                continue
            data = config.get("data") if isinstance(config, dict) else None
            if isinstance(data, dict) and "class_path" in data:
                return True
    return False


def check_same(run: Path, config: Mapping[str, Any], redistribute: bool = False) -> None:
    """Refuse to continue a run under another configuration.

    Args:
        run: Run directory; one without a configuration is nobody's yet.
        config: The whole configuration, plain data.
        redistribute: Whether the processes' number and shares may differ.

    Raises:
        UserError: it differs in what changes what is learnt; how, is told.
    """
    if not (run / CONFIG).exists():
        return
    free, schedules = _FREE, str(config["model"])
    if "cosine" in schedules or "one_cycle" in schedules:  # the end then shapes every step
        free = _FREE - {"trainer.max_steps", "trainer.max_epochs"}
    if redistribute:
        free = free | _SHARES
    old = yaml.safe_load((run / CONFIG).read_text())
    changed = list(differences(old, config, free))
    if changed:
        raise UserError(
            f"{run} holds a run with another configuration ({'; '.join(changed[:3])}"
            f"{'; ...' if len(changed) > 3 else ''}): repeat its configuration to continue it, or "
            "choose another --out"
        )


def differences(old: Any, new: Any, free: Set[str], name: str = "") -> Iterator[str]:
    """What a continuation may not change, one ``key was .., now ..`` each."""
    if name in free:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from differences(old.get(key), new.get(key), free, f"{name}.{key}".lstrip("."))
    elif old != new:
        yield f"{name} was {old}, now {new}"


def one_wandb_run(logger: Any, run: Path) -> None:
    """Let Weights & Biases continue one run of its own however often ``run`` is continued.

    Args:
        logger: ``trainer.logger`` as configured, changed in place where it is a ``WandbLogger``
            without an ``id``.
        run: Run directory.
    """
    for one in logger if isinstance(logger, list) else [logger]:
        path = one.get("class_path", "") if isinstance(one, Mapping | Namespace) else ""
        if str(path).rpartition(".")[2] == "WandbLogger":
            arguments = one["init_args"]
            if not arguments.get("id") and not arguments.get("version"):
                name = str(run.resolve()).encode()
                arguments["id"] = hashlib.sha256(name).hexdigest()[:16]

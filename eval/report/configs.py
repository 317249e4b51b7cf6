"""Configurations side by side, and the commands that make a run again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import yaml

from eval.results import PROVENANCE
from ssl_equiv.files import read_json

if TYPE_CHECKING:
    from eval.report.runs import Model, Run

# what the seeds of one run may differ in, and what no figure depends on
_SEEDS = ("seed_everything", "data.seed", "data.init_args.seed")
_PLACES = (
    "out",
    "config",
    "checkpoint_every_n_steps",
    "data.num_workers",
    "data.init_args.num_workers",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
    "trainer.log_every_n_steps",
    "trainer.logger",
    "trainer.profiler",
    "trainer.default_root_dir",
)


def flat(config: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested plain data under dotted names; lists are leaves."""
    if isinstance(config, Mapping) and config:
        for key, value in config.items():
            yield from flat(value, f"{name}.{key}" if name else str(key))
    else:
        yield name, config


def seed_of(config: Mapping[str, Any] | None) -> int | None:
    """Seed of a run."""
    seed = (config or {}).get("seed_everything")
    return seed if isinstance(seed, int) else None


def without_seed(config: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a run besides its seed, flat."""
    return {key: value for key, value in flat(config) if key not in (*_SEEDS, *_PLACES)}


def differing(models: Sequence[Model]) -> list[tuple[str, list[str]]]:
    """The keys in which the models' configurations differ, each with its values, "" where absent.

    Seeds of one model are told together; models without a configuration are not asked.
    """
    known = [[run.config for run in model.runs if run.config is not None] for model in models]
    leaves = [[dict(flat(config)) for config in configs] for configs in known]
    keys = dict.fromkeys(key for configs in leaves for config in configs for key in config)
    rows = []
    for key in keys:
        if key in _PLACES:
            continue
        values = [
            ", ".join(dict.fromkeys(_told(config[key]) for config in configs if key in config))
            for configs in leaves
        ]
        if len({value for value, configs in zip(values, leaves, strict=True) if configs}) > 1:
            rows.append((key, values))
    return rows


def _told(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def data_root(config: Mapping[str, Any] | None) -> str | None:
    """Root of the data set that a run was trained on."""
    data = (config or {}).get("data")
    if not isinstance(data, Mapping):
        return None
    arguments = data.get("init_args") if isinstance(data.get("init_args"), Mapping) else data
    root = arguments.get("root") if isinstance(arguments, Mapping) else None
    return root if isinstance(root, str) else None


def commands(run: Run) -> str:
    """Shell commands that make a run, judge and export it again."""
    if not run.is_known:
        return f"# nothing tells where {' '.join(run.name.split())} is, judged in {run.folder}"
    lines = []
    data = data_root(run.config) or "DATA"
    if run.home is not None and not run.is_random:
        config = str(run.home / "config.yaml")
        lines.append(_line("pretrain", "--config", config, "--out", f"{run.home}-again"))
    if (run.folder / PROVENANCE).is_file():
        lines.append(str(read_json(run.folder / PROVENANCE).get("command", "")))
    else:
        judged = ["--model", run.source, "--data", data]
        if run.is_random or run.home is None or run.folder != run.home / "eval":
            judged += ["--out", str(run.folder)]
        lines.append(_line("eval", *judged))
    if not run.is_random:
        lines.append(_line("export", run.source, "--out", f"{run.home or run.folder}-timm"))
    return "\n".join(lines)


def _line(*words: str) -> str:
    return shlex.join(["ssl-equiv", *words])

"""Sweeps: many runs from one configuration and a YAML file of what differs between them."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ssl_equiv.errors import UserError

Overrides = dict[str, Any]
_MOST = 1000  # runs: more is a mistake
_LONGEST = 60  # characters of a value in a name


def read_sweep(path: str | Path) -> dict[str, Overrides]:
    """The runs of a sweep: what each overrides, by a name that tells it.

    The file holds ``grid``, a mapping of keys to lists of values of which every combination is a
    run, or ``runs``, a list of mappings of keys to values, where ``name`` names a run.

    Raises:
        UserError: the file is none of this, or two runs have one name.
    """
    try:
        raw = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"--sweep {path} is not readable YAML: {reason}") from error
    if not isinstance(raw, dict) or len(raw) != 1 or next(iter(raw)) not in ("grid", "runs"):
        raise UserError(f"--sweep {path} must hold either 'grid' or 'runs', and nothing else")
    runs = _grid(raw["grid"], path) if "grid" in raw else _listed(raw["runs"], path)
    return named(runs, str(path))


def named(runs: Sequence[Overrides], where: str) -> dict[str, Overrides]:
    """Runs by name: ``name`` where given, else ``lr=0.001,equi_dim=64``."""
    if not 0 < len(runs) <= _MOST:
        raise UserError(f"{where} has {len(runs)} runs: give 1 to {_MOST}")
    short = _short_keys(sorted({key for run in runs for key in run if key != "name"}))
    found: dict[str, Overrides] = {}
    for run in runs:
        rest = {key: value for key, value in run.items() if key != "name"}
        told = ",".join(f"{short[key]}={_text(value)}" for key, value in rest.items())
        name = str(run.get("name", told))
        if not re.fullmatch(r"[\w.=,+-]+", name) or name.startswith((".", "-")):
            raise UserError(
                f"{where}: {name!r} cannot name a folder: give the run a 'name' of letters, "
                "digits and _ . = , + -"
            )
        if name in found:
            raise UserError(f"{where}: two runs are called {name}: give each a 'name' of its own")
        found[name] = rest
    return found


def as_arguments(overrides: Mapping[str, Any]) -> list[str]:
    """Overrides as arguments of the command line."""
    return [
        f"--{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in overrides.items()
    ]


def _grid(grid: Any, path: str | Path) -> list[Overrides]:
    if not isinstance(grid, dict) or not all(isinstance(v, list) and v for v in grid.values()):
        raise UserError(
            f"--sweep {path}: grid must be keys with lists of values, as in "
            "'model.init_args.optimizer.lr: [0.001, 0.0003]'"
        )
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def _listed(runs: Any, path: str | Path) -> list[Overrides]:
    if not isinstance(runs, list) or not all(isinstance(run, dict) and run for run in runs):
        raise UserError(
            f"--sweep {path}: runs must be a list of mappings, as in "
            "'- {name: wide, model.init_args.equi_dim: 512}'"
        )
    return runs


def _short_keys(keys: Sequence[str]) -> dict[str, str]:
    """The shortest endings that tell the keys apart."""
    found = {}
    for key in keys:
        parts = key.split(".")
        for length in range(1, len(parts) + 1):
            ending = ".".join(parts[-length:])
            if sum(f".{other}".endswith(f".{ending}") for other in keys) == 1:
                break
        found[key] = "seed" if ending == "seed_everything" else ending
    return found


def _text(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) or value is None else str(value)
    return re.sub(r"[^\w.+-]+", "-", text).strip("-")[:_LONGEST] or "none"

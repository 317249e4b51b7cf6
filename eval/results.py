"""``results.json``: what every run leaves, one row a metric, part and seed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import statistics
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ssl_equiv.errors import UserError
from ssl_equiv.files import read_json, write_json

FORMAT = "ssl-equiv-results/1"
RESULTS = "results.json"
PROVENANCE = "provenance.json"


@dataclass(frozen=True)
class Result:
    """One figure.

    Args:
        metric: Its name: ``top1`` and ``top5`` in [0, 1], ``rotation_r2_pooled``,
            ``rotation_degrees_mean``, ...
        value: The figure.
        part: Part of the representation.
        split: Objects that were judged.
        seed: Seed of the probe.
        commit: Commit of the code, ``unknown`` outside a repository.
        config_hash: Digest of what the figure depends on besides the code.
        baseline: What a constant predictor gets on the same targets; None where there is none.
        model: Name of the model that was judged.
    """

    metric: str
    value: float
    part: str
    split: str
    seed: int
    commit: str
    config_hash: str
    baseline: float | None = None
    model: str = ""


@dataclass(frozen=True)
class Summary:
    """A figure over its seeds.

    Args:
        metric: As the rows'.
        mean: Mean over seeds.
        std: Sample standard deviation over seeds; None for a single seed.
        values: The seeds' figures.
        seeds: The seeds.
        part: As the rows'.
        split: As the rows'.
        commit: As the rows'.
        config_hash: As the rows'.
        baseline: As the rows'.
        model: As the rows'.
    """

    metric: str
    mean: float
    std: float | None
    values: tuple[float, ...]
    seeds: tuple[int, ...]
    part: str
    split: str
    commit: str
    config_hash: str
    baseline: float | None
    model: str

    def __str__(self) -> str:
        spread = "" if self.std is None else f" ± {self.std:.3g}"
        baseline = "" if self.baseline is None else f" (constant: {self.baseline:.3g})"
        return f"{self.metric} [{self.part}] {self.mean:.4g}{spread}{baseline}"


def summarise(rows: Iterable[Result]) -> list[Summary]:
    """Mean and standard deviation over seeds, in the order in which the figures first appear."""
    groups: dict[tuple[Any, ...], list[Result]] = {}
    for row in rows:
        same = dataclasses.replace(row, value=0.0, seed=0)
        groups.setdefault(dataclasses.astuple(same), []).append(row)
    summaries = []
    for members in groups.values():
        values = tuple(row.value for row in members)
        shared = asdict(members[0])
        del shared["value"], shared["seed"]
        summaries.append(
            Summary(
                mean=statistics.fmean(values),
                std=statistics.stdev(values) if len(values) > 1 else None,
                values=values,
                seeds=tuple(row.seed for row in members),
                **shared,
            )
        )
    return summaries


def write_results(path: str | Path, rows: Iterable[Result]) -> None:
    """Write ``results.json``, whole or not at all."""
    write_json(path, {"format": FORMAT, "results": [asdict(row) for row in rows]})


def read_results(path: str | Path) -> list[Result]:
    """Read ``results.json``.

    Raises:
        UserError: it is missing, damaged, of another format, or a row is malformed.
    """
    raw = read_json(path)
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        found = raw.get("format") if isinstance(raw, dict) else None
        raise UserError(f"{path} has format {found!r}, not {FORMAT!r}: evaluate again")
    try:
        return [Result(**row) for row in raw["results"]]
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} holds a malformed row ({error}): evaluate again") from error


def write_provenance(folder: str | Path, *, command: str, model: str, data: str) -> None:
    """Write ``provenance.json`` beside results: what made them, when, with which versions."""
    write_json(
        Path(folder) / PROVENANCE,
        {
            "format": "ssl-equiv-provenance/1",
            "command": command,
            "model": model,
            "data": data,
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "commit": code_commit(),
            "versions": {name: version(name) for name in ("ssl-equiv", "torch", "timm")},
            "machine": platform.machine(),
        },
    )


def config_hash(config: Mapping[str, Any]) -> str:
    """12 hexadecimal digits of a configuration of plain data, whatever the order of its keys."""
    text = json.dumps(config, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def code_commit() -> str:
    """The commit of this code, with ``-dirty`` where tracked files differ from it.

    ``unknown`` where the package is not run from its repository: an installed copy may well lie
    inside somebody else's.
    """
    here = Path(__file__).resolve()
    try:
        _git(here.parent, "ls-files", "--error-unmatch", here.name)
        commit = _git(here.parent, "rev-parse", "HEAD")
        changed = _git(here.parent, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return f"{commit}-dirty" if changed else commit


def _git(folder: Path, *command: str) -> str:
    done = subprocess.run(
        ["git", *command], cwd=folder, capture_output=True, text=True, check=True, timeout=20
    )
    return done.stdout.strip()


def results_table(rows: Iterable[Result]) -> list[str]:
    """Results as the lines of a Markdown table: mean and deviation over seeds."""
    lines = [
        "| part | metric | mean ± std | constant predictor | seeds |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in summarise(rows):
        spread = "" if row.std is None else f" ± {row.std:.3f}"
        floor = "" if row.baseline is None else f"{row.baseline:.3f}"
        seeds = len(row.seeds)
        lines.append(f"| {row.part} | {row.metric} | {row.mean:.3f}{spread} | {floor} | {seeds} |")
    return lines

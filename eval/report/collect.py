"""Finding runs and their figures in directories."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from eval.artifacts import ARTIFACTS, read_artifacts
from eval.report.runs import RANDOM, Model, Run, models_of
from eval.report.training import METRICS, read_metrics
from eval.results import RESULTS, Result, read_results
from ssl_equiv.errors import UserError

CONFIG = "config.yaml"
CHECKPOINTS = "checkpoints"
_DEPTH = 4  # folders below the one that is named: runs/METHOD/seed0/eval
_MANY = 500  # a folder of more entries is a data set's
_TEXTS = ("metric", "part", "split", "commit", "config_hash", "model")


def collect(directories: Sequence[str | Path]) -> tuple[list[Model], list[str]]:
    """What lies in directories.

    Args:
        directories: Run directories, output directories of ``ssl-equiv eval``, or folders of
            several, a few folders deep at most.

    Returns:
        The models, seeds together, in the order of the directories; and a line for everything that
        was left out because it is only half there.

    Raises:
        UserError: a directory is missing, holds nothing of the kind or is half written, or a file
            in it is damaged.
    """
    runs: list[Run] = []
    left_out: list[str] = []
    seen: set[Path] = set()
    for given in map(Path, directories):
        if not given.is_dir():
            raise UserError(f"{given} is not a folder: name run directories or outputs of eval")
        places = list(_places(given, _DEPTH))
        if not places:
            raise UserError(
                f"{given} holds neither a run nor {RESULTS}: name a run directory, an output of "
                "'ssl-equiv eval', or a folder of them"
            )
        for place in places:
            if place.resolve() in seen:
                continue
            seen.add(place.resolve())
            if reason := _half_written(place):
                if place == given:
                    raise UserError(reason)
                left_out.append(reason)
            else:
                runs += _read(place)
    if not runs:
        raise UserError("; ".join(left_out) or "nothing to report: name one directory at least")
    return models_of(_without_copies(runs)), left_out


def _places(folder: Path, depth: int) -> Iterator[Path]:
    """Run directories and folders with results in ``folder``, itself included."""
    if (folder / CONFIG).is_file() or (folder / CHECKPOINTS).is_dir():
        yield folder  # its evaluations belong to it
        return
    if (folder / RESULTS).is_file():
        yield folder
    for child in _folders(folder) if depth else []:
        yield from _places(child, depth - 1)


def _folders(folder: Path) -> list[Path]:
    try:
        entries = [path for path, _ in zip(folder.iterdir(), range(_MANY + 1), strict=False)]
    except OSError as error:
        raise UserError(f"cannot read {folder} ({error.strerror}): leave it out") from error
    if len(entries) > _MANY:
        return []
    return sorted(
        path
        for path in entries
        if path.name != ARTIFACTS and not path.name.startswith(".") and path.is_dir()
    )


def _half_written(place: Path) -> str:
    """Why a run directory is not one yet, in a line; "" where it is, or is none."""
    config, checkpoints = (place / CONFIG).is_file(), (place / CHECKPOINTS).is_dir()
    if checkpoints and not config:
        return f"{place} holds checkpoints but no {CONFIG}: it is half copied; copy it again"
    if config and not (checkpoints or (place / METRICS).is_dir() or _evaluations(place)):
        return (
            f"{place} holds a {CONFIG} but neither checkpoints nor results: the run has only "
            "begun; wait for it, or leave it out"
        )
    return ""


def _evaluations(run: Path) -> list[Path]:
    """Folders of results in a run directory: ``eval``, or whatever was given as --out."""
    return [path for path in (run, *_folders(run)) if (path / RESULTS).is_file()]


def _read(place: Path) -> list[Run]:
    if not (place / CONFIG).is_file():
        return _judged(place, None)
    runs = [run for folder in _evaluations(place) for run in _judged(folder, place)]
    return runs or [Run("", place, place, read_config(place), curves=read_metrics(place))]


def _judged(folder: Path, home: Path | None) -> list[Run]:
    """What was judged in a folder with results; ``home`` is the run directory that it lies in."""
    rows = [_checked(row, folder) for row in read_results(folder / RESULTS)]
    artifacts = tuple(read_artifacts(folder))
    models = list(dict.fromkeys(row.model for row in rows)) or [""]
    found = []
    for model in models:
        place = home if home is not None and len(models) == 1 else _home(model)
        found.append(
            Run(
                model,
                folder,
                place,
                config=None if place is None else read_config(place),
                rows=tuple(row for row in rows if row.model == model),
                artifacts=artifacts if len(models) == 1 else (),
                curves=None if place is None else read_metrics(place),
            )
        )
    if artifacts and len(models) > 1:  # nothing tells whose they are
        found.append(Run(f"all of {folder.name}", folder, artifacts=artifacts))
    return [replace(run, curves=None) if run.is_random else run for run in found]


def _home(model: str) -> Path | None:
    """The run directory that a model's name is the path of, or is the path of a checkpoint in."""
    path = Path(model.removeprefix(RANDOM))
    try:
        if not model or not path.exists():
            return None
    except (OSError, ValueError):  # no path at all
        return None
    places = (path,) if path.is_dir() else tuple(path.parents[:2])
    return next((place for place in places if (place / CONFIG).is_file()), None)


def read_config(run: Path) -> dict[str, Any]:
    """The configuration of a run.

    Raises:
        UserError: it is damaged or holds no options.
    """
    path = run / CONFIG
    try:
        config = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is damaged ({reason}): copy it again") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} holds no options: it is damaged; copy it again")
    return config


def _checked(row: Result, folder: Path) -> Result:
    """A row whose fields are what they are to be: a file may hold anything."""
    baseline = 0.0 if row.baseline is None else row.baseline
    if not all(isinstance(getattr(row, name), str) for name in _TEXTS) or not all(
        isinstance(number, int | float) for number in (row.value, baseline, row.seed)
    ):
        what = f"the row of {row.metric!r} is malformed"
        raise UserError(f"{folder / RESULTS}: {what}; evaluate again")
    return row if math.isfinite(baseline) else replace(row, baseline=None)


def _without_copies(runs: Sequence[Run]) -> list[Run]:
    """Less the runs all of whose rows stand elsewhere too: there where most is known is kept."""
    known: set[Result] = set()
    copies = set()
    for number in sorted(
        range(len(runs)), key=lambda n: (runs[n].home is None, not runs[n].artifacts)
    ):
        rows = runs[number].rows
        if rows and known.issuperset(rows):
            copies.add(number)
        known.update(rows)
    return [run for number, run in enumerate(runs) if number not in copies]

"""Runs, and which of them are seeds of one model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.artifacts import Artifact
from eval.report.configs import seed_of, without_seed
from eval.report.training import Curves
from eval.results import Result, config_hash

RANDOM = "random:"
_SEED_ENDING = re.compile(r"(?:^|[-_./ ])(?:seed|s)[-_=]?(?P<seed>\d+)$", re.IGNORECASE)
_NUMBER_ENDING = re.compile(r"[-_./ ](?P<seed>\d+)$")
_KIND = re.compile(r"(?P<kind>sie|equicaps|seqjepa|timm):(?P<what>.+)", re.DOTALL)


@dataclass(frozen=True)
class Run:
    """One judged network: what was measured of it in one place.

    Args:
        model: What its results call it; "" where it was not judged.
        folder: Where its results lie; the run directory where it was not judged.
        home: Run directory of its pretraining, where that is at hand.
        config: Configuration of its pretraining, where that is at hand.
        rows: Its figures.
        artifacts: Data of its plots.
        curves: What was logged in training, name to (steps, values).
    """

    model: str
    folder: Path
    home: Path | None = None
    config: Mapping[str, Any] | None = None
    rows: tuple[Result, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    curves: Curves | None = None

    @property
    def is_random(self) -> bool:
        """Whether it is the run's network before any training."""
        return self.model.startswith(RANDOM)

    @property
    def is_known(self) -> bool:
        """Whether :attr:`source` is what it says: a directory, a file, or a kind with its name."""
        return self.home is not None or bool({"/", ":"} & set(self.model))

    @property
    def source(self) -> str:
        """What ``ssl-equiv eval --model`` takes, as far as it is known."""
        if self.home is not None:
            return f"{RANDOM if self.is_random else ''}{self.home}"
        return self.model or str(self.folder)

    @property
    def name(self) -> str:
        """What it is called: by its results, unless they tell but a path; else by its directory."""
        if self.is_random:
            return f"random init of {_path_name(self.home or Path(self.model[len(RANDOM) :]))}"
        if published := _KIND.fullmatch(self.model):
            return f"{published['kind']}:{Path(published['what']).name}"
        if self.model and not {"/", "\\"} & set(self.model) and self.model not in (".", ".."):
            return self.model
        return _path_name(self.home or Path(self.model or self.folder))

    @property
    def seed(self) -> int | None:
        """Seed of its pretraining: as configured, else as its name ends, or its folder's."""
        if self.config is not None:
            return seed_of(self.config)
        place = self.folder.parent if self.folder.name == "eval" else self.folder
        ending = _SEED_ENDING.search(self.name) or _SEED_ENDING.search(place.name)
        if ending is None and _NUMBER_ENDING.sub("", place.name) == self.name:  # name-0, name-1
            ending = _NUMBER_ENDING.search(place.name)
        return int(ending["seed"]) if ending else None


@dataclass(frozen=True)
class Model:
    """A model: runs that differ in the seed of their pretraining alone.

    Args:
        name: Unique in the report.
        runs: One a seed.
    """

    name: str
    runs: tuple[Run, ...]


def models_of(runs: Iterable[Run]) -> list[Model]:
    """Runs in groups that differ in their seed alone, in the order of the first of each.

    Runs with configurations are of one model if these agree but for seed and places; others if
    their names do but for an ending like ``-seed1`` or ``/s1``. Two runs of one seed are never
    pooled: they are two judgements of one network, or two networks that only look alike.
    """
    groups: dict[tuple[str, ...], list[Run]] = {}
    key: tuple[str, ...]
    for run in runs:
        if run.config is not None:
            key = ("config", str(run.is_random), config_hash(without_seed(run.config)))
        else:
            key = ("name", without_seed_ending(run.name))
        for number in range(len(groups) + 1):
            members = groups.setdefault((*key, str(number)), [])
            if not members or (
                run.seed is not None and run.seed not in {member.seed for member in members}
            ):
                members.append(run)
                break
    names = [_common_name(members) for members in groups.values()]
    return [
        Model(name if names.count(name) == 1 else f"{name} ({members[0].folder})", tuple(members))
        for name, members in zip(names, groups.values(), strict=True)
    ]


def _common_name(members: Sequence[Run]) -> str:
    names = {member.name for member in members}
    for shorten in (str, without_seed_ending, lambda name: _NUMBER_ENDING.sub("", name)):
        if len(common := {shorten(name) for name in names}) == 1:
            return common.pop()
    return without_seed_ending(members[0].name)


def without_seed_ending(name: str) -> str:
    """``sie`` of ``sie-seed1``, ``sie/seed1`` and ``sie_s1``."""
    return _SEED_ENDING.sub("", name) or name


def _path_name(path: Path) -> str:
    """A directory's name, with its parent's where it tells but a seed, or nothing."""
    name = path.resolve().name
    if name in ("eval", "out") or name.isdigit() or _SEED_ENDING.fullmatch(name):
        return f"{path.resolve().parent.name}/{name}"
    return name

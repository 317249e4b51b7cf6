"""What a run logged while it trained."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from ssl_equiv.errors import UserError

METRICS = "metrics"
Curves = Mapping[str, tuple[list[int], list[float]]]


def read_metrics(run: str | Path) -> dict[str, tuple[list[int], list[float]]]:
    """All logged curves of a run: name to (steps, values); a continued run is one curve.

    Raises:
        UserError: a file of them is damaged.
    """
    curves: dict[str, dict[int, float]] = {}
    parts = sorted(
        (Path(run) / METRICS).glob("version_*/metrics.csv"),
        key=lambda path: int(path.parent.name.removeprefix("version_")),
    )
    for path in parts:
        try:
            with open(path, newline="") as file:
                for row in csv.DictReader(file):
                    for name, value in row.items():
                        if value and name not in ("step", "epoch"):
                            curves.setdefault(name, {})[int(row["step"])] = float(value)
        except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
            raise UserError(
                f"{path} is damaged ({error}): remove it to report without its curves"
            ) from error
    return {name: (sorted(c), [c[step] for step in sorted(c)]) for name, c in curves.items()}

"""The progress bar of a generation."""

from __future__ import annotations

from contextlib import ExitStack

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Bar(ExitStack):
    """Progress in objects, images per second and failures.

    Args:
        total: Objects in all.
        done: Of these, how many are there already.
        views: Images of each.
        shown: Whether to show anything.
    """

    def __init__(self, total: int, done: int, views: int, shown: bool) -> None:
        super().__init__()
        self.views = views
        self.bar = Progress(
            TextColumn("rendering"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("objects"),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[failures]}"),
            disable=not shown,
        )
        self.done = 0
        self.task = self.bar.add_task("", total=total, completed=done, rate="", failures="")
        self.enter_context(self.bar)

    def advance(self, failures: int) -> None:
        """One object more; ``failures`` so far."""
        self.done += 1
        task = self.bar.tasks[0]
        rate = self.done * self.views / task.elapsed if task.elapsed else 0.0
        told = f"{failures} failed" if failures else ""
        self.bar.update(self.task, advance=1, rate=f"{rate:.0f} images/s", failures=told)

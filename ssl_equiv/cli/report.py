"""``ssl-equiv report``: any number of runs on one page."""

from __future__ import annotations

from rich.console import Console

from eval.report import write_report
from ssl_equiv.parsing import call

_DIRECTORIES = (
    "Run directories, output directories of 'ssl-equiv eval', or folders of several of them."
)


def main(args: list[str]) -> None:
    """Run ``ssl-equiv report`` with command-line arguments ``args``."""
    call(report, args, "report", {"directories": _DIRECTORIES})


def report(directories: list[str], out: str = "report.html") -> None:
    """Compare runs on one self-contained page, with its tables as CSV, JSON and LaTeX beside it.

    Runs that differ in their seed alone are one model, told as mean and deviation over seeds.

    Args:
        directories: Run directories, output directories of eval, or folders of several.
        out: The page to write, an .html file, or a folder for report.html.
    """
    page = write_report(out, directories)
    tables = ", ".join(str(page.with_suffix(ending)) for ending in (".csv", ".json", ".tex"))
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f"{page} is the page to look at ({page.stat().st_size / 1e6:.1f} MB)", markup=False
    )
    console.print(f"the same tables: {tables}", markup=False)

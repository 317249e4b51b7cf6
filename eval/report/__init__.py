"""Results as one page to look at, and as tables."""

from eval.report.compose import write_report

__all__ = ["write_report"]

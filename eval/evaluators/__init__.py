"""The evaluators: each a frozen dataclass, which a configuration names by its class."""

from eval.evaluators.classification import LinearClassification
from eval.evaluators.path_integration import PathIntegration
from eval.evaluators.regression import ActionRegression
from eval.evaluators.scanpath import ScanpathClassification
from eval.evaluators.sequence import SequenceClassification
from eval.evaluators.suites import standard_evaluators

__all__ = [
    "ActionRegression",
    "LinearClassification",
    "PathIntegration",
    "ScanpathClassification",
    "SequenceClassification",
    "standard_evaluators",
]

"""Tasks made up for tests of evaluators."""

from __future__ import annotations

from typing import Any

import torch

from eval.cache import FeatureSet
from eval.protocol import Evaluator, Measurement, Task
from tests.eval.fakes import feature_set


def task_of(
    train: FeatureSet, val: FeatureSet, seeds: tuple[int, ...] = (0,), **given: Any
) -> Task:
    """A task on all parts of ``train``."""
    options = {"accelerator": "cpu"}
    return Task(train, val, tuple(train.parts), seeds, options, **given)


def figures(
    evaluator: Evaluator, task: Task, part: str = "all", split: str = ""
) -> dict[str, Measurement]:
    """Measurements of one part by their metric."""
    return {m.metric: m for m in evaluator(task) if (m.part, m.split) == (part, split)}


def collapsed(objects: int, split: str, *, width: int = 6, views: int = 4) -> FeatureSet:
    """The same features for all views; objects lie in order of class."""
    labels = torch.arange(objects) * 4 // objects
    return feature_set(torch.ones(objects, views, width), split, labels=labels)

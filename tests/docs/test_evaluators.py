"""Every evaluator has a page, and every list of evaluators that is shown can be made."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import eval.evaluators
from eval.protocol import Evaluator
from ssl_equiv.parsing import instantiate

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "evaluators").glob("*.md"))
SHOWN = [
    (page, block)
    for page in PAGES
    for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    if "evaluators:" in block
] + [(path, path.read_text()) for path in sorted((ROOT / "configs" / "eval").glob("*.yaml"))]


def test_every_evaluator_has_a_page() -> None:
    made = {
        name for name in eval.evaluators.__all__ if isinstance(getattr(eval.evaluators, name), type)
    }
    text = "".join(page.read_text() for page in PAGES)
    assert {name for name in made if f"class_path: {name}" not in text} == set()
    index = (ROOT / "docs" / "evaluators" / "README.md").read_text()
    linked = set(re.findall(r"\((\w+\.md)\)", index))
    assert linked == {page.name for page in PAGES} - {"README.md"}


@pytest.mark.parametrize(("path", "text"), SHOWN, ids=lambda value: getattr(value, "stem", ""))
def test_what_is_shown_can_be_made(path: Path, text: str) -> None:
    entries = yaml.safe_load(text)["evaluators"]
    assert entries
    for entry in entries:
        assert isinstance(instantiate(Evaluator, entry), Evaluator)  # type: ignore[type-abstract]

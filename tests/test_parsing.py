"""Messages of the command line: one line that says what to write instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ssl_equiv.errors import UserError
from ssl_equiv.parsing import call


def nothing(seed: int = 0, scene: dict[str, Any] = {}) -> None:  # noqa: B006
    pass


@pytest.mark.parametrize("option", ["--image_size", "--image_sise", "--scene.image_size"])
def test_an_entry_of_a_mapping_is_offered(option: str) -> None:
    entries = {"scene": ["image_size", "lens_mm"]}
    if option.startswith("--scene"):
        call(nothing, [option, "3"], "test", entries=entries)
        return
    with pytest.raises(UserError, match=r"unknown key .*: did you mean scene\.image_size\?"):
        call(nothing, [option, "3"], "test", entries=entries)


@pytest.mark.parametrize(
    ("text", "told"), [("", "nothing"), ("# none yet", "# none yet"), ("- a", "- a")]
)
def test_a_configuration_without_options(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=f"must hold options, .*: it holds {told}$"):
        call(nothing, ["--config", str(path)], "test")

"""``configs/quick.yaml`` behind a published configuration: the whole network on the demo's data.

Every configuration is trained in small by ``test_every_config``; these are the slowest at full
width.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ssl_equiv import cli
from ssl_equiv.checkpoint import PretrainedMethod

pytestmark = [pytest.mark.slow, pytest.mark.render]
CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's data, fewer objects of them."""
    out = tmp_path_factory.mktemp("demo") / "data"
    args = ["--config", str(CONFIGS / "data" / "demo.yaml"), "--num_objects", "96"]
    assert cli.main(["generate", *args, "--out", str(out), "--num_workers", "1"]) == 0
    return out


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("sie_3diebench", []),
        ("equicaps_3diebench", ["--model.image_size", "48"]),
        ("byol_conditional_3diebench", []),
        ("seqjepa_3diebench", []),
    ],
)
def test_twenty_steps_take_less_than_a_minute_of_two_cores(
    name: str, more: list[str], data: Path, tmp_path: Path
) -> None:
    start = time.process_time()  # of all threads: other programs do not count
    files = [CONFIGS / "pretrain" / f"{name}.yaml", CONFIGS / "quick.yaml"]
    args = [argument for file in files for argument in ("--config", str(file))]
    args += ["--data.root", str(data), "--data.num_workers", "0", "--trainer.accelerator", "cpu"]
    assert cli.main(["pretrain", *args, *more, "--out", str(tmp_path)]) == 0
    assert PretrainedMethod(tmp_path).step == 20
    assert time.process_time() - start < 120

from __future__ import annotations

import re
from pathlib import Path

import pytest
import timm

from eval.results import read_results
from ssl_equiv import cli


@pytest.mark.slow
@pytest.mark.render
def test_the_demo_leaves_a_page_a_backbone_and_results(tmp_path: Path) -> None:
    args = ["demo", "--out", str(tmp_path), "--num-objects", "144", "--steps", "4"]
    assert cli.main(args) == 0
    page = (tmp_path / "report.html").read_text()
    assert not re.search(r"(src|href)=[\"']?https?:", page)  # readable offline
    for words in ("group element", "An orbit", "constant predictor", "ssl-equiv eval"):
        assert words in page
    assert page.count("data:image/") > 20
    models = {row.model for row in read_results(tmp_path / "results.json")}
    assert models == {"random", "SIE"}
    model = timm.create_model(f"local-dir:{tmp_path / 'export'}", pretrained=True)
    assert model.num_features == 256
    assert "| equi | rotation_r2_pooled |" in (tmp_path / "export" / "README.md").read_text()
    assert cli.main(args) == 0  # run again, it goes on from what is there

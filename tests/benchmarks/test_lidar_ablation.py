from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import lidar_ablation as ablation
from benchmarks.lidar_ablation import MAIN, METRICS


def test_the_table_tells_gains_and_spreads() -> None:
    """Scratch 10, 20, 30; both 15, 26, 34: gains 5, 6, 4; spread 10 points."""
    figures = {"scratch": [0.1, 0.2, 0.3], "both": [0.15, 0.26, 0.34], "spatial only": [0.5]}
    variants = {name: dict.fromkeys(METRICS, values) for name, values in figures.items()}
    text = ablation.table({"settings": {"sweeps": 8}, "variants": variants})
    assert "| scratch | 3 | 20.0 ± 10.0 |" in text
    assert "| both | 3 | 25.0 ± 9.5 |" in text
    assert "| 5.0 ± 1.0 |" in text
    assert (
        "- both: +5.0 points of mean 3D AP, no more than the seeds' spread (10.0); better" in text
    )
    assert "with 3 of 3 seeds" in text
    assert "| spatial only | 1 |" in text
    variants["both"] = {metric: [0.35, 0.4, 0.45] for metric in METRICS}
    assert "AP, more than the seeds' spread (10.0)" in "".join(ablation.verdicts(variants))
    assert ablation.gains(variants, "both") == pytest.approx([25, 20, 15])


@pytest.mark.slow
def test_a_tiny_table_is_made_in_parts(tmp_path: Path) -> None:
    args = ["--out", str(tmp_path), "--seeds", "1", "--steps", "2", "--finetune", "2"]
    args += ["--sequences", "4", "--sweeps", "3", "--fraction", "0.5"]
    ablation.main(args)
    found = json.loads((tmp_path / "ablation.json").read_text())["results"]
    assert list(found["variants"]) == ["scratch", "spatial only", "temporal only", "both"]
    assert all(len(metrics[MAIN]) == 1 for metrics in found["variants"].values())
    assert found["settings"]["pretraining steps"] == 2
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("detector.ckpt")}
    assert len(stamps) == 4
    ablation.main(args)  # nothing is left to be done
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert "| both | 1 |" in (tmp_path / "ablation.md").read_text()


def test_the_page_is_that_of_the_result_file() -> None:
    path = Path(ablation.__file__).parent / "results" / "lidar_ablation.json"
    if not path.exists():
        assert "Not measured yet" in ablation.PAGE.read_text()
        return
    assert ablation.table(json.loads(path.read_text())["results"]) in ablation.PAGE.read_text()

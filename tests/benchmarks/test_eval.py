"""The benchmark of evaluation runs from end to end; its figures mean nothing here."""

from __future__ import annotations

import json

import pytest

from benchmarks.eval import main


@pytest.mark.slow
@pytest.mark.render
def test_tiny_settings_run(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--quick"])
    results = json.loads(capsys.readouterr().out)
    suite, published, r2 = results["suite"], results["published"], results["r2"]
    assert suite["views"] == 50 * 4
    assert suite["ratio"] > 1
    assert sum(suite["each"].values()) <= suite["evaluators_seconds"]
    visits = published["seconds_per_object_and_epoch"]
    objects = published["train_views"] / 4
    assert published["one_run_seconds_extrapolated"] == pytest.approx(visits * objects * 2)
    one, many = (published[name] for name in ("one_head: quick, bf16", "all_heads: quick, bf16"))
    assert (one["runs"], many["runs"]) == (1, 9)
    assert set(many["r2"]) == {"all", "inv", "equi"}
    assert one["factors"]["4 views"] > one["factors"]["50 views"]
    assert all(len(r2[name]) == 3 for name in r2["mean"])

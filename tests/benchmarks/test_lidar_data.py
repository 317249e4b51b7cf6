from __future__ import annotations

import pytest

from benchmarks.lidar_data import measure


@pytest.mark.slow
def test_a_tiny_run_measures_every_step() -> None:
    found = measure(4, 3, 8, 90)
    assert found["sweeps"] == 12
    assert found["simulated_sweeps_per_second_2_processes"] > 0
    assert all(figure > 0 for figure in found["cpu_ms_per_sweep"].values())
    assert set(found["cpu_ms_per_sweep"]) >= {"simulate", "read", "batches", "estimate_flow"}

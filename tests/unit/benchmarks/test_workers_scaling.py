import json

import pytest

from benchmarks.workers_scaling import ROWS_PER_STEP, Timing, scaling_of, timing_of


def test_the_time_of_a_step_is_the_median_after_the_warm_up(tmp_path):
    seconds = [9.0, 9.0, 9.0, 1.0, 2.0, 3.0, 2.0, 2.0]
    lines = [{"step": at + 1, "pairs_per_second": ROWS_PER_STEP / one} for at, one in enumerate(seconds)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = timing_of([tmp_path])
    assert found.seconds == 2.0
    assert found.low <= 2.0 <= found.high


def test_the_parts_of_the_efficiency_are_all_of_it():
    found = scaling_of("ddp", Timing(1.0, 1, 1), Timing(1.25, 1, 1), Timing(0.8, 1, 1))
    assert found.efficiency == pytest.approx(1.0 / (2 * 0.8))
    assert found.machine == pytest.approx(0.8)
    assert found.efficiency == pytest.approx(found.machine * found.together)

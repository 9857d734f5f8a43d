"""The model of growth: what must be true of it whatever was measured."""

import pytest

from benchmarks.scale import control, database, model
from benchmarks.scale.model import Target
from benchmarks.scale.simulate import Costs, day

FREE = Costs(running=0.0, start=0.0, end=0.0, fixed=0.0)
COST = {"cpu_ms": 1.0, "clock_ms": 1.0, "writes": 1.0}
MEASURED = {
    "jobs": dict.fromkeys(("submitted", "started_and_ended", "a_round_without_news", "a_round_with_news"), COST),
    "services": {"a_round": COST, "a_reading_of_routes": COST},
    "queue": {"waiting": 100, "devices": 100, "cpu_ms": 10.0},
    "databases": {"SQLite": {"transactions_a_second": 50.0, "undisturbed_a_second": 500.0}},
    "gateway": {"an_answer_cpu_ms": 2.0, "an_event_cpu_ms": 0.1},
    "bytes_a_job": 1000,
}


def test_a_day_in_which_nothing_costs_anything_loses_at_most_half_a_round_a_job():
    found = day(10_000, 100, 0.7, FREE, hours=6)
    assert found.jobs == pytest.approx(2500, rel=0.1)
    assert found.used == pytest.approx(0.7, abs=0.07)
    assert found.lost <= 0.6 * found.jobs / (100 * 6 * 3600)
    assert found.wait_p50 <= 1.0


def test_rounds_that_take_longer_lose_more():
    lost = [day(20_000, 200, 0.9, Costs(seconds, seconds, seconds), hours=4).lost for seconds in (0.0, 0.01, 0.1)]
    assert lost == sorted(lost)
    assert lost[-1] > 3 * lost[0]


def test_half_a_core_makes_rounds_twice_as_long():
    whole, half = (day(1000, 100, 0.5, Costs(0.1, 0.1, 0.1, share=share), hours=2) for share in (1.0, 0.5))
    assert half.round_p50 == pytest.approx(2 * whole.round_p50, rel=0.2)


def test_what_is_exhausted_first_stands_first_and_loads_are_reckoned_by_hand():
    target = Target(gpus=100, jobs_a_day=86_400, services=2000, servers=2, waiting=100)
    found = {part.name: part for part in model.parts(MEASURED, target)}
    assert next(iter(found)) == "loop of services"
    assert [part.load for part in found.values()] == sorted((part.load for part in found.values()), reverse=True)
    assert found["loop of services"].load == pytest.approx(2.0)
    assert found["transactions, SQLite"].needed == pytest.approx(100 + 2)
    assert found["transactions, SQLite"].available == pytest.approx(500)
    assert found["gateway, all servers"].needed == pytest.approx(2000 * 0.05 * (2 + 200 * 0.1))
    assert found["queue's places and reasons"].needed == pytest.approx(10.0)


def test_more_servers_help_only_where_they_share_nothing():
    few, many = (
        {part.name: part.load for part in model.parts(MEASURED, Target(servers=servers))} for servers in (1, 4)
    )
    assert many["gateway, all servers"] == pytest.approx(few["gateway, all servers"] / 4)
    assert many["loop of services"] == few["loop of services"]


def test_the_costs_are_those_of_the_real_control_plane(tmp_path):
    found = control.jobs(tmp_path / "jobs", None, 4)
    assert found["submitted"]["writes"] == 1
    assert found["a_round_without_news"]["writes"] == 0
    assert found["a_round_with_news"]["writes"] == 1
    assert found["started_and_ended"]["writes"] == 3
    written = database.measure(tmp_path / "database", None, 0.2)
    assert written["undisturbed_a_second"] >= written["transactions_a_second"] > 0
    assert control.services(tmp_path / "services", None, 3)["a_round"]["writes"] == 0

"""Curves and the pulse of a job: what many pages ask for is looked at once."""

import json
import math
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from quickalign.console.columns import Columns
from quickalign.console.pulse import Pulses
from quickalign.console.series import FRESH_SECONDS, SeriesStore
from quickalign.console.visit import Visit
from quickalign.core.wire.jobs import MetricsPage
from quickalign.platform.jobs.metric_columns import MetricColumns
from tests.support.platforms import drive_to, stub_job, write_data


class Clock:
    """Time that passes when it is told to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def pass_by(self):
        self.now += FRESH_SECONDS


class Metrics:
    """Jobs with metrics that grow and go back."""

    def __init__(self, lines):
        self.lines, self.evaluations, self.reads = lines, [], 0
        self.jobs = self
        self.as_columns = False

    def metric_columns(self, job_id, names):
        if not self.as_columns:
            return None
        self.reads += 1
        found = {name: np.array([one.get(name, math.nan) for one in self.lines], float) for name in names}
        return MetricColumns(found, self.lines[-1], complete=False)

    def metrics(self, job_id, *, offset=0, limit=1000, kind="steps"):
        self.reads += 1
        lines = self.lines if kind == "steps" else self.evaluations
        items = tuple(lines[offset : offset + limit])
        return MetricsPage(items=items, next_offset=offset + len(items), complete=False)


@pytest.fixture
def clock():
    return Clock()


def read(store, **asked):
    return json.loads(store.read("job", **asked))


def test_a_hundred_thousand_points_are_thinned_and_no_spike_is_lost():
    lines = [{"step": i + 1, "loss": 1.0, "grad_norm": None} for i in range(100_000)]
    lines[54_321]["loss"] = 99.0
    lines[77_777]["loss"] = -5.0
    store = SeriesStore(Metrics(lines))
    found = read(store, points=1000)
    assert len(found["steps"]) <= 1002
    assert max(found["values"]["loss"]) == 99.0
    assert min(found["values"]["loss"]) == -5.0
    assert "grad_norm" not in found["values"]
    assert not found["exact"]
    assert found["total"] == 100_000
    near = read(store, points=1000, first=54_300, last=54_400)
    assert near["exact"]
    assert near["steps"][0] == 54_300
    assert len(near["steps"]) == 101


def test_only_new_lines_are_read_and_a_run_that_went_back_is_noticed(clock):
    lines = [{"step": i + 1, "loss": float(i)} for i in range(25_000)]
    metrics = Metrics(lines)
    store = SeriesStore(metrics, clock)
    before, count = store.state("job")
    assert count == 25_000
    metrics.reads = 0
    lines.append({"step": 25_001, "loss": math.pi})
    clock.pass_by()
    grown, count = store.state("job")
    assert count == 25_001
    assert metrics.reads == 3  # the last known line, what follows it, and evaluations
    del lines[10_000:]
    lines.append({"step": 10_001, "loss": -1.0})
    clock.pass_by()
    again, count = store.state("job")
    assert count == 10_001
    assert len({before, grown, again}) == 3
    assert read(store, points=100, first=10_001)["values"]["loss"] == [-1.0]


def test_columns_are_what_lines_are(clock):
    lines = [{"step": 2 * i, "loss": math.sin(i)} for i in range(1, 30_000)]
    del lines[7]["step"]
    metrics, columns = Metrics(list(lines)), Metrics(list(lines))
    columns.as_columns = True
    by_line, by_column = SeriesStore(metrics, clock), SeriesStore(columns, clock)
    assert by_line.read("job", points=500) == by_column.read("job", points=500)
    assert metrics.reads > columns.reads
    for one in (metrics, columns):
        one.lines.append({"step": 60_000, "loss": 7.0})
    clock.pass_by()
    assert read(by_line, points=500) == read(by_column, points=500)
    assert read(by_column, points=500)["total"] == 30_000
    for one in (metrics, columns):
        del one.lines[20_000:]
    clock.pass_by()
    assert by_line.read("job", points=500) == by_column.read("job", points=500)


def test_fifty_pages_look_once(clock):
    metrics = Metrics([{"step": 1, "loss": 1.0}])
    store = SeriesStore(metrics, clock)
    answers = {store.read("job", points=1600) for _ in range(50)}
    looked = metrics.reads
    assert len(answers) == 1
    metrics.lines.append({"step": 2, "loss": 0.5})
    clock.pass_by()
    assert {len(json.loads(store.read("job", points=1600))["steps"]) for _ in range(50)} == {2}
    assert metrics.reads <= 2 * looked + 1


def test_what_is_prepared_is_not_read_again(clock):
    metrics = Metrics([{"step": 1, "loss": 1.0}])
    store = SeriesStore(metrics, clock)
    store.prepare("job")
    for thread in threading.enumerate():
        if thread.name == "series-job":
            thread.join()
    looked = metrics.reads
    assert looked
    assert read(store, points=100)["steps"] == [1]
    store.prepare("job")
    assert [thread for thread in threading.enumerate() if thread.name == "series-job"] == []
    assert metrics.reads == looked


def test_a_failed_job_that_is_resumed_goes_on(platform, tmp_path, clock):
    job = platform.jobs.create(stub_job(write_data(tmp_path / "d"), trouble="once fail 3", max_retries=0)).id
    drive_to(platform, job, "failed")
    store = SeriesStore(platform, clock)
    steps = json.loads(store.read(job, points=100))["steps"]
    assert steps[0] == 1
    assert steps[-1] < 6
    platform.jobs.resume(job)
    drive_to(platform, job, "succeeded")
    clock.pass_by()
    assert json.loads(store.read(job, points=100))["steps"] == [1, 2, 3, 4, 5, 6]
    clock.pass_by()
    platform.jobs.metrics = lambda *_, **__: pytest.fail("what is over for good is not read again")
    assert store.state(job)[1] == 6


def test_an_evaluation_alone_is_news(clock):
    metrics = Metrics([{"step": 1, "loss": 1.0}])
    store = SeriesStore(metrics, clock)
    first = read(store, points=100)
    assert first["evaluations"] == []
    metrics.evaluations.append({"step": 1, "loss": 0.75})
    clock.pass_by()
    assert store.state("job")[0] != first["mark"]
    assert read(store, points=100)["evaluations"] == [{"step": 1, "loss": 0.75}]


def test_missing_values_are_gaps():
    lines = [{"step": i, "loss": None if i % 3 == 0 else float(i), "grad_norm": "?"} for i in range(1, 5000)]
    found = read(SeriesStore(Metrics(lines)), points=50)
    assert any(value is not None for value in found["values"]["loss"])
    assert "grad_norm" not in found["values"]
    columns = Columns()
    columns.add([{"step": 1, "loss": math.inf}, {"step": 2, "loss": 2}, {"step": 3}])
    assert columns.thinned(0, 3, 100)["values"] == {"loss": [None, 2.0, None]}
    columns.add([{"step": 4, "loss": 1.0}])
    assert columns.between(2, 4) == (1, 4)


def test_a_pulse_changes_with_what_a_page_shows(platform, tmp_path, clock, monkeypatch):
    job = platform.jobs.create(stub_job(write_data(tmp_path / "d"))).id
    pulses = Pulses(platform, SeriesStore(platform, clock), clock)
    first = pulses.read(job)
    platform.jobs.pause(job)
    with monkeypatch.context() as forbidden:
        forbidden.setattr(platform.jobs, "get", lambda _: pytest.fail("looked again"))
        assert [pulses.read(job) for _ in range(50)] == [first] * 50
    clock.pass_by()
    paused = pulses.read(job)
    assert paused.head != first.head
    assert paused.event > first.event
    platform.jobs.resume(job)
    drive_to(platform, job, "succeeded")
    clock.pass_by()
    over = pulses.read(job)
    assert (over.lines, over.log_size > 0, over.job.state) == (6, True, "succeeded")
    clock.pass_by()
    assert pulses.read(job).mark == over.mark


def test_fifty_pages_of_a_reader_share_a_head(browser, platform, tmp_path, monkeypatch):
    job = platform.jobs.create(stub_job(write_data(tmp_path / "d"))).id
    rendered, render = [], Visit.render

    def counted(visit, template, **values):
        rendered.append(template)
        return render(visit, template, **values)

    monkeypatch.setattr(Visit, "render", counted)
    news = {browser.get(f"/console/jobs/{job}/news").json()["parts"]["job-head"] for _ in range(50)}
    assert len(news) == 1
    assert browser.csrf in news.pop()
    assert rendered.count("parts/job_head.html") == 1
    chinese = browser.get(f"/console/jobs/{job}/news", headers={"Accept-Language": "zh"}).json()["parts"]["job-head"]
    assert "暂停" in chinese
    assert rendered.count("parts/job_head.html") == 2


def test_the_time_that_a_job_runs_is_written_anew(clock):
    job = SimpleNamespace(running_since=1.0, model_dump_json=lambda: "the same")
    jobs = SimpleNamespace(get=lambda _: job, events=lambda *_, **__: SimpleNamespace(items=()), log_size=lambda _: 0)
    pulses = Pulses(SimpleNamespace(jobs=jobs), SimpleNamespace(state=lambda _: ("0.0.0", 0)), clock)
    marks = []
    for _ in range(31):
        marks.append(pulses.read("job").head)
        clock.pass_by()
    assert len(set(marks)) == 4
    job.running_since = None
    clock.pass_by()
    first = pulses.read("job").head
    for _ in range(31):
        clock.pass_by()
        assert pulses.read("job").head == first

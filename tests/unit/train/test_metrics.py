"""What a run writes down, and the displacement alarm."""

from dataclasses import replace

from quickalign.train.metrics import DisplacementAlarm, MetricsLog, read_evaluations, read_steps
from quickalign.train.observer import Evaluation, StepMetrics

STEP = StepMetrics(1, 0.1, 0.69, 1.0, 1e-4, 0.0, 0.0, 0.0, 0.5, -10.0, -12.0, 100.0, 2.0, 10**9)


def test_lines_after_the_resumed_step_are_cut(tmp_path):
    log = MetricsLog(tmp_path, 0)
    log.evaluation(Evaluation(0, 0.69, 0.5, 0.0, -10.0, -11.0, 4))
    for number in range(1, 6):
        log.step(replace(STEP, step=number))
    log.close()
    with (tmp_path / "metrics.jsonl").open("ab") as stream:
        stream.write(b'{"step": 6, "lo')
    assert [step.step for step in read_steps(tmp_path)] == [1, 2, 3, 4, 5]
    MetricsLog(tmp_path, 3).close()
    assert [step.step for step in read_steps(tmp_path)] == [1, 2, 3]
    assert [found.step for found in read_evaluations(tmp_path)] == [0]


def test_a_fresh_run_starts_with_empty_files(tmp_path):
    log = MetricsLog(tmp_path, 0)
    log.step(STEP)
    log.close()
    MetricsLog(tmp_path, 0).close()
    assert read_steps(tmp_path) == []


def steps(chosen_per_step, margin_per_step, count=60, beta=0.1):
    for n in range(count):
        yield replace(
            STEP, step=n + 1, rewards_chosen=beta * chosen_per_step * n, rewards_margin=beta * margin_per_step * n
        )


def rings(run):
    alarm = DisplacementAlarm(0.1)
    return [message for step in run if (message := alarm.update(step))]


def test_alarm_rings_once_when_chosen_falls_while_the_margin_grows():
    found = rings(steps(-0.2, 0.5))
    assert len(found) == 1
    assert "likelihood displacement" in found[0]
    assert "sft_weight" in found[0]


def test_alarm_is_silent_when_chosen_rises_or_the_margin_shrinks():
    assert rings(steps(0.2, 0.5)) == []
    assert rings(steps(-0.2, -0.5)) == []
    assert rings(steps(-0.001, 0.5)) == []


def test_alarm_goes_on_after_a_resume():
    first, second = DisplacementAlarm(0.1), DisplacementAlarm(0.1)
    everything = list(steps(-0.2, 0.5))
    for step in everything[:15]:
        first.update(step)
    second.load(first.state())
    whole = [first.update(step) for step in everything[15:]]
    assert [second.update(step) for step in everything[15:]] == whole
    assert any(whole)

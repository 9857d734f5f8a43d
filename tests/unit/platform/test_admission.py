"""Who may start: slots, memory, order, and the reason for waiting."""

from quickalign.platform.devices import Device
from quickalign.platform.queue.admission import Taken, Waiting, admit, has_free_slot, loads

GB = 10**9
CPU = Device("cpu", 0, "CPU", 64 * GB, 2)
GPU0 = Device("cuda", 0, "GPU 0", 24 * GB, 2)
GPU1 = Device("cuda", 1, "GPU 1", 24 * GB, 2)


def places(queue, devices, taken=(), now=0.0):
    found, reasons = admit(queue, loads(devices, taken), now, 60.0)
    return [(place.id, place.device) for place in found], {job: reason.code for job, reason in reasons.items()}


def test_as_many_start_as_there_are_slots():
    queue = [Waiting(name, 0, GB) for name in "abc"]
    assert places(queue, (CPU,)) == ([("a", None), ("b", None)], {"c": "waiting_for_cpu"})


def test_gpu_jobs_go_to_the_emptiest_gpu():
    queue = [Waiting(name, 1, 4 * GB) for name in "abcde"]
    started, waiting = places(queue, (CPU, GPU0, GPU1))
    assert started == [("a", 0), ("b", 1), ("c", 0), ("d", 1)]
    assert waiting == {"e": "waiting_for_gpu"}


def test_memory_counts_as_well_as_slots():
    queue = [Waiting("a", 1, 20 * GB), Waiting("b", 1, 20 * GB)]
    assert places(queue, (CPU, GPU0)) == ([("a", 0)], {"b": "waiting_for_memory"})


def test_a_large_job_is_not_overtaken_by_smaller_ones_of_its_kind():
    queue = [Waiting("large", 1, 20 * GB), Waiting("small", 1, GB), Waiting("cpu", 0, GB)]
    started, waiting = places(queue, (CPU, GPU0), [Taken("running", 0, 10 * GB)])
    assert started == [("cpu", None)]
    assert set(waiting) == {"large", "small"}


def test_a_job_that_backs_off_lets_others_go_first():
    queue = [Waiting("crashed", 0, GB, retry_at=10.0), Waiting("next", 0, GB)]
    assert places(queue, (CPU,)) == ([("next", None)], {"crashed": "backing_off"})
    assert places(queue, (CPU,), now=10.0)[0] == [("crashed", None), ("next", None)]


def test_a_clock_that_was_set_back_lets_nobody_wait_longer_than_the_longest_wait():
    queue = [Waiting("crashed", 0, GB, retry_at=1000.0)]
    assert places(queue, (CPU,), now=940.0) == ([], {"crashed": "backing_off"})
    assert places(queue, (CPU,), now=939.0) == ([("crashed", None)], {})


def test_an_operator_can_hold_jobs_back():
    held = Device("cpu", 0, "CPU", 64 * GB, 0)
    assert places([Waiting("a", 0, GB)], (held,)) == ([], {"a": "waiting_for_cpu"})
    assert not has_free_slot(loads((held,), []))


def test_a_job_alone_on_its_device_starts_whatever_its_card_says():
    assert places([Waiting("a", 0, 100 * GB)], (CPU,))[0] == [("a", None)]

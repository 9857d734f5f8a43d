"""A base that several services share: counted once a device, and where a replica goes because of it."""

from quickalign.platform.devices import Device
from quickalign.platform.queue.admission import Shared, Taken, loads, room_for

GB = 10**9
GPUS = (Device("cuda", 0, "GPU 0", 24 * GB, 1), Device("cuda", 1, "GPU 1", 24 * GB, 1))
BASE, OTHER = Shared("k", "qwen", 14 * GB), Shared("o", "llama", 14 * GB)


def replica(name, device=None, memory=16, shared=BASE, revision=1):
    return Taken(name, device, memory * GB, shared, revision)


def test_a_base_is_counted_once_a_device():
    [first, second] = loads(GPUS, [], [replica("a", 0), replica("b", 0), replica("b", 0), replica("c", 1)])
    assert first.memory_bytes == (16 + 2 + 2) * GB
    assert second.memory_bytes == 16 * GB
    [base] = first.bases.values()
    assert (base.shared, base.services) == (BASE, ["a", "b"])


def test_what_is_not_shared_counts_whole():
    [first, _] = loads(GPUS, [], [replica("a", 0, 8), replica("b", 0, 8, None)])
    assert first.memory_bytes == 16 * GB
    assert list(first.bases) == ["k"]


def test_a_replica_goes_to_its_base_though_another_device_is_emptier():
    found = loads(GPUS, [], [replica("a", 0)])
    assert room_for(replica("b"), "cuda", found) is found[0]
    assert room_for(replica("b", shared=None), "cuda", found) is found[1]
    assert room_for(replica("b", shared=OTHER), "cuda", found) is found[1]


def test_where_its_base_has_no_room_it_goes_elsewhere_or_waits():
    full = [replica("a", 0), *(replica(f"s{number}", 0) for number in range(4))]
    found = loads(GPUS, [], full)
    assert found[0].memory_bytes == 24 * GB
    assert room_for(replica("b"), "cuda", found) is found[1]
    assert room_for(replica("b"), "cuda", loads(GPUS, [], [*full, replica("x", 1, 23, None)])) is None


def test_replicas_of_one_revision_spread_and_an_update_stays_with_its_base():
    found = loads(GPUS, [], [replica("a", 0)])
    assert room_for(replica("a"), "cuda", found) is found[1]
    assert room_for(replica("a", revision=2), "cuda", found) is found[0]


def test_kinds_of_devices_are_kept_apart():
    assert room_for(replica("a"), "cpu", loads(GPUS, [], [])) is None

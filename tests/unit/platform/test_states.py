"""The table of moves is whole: nothing leads nowhere, and nothing transitional may last."""

import pytest

from quickalign.core.errors import ConflictError, NotFoundError
from quickalign.core.wire.jobs import JobState as S
from quickalign.platform.config import Config
from quickalign.platform.jobs import moves
from quickalign.platform.jobs.moves import Seen
from quickalign.platform.jobs.states import DEADLINES, FINAL, MOVES, OCCUPYING, is_allowed
from tests.support.platforms import stub_job


def reachable(start: S) -> set[S]:
    found, todo = {start}, [start]
    while todo:
        for state in MOVES[todo.pop()] - found:
            found.add(state)
            todo.append(state)
    return found


def test_every_state_is_in_the_table_and_reachable():
    assert set(MOVES) == set(S)
    assert reachable(S.QUEUED) == set(S)


def test_final_states_lead_nowhere_but_from_a_failure_back_and_all_others_to_an_end():
    assert {state for state in S if not MOVES[state]} == FINAL - {S.FAILED}
    assert MOVES[S.FAILED] == {S.RESUMING}
    for state in set(S) - FINAL:
        assert reachable(state) & FINAL
        assert S.CANCELLED in reachable(state), "whatever runs can be cancelled"


def test_transitional_states_have_a_deadline():
    assert set(DEADLINES) == {S.STARTING, S.PAUSING, S.CANCELLING, S.RESUMING}
    assert all(limit in Config.model_fields for limit in DEADLINES.values())


def test_states_without_a_process_hold_no_device():
    assert {S.STARTING, S.RUNNING, S.PAUSING, S.CANCELLING} == OCCUPYING


def test_a_move_outside_the_table_is_refused_and_changes_nothing(platform, data):
    job = platform.jobs.create(stub_job(data))
    for state in S:
        if is_allowed(S.QUEUED, state):
            continue
        with pytest.raises(ConflictError, match="cannot become"), platform._database.write() as session:
            moves.move(session, moves.find(session, job.id), state, platform.config, 0.0)
    assert platform.jobs.get(job.id).state is S.QUEUED
    assert len(platform.jobs.events(job.id).items) == 1


def test_what_was_seen_counts_only_while_it_is_so(platform, data):
    job = platform.jobs.create(stub_job(data))
    with platform._database.write() as session:
        seen = Seen.of(moves.find(session, job.id))
    platform.jobs.cancel(job.id)
    with platform._database.write() as session:
        assert moves.still(session, seen) is None
        assert moves.still(session, Seen(job.id, S.CANCELLED, 0, "another lease")) is None
        assert moves.still(session, Seen(job.id, S.CANCELLED, 1, None)) is None
        assert moves.still(session, Seen(job.id, S.CANCELLED, 0, None)) is not None


def test_an_unknown_job_is_named(platform):
    with pytest.raises(NotFoundError, match="job-nothing"), platform._database.write() as session:
        moves.find(session, "job-nothing")


def test_old_events_go_and_new_ones_keep_their_numbers(platform, data):
    job = platform.jobs.create(stub_job(data))
    few = platform.config.model_copy(update={"events_kept": 100})
    with platform._database.write() as session:
        row = moves.find(session, job.id)
        for number in range(999):
            moves.append(session, row, "note", f"note {number}", {}, few, 0.0)
            session.flush()
    events = platform.jobs.events(job.id, limit=1000).items
    assert [event.sequence for event in events] == list(range(901, 1001))

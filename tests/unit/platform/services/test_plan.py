"""What follows from how a service stands, by cases written by hand, and for all pictures that can be made."""

from hypothesis import given
from hypothesis import strategies as st

from quickalign.core.wire.services import ServiceState
from quickalign.platform.db.service_tables import ReplicaRow, RevisionRow, ServiceRow
from quickalign.platform.services import plan
from quickalign.platform.services.plan import Picture
from quickalign.platform.services.states import MOVES, REPLICA_MOVES, UP, ReplicaState, is_allowed

S, R = ServiceState, ReplicaState
REASON = {"code": "crashed", "message": "It was killed."}


def picture(state, replicas=(), *, revision=1, target=1, wanted=1, failed=()):
    """`replicas` are pairs of revision and state, oldest first."""
    rows = tuple(
        ReplicaRow(id=f"replica-{number}", revision=of, state=str(at), created_at=float(number), reason=None)
        for number, (of, at) in enumerate(replicas)
    )
    service = ServiceRow(
        number=1, id="service-1", name="a", state=str(state), revision=revision, target=target, wanted_replicas=wanted
    )
    revisions = {
        number: RevisionRow(
            number=number,
            state="failed" if number in failed else "serving" if number == revision else "starting",
            reason=REASON if number in failed else None,
        )
        for number in (1, 2)
    }
    return Picture(service, revisions, rows)


def test_replicas_are_made_up_to_what_is_wanted_and_stopped_beyond():
    assert plan.lacking(picture(S.PENDING, wanted=3)) == [1, 1, 1]
    assert plan.lacking(picture(S.RUNNING, [(1, R.READY), (1, R.STOPPING)], wanted=2)) == [1]
    crowd = picture(S.RUNNING, [(1, R.READY), (1, R.READY), (1, R.STARTING), (1, R.BACKING_OFF)], wanted=1)
    assert [one.id for one in plan.surplus(crowd)] == ["replica-3", "replica-2", "replica-1"]
    assert plan.lacking(picture(S.STOPPED, wanted=3)) == []


def test_both_revisions_are_wanted_only_during_an_update():
    assert plan.wanted(picture(S.UPDATING, target=2, wanted=2)) == {1: 2, 2: 2}
    assert plan.wanted(picture(S.STARTING, target=2, wanted=2)) == {2: 2}
    old = picture(S.RUNNING, [(1, R.READY), (2, R.READY)], revision=2, target=2)
    assert [one.revision for one in plan.surplus(old)] == [1]


def test_all_of_the_new_replicas_must_be_ready_where_old_ones_answer():
    both = [(1, R.READY), (1, R.READY), (2, R.READY), (2, R.STARTING)]
    assert plan.next_step(picture(S.UPDATING, both, target=2, wanted=2)) is None
    without_old = [(2, R.READY), (2, R.STARTING)]
    step = plan.next_step(picture(S.UPDATING, without_old, target=2, wanted=2))
    assert (step.to, step.changes) == (S.RUNNING, {"revision": 2})
    assert step.revisions[1] == {"state": "retired"}


def test_a_revision_that_failed_gives_way_to_the_one_before():
    step = plan.next_step(picture(S.UPDATING, [(1, R.READY)], target=2, failed=[2]))
    assert (step.to, step.changes) == (S.RUNNING, {"target": 1})
    assert "It was killed." in step.reason.message
    step = plan.next_step(picture(S.UPDATING, [(1, R.BACKING_OFF)], target=2, failed=[2]))
    assert (step.to, step.changes) == (S.STARTING, {"target": 1})
    assert plan.next_step(picture(S.STARTING, revision=None, failed=[1])).to is S.FAILED


def test_every_state_but_the_last_can_be_left():
    assert {state for state, following in MOVES.items() if not following} == {S.DELETED}
    assert set(MOVES) == set(S)
    assert set(REPLICA_MOVES) == set(R)
    assert all(S.DELETING in following for state, following in MOVES.items() if state not in (S.DELETING, S.DELETED))


PICTURES = st.builds(
    picture,
    st.sampled_from(list(S)),
    st.lists(st.tuples(st.sampled_from([1, 2]), st.sampled_from(list(R))), max_size=5),
    revision=st.sampled_from([None, 1, 2]),
    target=st.sampled_from([1, 2]),
    wanted=st.integers(1, 3),
    failed=st.sets(st.sampled_from([1, 2])),
)


@given(PICTURES)
def test_a_step_is_one_that_the_table_allows(one):
    step = plan.next_step(one)
    is_updating = one.state is S.UPDATING
    if step is None or step.to is None or (is_updating and one.service.revision in (None, one.service.target)):
        return  # the last: an update of nothing, which is never made
    assert is_allowed(one.state, step.to), (one.state, step)


@given(PICTURES)
def test_what_answers_is_never_stopped_before_something_else_does(one):
    stopped = {row.id for row in plan.surplus(one)}
    answering = [row for row in one.of(one.service.revision) if row.state == R.READY]
    if one.state is S.UPDATING and answering:
        assert any(row.id not in stopped for row in answering)


@given(PICTURES)
def test_nothing_is_wanted_of_a_service_that_is_not_up(one):
    if one.state not in UP:
        assert plan.lacking(one) == []
        assert len(plan.surplus(one)) == sum(row.state != R.STOPPING for row in one.replicas)

from hypothesis import given
from hypothesis import strategies as st

from quickalign.api.gateway.events import Events, tokens_in
from tests.support.gateways import END, EVENT, ROLE

STREAM = ROLE + (EVENT % "ü\\n".encode()) * 5 + END
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":6,"total_tokens":15}}\n\n'


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_however_it_is_cut_the_bytes_are_the_same_and_events_whole(places):
    events, passed = Events(), b""
    edges = [0, *sorted(places), len(STREAM)]
    for start, end in zip(edges, edges[1:], strict=False):
        whole = events.push(STREAM[start:end])
        assert whole == b"" or whole.endswith(b"\n\n")
        passed += whole
    assert passed == STREAM
    assert events.tokens == 5
    assert events.finished


def test_half_an_event_is_held_back():
    events = Events()
    assert events.push(ROLE + EVENT[:20]) == ROLE
    assert not events.finished
    assert events.push(EVENT[20:]) == EVENT


def test_an_event_without_end_does_not_fill_the_memory():
    events = Events()
    part = b"x" * (1 << 20)
    assert [len(events.push(part)) for _ in range(5)] == [0, 0, 0, 0, 5 << 20]


def test_usage_says_it_better():
    events = Events()
    events.push(ROLE + EVENT * 2)
    assert events.tokens == 2
    events.push(USAGE)
    assert events.tokens == 6


def test_what_a_text_quotes_is_not_taken_for_the_answer():
    told = EVENT % rb"\"finish_reason\":null \"usage\":{\"completion_tokens\":999} data: {\"error\""
    events = Events()
    events.push(told)
    assert (events.tokens, events.finished) == (1, False)


def test_an_error_ends_a_stream():
    events = Events()
    events.push(b'data: {"error":{"message":"x"}}\n\n')
    assert events.finished


def test_the_usage_of_an_answer_in_one_piece():
    assert tokens_in(b'{"usage":{"prompt_tokens":3,"completion_tokens":12,"total_tokens":15}}') == 12
    assert tokens_in(b'{"id":"x"}') is None

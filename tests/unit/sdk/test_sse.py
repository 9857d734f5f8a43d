"""Server-sent events come out whole however the network cuts them."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from quickalign.sdk.sse import ServerEvent, events

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), max_size=20)
EVENTS = st.lists(st.builds(ServerEvent, TEXT.filter(bool), TEXT, TEXT), max_size=5)


def cut(raw: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(raw), *(place % (len(raw) + 1) for place in places)})
    return [raw[start:end] for start, end in pairwise(edges)]


@given(EVENTS, st.lists(st.integers(0, 10_000), max_size=12), st.sampled_from(["\n", "\r\n", "\r"]))
def test_any_cut_gives_the_same_events(sent, places, end):
    lines = [f"event: {e.kind}{end}id: {e.id}{end}data: {e.data}{end}{end}" for e in sent]
    assert list(events(cut("".join(lines).encode() + b"\n", places))) == sent


def test_comments_pings_several_data_lines_and_kept_ids():
    raw = b": hello\n\nid: 7\ndata: a\ndata: b\n\n: ping\n\ndata:c\n\nevent: end\n\n"
    assert list(events([raw])) == [
        ServerEvent("message", "a\nb", "7"),
        ServerEvent("message", "c", "7"),
        ServerEvent("end", "", "7"),
    ]


def test_an_event_that_was_cut_off_is_left_out():
    assert list(events([b"data: whole\n\nid: 9\ndata: half"])) == [ServerEvent("message", "whole", None)]


def test_separators_of_unicode_are_text():
    text = "one\u2028two\u0085three\x0bfour"
    assert [event.data for event in events([f"data: {text}\n\n".encode()])] == [text]

"""Values between a replica's two processes, in pieces of any size."""

import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quickalign.serve.engine import Generation, Sampling, TokenOut, TokenScore
from quickalign.serve.pipe import Pipe, Unpacker, pack

VALUES = st.lists(
    st.one_of(
        st.binary(max_size=300),
        st.builds(TokenOut, st.integers(0, 9), st.none() | st.integers(0, 1 << 31)),
        st.just([(3, TokenOut(0, 7, TokenScore(7, -0.5, ((7, -0.5), (8, -1.0))), "stop"))]),
        st.just((4, Generation(tuple(range(100)), Sampling(max_tokens=3, temperature=0)))),
    ),
    max_size=6,
)


@given(VALUES, st.lists(st.integers(1, 200), min_size=1, max_size=20))
def test_however_the_bytes_come_the_values_come_whole_and_in_order(values, sizes):
    stream, unpacker, found = b"".join(map(pack, values)), Unpacker(), []
    turn = 0
    while stream:
        size = sizes[turn % len(sizes)]
        found += unpacker.push(stream[:size])
        stream, turn = stream[size:], turn + 1
    assert found == values


def test_a_large_value_and_the_end_of_the_other_side():
    ours, theirs = socket.socketpair()
    near, far = Pipe(ours), Pipe(theirs)
    large = b"x" * 3_000_000  # more than a socket holds, so both sides work at once
    sender = threading.Thread(target=lambda: (near.send(large), near.send("last"), ours.close()))
    sender.start()
    assert far.receive() == large
    assert far.receive() == "last"
    sender.join()
    with pytest.raises(EOFError):
        far.receive()
    with pytest.raises(OSError):
        far.send("nobody is there")
        far.send("nobody is there")
    theirs.close()

"""What is told of a program that was killed."""

import signal

import pytest

from quickalign.platform.jobs import outcome

READY = (
    '{"model": "m", "pid": 1, "proof": [{"name": "base weights", "passed": true}], "endpoint": "http://127.0.0.1:1"}\n'
)


@pytest.mark.parametrize(
    ("log", "words"), [(READY, ""), (f"WARNING one\n{READY}two\n", " Its last words: WARNING one\ntwo")]
)
def test_the_ready_line_is_none_of_its_last_words(tmp_path, log, words):
    (tmp_path / "log").write_text(log)
    reason = outcome.crash(-signal.SIGKILL, None, [tmp_path / "log"])
    killed = "It was killed by SIGKILL. The system does that when memory runs out."
    assert reason.message == killed + words

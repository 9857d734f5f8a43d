"""Contents in the log, on a server whose operator wants them there."""

import logging

import pytest

from tests.support.gateways import wait_for
from tests.support.platforms import FAST


@pytest.fixture(scope="module")
def config():
    return FAST.model_copy(update={"log_contents": True})


def test_the_operator_may_ask_for_contents(ask, caplog):
    caplog.set_level(logging.INFO, "quickalign.api.request")
    ask("flood 8")
    wait_for(lambda: any("answer" in getattr(record, "fields", {}) for record in caplog.records))
    (line,) = [record.fields for record in caplog.records if "answer" in getattr(record, "fields", {})]
    assert "flood 8" in line["request"]
    assert "xxxx" in line["answer"]
    assert len(line["answer"]) == 64 << 10

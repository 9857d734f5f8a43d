"""One replica of the embedded model for all tests that only ask it."""

from collections.abc import Iterator

import pytest

from tests.support.replicas import MODEL, RunningReplica, running_replica


@pytest.fixture(scope="session")
def replica() -> Iterator[RunningReplica]:
    with running_replica("--model", MODEL) as running:
        yield running

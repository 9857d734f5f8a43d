"""Databases for all tests: SQLite, and a PostgreSQL server where there is one. In CI there has to be one."""

import os
import signal

import pytest

from tests.support.postgres import MISSING, PostgresServer, is_installed

# Under nohup, or in the background of a script, Ctrl-C is ignored, and so it would be by every program that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres():
    if not is_installed():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)
    server = PostgresServer()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request):
    """The database under test: none for SQLite in the home, a fresh one on a server for PostgreSQL."""
    return None if request.param == "sqlite" else request.getfixturevalue("postgres").database()

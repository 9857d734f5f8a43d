import pytest

from tests.support.fake_executor import FakeExecutor, World
from tests.support.platforms import open_stub, write_data
from tests.support.postgres import MISSING, PostgresServer, binaries


@pytest.fixture(scope="session")
def postgres():
    if binaries() is None:
        pytest.skip(MISSING)
    pytest.importorskip("psycopg")
    server = PostgresServer()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request):
    """The database under test: none for SQLite in the home, a fresh one on a server for PostgreSQL."""
    return None if request.param == "sqlite" else request.getfixturevalue("postgres").database()


@pytest.fixture
def world():
    return World()


@pytest.fixture
def platform(tmp_path, world, database_url):
    opened = open_stub(tmp_path / "home", executor=FakeExecutor(world), database_url=database_url)
    yield opened
    opened.close()


@pytest.fixture
def on_sqlite(tmp_path, world):
    """A platform whose database is a file, for tests of that file."""
    opened = open_stub(tmp_path / "home", executor=FakeExecutor(world))
    yield opened
    opened.close()


@pytest.fixture
def data(tmp_path):
    return write_data(tmp_path / "data")

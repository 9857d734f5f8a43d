import pytest

from tests.support.fake_executor import FakeExecutor, World
from tests.support.platforms import open_stub, write_data


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

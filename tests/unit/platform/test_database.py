"""Opening a home: its lock, its schema, and what is said of one that cannot be used."""

import os
import re
import sqlite3
import stat

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from quickalign.core.errors import ConflictError, OptionError, StorageError, UnavailableError
from quickalign.platform.db.tables import Base
from tests.support.absent import take_away
from tests.support.platforms import open_stub, stub_job, write_data
from tests.support.users import open_folder, ordinary_user, set_writable


def test_the_migrations_make_exactly_the_tables(platform):
    with platform._database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_what_the_database_holds_is_for_its_owner_alone(tmp_path):
    (tmp_path / "home").mkdir(mode=0o755)
    opened = open_stub(tmp_path / "home")
    try:
        found = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "home").glob("quickalign.db*")}
        assert found == dict.fromkeys(("quickalign.db", "quickalign.db-wal", "quickalign.db-shm"), 0o600)
    finally:
        opened.close()


def test_two_servers_on_one_home(platform):
    with pytest.raises(ConflictError, match="Another server"):
        open_stub(platform.home.root)


def test_a_home_is_opened_again_with_all_that_was_in_it(tmp_path):
    data = write_data(tmp_path)
    first = open_stub(tmp_path / "home")
    job, token = first.jobs.create(stub_job(data)), first.tokens.create("me")
    first.close()
    second = open_stub(tmp_path / "home")
    try:
        assert second.jobs.get(job.id).spec == job.spec
        assert second.tokens.verify(token)
    finally:
        second.close()


def test_a_damaged_database_is_named_and_left_as_it_is(tmp_path):
    open_stub(tmp_path).close()
    file = tmp_path / "quickalign.db"
    content = bytearray(file.read_bytes())
    content[4096:8192] = os.urandom(4096)
    file.write_bytes(content)
    for leftover in tmp_path.glob("quickalign.db-*"):
        leftover.unlink()
    with pytest.raises(StorageError, match="is damaged"):
        open_stub(tmp_path)
    assert file.read_bytes() == content
    file.write_bytes(b"this is no database" * 300)
    with pytest.raises(StorageError, match="is damaged"):
        open_stub(tmp_path)


def test_a_database_that_is_damaged_under_a_running_server(on_sqlite, data):
    platform = on_sqlite
    jobs = {platform.jobs.create(stub_job(data)).id for _ in range(3)}
    with platform._database.engine.connect() as connection:
        connection.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    platform._database.engine.dispose()
    file = platform.home.database
    whole = file.read_bytes()
    file.write_bytes(whole[:4096] + os.urandom(len(whole) - 4096))
    for call in (platform.jobs.list, lambda: platform.jobs.create(stub_job(data)), platform.reconciler.tick):
        with pytest.raises(StorageError, match="is damaged"):
            call()
    assert {folder.name for folder in platform.home.blobs.rglob("*")}, "what lies beside it is untouched"
    platform._database.engine.dispose()
    file.write_bytes(whole)
    assert {job.id for job in platform.jobs.list().items} == jobs


def test_after_a_failed_opening_the_lock_is_free(tmp_path):
    (tmp_path / "quickalign.db").write_bytes(b"this is no database" * 300)
    for _ in range(2):
        with pytest.raises(StorageError):
            open_stub(tmp_path)


def test_a_newer_schema_is_refused(tmp_path):
    open_stub(tmp_path).close()
    with sqlite3.connect(tmp_path / "quickalign.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(ConflictError, match="9999"):
        open_stub(tmp_path)


def test_a_home_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        open_stub(tmp_path / "file" / "home")


def test_a_read_only_home_is_named_and_loses_nothing():
    with open_folder() as folder:
        home = folder / "home"
        platform = open_stub(home)
        job = platform.jobs.create(stub_job(write_data(folder)))
        platform.close()
        set_writable(home, writable=False)
        with ordinary_user(), pytest.raises(StorageError, match="cannot be written") as caught:
            open_stub(home)
        assert str(home) in caught.value.message
        set_writable(home, writable=True)
        platform = open_stub(home)
        assert platform.jobs.get(job.id).state == "queued"
        platform.close()


def test_a_full_disk_is_a_clear_error_and_loses_nothing(on_sqlite, data):
    """SQLite's own limit on the file's size stands for the disk's."""
    platform = on_sqlite
    jobs = [platform.jobs.create(stub_job(data)) for _ in range(3)]
    connection = platform._database.engine.raw_connection()
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages}")
    connection.close()
    with pytest.raises(StorageError, match="is full"):
        for _ in range(200):
            platform.jobs.create(stub_job(data, metadata={"long": "x" * 2000}))
    assert {job.id for job in jobs} <= {job.id for job in platform.jobs.list(limit=1000).items}


@pytest.mark.parametrize("url", ["mysql://localhost/x", "sqlite:///other.db", "nonsense"])
def test_only_postgresql_by_url(tmp_path, url):
    with pytest.raises(OptionError):
        open_stub(tmp_path, database_url=url)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("postgresql://ann:hidden@127.0.0.1:port/db", "port that is no number"),
        ("postgresql://ann:hidden@127.0.0.1/db?connect_timeout=2&sslmod=disable", "option 'sslmod'"),
    ],
)
def test_what_is_wrong_with_a_database_url_is_told_without_its_password(tmp_path, url, sentence):
    pytest.importorskip("psycopg")
    with pytest.raises(OptionError, match=sentence) as caught:
        open_stub(tmp_path, database_url=url)
    assert "hidden" not in str(caught.value)


def test_a_postgresql_database_without_its_driver(tmp_path, monkeypatch):
    take_away(monkeypatch, "psycopg")
    with pytest.raises(OptionError, match="PostgreSQL databases need psycopg") as caught:
        open_stub(tmp_path, database_url="postgresql://127.0.0.1:1/nothing")
    assert "quickalign[postgresql]" in caught.value.remedy


def test_a_driver_without_what_it_needs(tmp_path, monkeypatch):
    def load(*_, **__):
        raise ImportError("no pq wrapper available.\nAttempts made: none")

    monkeypatch.setattr("quickalign.platform.db.engine.create_engine", load)
    with pytest.raises(OptionError, match=r"cannot be loaded: no pq wrapper available\.") as caught:
        open_stub(tmp_path, database_url="postgresql://127.0.0.1:1/nothing")
    assert "quickalign[postgresql]" in caught.value.remedy


def test_a_postgresql_server_that_is_not_there(tmp_path):
    pytest.importorskip("psycopg")
    with pytest.raises(UnavailableError, match="does not answer"):
        open_stub(tmp_path, database_url="postgresql://127.0.0.1:1/nothing?connect_timeout=2")


def test_two_servers_on_one_postgresql_database(tmp_path, postgres):
    url = postgres.database()
    first = open_stub(tmp_path / "one", database_url=url)
    try:
        with pytest.raises(ConflictError, match="Another quickalign server"):
            open_stub(tmp_path / "two", database_url=url)
    finally:
        first.close()
    open_stub(tmp_path / "two", database_url=url).close()


def uploaded(platform):
    with platform.files.begin("rows.json") as upload:
        upload.write(b'[{"prompt": "a", "chosen": "b", "rejected": "c"}]')
        return platform.files.path(upload.commit().id)


def test_a_home_stays_with_its_database_because_another_one_would_take_its_files_for_left_over(tmp_path, postgres):
    url, home = postgres.database(), tmp_path / "home"
    open_stub(home).close()  # as a command does that comes before the settings: nothing is lost by leaving this one
    first = open_stub(home, database_url=url)
    content = uploaded(first)
    first.close()
    for other in (None, postgres.database()):
        with pytest.raises(ConflictError, match="are in a PostgreSQL database") as caught:
            open_stub(home, database_url=other)
        assert "--database-url" in caught.value.remedy
    assert content.exists()
    open_stub(home, database_url=url).close()
    (home / "lock.database").unlink()
    open_stub(home).close()


def test_a_home_with_sqlite_stays_with_it(tmp_path, postgres):
    first = open_stub(tmp_path / "home")
    content = uploaded(first)
    first.close()
    with pytest.raises(ConflictError, match="its own SQLite database"):
        open_stub(tmp_path / "home", database_url=postgres.database())
    assert content.exists()
    open_stub(tmp_path / "home").close()


def test_a_database_with_jobs_or_files_stays_with_the_home_in_which_they_lie(tmp_path, postgres):
    url = postgres.database()
    first = open_stub(tmp_path / "one", database_url=url)
    uploaded(first)
    first.close()
    with pytest.raises(ConflictError, match="lies in another home than") as caught:
        open_stub(tmp_path / "two", database_url=url)
    (tmp_path / "one").rename(tmp_path / "moved")
    open_stub(tmp_path / "moved", database_url=url).close()
    known = re.search("write ([0-9a-f]+) into", caught.value.remedy)[1]
    (tmp_path / "two" / "home.id").write_text(known)
    open_stub(tmp_path / "two", database_url=url).close()

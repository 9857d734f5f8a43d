"""A PostgreSQL server of one's own, in a temporary folder, for tests; from Debian's package where it is installed."""

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

MISSING = "There is no PostgreSQL (initdb in /usr/lib/postgresql/*/bin) or no psycopg: apt-get install postgresql"


def is_installed() -> bool:
    """Whether a server can be started and spoken to."""
    return binaries() is not None and find_spec("psycopg") is not None


def binaries() -> Path | None:
    """The folder with the newest version's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4].split(".")[0]))
    return found[-1].parent if found else None


class PostgresServer:
    """Listens on a Unix socket in its folder; `database` makes a new empty database and gives its URL."""

    def __init__(self) -> None:
        programs = binaries()
        assert programs is not None, MISSING
        self.folder = Path(tempfile.mkdtemp(prefix="quickalign-postgres-", dir="/tmp"))
        self._numbers = itertools.count(1)
        # PostgreSQL refuses to run as root.
        self._user = None if os.geteuid() else _somebody()
        if self._user:
            entry = pwd.getpwnam(self._user)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
        self.folder.chmod(0o755)
        data = self.folder / "data"
        self._run(programs / "initdb", "-D", data, "-A", "trust", "-U", "quickalign", "-E", "UTF8", "--no-sync")
        settings = ("listen_addresses=", "fsync=off", "max_connections=200", f"unix_socket_directories={self.folder}")
        command = [str(programs / "postgres"), "-D", str(data), *itertools.chain(*(("-c", text) for text in settings))]
        self._log = (self.folder / "server.log").open("wb")
        self._server = subprocess.Popen(
            command, stdout=self._log, stderr=subprocess.STDOUT, user=self._user, cwd=self.folder
        )
        self._wait()

    def database(self) -> str:
        """The URL of a new database."""
        name = f"test_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name}")
        return self._url(name)

    def stop(self) -> None:
        self._server.terminate()
        self._server.wait(30)
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _url(self, name: str) -> str:
        return f"postgresql://quickalign@/{name}?host={self.folder}"

    def _execute(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def _wait(self) -> None:
        import psycopg

        end = time.monotonic() + 30
        while True:
            try:
                self._execute("SELECT 1")
            except psycopg.OperationalError:
                assert self._server.poll() is None, (self.folder / "server.log").read_text()
                assert time.monotonic() < end, "PostgreSQL does not answer"
                time.sleep(0.1)
            else:
                return

    def _run(self, *command: object) -> None:
        done = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            check=False,
            user=self._user,
            cwd=self.folder,
        )
        assert done.returncode == 0, done.stderr


def _somebody() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"

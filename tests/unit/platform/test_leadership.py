"""One server leads at a time: by the lease while clocks run, by the fence where one of them stood still."""

import random
import subprocess
import sys

import pytest
from sqlalchemy import literal, select

from quickalign.core.errors import ConflictError
from quickalign.platform.db.engine import Database
from quickalign.platform.db.tables import TokenRow
from quickalign.platform.home import Home
from quickalign.platform.leadership import LEASE_SECONDS, Acting, Holder, Lease, NotLeadingError, this_machine
from quickalign.platform.processes import Identity, identify

ELSEWHERE = Identity(pid=1, create_time=1.0, boot_id="another machine's")


class Time:
    """The database's clock; a server's own is as far off as it likes, and may stand still."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def sql(self):
        return literal(self.now)


class Server:
    def __init__(self, database: Database, time: Time, name: str, ahead: float = 0.0) -> None:
        self._time, self._ahead, self._stopped_at = time, ahead, None
        me = Holder(id=name, machine="elsewhere", process=ELSEWHERE)
        self.lease = Lease(database, me=me, now=time.sql, monotonic=self._monotonic)
        self.acting = Acting(database, self.lease)

    def stand_still(self) -> None:
        """As when the process is stopped: its clock goes on, but it does not look at it."""
        self._stopped_at = self._monotonic()

    def go_on(self) -> None:
        self._stopped_at = None

    def _monotonic(self) -> float:
        return self._time.now + self._ahead if self._stopped_at is None else self._stopped_at


@pytest.fixture
def database(tmp_path):
    home = Home(tmp_path / "home")
    home.make()
    opened = Database(home)
    yield opened
    opened.close()


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def two(database, time):
    return Server(database, time, "a", ahead=-40.0), Server(database, time, "b", ahead=7.5)


def names(database: Database) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(TokenRow.name)))


def write(server: Server, name: str) -> None:
    with server.acting.write() as session:
        session.add(TokenRow(id=name, name=name, sha256=name, created_at=0.0))


def test_the_first_leads_and_goes_on_as_long_as_it_says_so(two, time):
    first, second = two
    assert first.lease.keep() == 1
    for _ in range(50):
        time.now += 1.0
        assert first.lease.keep() == 1
        assert second.lease.keep() is None


def test_another_takes_over_when_the_lease_has_run_out_and_not_before(two, time):
    first, second = two
    first.lease.keep()
    began = time.now
    while second.lease.keep() is None:
        time.now += 0.25
        assert time.now - began < LEASE_SECONDS + 1
    assert time.now - began > LEASE_SECONDS
    assert first.lease.term() is None
    assert second.lease.term() == 2
    assert first.lease.keep() is None


def test_who_says_so_at_its_end_is_followed_at_once(two, time):
    first, second = two
    first.lease.keep()
    second.lease.keep()
    first.lease.release()
    time.now += 0.5
    assert second.lease.keep() == 2
    time.now += 2 * LEASE_SECONDS
    assert first.lease.keep() is None, "it has ended, and takes nothing any more"


def test_one_that_lost_the_database_for_a_while_goes_on_in_the_same_term(two, time):
    first, _ = two
    first.lease.keep()
    time.now += LEASE_SECONDS - 0.9
    assert first.lease.term() is None
    assert first.lease.keep() == 1


def test_what_a_server_writes_that_stood_still_is_refused(two, time, database):
    first, second = two
    first.lease.keep()
    write(first, "before")
    first.stand_still()
    time.now += LEASE_SECONDS + 0.1
    assert second.lease.keep() == 2
    assert first.lease.term() == 1, "it does not know"
    with pytest.raises(NotLeadingError):
        write(first, "too late")
    write(second, "after")
    assert names(database) == ["before", "after"]
    first.go_on()
    assert first.lease.keep() is None


def test_nobody_acts_who_does_not_lead(two, database):
    with pytest.raises(NotLeadingError):
        write(two[0], "never")
    assert names(database) == []


@pytest.mark.parametrize("seed", range(5))
def test_never_two_at_once_however_they_come_and_go(database, time, seed):
    """Servers ask at random times; each knows by its own clock, which is off, whether it leads."""
    dice = random.Random(seed)
    servers = [Server(database, time, str(number), ahead=dice.uniform(-100, 100)) for number in range(3)]
    fences, led = [], set()
    for _ in range(250):
        time.now += dice.expovariate(1.5)
        leading = [server for server in servers if server.lease.term() is not None]
        assert len(leading) <= 1
        if leading and dice.random() < 0.1:
            leading[0].lease._asked = time.now + 1000  # it hangs, and lets its lease run out
        asked = dice.choice(servers)
        if (fence := asked.lease.keep()) is not None:
            fences.append(fence)
            led.add(asked.lease.me.id)
        if dice.random() < 0.05:
            asked.lease._asked = float("-inf")
    assert fences == sorted(fences)
    assert len(led) == 3


def test_one_whose_process_is_seen_to_be_dead_is_not_waited_for(database, time):
    process = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    dead = Holder(id="dead", machine=this_machine(), process=identify(process.pid))
    first = Lease(database, me=dead, now=time.sql)
    second = Lease(database, now=time.sql)
    assert first.keep() == 1
    assert second.keep() is None
    process.communicate()
    second._asked = float("-inf")
    assert second.keep() == 2


def test_a_server_that_could_not_look_after_the_others_jobs_says_so(two, database, time):
    def pass_by(seconds: float) -> None:
        time.now += seconds
        two[0].lease.keep()

    two[0].lease.keep()
    with pytest.raises(ConflictError, match="another machine"):
        Lease(database, now=time.sql, monotonic=lambda: time.now, sleep=pass_by).check_place()


def test_one_on_another_machine_that_has_died_is_waited_for(two, database, time):
    def pass_by(seconds: float) -> None:
        time.now += seconds

    two[0].lease.keep()
    after = Lease(database, now=time.sql, monotonic=lambda: time.now, sleep=pass_by)
    after.check_place()
    assert after.term() == 2

"""The platform as one object: opened on a home, closed at the end."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import delete

from quickalign.core.wire.jobs import Estimate, EstimateRequest
from quickalign.core.wire.system import SystemInfo
from quickalign.platform import config as configs
from quickalign.platform import moved
from quickalign.platform.access_keys import AccessKeys
from quickalign.platform.config import Config
from quickalign.platform.db.changes import Topic
from quickalign.platform.db.engine import Database
from quickalign.platform.db.tables import KeyRow
from quickalign.platform.devices import Device
from quickalign.platform.estimates import Estimates
from quickalign.platform.executors.base import Executor
from quickalign.platform.executors.local import LocalExecutor
from quickalign.platform.executors.machines import Machines, find_machines
from quickalign.platform.files.blobs import Blobs
from quickalign.platform.files.service import Files
from quickalign.platform.home import Home
from quickalign.platform.inputs import Inputs
from quickalign.platform.jobs import kinds
from quickalign.platform.jobs.reconciler import Reconciler
from quickalign.platform.jobs.service import Jobs
from quickalign.platform.jobs.starting import Starter
from quickalign.platform.leadership import Lease
from quickalign.platform.lock import HomeLock
from quickalign.platform.models import Models
from quickalign.platform.notebooks import Notebooks
from quickalign.platform.objects.outputs import Outputs
from quickalign.platform.objects.parts import MultipartUploads
from quickalign.platform.objects.store import Objects
from quickalign.platform.queue.view import Queue
from quickalign.platform.registry import Registry
from quickalign.platform.services.health import Probe, is_well
from quickalign.platform.services.make import make_services
from quickalign.platform.services.secrets import Secrets
from quickalign.platform.services.starting import CLUSTER_SERVER, SERVER
from quickalign.platform.services.usage import Usage
from quickalign.platform.system import System
from quickalign.platform.tokens import Tokens
from quickalign.platform.votes import FILE as VOTES_FILE
from quickalign.platform.votes import Votes
from quickalign.platform.watch import Watch

_KEYS_KEPT_SECONDS = 7 * 24 * 3600.0
_SWEEP_SECONDS = 3600.0
"""How often contents are looked for that one of several servers could not collect."""


class Platform:
    """Everything a server does, without HTTP. Use `Platform.open`."""

    def __init__(
        self,
        home: Home,
        lock: HomeLock,
        database: Database,
        config: Config,
        *,
        machines: Machines,
        executor: Executor,
        devices: tuple[Device, ...],
        clock: Callable[[], float],
        trainer: tuple[str, ...],
        replicas: Executor,
        server: tuple[str, ...],
        probe: Probe,
    ) -> None:
        self.home, self.config = home, config
        self._lock, self._database, self._clock = lock, database, clock
        self._machines = machines
        self._lease = Lease(database) if database.is_shared else None
        self._executor = executor
        self._swept = time.monotonic()
        blobs = Blobs(home, is_shared=database.is_shared)
        self.files = Files(database, blobs, config, clock)
        inputs = Inputs(home, config, blobs, self.files.content)
        queue, usage = Queue(devices, clock, config.retry_seconds_max), Usage(home)
        self.reconciler = Reconciler(
            home=home,
            config=config,
            database=database,
            executor=executor,
            starter=Starter(home, blobs, executor, {**kinds.PROGRAMS, "train": trainer}, config.ray.cpus),
            queue=queue,
            devices=devices,
            clock=clock,
            chores=self._tidy,
            leadership=self._lease,
        )
        self.jobs = Jobs(
            home=home,
            config=config,
            database=database,
            files=self.files,
            inputs=inputs,
            queue=queue,
            executor=executor,
            usage=usage,
            devices=devices,
            clock=clock,
            wake=self.reconciler.wake,
        )
        secrets = Secrets(home)
        self.service_reconciler, self.services = make_services(
            secrets=secrets,
            home=home,
            config=config,
            database=database,
            executor=replicas,
            inputs=inputs,
            usage=usage,
            devices=devices,
            clock=clock,
            server=server,
            on_cluster=config.executor == "ray",
            probe=probe,
            changed=queue.changed,
            leadership=self._lease,
        )
        self.models = Models()
        self.notebooks = Notebooks(config)
        self.devices = devices
        self.registry = Registry(database, clock)
        self.objects = Objects(database, self.files, clock)
        self.outputs = Outputs(database)
        self.access_keys = AccessKeys(database, secrets.access_key_secret, clock)
        self.multipart = MultipartUploads(home.multipart, self.objects, config.max_upload_bytes, clock)
        self.tokens = Tokens(database, clock)
        self.votes = Votes(home.root / VOTES_FILE, self.files, clock)
        self._estimates = Estimates(home, config, inputs, devices)
        self._system = System(home, database, devices, queue, self.jobs, clock())
        self._watch = self._watching(queue) if self._lease else None

    @classmethod
    def open(
        cls,
        home: Path,
        *,
        database_url: str | None = None,
        config: Config | None = None,
        executor: Executor | None = None,
        devices: tuple[Device, ...] | None = None,
        clock: Callable[[], float] = time.time,
        trainer: tuple[str, ...] = kinds.PROGRAMS["train"],
        replicas: Executor | None = None,
        server: tuple[str, ...] | None = None,
        probe: Probe = is_well,
    ) -> "Platform":
        """Take the home's lock, bring its database to the newest schema, and remove what a killed server left over.

        With a PostgreSQL database several servers may have the home at once.

        Args:
            home: the state folder, made where it does not exist.
            database_url: a PostgreSQL database in place of SQLite in the home.
            config: in place of the home's config.toml.
            executor: what runs jobs in place of what the settings name.
            devices: what there is in place of what is found.
            clock: seconds since 1970.
            trainer: the command that trains, to which the specification's path is added.
            replicas: what runs replicas of services, likewise.
            server: the command that serves, likewise; the path of its specification is added to it.
            probe: whether a replica is well.

        Raises:
            ConflictError: another server has this home, or is where this one cannot help it. StorageError: the home
                cannot be written, or is damaged.
            OptionError: its config.toml, or the cluster that it names, cannot be used. AccessError: the cluster refuses
            its token. UnavailableError: the database does not answer.
        """
        places = Home(home.expanduser().absolute())
        places.make()
        settings = config or configs.load(places.root)
        lock, database = _take(places, database_url)
        try:
            machines = find_machines(settings, places, devices)
        except BaseException:
            database.close()
            lock.release()
            raise
        platform = cls(
            places,
            lock,
            database,
            settings,
            machines=machines,
            executor=executor or machines.jobs,
            devices=machines.devices,
            clock=clock,
            trainer=trainer,
            replicas=replicas or machines.replicas,
            server=server or (CLUSTER_SERVER if settings.executor == "ray" else SERVER),
            probe=probe,
        )
        try:
            moved.settle(database, places)
            platform._check_place()
            platform.files.blobs.remove_stale(nothing_arrives=True)
            platform.files.sweep()
            platform._tidy()
            platform.services.endpoints.refresh()
        except BaseException:
            platform.close()
            raise
        return platform

    @property
    def is_shared(self) -> bool:
        """Whether other servers may have the same home."""
        return self._database.is_shared

    def start(self) -> None:
        """Move jobs and services along, in threads, until `close`; of several servers one does, the others stand by."""
        if self._watch:
            self._watch.start()
        self.reconciler.start()
        self.service_reconciler.start()

    def close(self) -> None:
        """Let go of everything; jobs and services go on running."""
        self.reconciler.stop()
        self.service_reconciler.stop()
        if self._watch:
            self._watch.stop()
        if self._lease:
            self._lease.release()
        self._machines.close()
        self._database.close()
        self._lock.release()

    def estimate(self, request: EstimateRequest, cloned_from: str | None = None) -> Estimate:
        """What a job, or the clone of one with its data, would need; see `Estimates.make`."""
        copies = self.jobs.copies(cloned_from, request.spec) if cloned_from else {}
        return self._estimates.make(request, copies, self.jobs.references(request.spec))

    def system(self, queue_limit: int | None = None) -> SystemInfo:
        """Versions, devices, queue and counts; of a long queue only the first entries, where a limit is given."""
        return self._system.info(queue_limit)

    def ping(self) -> None:
        """Check that the database answers and that jobs are looked after.

        Raises:
            UnavailableError, StorageError: it does not, or they are not.
        """
        self._database.ping()
        self.reconciler.check()

    def _watching(self, queue: Queue) -> Watch:
        assert self._lease is not None
        listeners = {
            Topic.JOBS: (queue.changed, self.reconciler.wake),
            Topic.SERVICES: (self.services.endpoints.refresh, self.service_reconciler.wake),
            Topic.TOKENS: (self.tokens.forget, self.access_keys.forget),
        }
        return Watch(self._database, self._lease, listeners)

    def _check_place(self) -> None:
        """Lead where nobody does; where jobs run on this machine, refuse to stand by for a server that has others."""
        here = isinstance(self._executor, LocalExecutor) or self.config.ray.address == "local"
        if self._lease and self._lease.keep() is None and here:
            self._lease.check_place()

    def _tidy(self) -> None:
        """Remove what nobody needs any more; of several servers, the one that leads does."""
        if self._lease is not None:
            if self._lease.term() is None:
                return
            if time.monotonic() - self._swept >= _SWEEP_SECONDS:
                self._swept = time.monotonic()
                self.files.sweep()
        for leftover in self.home.leftovers():
            shutil.rmtree(leftover, ignore_errors=True)
        self.files.blobs.remove_stale()
        self.multipart.remove_stale()
        with self._database.write() as session:
            session.execute(delete(KeyRow).where(KeyRow.created_at < self._clock() - _KEYS_KEPT_SECONDS))


def _take(places: Home, database_url: str | None) -> tuple[HomeLock, Database]:
    """The home, alone with SQLite or together with the other servers of a PostgreSQL database."""
    if database_url is None:
        lock = HomeLock(places)
        try:
            return lock, Database(places)
        except BaseException:
            lock.release()
            raise
    database = Database(places, database_url)
    try:
        return HomeLock(places, database.identity), database
    except BaseException:
        database.close()
        raise

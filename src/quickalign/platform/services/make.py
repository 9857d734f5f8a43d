"""The parts of services, put together."""

from collections.abc import Callable

from quickalign.platform.config import Config
from quickalign.platform.db.engine import Database
from quickalign.platform.devices import Device
from quickalign.platform.executors.base import Executor
from quickalign.platform.home import Home
from quickalign.platform.inputs import Inputs
from quickalign.platform.leadership import Acting, Leadership, Sole
from quickalign.platform.services.endings import SETTLE_SECONDS, SHARED_SETTLE_SECONDS, Endings
from quickalign.platform.services.health import Probe
from quickalign.platform.services.ledger import Ledger
from quickalign.platform.services.reconciler import ServiceReconciler
from quickalign.platform.services.replicas import Replicas
from quickalign.platform.services.routes import Routes
from quickalign.platform.services.secrets import Secrets
from quickalign.platform.services.service import Services
from quickalign.platform.services.sources import Sources
from quickalign.platform.services.starting import Starter
from quickalign.platform.services.tokens import ServiceTokens
from quickalign.platform.services.usage import Usage


def make_services(
    *,
    secrets: Secrets,
    home: Home,
    config: Config,
    database: Database,
    executor: Executor,
    inputs: Inputs,
    usage: Usage,
    devices: tuple[Device, ...],
    clock: Callable[[], float],
    server: tuple[str, ...],
    on_cluster: bool,
    probe: Probe,
    changed: Callable[[], None],
    leadership: Leadership | None = None,
) -> tuple[ServiceReconciler, Services]:
    """The loop that moves services along, and what can be asked of them.

    `on_cluster` says that `server` makes replicas on a cluster; `changed` is told when devices are freed.
    """
    leading = leadership or Sole()
    routes, ledger = Routes(database, secrets, clock), Ledger(config, Acting(database, leading), clock)
    endings = Endings(
        home=home,
        config=config,
        executor=executor,
        ledger=ledger,
        routes=routes,
        clock=clock,
        settle_seconds=SHARED_SETTLE_SECONDS if leading.is_shared else SETTLE_SECONDS,
    )
    replicas = Replicas(
        home=home,
        config=config,
        executor=executor,
        secrets=secrets,
        ledger=ledger,
        endings=endings,
        probe=probe,
        clock=clock,
    )
    reconciler = ServiceReconciler(
        home=home,
        config=config,
        database=database,
        executor=executor,
        starter=Starter(home, config, executor, secrets, server, on_cluster=on_cluster),
        replicas=replicas,
        endings=endings,
        routes=routes,
        devices=devices,
        clock=clock,
        changed=changed,
        leadership=leading,
    )
    routes.wake = reconciler.wake
    services = Services(
        home=home,
        config=config,
        database=database,
        executor=executor,
        sources=Sources(home, inputs),
        usage=usage,
        endpoints=routes,
        tokens=ServiceTokens(config, database, secrets, routes, clock),
        devices=devices,
        on_cluster=on_cluster,
        clock=clock,
        wake=reconciler.wake,
    )
    return reconciler, services

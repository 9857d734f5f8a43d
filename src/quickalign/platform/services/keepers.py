"""The keeper of a base that replicas share: what is known of it, and the proof that it went with the last of them."""

import signal
from typing import Any

from quickalign.platform.db.service_tables import ReplicaRow
from quickalign.platform.processes import Identity, Sight, identify, look, members, resident_bytes, send
from quickalign.platform.services.ready import Keeper
from quickalign.platform.services.removal import Freed
from quickalign.serve.engines.vllm.beginning import MARK
from quickalign.serve.engines.vllm.rendezvous import clients_of


def seen(keeper: Keeper | None) -> dict[str, Any] | None:
    """The keeper as it stands in a replica's row: itself first, then all that it started."""
    if keeper is None:
        return None
    leader = identify(keeper.pid)
    found = _all_of(leader, keeper.mark) if leader else ()
    return keeper.model_dump() | {
        "identities": [one.model_dump() for one in found],
        "bytes": resident_bytes(found),
    }


def pid_of(row: ReplicaRow) -> int | None:
    """The keeper's process."""
    return int(row.keeper["pid"]) if row.keeper else None


def prove(row: ReplicaRow, *, late: bool) -> Freed | None:
    """What went with the keeper; nothing where others still use it, and None as long as it is there for nobody.

    To be asked when the replica's own processes are gone. `late` kills a keeper that should have ended by itself.
    """
    known = tuple(Identity.model_validate(one) for one in (row.keeper or {}).get("identities", []))
    if not row.keeper or not known:
        return Freed()
    alive = {*_all_of(known[0], row.keeper["mark"]), *(one for one in known if look(one) is not Sight.GONE)}
    if not alive:
        return Freed(tuple(one.pid for one in known), (), int(row.keeper.get("bytes") or 0))
    if look(known[0]) is Sight.ALIVE:
        clients = clients_of(row.keeper["key"])
        if clients and any(identify(pid) is not None for pid in clients):
            return Freed()
    if late:
        for one in alive:
            send(one, signal.SIGKILL)
    return None


def _all_of(leader: Identity, mark: str) -> tuple[Identity, ...]:
    found = members(leader, f"{MARK}={mark}")
    return tuple(sorted(found, key=lambda one: one != leader))

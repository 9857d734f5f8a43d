"""The services of a server in memory: each look at one takes it a step further on its way."""

import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from quickalign.core.wire.jobs import Reason
from quickalign.core.wire.services import (
    Check,
    Removal,
    ReplicaView,
    Revision,
    RevisionSpec,
    Service,
    ServiceCreate,
    ServiceMetrics,
    ServiceState,
    Source,
)

METRICS = ServiceMetrics(requests=12, errors=1, open_requests=2, tokens_out=345, time_to_first_token_p50=0.012,
                         time_to_first_token_p95=0.034, tokens_per_second=56.7)  # fmt: skip
REMOVAL = Removal(processes=(4711,), ports=(40123,), memory_bytes=123_000_000, folder="/srv/services/svc-1")
LOADING = Reason(code="loading", message="The weights are read.")
BROKEN = Reason(code="proof_failed", message="The greedy answers differ.", exit_code=4)
PROOF = (Check(name="greedy answers", passed=True, seen="8 of 8 equal"),)


def revision(number: int, spec: RevisionSpec, state: Any = "serving") -> Revision:
    return Revision(number=number, spec=spec, state=state, engine="transformers", precision="fp32", proof=PROOF,
                    weights_bytes=10_000_000, created_at=time.time())  # fmt: skip


def replica(number: int, of: int = 1) -> ReplicaView:
    return ReplicaView(id=f"rep-{number}", revision=of, state="ready", pid=4710 + number, port=40122 + number,
                       memory_bytes=123_000_000)  # fmt: skip


def service(name: str = "first", state: ServiceState = ServiceState.RUNNING, **values: Any) -> Service:
    """A service of one job."""
    spec = values.pop("spec", RevisionSpec(source=Source(job="job-1")))
    made = {"id": f"svc-{name}", "name": name, "state": state, "revision": 1, "target": 1, "wanted_replicas": 1,
            "revisions": (revision(1, spec),), "replicas": (replica(1),), "path": f"/services/{name}/v1",
            "created_at": time.time(), "updated_at": time.time()}  # fmt: skip
    return Service(**made | values)


class FakeServices:
    """Services by id; `ways` holds what is still before each of them. `fails` breaks what is started next."""

    def __init__(self, problem: Callable[..., httpx.Response]) -> None:
        self.found: dict[str, Service] = {}
        self.ways: dict[str, deque[dict[str, Any]]] = {}
        self.asked: list[Any] = []
        self.keys: dict[str, str] = {}
        self.token = "qs-1"
        self.named: dict[str, str] = {}
        self.fails = False
        self._problem = problem

    def add(self, *services: Service) -> Service:
        self.found |= {each.id: each for each in services}
        return services[-1]

    def routes(self) -> Iterator[tuple[str, str, Callable[..., httpx.Response]]]:
        yield r"/services", "POST", self._create
        yield r"/services", "GET", self._list
        yield r"/services/([^/]+)", "GET", self._get
        yield r"/services/([^/]+)", "PATCH", self._update
        yield r"/services/([^/]+)", "DELETE", self._delete
        yield r"/services/([^/]+)/(start|stop|rollback)", "POST", self._move
        yield r"/services/([^/]+)/metrics", "GET", lambda request, name: _json(METRICS)
        yield r"/services/([^/]+)/token", "GET", lambda request, name: httpx.Response(200, json={"token": self.token})
        yield r"/services/([^/]+)/token/rotate", "POST", self._rotate
        yield r"/services/([^/]+)/tokens", "POST", self._name_token
        yield r"/services/([^/]+)/tokens", "GET", self._list_tokens
        yield r"/services/([^/]+)/tokens/([^/]+)", "DELETE", self._revoke

    def _create(self, request: httpx.Request) -> httpx.Response:
        asked = ServiceCreate.model_validate_json(request.content)
        self.asked.append(json.loads(request.content))
        key = request.headers["Idempotency-Key"]
        if key not in self.keys and any(each.name == asked.name for each in self.found.values()):
            return self._problem(409, "conflict", f"There is a service {asked.name} already.", remedy="Take another.")
        made = self.add(
            service(asked.name, ServiceState.PENDING, spec=asked.spec, wanted_replicas=asked.replicas, replicas=(),
                    limits=asked.limits, metadata=asked.metadata, idle_stop_seconds=asked.idle_stop_seconds)
        )  # fmt: skip
        self.keys[key] = made.id
        self._starts(made)
        return _json(made, 201)

    def _starts(self, made: Service) -> None:
        end: dict[str, Any] = {"state": ServiceState.RUNNING, "reason": None, "revision": made.target,
                               "replicas": tuple(replica(n + 1) for n in range(made.wanted_replicas))}  # fmt: skip
        if self.fails:
            end = {"state": ServiceState.FAILED, "reason": BROKEN}
        self.ways[made.id] = deque([{"state": ServiceState.STARTING, "reason": LOADING}, end])

    def _list(self, request: httpx.Request) -> httpx.Response:
        states = request.url.params.get_list("state")
        wanted = states or [state for state in ServiceState if state is not ServiceState.DELETED]
        text = request.url.params.get("text", "")
        found = [each for each in reversed(self.found.values()) if each.state in wanted and text in each.name]
        start = next((i + 1 for i, each in enumerate(found) if each.id == request.url.params.get("after")), 0)
        part = found[start : start + int(request.url.params.get("limit", 20))]
        following = part[-1].id if start + len(part) < len(found) else None
        return httpx.Response(200, json={"items": [each.model_dump(mode="json") for each in part], "next": following})

    def _named(self, name: str) -> Service | None:
        alive = (each for each in self.found.values() if each.name == name and each.state != ServiceState.DELETED)
        return self.found.get(name) or next(alive, None)

    def _get(self, request: httpx.Request, name: str) -> httpx.Response:
        found = self._named(name)
        if found is None:
            return self._problem(404, "not-found", f"There is no service {name}.", remedy="`quickalign services list`.")
        if self.ways.get(found.id):
            found = self.add(found.model_copy(update=self.ways[found.id].popleft()))
        return _json(found)

    def _update(self, request: httpx.Request, name: str) -> httpx.Response:
        asked, found = json.loads(request.content), self._named(name)
        assert found is not None
        self.asked.append(asked)
        plain = {"wanted_replicas": asked.get("replicas", found.wanted_replicas)}
        if "replicas" in asked:
            count = asked["replicas"]
            self.ways[found.id] = deque([{}, {"replicas": tuple(replica(n + 1) for n in range(count))}])
        if "spec" not in asked:
            return _json(self.add(found.model_copy(update=plain)))
        spec = RevisionSpec.model_validate(asked["spec"])
        return _json(self._revise(found, spec))

    def _revise(self, found: Service, spec: RevisionSpec) -> Service:
        number = found.revisions[0].number + 1
        before = found.revisions
        starting = (revision(number, spec, "starting"), *before)
        made = self.add(
            found.model_copy(update={"target": number, "revisions": starting, "state": ServiceState.UPDATING})
        )
        end: dict[str, Any] = {"state": ServiceState.RUNNING, "revision": number, "replicas": (replica(2, number),),
                               "revisions": (revision(number, spec), *before)}  # fmt: skip
        if self.fails:
            failed = revision(number, spec, "failed").model_copy(update={"reason": BROKEN})
            end = {"state": ServiceState.RUNNING, "target": found.target, "revisions": (failed, *before)}
        self.ways[made.id] = deque([{"reason": LOADING}, {**end, "reason": None}])
        return made

    def _move(self, request: httpx.Request, name: str, verb: str) -> httpx.Response:
        found = self._named(name)
        assert found is not None
        if verb == "rollback":
            return _json(self._revise(found, found.revisions[-1].spec))
        if verb == "start":
            made = self.add(found.model_copy(update={"state": ServiceState.STARTING}))
            self._starts(made)
            return _json(made)
        self.ways[found.id] = deque([{"state": ServiceState.STOPPED, "replicas": ()}])
        return _json(self.add(found.model_copy(update={"state": ServiceState.STOPPING})))

    def _delete(self, request: httpx.Request, name: str) -> httpx.Response:
        found = self._named(name)
        if found is None:
            return self._problem(404, "not-found", f"There is no service {name}.")
        self.ways[found.id] = deque([{}, {"state": ServiceState.DELETED, "removal": REMOVAL, "replicas": ()}])
        return _json(self.add(found.model_copy(update={"state": ServiceState.DELETING})), 202)

    def _rotate(self, request: httpx.Request, name: str) -> httpx.Response:
        self.token = f"qs-{int(self.token.removeprefix('qs-')) + 1}"
        return httpx.Response(200, json={"token": self.token})

    def _name_token(self, request: httpx.Request, name: str) -> httpx.Response:
        made = f"tok-{len(self.named) + 1}"
        self.named[made] = json.loads(request.content)["name"]
        return httpx.Response(201, json={"token": f"qs-named-{made}", "id": made})

    def _list_tokens(self, request: httpx.Request, name: str) -> httpx.Response:
        items = [{"id": key, "name": label, "created_at": 1_700_000_000.0} for key, label in self.named.items()]
        return httpx.Response(200, json={"items": items})

    def _revoke(self, request: httpx.Request, name: str, token: str) -> httpx.Response:
        return httpx.Response(204) if self.named.pop(token, None) else self._problem(404, "not-found", "No token.")


def _json(value: Any, status: int = 200) -> httpx.Response:
    return httpx.Response(status, text=value.model_dump_json())

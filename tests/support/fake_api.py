"""A server's native API in memory, to try clients on answers and accidents that a real server gives rarely."""

import json
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from quickalign.core.wire.jobs import Event, Job, JobState, LogChunk, TrainRequest
from quickalign.sdk.client import Client
from quickalign.sdk.place import Place
from tests.support.fake_services import FakeServices

ENDPOINT = "http://quickalign.test:1234"
TOKEN = "qa-test-token"

Accident = httpx.TransportError | httpx.Response | Callable[[httpx.Request], httpx.Response]


def job(number: int = 1, state: JobState = JobState.QUEUED, **values: Any) -> Job:
    """A job of the tiny model."""
    spec = TrainRequest(model="qwen2-tiny-instruct", train="file-1", hyperparameters={"training_strategy": "dpo"})
    return Job(**{"id": f"job-{number:024d}", "name": f"name-{number}", "state": state, "spec": spec,
                  "created_at": time.time() - 60, **values})  # fmt: skip


def event(sequence: int, kind: str = "state", message: str = "running") -> Event:
    """Something that happened."""
    return Event(sequence=sequence, created_at=1_700_000_000.0 + sequence, kind=kind, message=message)


def problem(status: int, code: str, detail: str = "It cannot be.", **more: Any) -> httpx.Response:
    """A problem document."""
    body = {"type": f"urn:quickalign:problem:{code}", "title": code, "status": status, "detail": detail, **more}
    return httpx.Response(status, json=body, headers={"Content-Type": "application/problem+json"})


def sse(*events: tuple[str, str, str]) -> bytes:
    """Server-sent events of (kind, id, data)."""
    return b"".join(f"event: {kind}\nid: {number}\ndata: {data}\n\n".encode() for kind, number, data in events)


class FakeApi:
    """Answers as the server does; `accidents` happen first, one a request."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.accidents: deque[Accident] = deque()
        self.jobs: dict[str, Job] = {}
        self.files: dict[str, bytes] = {}
        self.keys: dict[str, str] = {}
        self.events: list[Event] = []
        self.log = ""
        self.metrics: dict[str, list[dict[str, Any]]] = {"steps": [], "evaluations": []}
        self.streams: dict[str, deque[bytes | Exception]] = {}
        self.artifacts: dict[str, bytes] = {}
        self.services = FakeServices(problem)
        self.models = [
            {"name": "qwen2-tiny-instruct", "title": "Qwen2 tiny", "family": "qwen2", "provider": "quickalign",
             "parameters": 5_000_000, "context_length": 512, "license": "Apache-2.0", "instruct": True, "embedded": True,
             "languages": ["en"], "methods": ["lora"], "strategies": ["sft", "dpo"], "gpu_memory_gb": {"lora": 1.0},
             "huggingface": None, "modelscope": None, "revision": "main", "mission_gpu": None, "hyperparameters": {}},
        ]  # fmt: skip

    def client(self, **options: Any) -> Client:
        """A client of this server that does not wait between attempts."""
        return Client(
            Place(ENDPOINT, TOKEN), transport=httpx.MockTransport(self.answer), sleep=lambda seconds: None, **options
        )

    def add(self, *jobs: Job) -> Job:
        """Put jobs there; returns the last."""
        self.jobs |= {each.id: each for each in jobs}
        return jobs[-1]

    def sent(self, index: int = -1) -> Any:
        """The JSON of a request."""
        return json.loads(self.requests[index].content)

    def answer(self, request: httpx.Request) -> httpx.Response:
        """One request."""
        request.read()
        self.requests.append(request)
        if self.accidents:
            happened = self.accidents.popleft()
            if isinstance(happened, Exception):
                raise happened
            return happened if isinstance(happened, httpx.Response) else happened(request)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return problem(401, "access", "The token is wrong.")
        path = request.url.path.removeprefix("/api/v1")
        for pattern, method, handler in self._routes():
            if method == request.method and (found := re.fullmatch(pattern, path)):
                return handler(request, *found.groups())
        return problem(404, "not-found", f"There is no page {path}.")

    def _routes(self) -> Iterator[tuple[str, str, Callable[..., httpx.Response]]]:
        yield r"/jobs", "POST", self._create
        yield r"/jobs", "GET", self._list
        yield r"/jobs/([^/]+)", "GET", self._with_job(lambda request, found: found)
        yield r"/jobs/([^/]+)", "DELETE", self._delete_job
        yield r"/jobs/([^/]+)/(cancel|pause|resume)", "POST", self._move
        yield r"/jobs/([^/]+)/clone", "POST", self._clone
        yield r"/jobs/([^/]+)/events", "GET", self._events
        yield r"/jobs/([^/]+)/logs", "GET", self._logs
        yield r"/jobs/([^/]+)/metrics", "GET", self._metrics
        yield r"/jobs/([^/]+)/checkpoints", "GET", lambda request, name: httpx.Response(200, json={"items": []})
        yield r"/jobs/([^/]+)/artifacts/(.+)", "GET", self._artifact
        yield r"/jobs/([^/]+)/(events|logs|metrics)/stream", "GET", self._stream
        yield r"/services/([^/]+)/events", "GET", self._events
        yield r"/services/([^/]+)/logs", "GET", self._logs
        yield r"/services/([^/]+)/(events|logs)/stream", "GET", self._stream
        yield from self.services.routes()
        yield r"/files", "POST", self._upload
        yield r"/files", "GET", self._list_files
        yield r"/files/([^/]+)", "GET", self._file
        yield r"/files/([^/]+)", "DELETE", self._delete_file
        yield r"/files/([^/]+)/content", "GET", lambda request, name: httpx.Response(200, content=self.files[name])
        yield r"/files/([^/]+)/rows", "GET", self._rows
        yield r"/models", "GET", lambda request: httpx.Response(200, json={"items": self.models})
        yield r"/models/(.+)", "GET", self._model

    def _create(self, request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        key = request.headers["Idempotency-Key"]
        if key not in self.keys:
            made = job(len(self.jobs) + 1, **{name: value for name, value in asked.items() if name in Job.model_fields})
            self.keys[key] = self.add(made).id
        return httpx.Response(201, text=self.jobs[self.keys[key]].model_dump_json())

    def _list(self, request: httpx.Request) -> httpx.Response:
        states = request.url.params.get_list("state")
        found = [each for each in reversed(self.jobs.values()) if not states or each.state in states]
        start = next((i + 1 for i, each in enumerate(found) if each.id == request.url.params.get("after")), 0)
        limit = int(request.url.params.get("limit", 20))
        part = found[start : start + limit]
        following = part[-1].id if start + limit < len(found) else None
        return httpx.Response(200, json={"items": [each.model_dump(mode="json") for each in part], "next": following})

    def _with_job(self, then: Callable[[httpx.Request, Job], Job]) -> Callable[..., httpx.Response]:
        def handler(request: httpx.Request, name: str) -> httpx.Response:
            if name not in self.jobs:
                return problem(404, "not-found", f"There is no job {name}.")
            return httpx.Response(200, text=then(request, self.jobs[name]).model_dump_json())

        return handler

    def _delete_job(self, request: httpx.Request, name: str) -> httpx.Response:
        if self.jobs.pop(name, None) is None:
            return problem(404, "not-found", f"There is no job {name}.")
        return httpx.Response(204)

    def _move(self, request: httpx.Request, name: str, verb: str) -> httpx.Response:
        state = {"cancel": JobState.CANCELLING, "pause": JobState.PAUSING, "resume": JobState.RESUMING}[verb]
        return self._with_job(lambda _, found: self.add(found.model_copy(update={"state": state})))(request, name)

    def _clone(self, request: httpx.Request, name: str) -> httpx.Response:
        made = self.add(job(len(self.jobs) + 1, cloned_from=name))
        return httpx.Response(201, text=made.model_dump_json())

    def _events(self, request: httpx.Request, name: str) -> httpx.Response:
        after, limit = int(request.url.params["after"]), int(request.url.params.get("limit", 2))
        found = [each for each in self.events if each.sequence > after]
        following = str(found[limit - 1].sequence) if len(found) > limit else None
        items = [each.model_dump(mode="json") for each in found[:limit]]
        return httpx.Response(200, json={"items": items, "next": following})

    def _logs(self, request: httpx.Request, name: str) -> httpx.Response:
        offset = int(request.url.params["offset"])
        text = self.log[offset : offset + 10]
        chunk = LogChunk(offset=offset, next_offset=offset + len(text), text=text, complete=True)
        return httpx.Response(200, text=chunk.model_dump_json())

    def _metrics(self, request: httpx.Request, name: str) -> httpx.Response:
        offset = int(request.url.params["offset"])
        items = self.metrics[request.url.params["kind"]][offset : offset + 3]
        return httpx.Response(200, json={"items": items, "next_offset": offset + len(items), "complete": True})

    def _artifact(self, request: httpx.Request, name: str, path: str) -> httpx.Response:
        if path not in self.artifacts:
            return problem(404, "not-found", f"The job has no {path}.")
        return httpx.Response(200, content=self.artifacts[path])

    def _stream(self, request: httpx.Request, name: str, stream: str) -> httpx.Response:
        """The next prepared piece of that stream; one that ends with an exception is a connection that breaks."""
        stream = request.url.params.get("kind", stream)
        prepared = self.streams.get(stream) or deque([sse(("end", "", "{}"))])
        pieces = [prepared.popleft()]
        if prepared and isinstance(prepared[0], Exception):
            pieces.append(prepared.popleft())

        def body() -> Iterator[bytes]:
            for piece in pieces:
                if isinstance(piece, Exception):
                    raise piece
                yield piece

        return httpx.Response(200, content=body(), headers={"Content-Type": "text/event-stream"})

    def _stored(self, name: str) -> dict[str, Any]:
        return {"id": name, "filename": "pairs.json", "bytes": len(self.files[name]), "sha256": "ab" * 32,
                "created_at": 1_700_000_000.0}  # fmt: skip

    def _upload(self, request: httpx.Request) -> httpx.Response:
        name = f"file-{len(self.files) + 1:024d}"
        self.files[name] = request.content
        return httpx.Response(201, json=self._stored(name) | {"filename": request.url.params["filename"]})

    def _list_files(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"items": [self._stored(name) for name in self.files]})

    def _file(self, request: httpx.Request, name: str) -> httpx.Response:
        if name not in self.files:
            return problem(404, "not-found", f"There is no file {name}.")
        return httpx.Response(200, json=self._stored(name))

    def _delete_file(self, request: httpx.Request, name: str) -> httpx.Response:
        found = self._file(request, name)
        self.files.pop(name, None)
        return httpx.Response(204) if found.is_success else found

    def _rows(self, request: httpx.Request, name: str) -> httpx.Response:
        offset, limit = int(request.url.params["offset"]), int(request.url.params.get("limit", 20))
        rows = json.loads(self.files[name])
        following = offset + limit if offset + limit < len(rows) else None
        body = {"format": "prompt", "rows": rows[offset : offset + limit], "offset": offset, "next_offset": following}
        return httpx.Response(200, json=body)

    def _model(self, request: httpx.Request, name: str) -> httpx.Response:
        found = [each for each in self.models if each["name"] == name]
        if not found:
            return problem(
                404, "not-found", f"There is no model {name!r}.", remedy="Did you mean 'qwen2-tiny-instruct'?"
            )
        return httpx.Response(200, json=found[0])

"""A service on a cluster of which something is killed: that it answers again, and leaves nothing when it is deleted."""

import contextlib
from collections.abc import Callable
from typing import Any

import httpx
import psutil

from quickalign.core.wire.services import RevisionSpec, ServiceCreate, Source
from tests.support.cluster_services import processes
from tests.support.replicas import MODEL

NAME = "tiny"


class RayService:
    """One service of the embedded model, as the server that `call` asks has it."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def create(self) -> None:
        """Ask for it."""
        spec = RevisionSpec(source=Source(model=MODEL), engine="transformers")
        self._call("serve", request=ServiceCreate(name=NAME, spec=spec).model_dump(mode="json"))

    def answers(self) -> bool:
        """Whether one of its replicas answers a question."""
        for upstream in self._call("upstreams", name=NAME):
            asked = {"model": "default", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
            headers = {"Authorization": f"Bearer {upstream['token']}"}
            url = f"{upstream['base_url']}/v1/chat/completions"
            with contextlib.suppress(httpx.HTTPError):
                if httpx.post(url, json=asked, headers=headers, timeout=20, trust_env=False).is_success:
                    return True
        return False

    def replicas(self) -> list[psutil.Process]:
        """The processes of the replicas on this machine."""
        return processes("ray::ServeReplica:quickalign-")

    def tell(self) -> Any:
        """The service as the server tells it."""
        return self._call("services")

    def delete(self) -> None:
        """Ask for its end."""
        self._call("unserve", name=NAME)

    def is_gone(self) -> bool:
        """Whether it is deleted, and nothing of it runs."""
        return self._call("services") == [] and not self.replicas()

"""A service as a program sees it: PAI's `Predictor` on machines of one's own."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import httpx

from quickalign.core.errors import OptionError, UnavailableError
from quickalign.core.wire.pages import all_events, log_chunks
from quickalign.core.wire.services import Removal, Service, ServiceMetrics, ServiceState, ServiceUpdate
from quickalign.sdk import service_wait
from quickalign.sdk.serializers import JsonSerializer, SerializerBase
from quickalign.sdk.service_calls import service_address
from quickalign.sdk.service_http import RawResponse, Timeout, route_of, send, with_model
from quickalign.sdk.service_request import service_change
from quickalign.sdk.session import Session, get_default_session
from quickalign.sdk.words import say

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from openai import OpenAI

    from quickalign.core.wire.jobs import Event


class EndpointType:
    """Kinds of addresses in PAI. A service here has one address, that of its server."""

    INTERNET = "INTERNET"
    INTRANET = "INTRANET"


class ServiceStatus:
    """The states of PAI's services, which `Predictor.service_status` speaks; `Predictor.state` is more exact."""

    Running = "Running"
    Waiting = "Waiting"
    Scaling = "Scaling"
    Updating = "Updating"
    Stopping = "Stopping"
    Stopped = "Stopped"
    Failed = "Failed"
    Deleting = "Deleting"
    Deleted = "Deleted"
    DeleteFailed = "DeleteFailed"

    @classmethod
    def completed_status(cls) -> list[str]:
        """The states that a service stays in until somebody does something."""
        return [cls.Running, cls.Stopped, cls.Failed, cls.DeleteFailed]


_STATUS = {
    ServiceState.PENDING: ServiceStatus.Waiting,
    ServiceState.STARTING: ServiceStatus.Waiting,
    ServiceState.RUNNING: ServiceStatus.Running,
    ServiceState.UPDATING: ServiceStatus.Updating,
    ServiceState.STOPPING: ServiceStatus.Stopping,
    ServiceState.STOPPED: ServiceStatus.Stopped,
    ServiceState.DELETING: ServiceStatus.Deleting,
    ServiceState.DELETED: ServiceStatus.Deleted,
    ServiceState.FAILED: ServiceStatus.Failed,
}


class Predictor:
    """A service on a server; what it says of itself is as last seen, and asked anew by `refresh`.

    Args:
        service_name: the service's name.
        endpoint_type: `INTERNET`, which stands for the service's one address.
        serializer: how `predict` turns data into bytes and back; JSON when None.
        session: the server it is on; the default session's when None.

    Raises:
        NotFoundError: there is no such service.
    """

    def __init__(
        self,
        service_name: str,
        endpoint_type: str = EndpointType.INTERNET,
        serializer: SerializerBase | None = None,
        session: Session | None = None,
    ) -> None:
        if endpoint_type != EndpointType.INTERNET:
            raise OptionError(
                f"endpoint_type={endpoint_type!r} cannot be honoured: a service has one address, that of its server.",
                "Leave it out.",
            )
        self.session = session or get_default_session()
        self.service_name = service_name
        self.endpoint_type = endpoint_type
        self.serializer = serializer or JsonSerializer()
        self._service = self.session.services.get(service_name)

    @property
    def record(self) -> Service:
        """Everything the server said of the service when it was last asked."""
        return self._service

    @property
    def state(self) -> ServiceState:
        """Where the service stands, as last seen."""
        return self._service.state

    @property
    def service_status(self) -> str:
        """Where the service stands, as last seen, in the words of `ServiceStatus`."""
        return _STATUS[self._service.state]

    @property
    def endpoint(self) -> str:
        """The service's address; OpenAI's paths lie at `v1` below it."""
        return service_address(self.session.endpoint, self._service)

    @property
    def internet_endpoint(self) -> str:
        """The service's address, by PAI's name for it."""
        return self.endpoint

    @cached_property
    def access_token(self) -> str:
        """The service's own token, which opens this service and nothing else."""
        return self.session.services.token(self._service.id)

    @property
    def console_uri(self) -> str:
        """The page on which to chat with the service."""
        return f"{self.endpoint}/"

    @property
    def labels(self) -> dict[str, str]:
        """The labels that were put on it."""
        return dict(self._service.metadata)

    def describe_service(self) -> dict[str, Any]:
        """Everything the server says of the service, as plain data."""
        return self.refresh()._service.model_dump(mode="json")

    def refresh(self) -> Predictor:
        """Ask the server how the service stands, and for its token; returns itself."""
        self._service = self.session.services.get(self._service.id)
        self.__dict__.pop("access_token", None)
        return self

    def wait_for_ready(self) -> None:
        """Wait until the service answers, saying what it waits for.

        Raises:
            QuickalignError: it failed, or was stopped or deleted.
        """
        self._wait(service_wait.answers)

    def wait(self) -> None:
        """The same as `wait_for_ready`."""
        self.wait_for_ready()

    def start_service(self, wait: bool = True) -> None:
        """Start the service when it is stopped."""
        self._service = self.session.services.start(self._service.id)
        if wait:
            self._wait(service_wait.answers)

    def stop_service(self, wait: bool = True) -> None:
        """Stop its processes; name, token and revisions stay, and `start_service` goes on with them."""
        self._service = self.session.services.stop(self._service.id)
        if wait:
            self._wait(service_wait.is_stopped)

    def delete_service(self, wait: bool = True) -> Removal | None:
        """Delete the service; returns the processes, ports, memory and folder that were found to be free."""
        removal = service_wait.delete(self.session.services, self._service.id, wait=wait)
        self._service = self.session.services.get(self._service.id)
        return removal

    def scale(self, replicas: int, wait: bool = True) -> None:
        """Run so many replicas; requests are spread over them."""
        self._service = self.session.services.update(self._service.id, ServiceUpdate(replicas=replicas))
        if wait:
            self._wait(service_wait.has_replicas(replicas))

    def update(self, wait: bool = True, *, labels: Mapping[str, str] | None = None, **changes: Any) -> None:
        """Serve something else under the same name, without a request that fails: the old one answers until the new
        one has proved itself. Limits, `idle_stop_seconds` and labels change at once.

        Args:
            wait: whether to return only when it serves, or has failed its checks.
            labels: up to 16 labels of your own, instead of those it has; None keeps them.
            changes: `source`, such as `{"job": "job-...", "checkpoint": 7}`, and options of `deploy` that are no part
                of it; None unsets one that need not be set. `autoscaling` keeps what is left out of it.

        Raises:
            OptionError: there is no such option, or nothing changes.
            QuickalignError: the new revision failed; the old one goes on serving.
        """
        given = changes if labels is None else {**changes, "labels": dict(labels)}
        request = service_change(self.refresh()._service, given)
        self._change(self.session.services.update(self._service.id, request), wait=wait and request.spec is not None)

    def rollback(self, wait: bool = True) -> None:
        """Go back to the revision before."""
        self._change(self.session.services.rollback(self._service.id), wait=wait)

    def predict(self, data: Any) -> Any:
        """One request of OpenAI's kind, whole: `{"messages": [...]}` is a chat, `{"prompt": ...}` a completion.

        Raises:
            PredictionException: the service answers with an error.
        """
        body = self.serializer.serialize(data)
        path = route_of(body)
        return self.serializer.deserialize(self.raw_predict(with_model(body), path, _JSON).content)

    def raw_predict(
        self,
        data: Any = None,
        path: str | None = None,
        headers: dict[str, str] | None = None,
        method: str = "POST",
        timeout: Timeout = None,
        params: Any = None,
        **unsupported: Any,
    ) -> RawResponse:
        """One request to the service.

        Args:
            data: its body: text, bytes or a file as they are, anything else as JSON.
            path: where below `endpoint`.
            headers: sent besides the token.
            method: of HTTP.
            timeout: seconds, or those for connecting and for reading; None waits.
            params: the query.
            unsupported: other arguments of a request; each is refused.

        Raises:
            OptionError: an argument that cannot be honoured. PredictionException: the service answers with an error.
            UnavailableError: nobody answers.
        """
        for name in unsupported:
            raise OptionError(f"raw_predict has no argument {name!r}.", "`predictor.openai()` reads streams.")
        for attempt in range(2):
            where = "/".join([self.endpoint, *([path.lstrip("/")] if path else [])])
            try:
                return send(
                    self._http,
                    method,
                    where,
                    self.access_token,
                    body=data,
                    headers=headers or {},
                    params=params,
                    timeout=timeout,
                )
            except ConnectionRefusedError:
                if not attempt:
                    self.refresh()  # finds a server that was started again elsewhere
        raise UnavailableError(f"Nobody listens at {self.endpoint}.", "See `quickalign server status`.")

    def openai(self, url_suffix: str = "v1", **kwargs: Any) -> OpenAI:
        """The stock `openai` client, pointed at this service; the model's name is `default`.

        Args:
            url_suffix: where OpenAI's paths lie below `endpoint`.
            kwargs: arguments of `openai.OpenAI`, which win over those that are chosen here.

        Raises:
            UnavailableError: the package is not installed.
        """
        try:
            from openai import DefaultHttpxClient, OpenAI  # noqa: PLC0415 - takes a second, and few programs need it
        except ImportError:
            raise UnavailableError("The package openai is not installed.", "`pip install openai`.") from None
        chosen: dict[str, Any] = {"base_url": f"{self.endpoint}/{url_suffix.strip('/')}", "api_key": self.access_token}
        if self.session.client.place.is_loopback and "http_client" not in kwargs:
            # a proxy of the environment is for other machines
            chosen["http_client"] = DefaultHttpxClient(trust_env=False)
        return OpenAI(**{**chosen, **kwargs})

    def logs(self, replica: str | None = None) -> str:
        """The whole log up to now, of one replica where one is named."""
        calls, name = self.session.services, self._service.id
        return "".join(chunk.text for chunk in log_chunks(lambda at: calls.logs(name, replica=replica, offset=at)))

    def events(self) -> Iterator[Event]:
        """What happened to it up to now, oldest first."""
        calls, name = self.session.services, self._service.id
        return all_events(lambda after: calls.events(name, after=after))

    def metrics(self) -> ServiceMetrics:
        """Requests, errors, tokens and times since the server started."""
        return self.session.services.metrics(self._service.id)

    def rotate_token(self) -> str:
        """A new token of the service's own; the old one opens nothing from now on."""
        self.__dict__["access_token"] = token = self.session.services.rotate_token(self._service.id)
        return token

    def __repr__(self) -> str:
        return f"Predictor(service_name={self.service_name!r}, status={self.service_status!r})"

    @cached_property
    def _http(self) -> httpx.Client:
        # a proxy of the environment is for other machines
        return httpx.Client(trust_env=not self.session.client.place.is_loopback)

    def _change(self, service: Service, *, wait: bool) -> None:
        self._service = service
        if wait and service.state not in (ServiceState.STOPPED, ServiceState.STOPPING):
            self._wait(service_wait.serves(service.target))

    def _wait(self, holds: service_wait.Condition) -> None:
        teller = service_wait.Teller(lambda line: say(f"● {self.service_name}: {line}"))
        self._service = service_wait.wait_until(self.session.services, self._service, holds, show=teller)


_JSON = {"Content-Type": "application/json"}

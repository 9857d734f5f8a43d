"""A session: which server a program talks to. With nothing configured it is this user's own, started when needed."""

import os
import threading
from functools import cached_property
from pathlib import Path
from typing import Any

from quickalign.core import paths
from quickalign.core.errors import OptionError, QuickalignError
from quickalign.sdk import discover
from quickalign.sdk.calls import Files, Jobs, Models, Server
from quickalign.sdk.client import Client
from quickalign.sdk.place import Place, named
from quickalign.sdk.service_calls import Services

DEFAULT_REGION = "local"

_NO_CREDENTIALS = (
    "quickalign takes no cloud credentials in a call, so that no request can choose where a secret is sent"
)
_REFUSED = {
    "access_key_id": _NO_CREDENTIALS,
    "access_key_secret": _NO_CREDENTIALS,
    "security_token": _NO_CREDENTIALS,
    "credential_config": _NO_CREDENTIALS,
    "oss_endpoint": "endpoints of storage are the operator's, in the environment of the server",
    "network": "the server is found by its endpoint alone",
    "header": "calls carry what the server needs and nothing else",
    "runtime": "time-outs and retries are quickalign's own",
}
"""Arguments of the cloud's session that cannot be honoured, and why."""

_STORAGE = (
    "Leave it out; variables of the server's environment say how storage is reached (docs/user-guide/storage.md)."
)

_lock = threading.Lock()
_default: "Session | None" = None


class Session:
    """Calls to one server.

    Args:
        region_id: written into `oss://` URIs by programs that ask for it; changes nothing else.
        workspace_id: put on every job as the label `workspace_id`.
        endpoint: the server's address, such as `http://127.0.0.1:8421`; by default `QUICKALIGN_ENDPOINT`, else the
            server of the home folder.
        token: its token; by default `QUICKALIGN_TOKEN`, else that of the home folder.
        oss_bucket_name: a bucket into which results are copied where `outputs` names no other place.
        home: the home folder of the server, instead of an endpoint; by default `QUICKALIGN_HOME`, else `~/.quickalign`.
        cloud: arguments of PAI's session that cannot be honoured; each is refused with the reason.

    Raises:
        OptionError: an argument that cannot be honoured.
    """

    def __init__(
        self,
        region_id: str | None = None,
        workspace_id: str | int | None = None,
        *,
        endpoint: str | None = None,
        token: str | None = None,
        oss_bucket_name: str | None = None,
        home: str | os.PathLike[str] | None = None,
        **cloud: Any,
    ) -> None:
        _refuse(cloud)
        if home is not None and (endpoint is not None or token is not None):
            raise OptionError(
                "home and endpoint exclude each other: each of them says which server is meant.",
                "Give the home of a server of this machine, or the endpoint and token of any other.",
            )
        self.region_id = region_id or DEFAULT_REGION
        self.workspace_id = str(workspace_id) if workspace_id is not None else None
        self.oss_bucket_name = oss_bucket_name
        self.home = (Path(home).expanduser() if home is not None else paths.home()).absolute()
        self._named = named(endpoint, token) if home is None else None

    @property
    def endpoint(self) -> str:
        """The server's address; it is started now where it has to be."""
        return self.client.place.endpoint

    @property
    def is_own_server(self) -> bool:
        """Whether the server is this home's own, on this machine, so that it can read what this program can."""
        return self._named is None

    @cached_property
    def client(self) -> Client:
        """The connection, made on first use."""
        if self._named is not None:
            return Client(self._named)
        return Client(discover.find_or_start(self.home), locate=self._locate)

    @cached_property
    def jobs(self) -> Jobs:
        """Calls about jobs."""
        return Jobs(self.client)

    @cached_property
    def files(self) -> Files:
        """Calls about files."""
        return Files(self.client)

    @cached_property
    def models(self) -> Models:
        """Calls about model cards."""
        return Models(self.client)

    @cached_property
    def services(self) -> Services:
        """Calls about services."""
        return Services(self.client)

    @cached_property
    def server(self) -> Server:
        """Calls about the server itself."""
        return Server(self.client)

    def close(self) -> None:
        """Close the connections; the server goes on."""
        if "client" in self.__dict__:
            self.client.close()

    def __repr__(self) -> str:
        where = self._named.endpoint if self._named else f"home {self.home}"
        return f"Session(region_id={self.region_id!r}, {where})"

    def _locate(self, start: bool) -> Place | None:
        if start:
            return discover.find_or_start(self.home)
        found = discover.find(self.home)
        try:
            return discover.place(self.home, found) if found else None
        except QuickalignError:
            return None


def get_default_session() -> Session:
    """The session of this program: that of `setup_default_session`, else one made from the environment."""
    global _default  # noqa: PLW0603 - one per program, as its name says
    with _lock:
        if _default is None:
            _default = Session()
        return _default


def setup_default_session(
    access_key_id: str | None = None,
    access_key_secret: str | None = None,
    security_token: str | None = None,
    region_id: str | None = None,
    credential_config: Any = None,
    oss_bucket_name: str | None = None,
    oss_endpoint: str | None = None,
    workspace_id: str | int | None = None,
    network: Any = None,
    *,
    endpoint: str | None = None,
    token: str | None = None,
    home: str | os.PathLike[str] | None = None,
    **cloud: Any,
) -> Session:
    """Make the default session anew; arguments as of `Session`, in PAI's order. What is left out stays as it was."""
    global _default  # noqa: PLW0603
    cloud |= {"access_key_id": access_key_id, "access_key_secret": access_key_secret, "security_token": security_token}
    cloud |= {"credential_config": credential_config, "oss_endpoint": oss_endpoint, "network": network}
    before = _default
    if before is not None:
        region_id = region_id or before.region_id
        workspace_id = workspace_id if workspace_id is not None else before.workspace_id
        oss_bucket_name = oss_bucket_name or before.oss_bucket_name
        if endpoint is None and home is None:
            if before._named is not None:
                endpoint, token = before._named.endpoint, token or before._named.token
            elif token is None:
                home = before.home
    made = Session(
        region_id,
        workspace_id,
        endpoint=endpoint,
        token=token,
        oss_bucket_name=oss_bucket_name,
        home=home,
        **cloud,
    )
    with _lock:
        _default = made
    return made


def _refuse(cloud: dict[str, Any]) -> None:
    """Refuse what cannot be honoured, by name. An argument that says nothing (None) is none."""
    for name, value in cloud.items():
        if name not in _REFUSED:
            raise OptionError(f"A session has no argument {name!r}.", "See docs/user-guide/sdk.md for those it has.")
        if value is not None:
            raise OptionError(f"The argument {name} cannot be honoured: {_REFUSED[name]}.", _STORAGE)

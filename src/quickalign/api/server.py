"""A running server: its socket, its token, its server.json, and a graceful end."""

import asyncio
import contextlib
import os
import resource
import secrets
import signal
import socket
import ssl
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

import orjson
import psutil
import uvicorn
from starlette.types import ASGIApp

from quickalign import __version__
from quickalign.api import logs
from quickalign.api.app import make_app
from quickalign.api.gateway.gateway import Gateway
from quickalign.api.parts import Part
from quickalign.api.streams import Streams
from quickalign.core import atomic
from quickalign.core.errors import OptionError, StorageError, UnavailableError
from quickalign.core.scheduling import answer_soon
from quickalign.platform import Config, Platform
from quickalign.serve.http.protocol import BoundedHttp

_GRACE_SECONDS = 10
_ANSWER_SECONDS = 8
"""How long answers of services may go on when the server is told to end; then they end with an error event."""
_ENTRY_TICKS = 50
"""How often a server among others looks for server.json, in Uvicorn's ticks of a tenth of a second."""
_FILES = 65_536
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(
    home: Path, config: Config, *, database_url: str | None, insecure_http: bool, parts: Sequence[Part] = ()
) -> None:
    """Serve `home` until a signal ends it. Jobs go on without the server and are found again by the next one.

    Raises:
        QuickalignError: the home, the address or the certificate cannot be used.
    """
    check_exposure(config, insecure_http=insecure_http)
    platform = Platform.open(home, database_url=database_url, config=config)
    try:
        token, fresh = first_token(platform, platform.home.root / "token")
        with bind(config) as listener:
            endpoint = endpoint_of(config, listener)
            server = _Server(platform, config, endpoint, parts)
            _allow_connections()
            logs.configure()
            platform.start()
            answer_soon()
            _say(endpoint, platform.home.root / "token", token if fresh else None)
            server.run(sockets=[listener])
    finally:
        platform.close()


def check_exposure(config: Config, *, insecure_http: bool) -> None:
    """Refuse to send tokens and data over a network in the clear, unless that was asked for by name.

    Raises:
        OptionError: with the ways out.
    """
    if bool(config.tls_certificate) != bool(config.tls_key):
        raise OptionError(
            "tls_certificate and tls_key need each other.", "Set both in config.toml, or none.", field="tls_key"
        )
    if config.is_loopback or config.tls_certificate or insecure_http:
        return
    raise OptionError(
        f"The address {config.host} is reached by other machines, and there is no certificate to encrypt with.",
        "Set tls_certificate and tls_key in config.toml; or keep to 127.0.0.1 behind a proxy that encrypts; or, on a "
        "network where nobody listens, give --insecure-http.",
        field="host",
        value=config.host,
    )


def first_token(platform: Platform, file: Path) -> tuple[str, bool]:
    """The token that `file` holds, made where there is none that is good; and whether it was made now."""
    try:
        known = file.read_text(encoding="utf-8").strip()
        if known and platform.tokens.verify(known):
            file.chmod(0o600)
            return known, False
    except FileNotFoundError:
        pass
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"{file} cannot be read: {error}.", "Delete it; a new one is made.") from None
    token = platform.tokens.create("home")
    temporary = file.with_name(f".tmp-token-{secrets.token_hex(8)}")
    # never readable by others, not even for a moment
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(token + "\n")
    temporary.replace(file)
    return token, True


def bind(config: Config) -> socket.socket:
    """The listening socket; a port of 0 takes any free one.

    Raises:
        UnavailableError: the address is taken, or none of this machine's.
    """
    try:
        found = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(1024)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise UnavailableError(
            f"The server cannot listen on {config.host}:{config.port}: {error.strerror or error}.",
            "Choose another --port (0 takes any free one) or --host.",
        ) from None
    return listener


def endpoint_of(config: Config, listener: socket.socket) -> str:
    """How a client on this machine reaches the server."""
    host, port = listener.getsockname()[:2]
    scheme = "https" if config.tls_certificate else "http"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _allow_connections() -> None:
    """Let this process open as many files as it may: a stream through the gateway takes two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _say(endpoint: str, file: Path, token: str | None) -> None:
    """Tell whoever started the server. The token is shown to a person only: a log would keep it for everybody."""
    sys.stdout.write(f"quickalign {__version__} at {endpoint}\n")
    if token is None or not sys.stdout.isatty():
        sys.stdout.write(f"The token is in {file}.\n")
    else:
        sys.stdout.write(f"The token, shown this once and kept in {file}:\n{token}\n")
    sys.stdout.flush()


def settings_of(app: ASGIApp, config: Config) -> uvicorn.Config:
    """Uvicorn's settings for `app`."""
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=BoundedHttp,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        ssl_certfile=config.tls_certificate,
        ssl_keyfile=config.tls_key,
    )


class _Server(uvicorn.Server):
    """Uvicorn that says where it is when it is ready, and ends streams before it waits for answers to be complete."""

    def __init__(self, platform: Platform, config: Config, endpoint: str, parts: Sequence[Part]) -> None:
        app = make_app(platform, parts)
        self._streams: Streams = app.state.streams
        self._gateway: Gateway = app.state.gateway
        self._file = platform.home.root / "server.json"
        self._shares = platform.is_shared
        self._endpoint = endpoint
        self._entry = b""
        self._loop: asyncio.AbstractEventLoop | None = None
        try:
            settings = settings_of(app, config)
            settings.load()
        except (OSError, ssl.SSLError) as error:
            raise OptionError(
                f"The certificate {config.tls_certificate} or its key cannot be used: {error}.",
                "Correct tls_certificate and tls_key in config.toml.",
            ) from None
        super().__init__(settings)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See `uvicorn.Server`."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        process = psutil.Process()
        entry = {
            "endpoint": self._endpoint,
            "pid": process.pid,
            "create_time": process.create_time(),
            "version": __version__,
            "started_at": time.time(),
        }
        self._entry = orjson.dumps(entry) + b"\n"
        atomic.write_bytes(self._file, self._entry)

    async def on_tick(self, counter: int) -> bool:
        """See `uvicorn.Server`. Another server of this home that has ended leaves server.json to this one."""
        if self._shares and counter % _ENTRY_TICKS == 0:
            with contextlib.suppress(OSError):  # the next time will do
                if not self._file.exists():
                    atomic.write_bytes(self._file, self._entry)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See `uvicorn.Server`."""
        with contextlib.suppress(OSError):
            if self._file.read_bytes() == self._entry:
                self._file.unlink()
        self._streams.close()
        ending = asyncio.get_running_loop().call_later(_ANSWER_SECONDS, self._gateway.end_answers)
        await super().shutdown(sockets)
        ending.cancel()
        await self._gateway.close()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """See `uvicorn.Server`."""
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._streams.close)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End on a signal by returning, so that the home is left in order; Uvicorn would raise it once more."""
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

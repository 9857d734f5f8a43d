"""The operator's Jupyter server, in which notebooks are opened: put there by its contents API."""

from typing import Any
from urllib.parse import quote

from quickalign.core.errors import AccessError, ConflictError, OptionError, UnavailableError
from quickalign.platform.config import Config

_SECONDS = 10.0
_MOST_NAMES = 200
_REFUSED = frozenset({301, 302, 303, 307, 308, 401, 403})
"""Jupyter sends whom it does not know to its own sign-in, or away."""

_DOWNLOAD = "the notebook can be downloaded meanwhile."


class Notebooks:
    """Writes notebooks into the Jupyter server at `jupyter_url`."""

    def __init__(self, config: Config) -> None:
        self._base = (config.jupyter_url or "").rstrip("/")
        self._token_file = config.jupyter_token_file

    @property
    def has_jupyter(self) -> bool:
        """Whether there is one."""
        return bool(self._base)

    def open(self, name: str, notebook: dict[str, Any]) -> str:
        """Write a new notebook `name`.ipynb, or `name`-2.ipynb where that is taken; returns the address that opens it.

        Raises:
            OptionError: no Jupyter server is configured, its token cannot be read, or what answers is none.
            AccessError: it refuses the token. UnavailableError: it does not answer, or cannot write.
            ConflictError: there are too many of that name.
        """
        import httpx  # noqa: PLC0415 - only those who have a Jupyter server need it

        if not self._base:
            raise OptionError("No Jupyter server is configured.", "Set jupyter_url in config.toml.")
        headers = {"Authorization": f"token {token}"} if (token := self._token()) else {}
        try:
            # not through a proxy of the environment: it is this machine's, or the operator's own
            with httpx.Client(headers=headers, timeout=_SECONDS, trust_env=False) as client:
                path = self._free(client, name)
                body = {"type": "notebook", "format": "json", "content": notebook}
                answer = client.put(self._contents(path), json=body)
        except httpx.HTTPError as error:
            raise UnavailableError(
                f"Jupyter at {self._base} does not answer: {str(error) or type(error).__name__}.",
                f"Start it, or correct jupyter_url in config.toml; {_DOWNLOAD}",
            ) from None
        self._check(answer.status_code, answer.text)
        return f"{self._base}/lab/tree/{quote(path)}"

    def _free(self, client: Any, name: str) -> str:
        """A name that is not taken: what somebody has worked on must not be written over."""
        for number in range(1, _MOST_NAMES + 1):
            path = f"{name}.ipynb" if number == 1 else f"{name}-{number}.ipynb"
            answer = client.get(self._contents(path), params={"content": "0"})
            if answer.status_code == 404:
                return path
            self._check(answer.status_code, answer.text)
        raise ConflictError(
            f"Jupyter at {self._base} has {_MOST_NAMES} notebooks of the name {name!r}.", "Delete some of them there."
        )

    def _contents(self, path: str) -> str:
        return f"{self._base}/api/contents/{quote(path)}"

    def _check(self, status: int, text: str) -> None:
        if status in (200, 201):
            return
        if status in _REFUSED:
            raise AccessError(
                f"Jupyter at {self._base} refuses to be written to (HTTP {status}).",
                "Put its token into a file, and name that as jupyter_token_file in config.toml.",
            )
        if status in (404, 405, 501):
            raise OptionError(
                f"What answers at {self._base} is no Jupyter server (HTTP {status}).",
                "Correct jupyter_url in config.toml.",
            )
        raise UnavailableError(
            f"Jupyter at {self._base} could not write the notebook (HTTP {status}): {text[:200]}",
            f"See its log; {_DOWNLOAD}",
        )

    def _token(self) -> str:
        if self._token_file is None:
            return ""
        try:
            return self._token_file.expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise OptionError(
                f"Jupyter's token cannot be read from {self._token_file}: {error}.",
                "Correct jupyter_token_file in config.toml.",
            ) from None

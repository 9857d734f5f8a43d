"""Tokens that are derived from one key of the home, so that they can be shown again and are stored nowhere."""

import base64
import hashlib
import hmac
import secrets as random

from quickalign.core import atomic
from quickalign.core.errors import StorageError
from quickalign.platform.home import Home

_BYTES = 32


class Secrets:
    """Derives tokens from the key file of a home, which is made at the first start and readable by its owner only.

    Raises:
        StorageError: the key cannot be read or written, or is none.
    """

    def __init__(self, home: Home) -> None:
        self._file = home.secrets / "services.key"
        try:
            self._key = self._read() or self._checked(atomic.create_once(self._file, random.token_bytes(_BYTES)))
        except OSError as error:
            raise StorageError(f"{self._file} cannot be used: {error.strerror or error}.", "Check its mode.") from None

    def service_token(self, service_id: str, generation: int) -> str:
        """The own token of a service; another one after each rotation."""
        return "qs-" + self._derive("service", service_id, generation)

    def replica_token(self, replica_id: str, attempt: int) -> str:
        """The token that opens one start of a replica, to the gateway alone."""
        return "qr-" + self._derive("replica", replica_id, attempt)

    def access_key_secret(self, key_id: str) -> str:
        """The secret of an access key of the cloud's dialects."""
        return self._derive("access-key", key_id, 0)

    def _derive(self, kind: str, identity: str, number: int) -> str:
        digest = hmac.digest(self._key, f"{kind}/{identity}/{number}".encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def _read(self) -> bytes | None:
        try:
            key = self._file.read_bytes()
        except FileNotFoundError:
            return None
        self._file.chmod(0o600)
        return self._checked(key)

    def _checked(self, key: bytes) -> bytes:
        if len(key) != _BYTES:
            raise StorageError(
                f"{self._file} is damaged: it holds {len(key)} bytes, not {_BYTES}.",
                "Put a backup in its place, or delete it; then all services have new tokens.",
            )
        return key

"""Calls about access keys."""

from urllib.parse import quote

from quickalign.core.wire.base import Page
from quickalign.core.wire.pai import AccessKeyCreate, AccessKeySecret, AccessKeyView
from quickalign.sdk.client import Client


class AccessKeys:
    """The access keys of a server."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, name: str) -> AccessKeySecret:
        """Make a key; its secret is in the answer alone."""
        return self._client.post("/pai/credentials", AccessKeySecret, AccessKeyCreate(name=name))

    def list(self) -> tuple[AccessKeyView, ...]:
        """All keys, oldest first."""
        return self._client.get("/pai/credentials", Page[AccessKeyView]).items

    def revoke(self, key_id: str) -> None:
        """Refuse from now on what is signed with a key."""
        self._client.delete(f"/pai/credentials/{quote(key_id, safe='')}")

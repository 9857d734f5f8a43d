"""Access keys of the PAI dialect on the wire."""

from pydantic import Field

from quickalign.core.wire.base import Name, Timestamp, Wire


class AccessKeyCreate(Wire):
    """A new access key."""

    name: Name = Field(default="pai", description="A name for people.")


class AccessKeyView(Wire):
    """An access key without its secret."""

    id: str
    name: str
    created_at: Timestamp
    revoked_at: Timestamp | None = None


class AccessKeySecret(Wire):
    """An access key with its secret, and the session that a client of PAI makes of it."""

    access_key_id: str
    access_key_secret: str
    region_id: str
    workspace_id: str
    oss_bucket_name: str

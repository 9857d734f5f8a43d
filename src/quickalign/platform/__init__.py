"""Jobs, files and tokens: tables, state machines, the reconciler and its executors. Knows nothing of HTTP.

The database is the truth and processes are observed; see `docs/architecture.md`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quickalign.platform.config import Config
    from quickalign.platform.context import Platform

__all__ = ["Config", "Platform"]


def __getattr__(name: str) -> Any:
    """Import on first use: a job's wrapper lives in this room and must start without the database's libraries."""
    if name == "Platform":
        from quickalign.platform.context import Platform  # noqa: PLC0415

        return Platform
    if name == "Config":
        from quickalign.platform.config import Config  # noqa: PLC0415

        return Config
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""The server's log: one JSON object a line, each with the id of the request it belongs to."""

import logging
import re
import secrets
import sys
import time
from contextvars import ContextVar
from typing import Any, TextIO

import orjson

_REQUEST: ContextVar[str] = ContextVar("request_id", default="")
_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,64}")


def request_id() -> str:
    """The id of the request being answered; empty outside of one."""
    return _REQUEST.get()


def begin_request(offered: str | None) -> str:
    """Set the id of a request: the client's own where it is a short plain word, else a new one."""
    taken = offered if offered and _ACCEPTED.fullmatch(offered) else f"req-{secrets.token_hex(12)}"
    _REQUEST.set(taken)
    return taken


class JsonLines(logging.Formatter):
    """A record as one line of JSON; `extra={"fields": {...}}` adds fields."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        entry: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if known := request_id():
            entry["request_id"] = known
        entry |= getattr(record, "fields", {})
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(entry, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def configure(stream: TextIO | None = None) -> None:
    """Write all loggers as JSON lines to `stream` (standard error by default)."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    for quiet in ("uvicorn.access", "alembic", "sqlalchemy", "httpx"):
        logging.getLogger(quiet).setLevel(logging.WARNING)

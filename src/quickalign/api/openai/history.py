"""Events newest first, as the published API lists them; the platform keeps and gives them oldest first."""

from quickalign.core.wire.jobs import Event
from quickalign.platform import Platform

_MOST = 1 << 31


def newest(platform: Platform, job_id: str, before: int | None, limit: int) -> tuple[list[Event], bool]:
    """Up to `limit` events with a number below `before` (all when None), newest first, and whether there are more."""
    last = before - 1 if before is not None else _last(platform, job_id)
    first = max(last - limit, 0)
    found = [event for event in platform.jobs.events(job_id, after=first, limit=limit).items if event.sequence <= last]
    older = first > 0 and any(event.sequence <= first for event in platform.jobs.events(job_id, limit=1).items)
    return found[::-1], older


def _last(platform: Platform, job_id: str) -> int:
    """The number of the newest event, found by halving: there is an event after every number below it."""
    low, high = 0, 1
    while high < _MOST and platform.jobs.events(job_id, after=high, limit=1).items:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        if platform.jobs.events(job_id, after=middle, limit=1).items:
            low = middle
        else:
            high = middle
    return high

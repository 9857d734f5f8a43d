"""A job's log in windows: a page holds a screenful of it, however long the whole is."""

from typing import Any

from quickalign.platform import Platform

WINDOW = 48 << 10
_BLOCK = 3 << 20
_SEARCHED = 24 << 20
"""How many bytes one search looks through before it says how far it came."""
_MAX_TEXT = 200


def window(platform: Platform, job_id: str, at: str, to: int, size: int) -> dict[str, Any]:
    """About `WINDOW` bytes from offset `at` on, at most to `to`; or the last ones for `end`, from a line's begin on."""
    offset = int(at) if at.isascii() and at.isdigit() else max(0, size - WINDOW)
    offset = min(offset, size)
    chunk = platform.jobs.logs(job_id, offset=offset, limit=max(1, min(WINDOW, to - offset)))
    text, start = chunk.text, offset
    if offset and not at.isdigit() and "\n" in text:
        head, _, text = text.partition("\n")
        start += len(head.encode("utf-8", "surrogatepass")) + 1
    following = chunk.next_offset if chunk.text else start
    return {"start": start, "next": following, "text": text, "size": size, "complete": chunk.complete}


def search(platform: Platform, job_id: str, text: str, *, start: int, backwards: bool = False) -> dict[str, Any]:
    """Where `text` occurs next, in any case of ASCII letters.

    Returns:
        `found`: the offset in bytes, or None; `reached`: where to go on, or None where the log is searched through.
    """
    wanted = text[:_MAX_TEXT].encode("utf-8", "surrogatepass").lower()
    size = platform.jobs.log_size(job_id)
    if not wanted:
        return {"found": None, "reached": None, "size": size}
    looked, position = 0, min(start, size)
    while looked < _SEARCHED:
        if (position <= 0) if backwards else (position >= size):
            return {"found": None, "reached": None, "size": size}
        low = max(0, position - _BLOCK) if backwards else position
        # neighbouring blocks overlap, so that what lies across their border is found
        content = _bytes(platform, job_id, low, min(_BLOCK, size - low) + len(wanted) - 1)
        stop = (position - low if backwards else _BLOCK) + len(wanted) - 1
        place = content.rfind(wanted, 0, stop) if backwards else content.find(wanted, 0, stop)
        if place >= 0:
            return {"found": low + place, "reached": None, "size": size}
        position = low if backwards else low + _BLOCK
        looked += _BLOCK
    return {"found": None, "reached": position, "size": size}


def _bytes(platform: Platform, job_id: str, offset: int, limit: int) -> bytes:
    """A piece of the log in lower case; characters keep their places."""
    text = platform.jobs.logs(job_id, offset=offset, limit=limit).text
    return text.encode("utf-8", "surrogatepass").lower()

"""Listing a bucket: keys by prefix, folded at a delimiter, page by page."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from starlette.datastructures import QueryParams
from starlette.responses import Response

from quickalign.api.oss.xml import Node, answer, moment
from quickalign.core.errors import OptionError
from quickalign.platform import Platform
from quickalign.platform.objects.outputs import OutputFile
from quickalign.platform.objects.store import StoredObject

Entry = StoredObject | OutputFile
_MOST = 1000


@dataclass(frozen=True, slots=True)
class Asked:
    """What a listing asks for."""

    prefix: str
    delimiter: str
    after: str
    limit: int
    version: Literal[1, 2]
    encode: bool


def read(query: QueryParams) -> Asked:
    """The listing that `query` asks for.

    Raises:
        OptionError: a value that cannot be.
    """
    two = query.get("list-type") == "2"
    count = query.get("max-keys", "100")
    if not (count.isascii() and count.isdigit()) or not 1 <= int(count) <= _MOST:
        raise OptionError(f"max-keys={count[:20]!r} is not possible.", f"Use 1 to {_MOST}.", field="max-keys")
    encoding = query.get("encoding-type", "")
    if encoding not in ("", "url"):
        raise OptionError(f"encoding-type={encoding[:20]!r} is not possible.", "Use url.", field="encoding-type")
    after = query.get("continuation-token") or query.get("start-after") if two else query.get("marker")
    return Asked(
        query.get("prefix", ""), query.get("delimiter", ""), after or "", int(count), 2 if two else 1, bool(encoding)
    )


def listing(platform: Platform, bucket: str, asked: Asked) -> Response:
    """The page that `asked` asks for."""
    entries: list[Entry] = []
    folders: list[str] = []
    last, more = "", False
    for entry in _every(platform, bucket, asked):
        folder = _folder(entry.key, asked)
        if folder is not None and (folder <= asked.after or (folders and folders[-1] == folder)):
            continue
        if len(entries) + len(folders) == asked.limit:
            more = True
            break
        if folder is None:
            entries.append(entry)
        else:
            folders.append(folder)
        last = folder or entry.key
    return answer("ListBucketResult", _document(bucket, asked, entries, folders, last if more else None))


def _every(platform: Platform, bucket: str, asked: Asked) -> Iterator[Entry]:
    """Objects and results of jobs, by key; an object hides a result of the same key."""
    made = iter([one for one in platform.outputs.list(bucket, asked.prefix) if one.key > asked.after])
    waiting = next(made, None)
    after = asked.after
    while page := platform.objects.list(bucket, asked.prefix, after):
        for stored in page:
            while waiting is not None and waiting.key < stored.key:
                yield waiting
                waiting = next(made, None)
            if waiting is not None and waiting.key == stored.key:
                waiting = next(made, None)
            yield stored
        after = page[-1].key
    if waiting is not None:
        yield waiting
    yield from made


def _folder(key: str, asked: Asked) -> str | None:
    if not asked.delimiter:
        return None
    head, found, _ = key[len(asked.prefix) :].partition(asked.delimiter)
    return asked.prefix + head + found if found else None


def _document(bucket: str, asked: Asked, entries: list[Entry], folders: list[str], last: str | None) -> list[Node]:
    def name(text: str) -> str:
        return quote(text) if asked.encode else text

    found: list[Node] = [
        ("Name", bucket),
        ("Prefix", name(asked.prefix)),
        ("Marker" if asked.version == 1 else "ContinuationToken", name(asked.after)),
        ("MaxKeys", str(asked.limit)),
        ("Delimiter", name(asked.delimiter)),
        ("IsTruncated", str(last is not None).lower()),
        ("KeyCount", str(len(entries) + len(folders))),
    ]
    if asked.encode:
        found.append(("EncodingType", "url"))
    if last is not None:
        found.append(("NextMarker" if asked.version == 1 else "NextContinuationToken", name(last)))
    found += [("Contents", _entry(entry, name(entry.key))) for entry in entries]
    found += [("CommonPrefixes", (("Prefix", name(folder)),)) for folder in folders]
    return found


def _entry(entry: Entry, key: str) -> tuple[Node, ...]:
    return (
        ("Key", key),
        ("LastModified", moment(entry.modified_at)),
        ("ETag", f'"{entry.etag}"'),
        ("Type", "Normal"),
        ("Size", str(entry.bytes)),
        ("StorageClass", "Standard"),
    )

"""The protocol's XML: answers written, and the two bodies that requests bring read."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from xml.etree import ElementTree as Xml

from starlette.responses import Response

from quickalign.core.errors import OptionError

Node = tuple[str, "str | Sequence[Node]"]
"""A tag with its text, or with its children."""

MOST_BYTES = 4 << 20


def answer(root: str, children: Iterable[Node], status: int = 200) -> Response:
    """A document as an answer."""
    text = Xml.tostring(_element((root, tuple(children))), encoding="utf-8", xml_declaration=True)
    return Response(text, status_code=status, media_type="application/xml")


def moment(seconds: float) -> str:
    """A time as the protocol writes it, such as 2026-01-31T12:00:00.000Z."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def parts_of(body: bytes) -> list[tuple[int, str]]:
    """Number and ETag of the parts in a `CompleteMultipartUpload`.

    Raises:
        OptionError: it is none.
    """
    root = _read(body, "CompleteMultipartUpload")
    found = []
    for part in root.iter("Part"):
        number = part.findtext("PartNumber", "").strip()
        if not (number.isascii() and number.isdigit()):
            raise OptionError(f"{number[:20]!r} is no part's number.", field="PartNumber")
        found.append((int(number), part.findtext("ETag", "").strip()))
    return found


def keys_of(body: bytes) -> tuple[list[str], bool]:
    """The keys in a `Delete`, and whether the answer should name only what could not be deleted.

    Raises:
        OptionError: it is none.
    """
    root = _read(body, "Delete")
    quiet = root.findtext("Quiet", "false").strip().lower() == "true"
    return [node.findtext("Key", "") for node in root.iter("Object")], quiet


def _read(body: bytes, wanted: str) -> Xml.Element:
    # A document of ours needs no entities, and without a DTD there are none that could blow up.
    if b"<!" in body:
        raise OptionError("The body brings a document type or a comment, which is not read here.", "Leave it out.")
    try:
        root = Xml.fromstring(body)  # noqa: S314 - no document type, see above
    except (Xml.ParseError, ValueError, LookupError):
        raise OptionError("The body is no valid XML.", f"Send a {wanted} document.") from None
    if root.tag != wanted:
        raise OptionError(f"The body is a {root.tag[:40]}, not a {wanted}.")
    return root


def _element(node: Node) -> Xml.Element:
    tag, content = node
    element = Xml.Element(tag)
    if isinstance(content, str):
        element.text = content
    else:
        element.extend(_element(child) for child in content)
    return element

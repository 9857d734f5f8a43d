"""What bytes that are not UTF-8 look like."""

UTF8_BOM = b"\xef\xbb\xbf"

_WIDE_BOMS = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
_SHARE_WIDE = 0.3
_CONTEXT = 4096
_LEAST = 8  # so few bytes, one of them zero, say nothing


def wide_encoding(head: bytes) -> str | None:
    """`UTF-16` or `UTF-32` where the first bytes of a file look like it, else None."""
    for mark, name in _WIDE_BOMS:
        if head.startswith(mark):
            return name
    sample = head[: _CONTEXT - _CONTEXT % 2]
    if len(sample) < _LEAST:
        return None
    even, odd = sample[0::2], sample[1::2]
    for zeros, others in ((even, odd), (odd, even)):
        if others and zeros.count(0) > _SHARE_WIDE * len(zeros) and others.count(0) < len(others) / 10:
            return "UTF-16"
    return None


def not_utf8(content: bytes, offset: int) -> str | None:
    """A phrase on where `content`, which stands at byte `offset` of its file, leaves UTF-8; None where it does not."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        around = content[max(error.start - _CONTEXT, 0) : error.start + _CONTEXT]
        return (
            f"the byte 0x{content[error.start]:02x} at byte offset {offset + error.start}, which is not UTF-8 "
            f"(it looks like {_guess(around)})"
        )
    return None


def _guess(sample: bytes) -> str:
    """The likeliest encoding of bytes that are not UTF-8; a guess, and worded as one."""
    trimmed = sample[:-1]  # a window may cut a two-byte character at its end
    for content in (sample, trimmed, sample[1:], trimmed[1:]):
        try:
            text = content.decode("gb18030")
        except UnicodeDecodeError:
            continue
        foreign = [character for character in text if ord(character) > 127]
        if foreign and sum("\u3000" <= c <= "\u9fff" or "\uff00" <= c <= "\uffef" for c in foreign) > len(foreign) / 2:
            return "GBK"
    return "Latin-1 or Windows-1252"

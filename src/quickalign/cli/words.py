"""Numbers as people read them: bytes, durations, counts and shares."""

_UNITS = ("B", "kB", "MB", "GB", "TB")


def size(count: float) -> str:
    """A number of bytes in decimal units: `463.7 MB`."""
    value, unit = float(count), 0
    while abs(value) >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    if unit == 0 or value >= 99.95:
        return f"{value:,.0f} {_UNITS[unit]}"
    return f"{value:.1f} {_UNITS[unit]}"


def duration(seconds: float) -> str:
    """A time span: `8 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{seconds:.1f} s" if 0 < seconds < 9.95 else f"{whole} s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(whole / 60), 60)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"


def count(number: int, noun: str = "") -> str:
    """A count with thousands separated, and its noun in the right number: `1,500 rows`, `1 row`."""
    return f"{number:,}" if not noun else f"{number:,} {noun}{'' if number == 1 else 's'}"


def rate(value: float) -> str:
    """A rate per second in three figures: `0.42`, `12.3`, `4.1k`."""
    if value >= 9_999.5:
        return f"{value / 1000:.0f}k"
    if value >= 999.5:
        return f"{value / 1000:.1f}k"
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def share(value: float) -> str:
    """A share of 1 as a percentage; a figure after the point only where it is needed to tell it from 0 or 100."""
    percent = 100 * value
    near_edge = 0 < percent < 1 or 99 < percent < 100
    return f"{percent:.1f} %" if near_edge else f"{percent:.0f} %"


def parameters(number: int) -> str:
    """A model's number of weights: `494 M`, `7.6 B`."""
    if number >= 999_500_000:
        return f"{number / 1e9:.1f} B"
    if number >= 999_500:
        return f"{number / 1e6:.0f} M" if number >= 9_950_000 else f"{number / 1e6:.1f} M"
    return f"{number / 1e3:.0f} k"


def one_line(text: str, limit: int) -> str:
    """`text` on one line of at most `limit` characters; what is left out is shown as an ellipsis."""
    plain = " ".join(text.split())
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"


def printable(text: str) -> str:
    """`text` with every control character but line ends and tabs written out, so that no text can steer a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)

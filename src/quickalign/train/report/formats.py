"""Values as people read them."""

import math
from typing import Any

SPACE = "\u00a0"
"""Between a number and its unit; no line is broken there."""

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def number(value: float | None) -> str:
    """A value in about four significant digits, such as 0.6931, 12.5, 1,204 or 5.0e-05; a dash for None."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    if size == 0:
        return "0"
    if size < 1e-3 or size >= 1e7:
        return minus(f"{value:.1e}")
    if size >= 1000:
        return minus(f"{value:,.0f}")
    text = f"{value:.{3 - math.floor(math.log10(size))}f}"
    return minus(text.rstrip("0").rstrip(".") if "." in text else text)


def change(share: float) -> str:
    """A relative difference in whole percent with its sign, such as +4 %."""
    return minus(f"{100 * share:+.0f}{SPACE}%")


def percent(share: float | None) -> str:
    """A share from 0 to 1 in percent with one decimal; a dash for None."""
    return "–" if share is None else f"{100 * share:.1f}{SPACE}%"


def size(count: int) -> str:
    """Bytes in decimal units, such as 12.3 MB."""
    value = float(count)
    for unit in _UNITS:
        if value < 999.5 or unit == _UNITS[-1]:
            break
        value /= 1000
    return f"{count:,}{SPACE}bytes" if unit == "bytes" else f"{value:.3g}{SPACE}{unit}"


def duration(seconds: float) -> str:
    """A time such as 4.2 s, 3 min 05 s or 2 h 10 min."""
    if seconds < 59.95:
        return f"{seconds:.1f}{SPACE}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}{SPACE}min {whole % 60:02}{SPACE}s"
    return f"{whole // 3600}{SPACE}h {whole % 3600 // 60:02}{SPACE}min"


def option(value: Any, unit: str) -> str:
    """An option's value as it is written in a specification, with its unit (a plural, so not after 1)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value == "":
        return "(empty)"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if text == "1" else f"{text} {unit}".strip()


def minus(text: str) -> str:
    """`text` of a number with a true minus sign, which is as wide as the digits."""
    return text.replace("-", "\u2212", 1) if text.startswith("-") else text

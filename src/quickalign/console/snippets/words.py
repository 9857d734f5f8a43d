"""What the texts have in common: values as Python, a shell and the API take them."""

import json
import pprint
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

WIDTH = 96


def call(address: str, body: Mapping[str, Any]) -> str:
    """A call of the API by curl."""
    return (
        f"curl {shell(address)} \\\n"
        '    -H "Authorization: Bearer $QUICKALIGN_TOKEN" \\\n'
        "    -H 'Content-Type: application/json' \\\n"
        f"    -d {shell(json.dumps(body, ensure_ascii=False, indent=2))}\n"
    )


def command(words: Iterable[str]) -> str:
    """A command line, one of its `words` a line."""
    return " \\\n    ".join(words) + "\n"


def option(name: str, value: Any) -> str:
    """An option of the command line."""
    return f"--{name.replace('_', '-')} {shell(value)}"


def shell(value: Any) -> str:
    """A value as a shell takes it."""
    return shlex.quote(plain(value))


def plain(value: Any) -> str:
    """A value as the command line takes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def arguments(values: Mapping[str, Any]) -> str:
    """Keyword arguments of a call in Python, one a line."""
    lines = []
    for name, value in values.items():
        text = pprint.pformat(value, width=WIDTH - 8, sort_dicts=False)
        if isinstance(value, dict) and value:
            inner = "".join(f"        {key!r}: {item!r},\n" for key, item in value.items())
            text = f"{{\n{inner}    }}"
        lines.append(f"    {name}={text},\n")
    return "".join(lines)


def changed(values: BaseModel, names: Iterable[str]) -> dict[str, Any]:
    """Those of the fields `names` that do not have their default."""
    return {name: getattr(values, name) for name in names if differs(values, name)}


def differs(values: BaseModel, name: str) -> bool:
    """Whether a field does not have its default."""
    return bool(getattr(values, name) != type(values).model_fields[name].default)

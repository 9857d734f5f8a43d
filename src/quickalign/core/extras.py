"""Packages that only some uses need: whether they are installed, and how one gets them."""

from collections.abc import Mapping
from importlib.util import find_spec
from types import MappingProxyType

from quickalign.core.errors import OptionError

PACKAGES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "eval": {"sacrebleu": "sacrebleu", "rouge_score": "rouge-score"},
        "gguf": {"gguf": "gguf", "xllamacpp": "xllamacpp"},
        "openvino": {"openvino": "openvino"},
        "postgresql": {"psycopg": "psycopg"},
        "ray": {"ray": "Ray"},
    }
)
"""What each extra of quickalign brings: modules, and what people call them."""


def missing(extra: str) -> list[str]:
    """The names of those packages of an extra that are not installed."""
    return [name for module, name in PACKAGES[extra].items() if find_spec(module) is None]


def command(extra: str) -> str:
    """What installs an extra."""
    return f"pip install 'quickalign[{extra}]'"


def refusal(extra: str, message: str, field: str | None = None) -> OptionError:
    """The error of what cannot be had without an extra."""
    return OptionError(message, f"Install it: {command(extra)}.", field=field)


def demand_gguf(field: str | None = None) -> None:
    """Refuse an export to a GGUF file where its packages are missing.

    Raises:
        OptionError: names them.
    """
    if names := missing("gguf"):
        raise refusal("gguf", f"GGUF files need {' and '.join(names)}.", field)

"""Templates: every value is escaped, every name must exist, every text is in the reader's language."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from quickalign import __version__
from quickalign.console.compiled import Compiled
from quickalign.console.icons import icons
from quickalign.console.language import LANGUAGES, Words, words_of
from quickalign.console.script_texts import TEXTS
from quickalign.console.sentences import sentences_of
from quickalign.core.errors import QuickalignError

_COMPILED = Compiled()
_KEPT_TEXTS = 4096


@cache
def warm_up(folder: Path, *others: Callable[[], object]) -> None:
    """Get all templates ready in the background while the server starts, so that no reader waits for them.

    Args:
        folder: where they are kept as compiled, so that the next start has them at once.
        others: what pages need as well, and keep once it was called.
    """
    _COMPILED.folder = folder
    threading.Thread(target=_prepare, args=(others,), name="console-templates", daemon=True).start()


def _prepare(others: Iterable[Callable[[], object]]) -> None:
    for call in others:
        with suppress(QuickalignError):  # whoever needs it will be told
            call()
    for tag in LANGUAGES:
        words_of(tag).moment(0.0)  # which reads how the language writes times
        known = environment(tag)
        for name in known.list_templates(extensions=("html",)):
            known.get_template(name)


@cache
def environment(tag: str) -> Environment:
    """The templates in one language."""
    words = words_of(tag)
    made = Environment(
        loader=PackageLoader("quickalign.console", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n", "jinja2.ext.do"],
        auto_reload=False,
        bytecode_cache=_COMPILED,
    )
    made.install_gettext_callables(words.gettext, words.ngettext, newstyle=True)  # type: ignore[attr-defined]
    said = _gettext(words)
    made.globals |= {
        "_": said,
        "gettext": said,
        "words": words,
        "version": __version__,
        "static": static,
        "icons": icons(),
        "url": _url,
        "texts_for_scripts": _texts(words),
    }
    made.filters |= {
        "number": words.number,
        "compact": words.compact,
        "percent": words.percent,
        "size": words.size,
        "moment": words.moment,
        "ago": words.ago,
        "lasting": words.lasting,
        "iso": _iso,
        "plain": _plain,
        "json_text": _json_text,
        "visible": _visible,
        "said": sentences_of(tag).say,
        "phase": sentences_of(tag).phase,
    }
    return made


def _gettext(words: Words) -> Callable[..., Markup]:
    """Texts in one language for templates. Jinja's own function does the same and takes three times as long, which
    pages with hundreds of texts feel."""

    @lru_cache(_KEPT_TEXTS)
    def plain(text: str) -> Markup:
        return pattern(text) % {}

    @lru_cache(_KEPT_TEXTS)
    def pattern(text: str) -> Markup:
        return Markup(words.gettext(text))  # noqa: S704 - texts of the catalogues

    def gettext(text: str, **values: Any) -> Markup:
        return pattern(text) % values if values else plain(text)

    return gettext


@cache
def static(name: str) -> str:
    """The address of a static file, with its content's mark so that browsers may keep it for ever."""
    return f"/console/static/{marks()[name]}/{name}"


@cache
def marks() -> dict[str, str]:
    """All static files with a mark of the whole set: modules import one another, so one change moves all."""
    root = resources.files("quickalign.console") / "static"
    found: dict[str, bytes] = {}

    def walk(folder: Any, prefix: str) -> None:
        for entry in sorted(folder.iterdir(), key=lambda item: item.name):
            if entry.is_dir():
                walk(entry, f"{prefix}{entry.name}/")
            else:
                found[f"{prefix}{entry.name}"] = entry.read_bytes()

    walk(root, "")
    digest = hashlib.sha256(b"".join(content for _, content in sorted(found.items()))).hexdigest()[:12]
    return dict.fromkeys(found, digest)


@pass_context
def _url(context: Context, path: str, **query: Any) -> str:
    """An address of the console with a query; values that are None are left out."""
    given = {name: value for name, value in query.items() if value not in (None, "", ())}
    return f"/console{path}" + (f"?{urlencode(given, doseq=True)}" if given else "")


def _texts(words: Words) -> Markup:
    """The texts that scripts show, as JSON inside a script element of no executable type."""
    return _for_script({text: words.gettext(text) for text in TEXTS})


def _for_script(value: Any) -> Markup:
    text = json.dumps(value, ensure_ascii=False)
    for character, escape in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        text = text.replace(character, escape)
    return Markup(text)  # noqa: S704 - it can end no element


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _plain(value: float | None) -> str:
    """A number as a form's field takes it back; nothing for what is not set."""
    return "" if value is None else str(int(value)) if float(value).is_integer() else str(value)


def _json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)


def _visible(text: str) -> str:
    """A token's text with its line breaks, tabs and lone spaces made visible."""
    shown = text.replace("\n", "⏎").replace("\r", "␍").replace("\t", "⇥")
    return shown if shown.strip() else shown.replace(" ", "␣") or "∅"

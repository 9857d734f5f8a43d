"""Write the console's catalogues again from the texts in its templates and code; translations that are there stay.

`python -m scripts.console_texts` writes; `--check` only says what is missing, and fails where something is.
"""

import argparse
import io
import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from quickalign.console.language import LANGUAGES
from quickalign.console.options_form import GROUPS
from quickalign.console.pages import tasks
from quickalign.core.hyperparameters import Hyperparameters
from quickalign.core.wire.services import Autoscaling

ROOT = Path(__file__).resolve().parents[1]
CONSOLE = ROOT / "src" / "quickalign" / "console"
_METHODS = [("**.py", "python"), ("templates/**.html", "jinja2")]
_KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2)}

FURTHER = (
    *GROUPS.values(),
    "data", "model", "train", "evaluate", "samples", "report", "reference", "plan", "save",
    "load", "score", "divergence", "answers", "judge", "merge",
    "runtime", "base weights", "adapter", "optimizer", "gradients", "activations", "logits", "fragmentation",
)  # fmt: skip
"""Texts that reach a template as values: titles, a run's phases, the parts of its memory."""


def template() -> Catalog:
    """All texts of the console, without translations."""
    found = Catalog(project="quickalign", charset="utf-8")
    options = {"templates/**.html": {"trimmed": "true", "silent": "false", "newstyle_gettext": "true"}}
    rows = extract_from_dir(str(CONSOLE), method_map=_METHODS, options_map=options, keywords=_KEYWORDS)
    for _file, _line, message, _comments, _context in rows:
        found.add(message)
    for text in _further():
        found.add(text)
    return found


def _further() -> Iterator[str]:
    yield from FURTHER
    for field in Hyperparameters.model_fields.values():
        assert isinstance(field.json_schema_extra, dict)
        yield str(field.description)
        if unit := str(field.json_schema_extra["unit"]):
            yield unit
    for field in Autoscaling.model_fields.values():
        yield str(field.description)
    yield from (field.hint for kind in tasks.FIELDS for field in tasks.fields(kind))


def catalogue_file(tag: str) -> Path:
    """Where the catalogue of a language lies."""
    return CONSOLE / "locale" / tag / "LC_MESSAGES" / "console.po"


def merged(tag: str) -> Catalog:
    """The catalogue of a language with all texts that there are now, and none that are gone."""
    file = catalogue_file(tag)
    known = read_po(io.BytesIO(file.read_bytes()), locale=tag) if file.exists() else Catalog(locale=tag)
    known.update(template(), no_fuzzy_matching=True)
    known.obsolete.clear()
    return known


def missing(tag: str) -> list[str]:
    """Texts without a translation."""
    return [str(message.id) for message in merged(tag) if message.id and not _is_translated(message.string)]


def _is_translated(text: object) -> bool:
    return all(text) if isinstance(text, tuple | list) else bool(text)


def write(tag: str) -> None:
    """Write the catalogue of a language again."""
    held = io.BytesIO()
    write_po(held, merged(tag), width=120, omit_header=True, no_location=True, sort_output=True)
    header = f'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n"Language: {tag}\\n"\n'
    header += '"Plural-Forms: nplurals=1; plural=0;\\n"\n\n' if tag == "zh" else "\n"
    catalogue_file(tag).write_text(header + held.getvalue().decode(), encoding="utf-8")


def main() -> int:
    """Write or check all catalogues."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    lacking = 0
    for tag in LANGUAGES:
        if tag == "en":
            continue
        if not given.check:
            write(tag)
        for text in missing(tag):
            lacking += 1
            print(f"{tag}: {text}")
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())

"""Write docs/user-guide/hyperparameters.md from the options' own descriptions: `make docs`."""

from pathlib import Path
from typing import Any

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic.fields import FieldInfo

from quickalign.core.hyperparameters import Hyperparameters
from quickalign.core.spec import RunSpec

PAGE = Path(__file__).resolve().parent.parent / "docs" / "user-guide" / "hyperparameters.md"

INTRODUCTION = """\
# Options

<!-- Written by `make docs` from src/quickalign/core/hyperparameters.py and spec.py; change those, not this page. -->

Every option of a training run. On the command line an option is written with hyphens (`--learning-rate 1e-4`,
`--load-in-4bit false`); in a specification file it stands under `hyperparameters` by the name below. A name that does
not exist, a value out of bounds and a combination that cannot be honoured are errors before anything is loaded.
"""

GROUPS = {
    "mission": ("Basics", "The names, types, defaults and meanings of PAI-QuickStart's DPO algorithm."),
    "objective": ("Objective", "Which loss is minimised; for `training_strategy=dpo`."),
    "optimisation": ("Optimisation", ""),
    "adapter": ("Adapter", "With `lora_dim` above 0."),
    "machine": (
        "Machine",
        "How it is computed: speed and memory. Only `precision` changes the numbers beyond rounding.",
    ),
    "saving": ("Watching and saving", ""),
}

COMBINATIONS = """\
## Combinations

- `lora_dim=0` trains all weights. The two quantisation options do not apply then; setting one of them to `true` by hand
  is an error.
- `load_in_8bit=true` alone means 8 bits, although `load_in_4bit` is on by default. Setting both to `true` by hand is an
  error.
- `load_in_4bit=false` and nothing else is plain LoRA on an unquantised base.
- An option that has no effect with the others (`dpo_beta` with sft, `label_smoothing` with a loss that has none,
  `system_prompt` without a chat template, ...) is an error when it is set to anything but its default.
"""

RUN = """\
## The run specification

`python -m quickalign.train SPEC.json` runs one training from a JSON file; every run leaves its own as `spec.json`. The
fields besides `hyperparameters`:
"""


def reference() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for group, (title, note) in GROUPS.items():
        fields = {name: field for name, field in Hyperparameters.model_fields.items() if group_of(field) == group}
        parts.append(f"## {title}\n" + (f"\n{note}\n" if note else ""))
        parts.append(_table(fields))
    parts.append(COMBINATIONS)
    parts.append(RUN)
    parts.append(_table({name: field for name, field in RunSpec.model_fields.items() if name != "hyperparameters"}))
    return "\n".join(parts)


def group_of(field: FieldInfo) -> str:
    """Which group an option belongs to."""
    extra: Any = field.json_schema_extra
    return str(extra["group"])


def values_of(field: FieldInfo) -> str:
    """What an option may be: its choices, or its type with bounds and unit."""
    schema = getattr(field.annotation, "__args__", ())
    if schema and all(isinstance(choice, str) for choice in schema):
        return ", ".join(f"`{choice}`" for choice in schema)
    extra: Any = field.json_schema_extra or {}
    parts = [_type_name(field.annotation), bounds_of(field), str(extra.get("unit", ""))]
    return ", ".join(part for part in parts if part)


def bounds_of(field: FieldInfo) -> str:
    """The bounds of a number or of a text's length, such as `1 to 4096` or `above 0, to 1`; empty where there are none."""
    low = high = ""
    for bound in field.metadata:
        match bound:
            case Ge(ge=value):
                low = _plain(value)
            case Gt(gt=value):
                low = f"above {_plain(value)},"
            case Le(le=value):
                high = f"to {_plain(value)}"
            case Lt(lt=value):
                high = f"to below {_plain(value)}"
            case MinLen(min_length=value):
                low = f"at least {value} character{'' if value == 1 else 's'}"
            case MaxLen(max_length=value):
                high = f"at most {value:,} characters"
    return " ".join(part for part in (low, high) if part)


def _type_name(annotation: Any) -> str:
    names = {bool: "`true` or `false`", int: "integer", float: "number", str: "text"}
    if annotation in names:
        return names[annotation]
    if "tuple" in str(annotation):
        return "list of texts"
    return "path" if "Path" in str(annotation) else "text"


def _table(fields: dict[str, FieldInfo]) -> str:
    lines = ["| option | default | values | meaning |", "|---|---|---|---|"]
    for name, field in fields.items():
        meaning = (field.description or "").replace("|", "\\|")
        lines.append(f"| `{name}` | {_default(field)} | {values_of(field)} | {meaning} |")
    return "\n".join(lines) + "\n"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default in (None, ()):
        return "none"
    if isinstance(field.default, bool):
        return f"`{str(field.default).lower()}`"
    return f"`{_plain(field.default)}`"


def _plain(value: Any) -> str:
    """A bound or a default as it is read: 1,000,000, 0.5, 5e-5."""
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return f"{value:,.0f}"
    return f"{value:g}".replace("e-0", "e-") if isinstance(value, float) else str(value)


def main() -> None:
    """Write the page."""
    PAGE.write_text(reference(), encoding="utf-8")


if __name__ == "__main__":
    main()

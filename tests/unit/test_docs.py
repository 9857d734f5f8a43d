"""Documentation that cannot fall behind: every option described and bounded, the reference page as written, links that
lead somewhere, commands that exist."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic.fields import FieldInfo

from quickalign.core.hyperparameters import Hyperparameters
from quickalign.core.spec import RunSpec
from quickalign.platform.config import Config
from scripts import write_reference
from scripts.write_reference import bounds_of, values_of

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], key=lambda page: page.relative_to(ROOT).as_posix())
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
OPTIONS = list(Hyperparameters.model_fields.items())

# The table of PAI-QuickStart's DPO algorithm, typed from its document: names, types and defaults are binding.
# `system_prompt` says `true` there and gives its real default in the text.
MISSION: dict[str, tuple[type, Any]] = {
    "training_strategy": (str, "sft"),
    "learning_rate": (float, 5e-5),
    "num_train_epochs": (int, 1),
    "per_device_train_batch_size": (int, 1),
    "seq_length": (int, 128),
    "lora_dim": (int, 32),
    "lora_alpha": (int, 32),
    "dpo_beta": (float, 0.1),
    "load_in_4bit": (bool, True),
    "load_in_8bit": (bool, False),
    "gradient_accumulation_steps": (int, 8),
    "apply_chat_template": (bool, True),
    "system_prompt": (str, "You are a helpful assistant"),
}


def names(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def extra(field: FieldInfo) -> dict[str, Any]:
    assert isinstance(field.json_schema_extra, dict)
    return dict(field.json_schema_extra)


@pytest.mark.parametrize(("name", "field"), OPTIONS, ids=[name for name, _ in OPTIONS])
def test_every_option_is_described_and_bounded(name: str, field: FieldInfo) -> None:
    assert field.description
    assert field.description.endswith("."), "a description is a sentence"
    assert extra(field)["group"] in write_reference.GROUPS
    if field.annotation in (int, float):
        kinds = {type(bound) for bound in field.metadata}
        assert kinds & {Ge, Gt}, "a number has a lower bound"
        assert kinds & {Le, Lt}, "a number has an upper bound"
        assert bounds_of(field)
    if field.annotation is str:
        assert {type(bound) for bound in field.metadata} & {MinLen, MaxLen}, "a text has a bound"


@pytest.mark.parametrize(("name", "field"), RunSpec.model_fields.items(), ids=list(RunSpec.model_fields))
def test_every_field_of_a_specification_is_described(name: str, field: FieldInfo) -> None:
    assert field.description
    assert field.description.endswith("."), "a description is a sentence"


def test_the_mission_s_table_is_kept() -> None:
    first = [(name, field) for name, field in OPTIONS if extra(field)["group"] == "mission"]
    assert [name for name, _ in first] == list(MISSION)
    for name, field in first:
        kind, default = MISSION[name]
        assert field.default == default
        assert type(field.default) is kind


def test_the_reference_page_is_up_to_date() -> None:
    written = write_reference.PAGE.read_text(encoding="utf-8")
    assert written == write_reference.reference(), "run `make docs`"
    for name in (*Hyperparameters.model_fields, *RunSpec.model_fields):
        assert f"`{name}`" in written


def test_an_option_that_is_added_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    class More(Hyperparameters):
        new_option: int = 3

    monkeypatch.setattr(write_reference, "Hyperparameters", More)
    with pytest.raises(TypeError):  # it has no group
        write_reference.reference()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("learning_rate", "number, above 0, to 1"),
        ("seq_length", "integer, 8 to 1,048,576, tokens"),
        ("label_smoothing", "number, 0 to below 0.5"),
        ("training_strategy", "`sft`, `dpo`"),
        ("load_in_4bit", "`true` or `false`"),
        ("target_modules", "text, at least 1 character"),
    ],
)
def test_values_are_written_as_people_read_them(name: str, text: str) -> None:
    assert values_of(Hyperparameters.model_fields[name]) == text


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://", "#", "mailto:")):
            assert (page.parent / target.split("#")[0]).exists(), f"{names(page)} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_options_in_command_lines_exist(page: Path) -> None:
    """Every `--option` that a page shows after `quickalign train` or `plan` is one."""
    own = {"output", "validation", "sample-prompt", "json", "no-resume", "resume", "help", "local", "detach", "workers"}
    own |= {"name", "gpus", "priority", "max-retries", "label"}
    known = own | {name.replace("_", "-") for name in (*Hyperparameters.model_fields, *RunSpec.model_fields)}
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in re.findall(r"^\s*(?:\$ )?quickalign (?:train|plan) .*$", text, re.MULTILINE):
        for option in re.findall(r"--([a-z0-9][a-z0-9-]*)", line):
            assert option in known, f"{names(page)} shows --{option}"


@pytest.mark.parametrize(
    "part",
    [
        r"(?<![\w.])\d+(?:\.\d+)*",
        r"`[^`\n]+`",
        r"\]\(((?!README)[^)\s]+)\)",
        r"(?m)^(?:quickalign|make|pip|git) [^#\n]+",
    ],
    ids=["numbers", "code", "links", "commands"],
)
def test_both_readmes_say_the_same(part: str) -> None:
    """As far as that shows without reading Chinese: the numbers, names, links and commands are the same ones."""
    english, chinese = (
        Counter(found.strip() for found in re.findall(part, (ROOT / name).read_text(encoding="utf-8")))
        for name in ("README.md", "README.zh-CN.md")
    )
    assert english == chinese


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "decisions").glob("*.md")), ids=lambda page: page.name)
def test_a_decision_has_the_number_of_its_file(page: Path) -> None:
    assert page.read_text(encoding="utf-8").startswith(f"# {int(page.name[:4])}. ")


def test_every_setting_of_the_server_is_documented() -> None:
    guide = (ROOT / "docs" / "user-guide" / "server.md").read_text(encoding="utf-8")
    for name, field in Config.model_fields.items():
        value = field.get_default(call_default_factory=True)
        default = f" `{json.dumps(value)}` |" if isinstance(value, str | int | tuple) else ""
        assert f"| `{name}` | {field.description} |{default}" in guide


def test_the_user_guide_is_reachable_from_the_readme() -> None:
    for readme in ("README.md", "README.zh-CN.md"):
        targets = {target.split("#")[0] for target in LINK.findall((ROOT / readme).read_text(encoding="utf-8"))}
        missing = {f"docs/user-guide/{page.name}" for page in (ROOT / "docs" / "user-guide").glob("*.md")} - targets
        assert not missing, f"{readme} does not link to {sorted(missing)}"

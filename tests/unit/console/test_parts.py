"""The pieces below the pages."""

import hashlib
import shlex
import tomllib
from importlib import resources
from types import SimpleNamespace

import pytest
from jinja2 import Environment

from quickalign.console import language, logs, options_form
from quickalign.console.differences import mark
from quickalign.console.rendering import environment
from quickalign.console.snippets import training
from quickalign.core.hyperparameters import Hyperparameters
from quickalign.core.wire.jobs import JobCreate, LogChunk, TrainRequest
from scripts import console_texts

SCHEMA = Hyperparameters.model_json_schema()


def test_vendored_files_are_what_the_manifest_says():
    folder = resources.files("quickalign.console") / "static" / "vendor"
    manifest = tomllib.loads((folder / "manifest.toml").read_text())
    named = {file for part in manifest.values() for file in (*part["files"], part["license_file"])}
    assert named | {"manifest.toml"} == {entry.name for entry in folder.iterdir()}
    for part in manifest.values():
        for name, digest in part["files"].items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name
        assert part["version"]
        assert part["license"]


@pytest.mark.parametrize(
    "text",
    [
        "{{ _('50 %% of <b>%(name)s</b>', name=name) }}", "{{ _('100 %%') }}", "{{ _('<i>plain</i>') }}", "{{ gettext('Jobs') }}",
        "{{ _('Train %(name)s', name=name) }}", "{{ _(name) }}", "{% trans %}Jobs{% endtrans %}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("tag", ["en", "zh"])
def test_texts_are_those_of_jinja_s_own_function(text, tag):
    words = language.words_of(tag)
    plain = Environment(autoescape=True, extensions=["jinja2.ext.i18n"])
    plain.install_gettext_callables(words.gettext, words.ngettext, newstyle=True)
    expected = plain.from_string(text).render(name="<script>&")
    assert environment(tag).from_string(text).render(name="<script>&") == expected


def test_every_text_is_translated():
    assert console_texts.missing("zh") == []


def test_translations_keep_the_values_in_them():
    import re

    for tag in language.LANGUAGES:
        words = language.words_of(tag)
        for text, translated in words.texts.items():
            assert sorted(re.findall(r"%\(\w+\)s", text)) == sorted(re.findall(r"%\(\w+\)s", translated)), text
            assert ("%%" in text) == ("%%" in translated), text


@pytest.mark.parametrize(
    ("wanted", "accepted", "tag"),
    [
        (None, "", "en"), (None, "zh", "zh"), ("en", "zh", "en"), ("xx", "zh-TW,en", "zh"), (None, "en;q=0.2,zh;q=0.9", "zh"),
        (None, "fr, de", "en"), (None, ";;;q=x,,zh;q=zz", "en"),
    ],
)  # fmt: skip
def test_the_browser_s_language_is_spoken(wanted, accepted, tag):
    assert language.choose(wanted, accepted) == tag


def test_numbers_as_each_language_writes_them():
    english, chinese = language.words_of("en"), language.words_of("zh")
    assert english.compact(7_600_000_000) == "7.6B"
    assert chinese.compact(7_600_000_000) == "76亿"
    assert english.size(6_200_000_000) == "6.2 GB"
    assert english.number(0.123456, 4) == "0.1235"
    assert english.percent(0.875) == "87.5%"
    assert english.number(None) == "–"
    assert english.ngettext("%(num)s job", "%(num)s jobs", 1) == "%(num)s job"
    assert chinese.ngettext("%(num)s job", "%(num)s jobs", 2) == "%(num)s 个任务"


def test_a_form_sends_only_what_is_not_the_default():
    form = {f"option.{field.name}": field.shown(field.default) for field in options_form.fields(SCHEMA)}
    assert options_form.read(form, SCHEMA) == {}
    assert options_form.read(form | {"option.load_in_4bit": "false", "option.lora_dim": "8"}, SCHEMA) == {
        "load_in_4bit": False,
        "lora_dim": 8,
    }
    assert options_form.read({"option.lora_dim": "8.5"}, SCHEMA) == {"lora_dim": "8.5"}


def test_the_snippets_make_the_same_job():
    spec = TrainRequest(
        model="qwen2-tiny-instruct",
        train="it's a file.json",
        bad_rows="drop",
        sample_prompts=("Hi $HOME?",),
        strategy="fsdp2",
        hyperparameters={"training_strategy": "dpo", "load_in_4bit": False, "learning_rate": 1e-4},
    )
    request = JobCreate(name='a "name"', spec=spec, metadata={"team": "x y"}, priority=2, workers=3)
    texts = training.all_of(request, "http://127.0.0.1:8421")
    words = shlex.split(texts["curl"].replace("\\\n", " "))
    assert JobCreate.model_validate_json(words[words.index("-d") + 1]) == request
    words = shlex.split(texts["CLI"].replace("\\\n", " "))
    assert words[:4] == ["quickalign", "train", "qwen2-tiny-instruct", "it's a file.json"]
    options = dict(zip(words[4::2], words[5::2], strict=True))
    assert options["--load-in-4bit"] == "false"
    assert options["--sample-prompt"] == "Hi $HOME?"
    assert options["--label"] == "team=x y"
    assert (options["--workers"], options["--strategy"]) == ("3", "fsdp2")
    assert _job_of_program(texts["SDK"]) == request


def _job_of_program(text):
    """What the program asks of the SDK, as a job."""
    calls = {}

    class Recipe:
        def __init__(self, **arguments):
            calls["recipe"] = arguments

        def train(self, inputs, **arguments):
            calls["train"] = {"inputs": inputs, **arguments}

        def model_data(self):
            return ""

    body = text.partition("\n\n")[2]
    exec(compile(body, "sdk", "exec"), {"ModelTrainingRecipe": Recipe, "print": lambda *_: None})
    recipe, train = calls["recipe"], calls["train"]
    spec = {"model": recipe.pop("model_name"), "train": train["inputs"]["train"]}
    spec |= {name: recipe.pop(name) for name in ("hyperparameters", "bad_rows", "sample_prompts", "strategy")}
    recipe["workers"] = recipe.pop("instance_count")
    return JobCreate(name=train["job_name"], spec=spec, metadata=recipe.pop("labels"), **recipe)


def test_differences_are_what_only_one_has():
    left, right = mark("The sky is blue.", "The sky was very blue.")
    assert "".join(piece.text for piece in left) == "The sky is blue."
    assert "".join(piece.text for piece in right) == "The sky was very blue."
    assert [piece.text for piece in left if piece.differs] == ["is"]
    assert "".join(piece.text for piece in right if piece.differs) in ("was very", "wasvery ", "was very ")
    assert all(not piece.differs for piece in mark("same", "same")[0])


class _Log:
    def __init__(self, content):
        self.content = content
        self.jobs = SimpleNamespace(logs=self.logs, log_size=lambda _: len(content))

    def logs(self, job_id, *, offset, limit):
        text = self.content[offset : offset + limit].decode()
        end = min(offset + limit, len(self.content))
        return LogChunk(offset=offset, next_offset=end, text=text, complete=True)


def test_a_search_finds_what_lies_across_blocks():
    block = logs._BLOCK
    content = bytearray(b"." * (3 * block + 100))
    places = [10, block - 3, 2 * block + 5, 3 * block + 50]
    for place in places:
        content[place : place + 6] = b"NeedLe"
    platform = _Log(bytes(content))
    found, start = [], 0
    while (answer := logs.search(platform, "job", "needle", start=start))["found"] is not None:
        found.append(answer["found"])
        start = answer["found"] + 1
    assert found == places
    assert answer["reached"] is None
    back, start = [], len(content)
    while (answer := logs.search(platform, "job", "needle", start=start, backwards=True))["found"] is not None:
        back.append(answer["found"])
        start = answer["found"]
    assert back == places[::-1]


def test_a_long_search_says_how_far_it_came():
    platform = _Log(b"." * (logs._SEARCHED + 3 * logs._BLOCK) + b"needle")
    answer = logs.search(platform, "job", "needle", start=0)
    assert answer["found"] is None
    assert answer["reached"] == logs._SEARCHED
    assert logs.search(platform, "job", "needle", start=answer["reached"])["found"] == len(platform.content) - 6


def test_windows_of_a_log():
    content = b"".join(b"line %06d\n" % i for i in range(20_000))
    platform = _Log(content)
    last = logs.window(platform, "job", "end", len(content), len(content))
    assert last["text"].startswith("line ")
    assert content.endswith(last["text"].encode())
    assert last["start"] == len(content) - len(last["text"])
    before = logs.window(platform, "job", str(last["start"] - 100), last["start"], len(content))
    assert before["next"] == last["start"]

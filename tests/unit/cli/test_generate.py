"""`generate` passes prompts and options on and shows answers alone, several, or beside the base's."""

import io
import json
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import pytest


class Echo:
    """Answers with what it was asked, so that a test sees what arrived."""

    base = "small-base"

    def __init__(self) -> None:
        self.adapter = True

    def answer_many(self, prompts, *, max_new_tokens, temperature, seed):
        name = "tuned" if self.adapter else "base"
        return [f"{name}:{prompt}:{max_new_tokens}:{temperature}:{seed}" for prompt in prompts]

    @contextmanager
    def without_adapter(self):
        self.adapter = False
        yield
        self.adapter = True


@pytest.fixture
def loaded(monkeypatch):
    """The arguments of every load."""
    calls = []

    def load_for_generation(source, **options):
        calls.append((source, options))
        return Echo()

    monkeypatch.setitem(
        sys.modules, "quickalign.train.generate", SimpleNamespace(load_for_generation=load_for_generation)
    )
    return calls


def test_one_prompt_gives_the_answer_and_nothing_else(cli, loaded):
    assert cli("generate", "run", "Hi [b]")[:2] == (0, "tuned:Hi [b]:256:0.0:0\n")
    assert loaded == [("run", {"revision": None, "system_prompt": None})]


def test_options_are_passed_on(cli, loaded):
    arguments = [
        "--max-new-tokens",
        "7",
        "--temperature",
        "0.5",
        "--seed",
        "3",
        "--system-prompt",
        "",
        "--model-revision",
        "r",
    ]
    assert cli("generate", "run", "Hi", *arguments)[1] == "tuned:Hi:7:0.5:3\n"
    assert loaded == [("run", {"revision": "r", "system_prompt": ""})]


def test_several_prompts_are_told_apart(cli, loaded):
    out = cli("generate", "run", "one", "two")[1]
    assert out.index("❯ one") < out.index("tuned:one") < out.index("❯ two") < out.index("tuned:two")


def test_compare_shows_the_base_beside_the_tuned_model(cli, loaded):
    out = cli("generate", "run", "Hi", "--compare")[1]
    assert "base, small-base" in out
    assert "base:Hi:256:0.0:0" in out
    assert "tuned:Hi:256:0.0:0" in out


def test_json_holds_every_answer(cli, loaded):
    out = cli("generate", "run", "Hi", "Ho", "--compare", "--json")[1]
    assert [row["prompt"] for row in json.loads(out)] == ["Hi", "Ho"]
    assert json.loads(out)[1] == {"prompt": "Ho", "answer": "tuned:Ho:256:0.0:0", "base": "base:Ho:256:0.0:0"}
    assert "base" not in json.loads(cli("generate", "run", "Hi", "--json")[1])[0]


def test_lines_of_standard_input_are_prompts(cli, loaded, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("one\n\ntwo\n"))
    assert [row["prompt"] for row in json.loads(cli("generate", "run", "--json")[1])] == ["one", "two"]


@pytest.mark.parametrize("given", [("caf\udce9",), ()])
def test_a_prompt_that_is_not_utf8_is_a_sentence_before_the_model_is_loaded(cli, loaded, monkeypatch, given):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9\n"), "utf-8", errors="surrogateescape"))
    code, _, err = cli("generate", "run", *given)
    assert code == 2
    assert "Prompt 1 is not UTF-8" in err
    assert not loaded


def test_no_prompt_at_all_and_a_seed_without_draws_are_errors(cli, loaded, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert cli("generate", "run")[0] == 2
    code, _, err = cli("generate", "run", "Hi", "--temperature", "1", "--seed", str(1 << 63))
    assert (code, "'--seed'" in err) == (2, True)
    code, _, err = cli("generate", "run", "Hi", "--seed", "3")
    assert code == 2
    assert "--seed has no effect with --temperature 0" in err
    assert not loaded

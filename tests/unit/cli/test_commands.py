"""`models` and `data check`: what they list, what they refuse, and what scripts get."""

import json

import pytest

from quickalign.hub.cards import cards


@pytest.fixture
def pairs(tmp_path):
    """A file of preference pairs, one of them twice with its answers swapped, and a bad row."""
    rows = [
        {"prompt": "Can I have [bold]cake[/bold]?", "chosen": "Yes, enjoy it.", "rejected": "No."},
        {"prompt": "Can I have [bold]cake[/bold]?", "chosen": "No.", "rejected": "Yes, enjoy it."},
        {"prompt": "Hi", "chosen": 3, "rejected": "x"},
    ]
    (tmp_path / "good.json").write_text(json.dumps(rows[:2]))
    (tmp_path / "bad.json").write_text(json.dumps(rows))
    return tmp_path


def test_every_card_is_listed_with_what_it_needs(cli):
    code, out, _ = cli("models", "list")
    assert code == 0
    assert all(f"\n{card.name} " in out for card in cards())
    assert f"{len(cards())} models" in out


def test_a_search_takes_all_its_words(cli):
    listed = json.loads(cli("models", "list", "--search", "QWEN2 72b", "--json")[1])
    assert {card["name"] for card in listed} == {
        "qwen2-72b", "qwen2-72b-instruct", "qwen2.5-72b", "qwen2.5-72b-instruct"
    }  # fmt: skip
    assert all(card["needs"]["qlora-4bit"] < card["needs"]["full"] for card in listed)


def test_a_card_is_shown_by_any_of_its_names_and_an_unknown_one_names_the_nearest(cli):
    assert cli("models", "show", "Qwen/Qwen2-7B-Instruct")[1] == cli("models", "show", "qwen2-7b-instruct")[1]
    code, _, err = cli("models", "show", "qwen2-7b-instrct")
    assert code == 4
    assert "qwen2-7b-instruct" in err


def test_a_good_file_succeeds_and_its_contradiction_is_counted(cli, pairs):
    code, out, _ = cli("data", "check", str(pairs / "good.json"))
    assert code == 0
    assert "✓ 2 usable" in out
    report = json.loads(cli("data", "check", str(pairs / "good.json"), "--json")[1])
    assert report["repetition"]["contradictions"] == 1
    assert report["tokens"] is None


def test_a_bad_row_fails_and_says_where(cli, pairs):
    code, out, _ = cli("data", "check", str(pairs / "bad.json"))
    assert code == 3
    assert "✗ 1 bad" in out
    assert "the number 3" in out


@pytest.mark.parametrize(
    ("option", "value"),
    [("--seq-length", "64"), ("--system-prompt", "x"), ("--model-revision", "r"), ("--no-chat-template", None)],
)
def test_options_that_act_on_tokens_need_a_model(cli, pairs, option, value):
    code, _, err = cli("data", "check", str(pairs / "good.json"), option, *([value] if value else []))
    assert code == 2
    assert f"{option} has no effect without --model" in err


def test_a_system_prompt_without_template_is_refused_as_it_is_for_training(cli, pairs):
    arguments = ("data", "check", str(pairs / "good.json"), "--model", "m", "--no-chat-template")
    code, _, err = cli(*arguments, "--system-prompt", "x")
    assert code == 2
    assert "--system-prompt has no effect with --no-chat-template" in err


def test_html_is_written_and_its_place_said(cli, pairs):
    html = pairs / "report.html"
    _, out, _ = cli("data", "check", str(pairs / "good.json"), "--html", str(html))
    assert f"Written to {html}" in out
    assert "<html" in html.read_text()


@pytest.mark.parametrize("place", ["good.json/report.html", "."])
def test_html_that_cannot_be_written_is_a_sentence_before_the_check(cli, pairs, place):
    code, out, err = cli("data", "check", str(pairs / "good.json"), "--html", str(pairs / place))
    assert (code, out) == (5, "")
    assert "cannot be written to" in err or "is a folder" in err


def test_a_misspelt_command_is_asked_back_with_one_mark(cli):
    code, _, err = cli("data", "chek")
    assert code == 2
    assert "Did you mean 'check'?\n" in err


def test_what_is_wrong_with_a_whole_specification_has_no_colon_in_front(cli, tmp_path):
    code, _, err = cli("compare", "one", "one", "--prompts", "p.txt", "--output", str(tmp_path / "out"))
    assert code == 2
    assert "✗ a model is named twice." in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "--local", "qwen2-tiny-instruct", "good.json", "--output"),
        ("eval", "--local", "qwen2-tiny-instruct", "good.json", "--output"),
        ("compare", "qwen2-tiny-instruct", "another", "--prompts", "prompts.txt", "--output"),
    ],
)
def test_results_that_cannot_be_written_are_a_sentence(cli, pairs, monkeypatch, arguments):
    monkeypatch.chdir(pairs)
    (pairs / "prompts.txt").write_text("Hi\n")
    code, _, err = cli(*arguments, "good.json/run")
    assert code == 5
    assert "The folder good.json/run cannot be written to" in err


def test_a_file_that_is_not_there_is_one_sentence(cli, pairs):
    code, _, err = cli("data", "check", str(pairs / "none.json"))
    assert code == 5
    assert "does not exist" in err

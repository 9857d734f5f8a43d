"""A file in, a report and a store out: verdicts, counts against plain recounting, and what stops a run."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quickalign.core import options
from quickalign.core.errors import DataError, OptionError
from quickalign.core.spec import RunSpec
from quickalign.data.encode import EncodedPair
from quickalign.data.prepare import DataRequest, check, prepare
from quickalign.data.report import DataReport, TokenFacts
from quickalign.data.statistics import script_of
from quickalign.data.token_statistics import Histogram
from quickalign.train.data import prepare_data
from quickalign.train.distributed import Processes
from quickalign.train.observer import Observer
from tests.support import tokenizers as toys

TOKENIZER = toys.qwen2_like()
SYSTEM = "You are a helpful assistant"


def row(prompt="Hello", chosen="one two three", rejected="four", **extra) -> dict[str, Any]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected} | extra


def write(folder: Path, rows: list[Any], name="data.json") -> str:
    (folder / name).write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return str(folder / name)


def request(uri: str, **changes) -> DataRequest:
    values: dict[str, Any] = {"uri": uri, "seq_length": 512, "system_prompt": SYSTEM} | changes
    return DataRequest(**values)


def facts(report: DataReport) -> TokenFacts:
    assert report.tokens is not None
    return report.tokens


def test_rows_by_verdict_and_the_store_holds_the_good_ones_in_order(tmp_path):
    rows = [row("a"), row(rejected=""), row("b", category="harm"), "no row", row("c", score=1)]
    uri = write(tmp_path, rows)
    prepared = prepare(request(uri, bad_rows="drop"), TOKENIZER, tmp_path / "store")
    report = prepared.report
    assert (report.rows, report.ok, report.bad, report.dropped, report.examples) == (5, 3, 2, 2, 3)
    assert [(bad.row, bad.field) for bad in report.bad_rows] == [(2, "rejected"), (4, "")]
    assert (report.empty_answers, report.unused_fields, report.categories) == (1, ("score",), {"harm": 1})
    assert [item.row for item in prepared.store] == [1, 3, 5]
    assert (report.format, report.kind, report.container) == ("prompt", "preference", "JSON array")


def test_a_bad_row_stops_a_run_and_leaves_no_store(tmp_path):
    uri = write(tmp_path, [row(), row(chosen=7), row(rejected=None)])
    with pytest.raises(DataError) as caught:
        prepare(request(uri), TOKENIZER, tmp_path / "store")
    text = str(caught.value)
    assert "2 of 3 rows" in text
    assert "row 2, field 'chosen': found the number 7, expected a text." in text
    assert "--bad-rows drop" in text
    assert not (tmp_path / "store").exists()
    assert check(request(uri), TOKENIZER).bad == 2


def test_nothing_left_to_train_on_is_an_error_even_when_dropping(tmp_path):
    uri = write(tmp_path, [row(chosen="")])
    with pytest.raises(DataError, match="no row that can be used"):
        prepare(request(uri, bad_rows="drop"), TOKENIZER, tmp_path / "store")


def test_check_without_a_tokenizer_counts_rows_only(tmp_path):
    report = check(request(write(tmp_path, [row(), row()])), None)
    assert report.tokens is None
    assert (report.ok, report.repetition.duplicates) == (2, 1)


def test_a_row_whose_answer_would_be_empty_is_bad_only_with_a_tokenizer(tmp_path):
    long_system = {"messages": [{"role": "system", "content": "one two three " * 20}, *CHAT]}
    uri = write(tmp_path, [{"messages": CHAT}, long_system])
    assert check(request(uri, seq_length=40), None).bad == 0
    report = check(request(uri, seq_length=40), TOKENIZER)
    assert (report.ok, report.bad) == (1, 1)
    assert "seq_length=40" in report.bad_rows[0].expected


CHAT = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


def test_a_conversation_is_used_with_all_its_answers_or_not_at_all(tmp_path):
    talk = [*CHAT, *CHAT]
    report = check(request(write(tmp_path, [{"messages": talk}, {"messages": CHAT}])), TOKENIZER)
    assert (report.ok, report.examples, report.kind) == (2, 3, "supervised")
    joined = request(write(tmp_path, [{"messages": talk}, {"messages": CHAT}]), apply_chat_template=False)
    report = check(joined, TOKENIZER)
    assert (report.ok, report.bad, report.examples) == (1, 1, 1)


words = st.sampled_from(["one", "two", "three four", "five six seven", "好"])


@given(st.lists(st.tuples(words, words, words), min_size=1, max_size=25))
@settings(max_examples=50, deadline=None)
def test_repetitions_equal_a_plain_recount(tmp_path_factory, triples):
    uri = write(tmp_path_factory.mktemp("r"), [row(*triple) for triple in triples])
    report = check(request(uri), None)
    seen: list[tuple[str, str, str]] = []
    duplicates = contradictions = 0
    for prompt, chosen, rejected in triples:
        duplicates += (prompt, chosen, rejected) in seen
        contradictions += chosen != rejected and (prompt, rejected, chosen) in seen
        seen.append((prompt, chosen, rejected))
    per_prompt = Counter(prompt for prompt, _, _ in triples)
    assert report.repetition.duplicates == duplicates
    assert report.repetition.contradictions == contradictions
    assert report.repetition.prompts == len(per_prompt)
    assert report.repetition.prompts_with_several_rows == sum(count > 1 for count in per_prompt.values())
    assert report.chosen_equals_rejected == sum(chosen == rejected for _, chosen, rejected in triples)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=60), st.floats(0.01, 1.0))
@settings(max_examples=100, deadline=None)
def test_quantiles_equal_numpys_on_the_sorted_lengths(lengths, share):
    histogram = Histogram()
    histogram.add(lengths)
    assert histogram.smallest_covering(share) == int(np.quantile(lengths, share, method="inverted_cdf"))
    assert histogram.mean() == pytest.approx(np.mean(lengths))
    covered = sum(length <= histogram.smallest_covering(share) for length in lengths)
    assert covered >= share * len(lengths) - 1e-6


def test_lengths_and_truncation_equal_a_recount_over_the_store(tmp_path):
    rows = [row("one two " * n, "three four " * (n % 7 + 1), "five " * (n % 5 + 1)) for n in range(1, 40)]
    uri = write(tmp_path, rows)
    whole = prepare(request(uri, seq_length=10_000), TOKENIZER, tmp_path / "whole")
    store = np.asarray(whole.store.lengths)
    totals = store[:, 0] + store[:, 1:].max(axis=1)
    seq_length = int(np.quantile(totals, 0.6))
    cut = prepare(request(uri, seq_length=seq_length), TOKENIZER, tmp_path / "cut")
    found = facts(cut.report)
    assert found.lengths == facts(whole.report).lengths
    assert found.lengths.total.max == totals.max()
    assert found.lengths.prompt.p90 == int(np.quantile(store[:, 0], 0.9, method="inverted_cdf"))
    assert found.truncation.rows_cut == int((totals > seq_length).sum()) > 0
    shorter = np.asarray(cut.store.lengths)
    assert found.truncation.tokens_lost == int((store - shorter).sum())
    assert found.truncation.prompt_cut == int((store[:, 0] > shorter[:, 0]).sum())
    assert found.truncation.answer_cut == int((store[:, 1:] > shorter[:, 1:]).any(axis=1).sum())
    assert (shorter[:, 0] + shorter[:, 1:].max(axis=1)).max() <= seq_length
    keeps = request(uri, seq_length=found.truncation.keeps_95)
    assert facts(check(keeps, TOKENIZER)).truncation.rows_cut <= 0.05 * len(rows)
    assert facts(check(request(uri, seq_length=found.truncation.keeps_100), TOKENIZER)).truncation.rows_cut == 0
    assert facts(whole.report).truncation.rows_cut == 0


def test_length_bias(tmp_path):
    rows = [row(f"p{i}", "one two three four " * 3, "five") for i in range(8)] + [
        row("q", "one", "one"),
        row("r", "a", "b c d"),
    ]
    report = check(request(write(tmp_path, rows)), TOKENIZER)
    bias = facts(report).length_bias
    assert bias is not None
    assert (bias.chosen_longer, bias.rejected_longer) == (0.8, 0.1)
    assert any("longer one in 80%" in warning for warning in report.warnings)


def test_the_first_row_shows_what_the_store_holds(tmp_path):
    prepared = prepare(request(write(tmp_path, [row("你好 😀", "one\n", " two")])), TOKENIZER, tmp_path / "s")
    first, example = facts(prepared.report).first_row, prepared.store[0]
    assert isinstance(example, EncodedPair)
    assert [token.id for token in first.tokens] == [*example.prompt, *example.chosen]
    assert first.rejected_tokens is not None
    assert [token.id for token in first.rejected_tokens] == [*example.prompt, *example.rejected]
    assert [token.part for token in first.tokens] == ["prompt"] * len(example.prompt) + ["answer"] * len(example.chosen)
    assert first.prompt.endswith("你好 😀<|im_end|>\n<|im_start|>assistant\n")
    assert (first.answer, first.rejected) == ("one\n<|im_end|>\n", " two<|im_end|>\n")
    assert "".join(token.text for token in first.tokens if token.part == "answer") == first.answer


def test_warnings_say_what_happens_to_the_templates_own_system_message(tmp_path):
    uri = write(tmp_path, [row()])
    report = check(request(uri, system_prompt=""), TOKENIZER)
    assert any("'You are a helpful assistant.'" in warning for warning in report.warnings)
    assert not any("system" in warning for warning in check(request(uri), TOKENIZER).warnings)


def test_an_answer_that_the_template_changes_is_reported(tmp_path):
    tokenizer = toys.qwen2_like(toys.THINKING_ANSWER)
    rows = [row(chosen="<think>plan</think>one two"), row("x", "one")]
    report = check(request(write(tmp_path, rows)), tokenizer)
    assert facts(report).answers_changed == 1
    assert any("writes differently" in warning for warning in report.warnings)


def test_a_template_without_end_mark_is_reported(tmp_path):
    template = "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}"
    report = check(request(write(tmp_path, [row()])), toys.qwen2_like(template))
    assert facts(report).special_tokens.end_token is None
    assert any("not taught to stop" in warning for warning in report.warnings)


def test_the_same_content_gives_the_same_fingerprint_from_every_format(tmp_path):
    lines = "\n".join(
        json.dumps({k: [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": text}] for k, text in p})
        for p in [(("chosen", "one two three"), ("rejected", "four"))]
    )
    (tmp_path / "chat.jsonl").write_text(lines)
    one = prepare(request(write(tmp_path, [row()])), TOKENIZER, tmp_path / "a")
    other = prepare(request(str(tmp_path / "chat.jsonl")), TOKENIZER, tmp_path / "b")
    assert (one.report.format, other.report.format) == ("prompt", "messages")
    assert one.store.fingerprint == other.store.fingerprint
    assert one.report.sha256 != other.report.sha256


def test_the_report_survives_json(tmp_path):
    report = check(request(write(tmp_path, [row(), row(chosen="")])), TOKENIZER)
    assert DataReport.model_validate_json(report.model_dump_json()) == report


def test_a_request_from_a_specification(tmp_path):
    spec = RunSpec(
        model="m",
        train="t.json",
        output=tmp_path,
        bad_rows="drop",
        safe_rlhf_preference="safer",
        hyperparameters=options.parse({"training_strategy": "dpo", "seq_length": 77, "apply_chat_template": False}),
    )
    assert DataRequest.from_spec(spec) == DataRequest(
        "t.json", "auto", "dpo", "drop", "safer", seq_length=77, apply_chat_template=False, system_prompt=SYSTEM
    )
    assert DataRequest.from_spec(spec, uri="v.json").uri == "v.json"
    judged = {"prompt": "Hello", "response_0": "a", "response_1": "b", "safer_response_id": 1}
    report = check(DataRequest.from_spec(spec, uri=write(tmp_path, [judged])), toys.qwen2_like(None))
    assert facts(report).first_row.prompt == "Hello"


JUDGED = {"prompt": "Hello", "response_0": "a", "response_1": "b", "better_response_id": 0, "safer_response_id": 1}


def test_a_judgement_that_the_format_does_not_have_is_refused(tmp_path):
    pairs, judged = write(tmp_path, [row()], "pairs.json"), write(tmp_path, [JUDGED], "judged.json")
    for read in (check, lambda asked, tokenizer: prepare(asked, tokenizer, tmp_path / "store")):
        with pytest.raises(OptionError, match=r"safe_rlhf_preference=safer has no effect .* format prompt"):
            read(request(pairs, safe_rlhf_preference="safer"), TOKENIZER)
    assert facts(check(request(judged, safe_rlhf_preference="safer"), TOKENIZER)).first_row.answer.startswith("b")
    assert check(request(pairs, safe_rlhf_preference="better"), None).ok == 1


@pytest.mark.parametrize("names", [("judged.json", "pairs.json"), ("pairs.json", "judged.json")])
def test_a_judgement_may_be_for_one_of_a_runs_two_files(tmp_path, names):
    write(tmp_path, [row()], "pairs.json"), write(tmp_path, [JUDGED], "judged.json")
    train, validation = (str(tmp_path / name) for name in names)
    spec = RunSpec(
        model="m",
        train=train,
        validation=validation,
        output=tmp_path,
        safe_rlhf_preference="safer",
        hyperparameters=options.parse({"training_strategy": "dpo"}),
    )
    prepare_data(spec, TOKENIZER, tmp_path / "data", Observer(), Processes())
    with pytest.raises(OptionError, match=r"no effect .* format prompt"):
        pairs = {"train": str(tmp_path / "pairs.json"), "validation": str(tmp_path / "pairs.json")}
        prepare_data(spec.model_copy(update=pairs), TOKENIZER, tmp_path / "again", Observer(), Processes())


def test_a_model_without_template_is_an_error_before_the_file_is_read(tmp_path):
    with pytest.raises(OptionError, match="no chat template"):
        check(request(str(tmp_path / "nowhere.json")), toys.qwen2_like(None))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Could you please?", "Latin script"),
        ("你能用 Python 写一个程序吗", "Chinese"),
        ("これは何ですか", "Japanese"),
        ("안녕하세요", "Korean"),
        ("Привет", "Cyrillic script"),
        ("123 😀", "no letters"),
    ],
)
def test_scripts(text, name):
    assert script_of(text) == name


def test_a_file_without_any_readable_row_says_what_is_wrong_with_the_first(tmp_path):
    path = tmp_path / "gbk.jsonl"
    path.write_bytes('{"prompt": "你好吗朋友", "chosen": "好", "rejected": "不"}\n'.encode("gbk") * 3)
    with pytest.raises(DataError, match=r"row 1: found the byte 0xc4 at byte offset 12, .*GBK"):
        check(request(str(path)), None)


def test_a_very_long_first_row_is_listed_up_to_a_bound(tmp_path):
    uri = write(tmp_path, [row("one " * 6000)])
    first = facts(check(request(uri, seq_length=100_000), TOKENIZER)).first_row
    assert len(first.tokens) == 4096
    assert first.hidden > 1000


@pytest.mark.parametrize(
    ("changes", "mark"),
    [
        ({"prompt": "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"}, "<|im_start|>"),
        ({"chosen": "Fine.<|im_end|>\n<|im_start|>user\nMore?"}, "<|im_end|>"),
        ({"prompt": "Hello<|im_end|>"}, "<|im_end|>"),
        ({"chosen": "Fine.<|im_end|>", "rejected": "No <|im_end|>\n<|im_end|>\n"}, ""),  # counted as doubled ends
        ({"prompt": "What is <|im start|> or [INST]?"}, ""),
    ],
)
def test_rows_that_were_rendered_before_are_told(tmp_path, changes, mark):
    uri = write(tmp_path, [row(), row(**changes)])
    found = check(request(uri), TOKENIZER)
    told = [warning for warning in found.warnings if "marks of the model" in warning]
    assert (facts(found).special_tokens.in_texts, facts(found).special_tokens.in_texts_first) == (int(bool(mark)), mark)
    assert len(told) == bool(mark)
    if mark:
        assert told[0].startswith(f"1 row has marks of the model as text, such as {mark!r},")
        plain = check(request(uri, apply_chat_template=False, system_prompt=""), TOKENIZER)
        assert facts(plain).special_tokens.in_texts == 0


def test_fields_that_other_tools_train_on_are_told(tmp_path):
    found = check(request(write(tmp_path, [row(system="Be brief.", images=["a.png"], score=1)])), TOKENIZER)
    assert found.unused_fields == ("images", "score", "system")
    assert "Nothing of the fields images, system is used, which other tools train on." in found.warnings
    assert not any("fields" in warning for warning in check(request(write(tmp_path, [row(score=1)])), None).warnings)

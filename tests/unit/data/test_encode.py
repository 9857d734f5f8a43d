"""Prompt and answer ids: the mission's template rule, the boundary, begin and end tokens."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quickalign.core.errors import OptionError
from quickalign.data.encode import EncodedPair, EncodedRecord, EncodedSample, Encoder
from quickalign.data.problem import RowProblem
from quickalign.data.records import Message, PreferenceRecord, SupervisedRecord
from tests.support import tokenizers as toys

SYSTEM = "You are a helpful assistant"


def pair(prompt: Any = "Could you please hurt me?", chosen="I can't hurt you.", rejected="Yes."):
    messages = (Message("user", prompt),) if isinstance(prompt, str) else prompt
    raw = messages[0].content if len(messages) == 1 else None
    return PreferenceRecord(1, messages, chosen, rejected, raw_prompt=raw)


def encode(record, tokenizer=None, *, seq_length=4096, system_prompt=SYSTEM, **options) -> EncodedRecord:
    encoder = Encoder(tokenizer or toys.qwen2_like(), seq_length=seq_length, system_prompt=system_prompt, **options)
    row = encoder.encode([record])[0]
    assert isinstance(row, EncodedRecord), row
    return row


def ids(tokenizer, text: str) -> list[Any]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def test_the_missions_rule_for_qwen2_holds_token_for_token():
    tokenizer = toys.qwen2_like()
    start, end = (tokenizer.convert_tokens_to_ids(mark) for mark in ("<|im_start|>", "<|im_end|>"))
    plain = lambda text: ids(tokenizer, text)  # noqa: E731
    prompt = [
        *[start, *plain("system"), *plain("\n"), *plain(SYSTEM), end, *plain("\n")],
        *[start, *plain("user"), *plain("\n"), *plain("Could you please hurt me?"), end, *plain("\n")],
        *[start, *plain("assistant"), *plain("\n")],
    ]
    example = encode(pair(), tokenizer).example
    assert isinstance(example, EncodedPair)
    assert example.prompt.tolist() == prompt
    assert example.chosen.tolist() == [*plain("I can't hurt you."), end, *plain("\n")]
    assert example.rejected.tolist() == [*plain("Yes."), end, *plain("\n")]


def test_a_supervised_record_has_prompt_and_response():
    tokenizer = toys.qwen2_like()
    example = encode(SupervisedRecord(7, (Message("user", "Hello"),), "one two"), tokenizer).example
    assert isinstance(example, EncodedSample)
    assert example.row == 7
    assert tokenizer.decode(example.response.tolist()) == "one two<|im_end|>\n"


def test_a_system_message_of_the_row_replaces_the_default():
    tokenizer = toys.qwen2_like()
    record = pair((Message("system", "Be brief."), Message("user", "Hello")))
    text = str(tokenizer.decode(encode(record, tokenizer).example.prompt.tolist()))
    assert text.startswith("<|im_start|>system\nBe brief.<|im_end|>\n")
    assert SYSTEM not in text


def test_without_system_prompt_the_templates_own_one_is_found_and_used():
    encoder = Encoder(toys.qwen2_like(), seq_length=64, system_prompt="")
    assert encoder.template is not None
    assert encoder.template.own_system == "You are a helpful assistant."
    assert "You are a helpful assistant." in encoder.prompt_text((Message("user", "Hello"),))
    other = Encoder(toys.qwen2_like(toys.THINKING_PROMPT), seq_length=64, system_prompt="")
    assert other.template is not None
    assert other.template.own_system is None


texts = st.text(min_size=1, max_size=60).filter(lambda text: text.strip() and "<|" not in text)


@given(prompt=texts, chosen=texts, rejected=texts)
@settings(max_examples=60, deadline=None)
def test_training_ids_of_the_prompt_are_the_served_ones_whatever_the_answer_is(prompt, chosen, rejected):
    tokenizer = toys.qwen2_like()
    example = encode(pair(prompt, chosen, rejected), tokenizer).example
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}]
    served = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert example.prompt.tolist() == served
    assert isinstance(example, EncodedPair)
    assert example.chosen.tolist() == ids(tokenizer, chosen + "<|im_end|>\n")


def test_an_answer_that_begins_with_a_line_break_does_not_change_the_prompt():
    tokenizer = toys.qwen2_like()
    assert ids(tokenizer, "a\n\nb") != ids(tokenizer, "a\n") + ids(tokenizer, "\nb"), "the boundary would move"
    plain, broken = (encode(pair(chosen=text), tokenizer).example.prompt.tolist() for text in ("Hello", "\nHello"))
    assert plain == broken


def test_a_thinking_block_in_the_answer_is_part_of_what_the_template_adds():
    tokenizer = toys.qwen2_like(toys.THINKING_ANSWER)
    example = encode(pair(chosen="one two"), tokenizer).example
    assert isinstance(example, EncodedPair)
    assert str(tokenizer.decode(example.prompt.tolist())).endswith("<|im_start|>assistant\n")
    assert tokenizer.decode(example.chosen.tolist()) == "<think>\n\n</think>\n\none two<|im_end|>\n"


def test_a_thinking_block_in_the_served_prompt_only_is_kept_in_the_prompt():
    tokenizer = toys.qwen2_like(toys.THINKING_PROMPT)
    example = encode(pair(chosen="one two"), tokenizer).example
    assert isinstance(example, EncodedPair)
    assert str(tokenizer.decode(example.prompt.tolist())).endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert tokenizer.decode(example.chosen.tolist()) == "one two<|im_end|>\n"


@pytest.mark.parametrize(("template", "reason"), [(toys.NO_SYSTEM, "System role"), (toys.FORGETS_SYSTEM, "leaves")])
def test_a_template_that_takes_no_system_message_is_an_error_with_the_remedy(template, reason):
    with pytest.raises(OptionError, match=reason) as caught:
        Encoder(toys.qwen2_like(template), seq_length=64, system_prompt=SYSTEM)
    assert 'system_prompt=""' in str(caught.value)


@pytest.mark.parametrize("template", [toys.NO_SYSTEM, toys.FORGETS_SYSTEM])
def test_a_rows_own_system_message_is_never_left_out_without_a_word(template):
    encoder = Encoder(toys.qwen2_like(template, begin=True), seq_length=64)
    bad, good = encoder.encode([pair((Message("system", "Be kind."), Message("user", "Hello"))), pair("Hello")])
    assert isinstance(bad, RowProblem)
    assert "system message" in bad.found + bad.expected
    assert isinstance(good, EncodedRecord)


def test_a_template_that_renders_nothing_is_called_broken():
    broken = toys.qwen2_like("{% for m in messages %}{{ broken( }}{% endfor %}")
    with pytest.raises(OptionError, match=r"chat template of this model is broken.*apply_chat_template=false"):
        Encoder(broken, seq_length=64, system_prompt="Be brief.")


def test_a_tokenizer_without_template_is_an_error_with_the_remedy():
    with pytest.raises(OptionError, match="apply_chat_template=false"):
        Encoder(toys.qwen2_like(None), seq_length=64)


def test_joined_texts_get_one_begin_and_one_end_token():
    tokenizer = toys.qwen2_like(begin=True)
    example = encode(pair("one", " two", " three"), tokenizer, apply_chat_template=False, system_prompt="").example
    assert isinstance(example, EncodedPair)
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    assert example.prompt.tolist() == [begin, *ids(tokenizer, "one")]
    assert example.chosen.tolist() == [*ids(tokenizer, " two"), end]


def test_begin_and_end_tokens_in_the_texts_are_not_doubled():
    tokenizer = toys.qwen2_like(begin=True)
    row = encode(
        pair("<|endoftext|>one", " two<|im_end|>", " three"), tokenizer, apply_chat_template=False, system_prompt=""
    )
    assert isinstance(row.example, EncodedPair)
    assert row.example.prompt.tolist() == [tokenizer.bos_token_id, *ids(tokenizer, "one")]
    assert row.example.chosen.tolist() == [*ids(tokenizer, " two"), tokenizer.eos_token_id]


@pytest.mark.parametrize("ending", ["<|im_end|>", "<|im_end|>\n", "<|im_end|><|im_end|>", "<|im_end|>\n<|im_end|>\n"])
def test_an_end_mark_in_an_answer_is_not_doubled_and_is_counted(ending):
    tokenizer = toys.qwen2_like()
    row = encode(pair(chosen="one two" + ending), tokenizer)
    assert isinstance(row.example, EncodedPair)
    assert tokenizer.decode(row.example.chosen.tolist()) == "one two<|im_end|>\n"
    assert row.facts.doubled_end


def test_a_begin_token_that_template_and_tokenizer_both_write_stands_once():
    tokenizer = toys.qwen2_like(toys.NO_SYSTEM, begin=True)
    encoder = Encoder(tokenizer, seq_length=64)
    assert tokenizer(encoder.prompt_text((Message("user", "a"),)))["input_ids"][:2] == [tokenizer.bos_token_id] * 2
    assert encoder.prompt_ids((Message("user", "a"),)).count(tokenizer.bos_token_id) == 1
    assert encoder.prevented == (True, False)


def test_joined_texts_need_a_plain_prompt():
    encoder = Encoder(toys.qwen2_like(), seq_length=64, apply_chat_template=False)
    problem = encoder.encode([pair((Message("user", "a"), Message("assistant", "b"), Message("user", "c")))])[0]
    assert isinstance(problem, RowProblem)
    assert "3 messages" in problem.found


def test_sentencepiece_answers_get_no_space_that_is_not_there():
    tokenizer = toys.llama_like()
    example = encode(pair("one", "two", "three"), tokenizer, apply_chat_template=False, system_prompt="").example
    assert isinstance(example, EncodedPair)
    whole = example.prompt.tolist() + example.chosen.tolist()
    assert tokenizer.decode(whole, skip_special_tokens=True) == "onetwo"


def test_sentencepiece_conversations_equal_the_tokenised_whole():
    tokenizer = toys.llama_like()
    example = encode(pair("one two", "three four", "five"), tokenizer, system_prompt="").example
    assert isinstance(example, EncodedPair)
    messages = [{"role": "user", "content": "one two"}, {"role": "assistant", "content": "three four"}]
    whole = tokenizer.apply_chat_template(messages, return_dict=False)
    assert example.prompt.tolist() + example.chosen.tolist() == whole


def test_a_batch_keeps_its_order_around_rows_that_cannot_be_encoded():
    encoder = Encoder(toys.qwen2_like(), seq_length=64, apply_chat_template=False)
    bad = pair((Message("user", "a"), Message("assistant", "b"), Message("user", "c")))
    rows = encoder.encode([pair("one"), bad, pair("two"), SupervisedRecord(9, (Message("user", "x"),), "y", "x")])
    assert [type(row) for row in rows] == [EncodedRecord, RowProblem, EncodedRecord, EncodedRecord]
    last = rows[3]
    assert isinstance(last, EncodedRecord)
    assert last.example.row == 9

"""Text while it comes: whole characters only, the same text in the end, and no beginning of a stop string."""

import itertools
from functools import lru_cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerBase

from quickalign.core import paths
from quickalign.data.tokenizer import load_tokenizer
from quickalign.serve.detokenize import Detokenizer, StopStrings
from quickalign.serve.vocabulary import Vocabulary

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)


@lru_cache
def tokenizer() -> PreTrainedTokenizerBase:
    return load_tokenizer(paths.assets() / "qwen2-tiny-instruct")


def decode(ids: object) -> str:
    return str(
        tokenizer().decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)  # type: ignore[call-overload]
    )


def pieces(ids: list[int]) -> list[str]:
    one = Detokenizer(decode)
    return [*(one.push(token) for token in ids), one.flush()]


@settings(max_examples=300, deadline=None)
@given(text=TEXT)
def test_any_text_comes_out_as_it_is_and_never_half_a_character(text: str) -> None:
    ids = tokenizer()(text, add_special_tokens=False)["input_ids"]
    made = pieces(ids)
    assert "".join(made) == decode(ids)
    if "\N{REPLACEMENT CHARACTER}" not in text:
        assert all("\N{REPLACEMENT CHARACTER}" not in piece for piece in made)


@settings(max_examples=200, deadline=None)
@given(ids=st.lists(st.integers(0, 5631), max_size=80))
def test_any_tokens_come_out_as_their_text(ids: list[int]) -> None:
    assert "".join(pieces(ids)) == decode(ids)


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=60))
def test_bytes_that_are_no_characters_come_out_too(data: bytes) -> None:
    one = Detokenizer(lambda ids: bytes(ids).decode("utf-8", "replace"))
    made = [*(one.push(byte) for byte in data), one.flush()]
    assert "".join(made) == data.decode("utf-8", "replace")


def sentencepiece() -> Tokenizer:
    """Words that begin with a space, which is left out before a text's first word; and single bytes, as Mistral's has."""
    words = ["▁", "▁I", "▁am", "▁glad", "ly", "好", *(f"<0x{byte:02X}>" for byte in range(256))]
    backend = Tokenizer(BPE({word: index for index, word in enumerate(words)}, [], byte_fallback=True))
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return backend


CHARACTERS = st.sampled_from("aé你🙂").map(lambda one: [6 + byte for byte in one.encode()])
PARTS = st.lists(st.integers(0, 5).map(lambda word: [word]) | CHARACTERS, max_size=30)
WORDS = PARTS.map(lambda parts: list(itertools.chain(*parts)))


@settings(max_examples=300, deadline=None)
@given(prompt=WORDS, last=st.integers(0, 5), answer=WORDS)
@example(prompt=[], last=0, answer=[6 + byte for byte in "🙂🙂🙂".encode()])
def test_an_answer_goes_on_where_its_prompt_ended(prompt: list[int], last: int, answer: list[int]) -> None:
    text = sentencepiece().decode
    for before in ([], [*prompt, last]):
        one = Detokenizer(text, before)
        made = "".join([*(one.push(token) for token in answer), one.flush()])
        assert text(before) + made == text([*before, *answer])


def test_half_a_character_of_a_prompt_is_not_finished_by_its_answer() -> None:
    one = Detokenizer(lambda ids: bytes(ids).decode("utf-8", "replace"), "é".encode()[:1])
    assert one.push(ord("a")) + one.flush() == "a"


def test_a_long_answer_is_decoded_in_a_window() -> None:
    longest = 0

    def counting(ids: object) -> str:
        nonlocal longest
        longest = max(longest, len(list(ids)))  # type: ignore[call-overload]
        return decode(ids)

    ids = tokenizer()("你好, I am glad to see you. " * 200, add_special_tokens=False)["input_ids"]
    one = Detokenizer(counting)
    assert "".join([*(one.push(token) for token in ids), one.flush()]) == decode(ids)
    assert longest < 40


@settings(max_examples=400, deadline=None)
@given(
    text=st.text("abc", max_size=30),
    stops=st.lists(st.text("abc", min_size=1, max_size=4), max_size=3),
    cuts=st.lists(st.integers(0, 30), max_size=8),
)
def test_stop_strings_end_the_text_and_never_show(text: str, stops: list[str], cuts: list[int]) -> None:
    places = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    one, shown = StopStrings(stops), ""
    for start, end in itertools.pairwise(places):
        shown += one.push(text[start:end])
        if one.stopped:
            break
        assert not any(stop in shown for stop in stops)
    stopped = one.stopped
    shown += one.flush()
    first = min((text.find(stop) for stop in stops if stop in text), default=None)
    assert stopped == (first is not None)
    if first is None:
        assert shown == text
    else:
        assert not any(stop in shown for stop in stops)
        assert text.startswith(shown)


@pytest.mark.parametrize("piece", [1, 2, 3, 100])
def test_the_earliest_stop_string_counts(piece: int) -> None:
    text, one, shown = "one two STOP three END", StopStrings(["END", "STOP"]), ""
    for start in range(0, len(text), piece):
        shown += one.push(text[start : start + piece])
    assert shown == "one two "
    assert one.stopped


def test_the_bytes_of_tokens_are_the_bytes_of_the_text() -> None:
    vocabulary = Vocabulary(tokenizer())
    text = "Good morning, 你好 🙂 é\n"
    ids = tokenizer()(text, add_special_tokens=False)["input_ids"]
    assert b"".join(vocabulary.content(token) for token in ids).decode() == text
    assert vocabulary.content(5631) == b"<|im_end|>"
    assert vocabulary.content(10**6) == b""

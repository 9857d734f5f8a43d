"""Where tokens begin in their text, against the text's own bytes."""

from collections.abc import Sequence
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from quickalign.serve.http.offsets import Offsets
from quickalign.serve.vocabulary import Vocabulary
from tests.support.chat import IM_START, byte_tokenizer

TOKENIZER = byte_tokenizer()
VOCABULARY = Vocabulary(TOKENIZER)


def offsets(ids: Sequence[int], text: str, vocabulary: Vocabulary = VOCABULARY) -> list[int]:
    places = Offsets(vocabulary)
    return [places.take(token, text, 0) for token in ids]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_each_byte_of_a_character_begins_where_the_character_does(text: str) -> None:
    ids = TOKENIZER.encode(text, add_special_tokens=False)
    assert len(ids) == len(text.encode())
    assert offsets(ids, text) == [at for at, character in enumerate(text) for _ in character.encode()]


def test_a_character_that_is_never_finished_is_one_of_the_text() -> None:
    ids = [*TOKENIZER.encode("é你", add_special_tokens=False)[:-1], *TOKENIZER.encode("ab", add_special_tokens=False)]
    text = TOKENIZER.decode(ids)
    assert text == "é\N{REPLACEMENT CHARACTER}ab"
    assert offsets(ids, text) == [0, 0, 1, 1, 2, 3]


def test_marks_count_where_the_text_has_them() -> None:
    mark = TOKENIZER.convert_tokens_to_ids(IM_START)
    a, b = TOKENIZER.encode("ab", add_special_tokens=False)
    assert offsets([mark, a, mark, b], "ab") == [0, 0, 1, 1]
    assert offsets([mark, a, mark, b], f"a{IM_START}b") == [0, 0, 1, 1 + len(IM_START)]


def test_an_answer_goes_on_behind_its_prompt() -> None:
    ids = TOKENIZER.encode("é", add_special_tokens=False)
    places = Offsets(VOCABULARY)
    assert [places.take(token, "é", 0) for token in ids] == [0, 0]
    places.jump(1)
    assert [places.take(token, "é", 1) for token in ids] == [1, 1]
    assert places.at == 2


@pytest.mark.parametrize("scheme", ["prepend", "first", "always"])
@pytest.mark.parametrize("text", ["a b", " a b", "  a", " ", "<s> a b", "<s>a b<s> a", "<s>a<s>b", " <s>  b a"])
def test_spaces_that_a_sentencepiece_tokenizer_wrote_are_told_from_the_texts_own(scheme: str, text: str) -> None:
    """Against the offsets that the tokenizers library itself tells."""
    tokenizer = spaced(scheme)
    told = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    found = Offsets(Vocabulary(tokenizer)).take_all(told["input_ids"], text)
    assert found == [begin for begin, _ in told["offset_mapping"]]


def spaced(scheme: str) -> PreTrainedTokenizerFast:
    """A tokenizer that begins texts with a space: always another one (Llama 2), or where there is none."""
    words = {"<unk>": 0, "▁": 1, "▁▁": 2, "a": 3, "b": 4, "▁a": 5, "<s>": 6}
    backend = Tokenizer(models.BPE(words, [("▁", "▁"), ("▁", "a")], unk_token="<unk>"))
    if scheme == "prepend":
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", unk_token="<unk>")


def test_a_space_that_the_tokenizer_wrote_is_not_counted() -> None:
    class Words:
        """A tokenizer that begins words with a space, as those of SentencePiece do."""

        added_tokens_decoder: ClassVar[dict[int, object]] = {}

        def convert_ids_to_tokens(self, token: int) -> str:
            return ["▁Hello", "▁you"][token]

    tokenizer: PreTrainedTokenizerBase = Words()  # type: ignore[assignment]
    assert offsets([0, 1, 0], "Hello you Hello", Vocabulary(tokenizer)) == [0, 5, 9]
    assert offsets([0, 1], " Hello you", Vocabulary(tokenizer)) == [0, 6]

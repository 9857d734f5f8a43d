"""One encoded row as people read it: every token with its id, its text and its part."""

from transformers import PreTrainedTokenizerBase

from quickalign.data.encode import EncodedPair, EncodedRow, IntArray
from quickalign.data.report import Part, RowView, TokenView

_SPACE_MARK = "▁"
_BROKEN = "\ufffd"

SHOWN_TOKENS = 4096
"""How many tokens of a row are listed one by one."""


def view(example: EncodedRow, tokenizer: PreTrainedTokenizerBase) -> RowView:
    """`example` as text and as tokens; what follows the prompt is what is scored."""
    prompt = _tokens(example.prompt, "prompt", tokenizer)
    answer = example.chosen if isinstance(example, EncodedPair) else example.response
    rejected = example.rejected if isinstance(example, EncodedPair) else None
    longest = len(prompt) + max(len(answer), 0 if rejected is None else len(rejected))
    return RowView(
        row=example.row,
        prompt=_text(example.prompt, tokenizer),
        answer=_text(answer, tokenizer),
        rejected=None if rejected is None else _text(rejected, tokenizer),
        tokens=(prompt + _tokens(answer, "answer", tokenizer))[:SHOWN_TOKENS],
        rejected_tokens=None if rejected is None else (prompt + _tokens(rejected, "answer", tokenizer))[:SHOWN_TOKENS],
        hidden=max(longest - SHOWN_TOKENS, 0),
    )


def _tokens(ids: IntArray, part: Part, tokenizer: PreTrainedTokenizerBase) -> tuple[TokenView, ...]:
    return tuple(TokenView(id=i, text=_token_text(i, tokenizer), part=part) for i in ids.tolist())


def _token_text(token: int, tokenizer: PreTrainedTokenizerBase) -> str:
    """The token's text; the tokenizer's own name for it where it is only a part of a character."""
    name = str(tokenizer.convert_ids_to_tokens(token))
    text = _text([token], tokenizer)
    if _BROKEN in text:
        return name
    # A SentencePiece decoder drops the space in front of a text, which here is every token.
    return f" {text}" if name.startswith(_SPACE_MARK) and not text.startswith(" ") else text


def _text(ids: "IntArray | list[int]", tokenizer: PreTrainedTokenizerBase) -> str:
    return str(tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

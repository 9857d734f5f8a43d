"""Rows of token ids for the training benchmark: lengths from a data file, or generated with the same distribution.

The model's weights are random, so only lengths matter, and what rows have in common. Lengths are those of Qwen2's
tokenizer and chat template as far as they can be told without it: words and punctuation marks, plus what the template
adds. On hh-rlhf harmless-base this gives means of 137, 40 and 50 tokens (prompt, chosen, rejected), where the real
tokenizer gives 136, 40 and 50. All prompts begin with the template's system turn and the marks of the user's, as all
prompts do that Qwen2's template makes of rows without a system message. Behind that, tokens are drawn at random.
"""

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from quickalign.data.encode import EncodedPair
from scripts.make_random_model import TINY_TOKENS

_WORDS = re.compile(r"\w+|[^\w\s]")
_TURNS = re.compile(r"\n\n(?:Human|Assistant):")
# Qwen2's template: five marks a turn; the system turn and the generation prompt; two behind an answer.
_TURN, _FRAME, _END = 5, 14, 2
# The system turn's eleven tokens (its words are "You are a helpful assistant.") and the three before the user's words:
# none of them is ever cut away.
_BEGINNING = 14
_TOKENS_PER_WORD = 1.06
# Rows that are generated to take a sample from.
_GENERATED = 2000

Lengths = tuple[int, int, int]


def make_rows(name: str, count: int, seq_length: int, vocabulary: int) -> list[EncodedPair]:
    """`count` rows cut to `seq_length`, as long as those of the data file `name`, or `hh-like`, or `long-prompt` rows.

    Long prompts have 512 tokens with answers of 64, whatever `seq_length` is. A random model's embeddings are zero from
    `TINY_TOKENS` on; rows of zeros would have gradients without bound, so no such token is drawn.
    """
    source = np.random.default_rng(0)
    drawn = min(vocabulary, TINY_TOKENS)
    if name == "long-prompt":
        lengths = [(512, 64, 64)] * count
    else:
        found = _hh_like() if name == "hh-like" else _of_file(Path(name))
        lengths = [_cut(one, seq_length) for one in _sample(list(found), count)]
    beginning = source.integers(0, drawn, _BEGINNING, dtype=np.int32)
    rows = []
    for row, one in enumerate(lengths, start=1):
        prompt, chosen, rejected = (source.integers(0, drawn, length, dtype=np.int32) for length in one)
        prompt[:_BEGINNING] = beginning
        rows.append(EncodedPair(row, prompt, chosen, rejected))
    return rows


def _sample(lengths: list[Lengths], count: int) -> list[Lengths]:
    """`count` of `lengths` at evenly spaced quantiles of their sum, shuffled: a few rows stand for the whole file."""
    ordered = sorted(lengths, key=sum)
    picked = [ordered[int((position + 0.5) * len(ordered) / count)] for position in range(count)]
    return [picked[index] for index in np.random.default_rng(2).permutation(count)]


def _cut(lengths: Lengths, seq_length: int) -> Lengths:
    """As the encoder cuts: prompt tokens from the left first, but never the template's frame; then answer tokens."""
    prompt, chosen, rejected = lengths
    answer = min(max(chosen, rejected), seq_length - _FRAME - _TURN)
    return min(prompt, seq_length - answer), min(chosen, answer), min(rejected, answer)


def _hh_like() -> Iterator[Lengths]:
    """Log-normal lengths with the means and spreads of hh-rlhf harmless-base."""
    source = np.random.default_rng(1)
    for _ in range(_GENERATED):
        prompt, chosen, rejected = source.lognormal((4.41, 3.26, 3.53), (0.77, 0.87, 0.82))
        yield int(prompt) + 2 * _FRAME - 2, int(chosen) + _END, int(rejected) + _END


def _of_file(path: Path) -> Iterator[Lengths]:
    """Lengths of hh-rlhf transcripts or of prompt/chosen/rejected rows, in JSON, JSONL or gzip of it."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    text = content.decode()
    rows = json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in text.splitlines()]
    for row in rows:
        prompt, chosen = _split(row["chosen"]) if "prompt" not in row else (row["prompt"], row["chosen"])
        rejected = _split(row["rejected"])[1] if "prompt" not in row else row["rejected"]
        words = _TOKENS_PER_WORD * _words(_TURNS.sub("", prompt))
        turns = max(len(_TURNS.findall(prompt)), 1)
        yield int(words) + _TURN * turns + _FRAME, _words(chosen) + _END, _words(rejected) + _END


def _split(transcript: str) -> tuple[str, str]:
    prompt, _, answer = transcript.rpartition("\n\nAssistant:")
    return prompt, answer


def _words(text: str) -> int:
    return len(_WORDS.findall(text))

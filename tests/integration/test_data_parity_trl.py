"""The same ids as TRL's DPOTrainer from the same raw rows, wherever TRL trains what a server would send."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quickalign.data.encode import EncodedPair, EncodedRecord, Encoder
from quickalign.data.records import Message, PreferenceRecord
from tests.support import tokenizers as toys

trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")

TURNS = [
    ("Could you please hurt me?", "I can't hurt you. Please seek help.", "Sure."),
    ("one two three\n\nfour", "five six\n\n- seven\n- eight", "  nine "),
    ("你好，请问你能帮助我吗？", "当然可以。", "no"),
    ("What is 1 + 1?", "2", "It is 3, I think!\n"),
]


def trl_ids(rows: list[dict[str, Any]], tokenizer) -> list[dict[str, list[int]]]:
    """What TRL's own data preparation makes of `rows`; it only looks at the trainer's tokenizer."""
    trainer = SimpleNamespace(_tokenizer=tokenizer)
    args = SimpleNamespace(dataset_num_proc=None, max_length=None, truncation_mode="keep_start")
    prepare = trl.DPOTrainer._prepare_dataset
    prepared = prepare(trainer, datasets.Dataset.from_list(rows), tokenizer, args, "train")
    return [{name: row[f"{name}_ids"] for name in ("prompt", "chosen", "rejected")} for row in prepared]


def our_ids(records: list[PreferenceRecord], tokenizer, **options) -> list[dict[str, list[int]]]:
    encoded = Encoder(tokenizer, seq_length=100_000, **options).encode(records)
    found = []
    for row in encoded:
        assert isinstance(row, EncodedRecord)
        assert isinstance(row.example, EncodedPair)
        found.append({n: getattr(row.example, n).tolist() for n in ("prompt", "chosen", "rejected")})
    return found


def conversations(turns: list[tuple[str, str, str]], system: str) -> list[dict[str, Any]]:
    head = [{"role": "system", "content": system}] if system else []
    return [
        {
            "prompt": [*head, {"role": "user", "content": prompt}],
            "chosen": [{"role": "assistant", "content": chosen}],
            "rejected": [{"role": "assistant", "content": rejected}],
        }
        for prompt, chosen, rejected in turns
    ]


def records(turns: list[tuple[str, str, str]]) -> list[PreferenceRecord]:
    return [PreferenceRecord(i, (Message("user", p),), c, r, p) for i, (p, c, r) in enumerate(turns, 1)]


@pytest.mark.parametrize(
    ("tokenizer", "system"),
    [
        (toys.qwen2_like(), "You are a helpful assistant"),
        (toys.qwen2_like(), ""),
        (toys.qwen2_like(toys.THINKING_ANSWER), "Be kind."),
        (toys.qwen2_like(toys.NO_SYSTEM, begin=True), ""),
        (toys.llama_like(), "Be kind."),
    ],
)
def test_conversational_rows_give_trls_ids(tokenizer, system):
    expected = trl_ids(conversations(TURNS, system), tokenizer)
    assert our_ids(records(TURNS), tokenizer, system_prompt=system) == expected


@pytest.mark.parametrize("tokenizer", [toys.qwen2_like(), toys.qwen2_like(begin=True), toys.llama_like()])
def test_plain_rows_give_trls_ids(tokenizer):
    turns = [(f"Human: {p}\n\nAssistant:", f" {c}", f" {r.strip()}") for p, c, r in TURNS]
    rows = [{"prompt": p, "chosen": c, "rejected": r} for p, c, r in turns]
    assert our_ids(records(turns), tokenizer, apply_chat_template=False) == trl_ids(rows, tokenizer)


words = st.text(alphabet="abcde ?!.,\n好1", min_size=1, max_size=30).filter(lambda t: t.strip() and t[0] != "\n")


@given(st.lists(st.tuples(words, words, words), min_size=1, max_size=3))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_answer_that_does_not_begin_with_a_line_break_gives_trls_ids(turns):
    tokenizer = toys.qwen2_like()
    expected = trl_ids(conversations(turns, "S"), tokenizer)
    assert our_ids(records(turns), tokenizer, system_prompt="S") == expected


def test_where_a_token_reaches_over_the_boundary_trl_trains_a_prompt_that_is_never_served():
    tokenizer = toys.qwen2_like()
    turns = [("one", "\ntwo", "three")]
    served = tokenizer.apply_chat_template(
        conversations(turns, "S")[0]["prompt"], add_generation_prompt=True, return_dict=False
    )
    (theirs,), (ours,) = (
        trl_ids(conversations(turns, "S"), tokenizer),
        our_ids(records(turns), tokenizer, system_prompt="S"),
    )
    assert ours["prompt"] == served
    assert theirs["prompt"] == served[:-1], "TRL leaves the last token of the prompt out"

"""Rows as they are understood, and as a model's tokens."""

import json

import pytest

from quickalign.core.errors import DataError, NotFoundError

ROWS = [
    {"prompt": "Why is the sky blue?", "chosen": "Light is scattered.", "rejected": "It is not."},
    {"prompt": "Broken"},
    {"prompt": " ".join(["word"] * 300), "chosen": "Yes.", "rejected": "No.", "category": "long"},
]


@pytest.fixture
def file_id(platform):
    with platform.files.begin("rows.jsonl") as incoming:
        incoming.write("".join(json.dumps(row) + "\n" for row in ROWS).encode())
        return incoming.commit().id


def test_rows_as_texts(platform, file_id):
    page = platform.files.texts(file_id)
    assert page.format == "prompt"
    assert page.next_offset is None
    first, bad, long = page.items
    assert (first.row, first.chosen, first.rejected) == (1, "Light is scattered.", "It is not.")
    assert first.prompt[0].content == "Why is the sky blue?"
    assert "chosen" in bad.problem
    assert long.category == "long"
    assert platform.files.texts(file_id, offset=1, limit=1).next_offset == 2
    with pytest.raises(NotFoundError):
        platform.files.texts("file-none")


def test_a_file_of_no_known_format_is_told(platform):
    with platform.files.begin("other.jsonl") as incoming:
        incoming.write(b'{"a": 1}\n')
        stored = incoming.commit()
    with pytest.raises(DataError, match=r"other\.jsonl"):
        platform.files.texts(stored.id)


@pytest.mark.slow
def test_rows_as_tokens_with_what_is_cut(platform, file_id):
    page = platform.files.tokens(file_id, model="qwen2-tiny-instruct", seq_length=64)
    assert [row.row for row in page.items] == [1, 3]
    first, long = page.items
    assert "Why is the sky blue?" in "".join(token.text for token in first.prompt)
    assert not any(token.cut for token in (*first.prompt, *first.chosen))
    cut = [token for token in long.prompt if token.cut]
    kept = len(long.prompt) - len(cut)
    answers = max(len(long.chosen), len(long.rejected))
    assert cut
    assert kept + answers <= 64
    assert "".join(token.text for token in long.chosen).startswith("Yes.")

"""What an export is asked for and cannot do is refused."""

import pytest

from quickalign.core.errors import OptionError
from quickalign.core.wire import exports
from quickalign.core.wire.exports import ExportRequest


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"data_format": "messages"}, "data_format='messages' has no effect without data"),
        ({"prompts": 0, "answer_tokens": 64}, "answer_tokens=64 has no effect with prompts=0"),
        (
            {"compression": "gguf-q4_0", "precision": "bf16"},
            "precision='bf16' has no effect with compression='gguf-q4_0'",
        ),
    ],
)
def test_an_option_without_effect_is_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        exports.check(ExportRequest.model_validate({"model": "m", **values}))


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"compression": "gguf", "precision": "bf16"},
        {"data": "d.json", "data_format": "messages"},
        {"prompts": 0, "answer_tokens": 32},
        {"answer_tokens": 64},
    ],
)
def test_an_option_with_an_effect_goes(values: dict[str, object]) -> None:
    exports.check(ExportRequest.model_validate({"model": "m", **values}))

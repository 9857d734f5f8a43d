import pytest

from quickalign.core import options
from quickalign.core.distribution import check_distribution
from quickalign.core.errors import OptionError


@pytest.mark.parametrize(
    ("workers", "changes", "named"),
    [
        (1, {"load_in_4bit": False}, "has one"),
        (2, {}, "load_in_4bit=true"),
        (2, {"load_in_8bit": True}, "load_in_8bit=true"),
        (2, {"load_in_4bit": False, "optimizer": "adamw_8bit"}, "adamw_8bit"),
        (2, {"load_in_4bit": False, "precision": "fp16"}, "fp16"),
    ],
)
def test_what_pieces_cannot_do(workers, changes, named):
    with pytest.raises(OptionError, match=named) as caught:
        check_distribution("fsdp2", options.parse(changes), workers)
    assert caught.value.field == "strategy"
    assert caught.value.remedy


@pytest.mark.parametrize(
    "changes", [{"load_in_4bit": False}, {"lora_dim": 0}, {"load_in_4bit": False, "use_dora": True}]
)
def test_what_pieces_can_do(changes):
    check_distribution("fsdp2", options.parse(changes), 2)


def test_whole_weights_take_all():
    check_distribution("ddp", options.parse({"precision": "fp16"}), 1)

"""What a loaded base becomes before it is trained."""

from pathlib import Path

import pytest
import torch

from quickalign.train.model import load_base, make_policy
from tests.support.runs import dpo, save_model, small_model

IDS = torch.arange(2, 26)[None]


@pytest.mark.parametrize("bits", ["none", "4bit"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_dora_in_bf16_begins_as_its_base(tmp_path: Path, bits: str, dropout: float) -> None:
    folder = save_model(small_model(dtype=torch.bfloat16, initializer_range=0.2), tmp_path)
    parameters = dpo(use_dora=True, lora_dropout=dropout, load_in_4bit=bits == "4bit")
    base = load_base(folder, dtype=torch.bfloat16, quantization=parameters.quantization)
    with torch.no_grad():
        expected = base.eval()(input_ids=IDS).logits
        found = make_policy(base, parameters, precision="bf16").model(input_ids=IDS).logits
    assert torch.equal(found, expected)

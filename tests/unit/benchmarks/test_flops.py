"""The model FLOPs that the benchmark divides by are those that PyTorch counts in a real step."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import Qwen2Config, Qwen2ForCausalLM

from benchmarks.flops import matmul_ceiling, step_flops
from quickalign.core.hyperparameters import Hyperparameters
from quickalign.data.encode import EncodedPair
from quickalign.hub.shape import read_shape
from quickalign.train.demand import adapter_parameters
from quickalign.train.model import make_policy
from quickalign.train.scoring.choose import choose_scorer
from quickalign.train.scoring.reference import LiveReference

VOCAB = 1000


@pytest.mark.parametrize("live", [True, False])
def test_a_step_takes_the_flops_that_are_counted(tmp_path, live):
    config = Qwen2Config(
        vocab_size=VOCAB,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=8,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    base = Qwen2ForCausalLM(config)
    base.save_pretrained(tmp_path)
    shape = read_shape(tmp_path)
    parameters = Hyperparameters(training_strategy="dpo", lora_dim=8, load_in_4bit=False)
    policy = make_policy(base, parameters, precision="fp32")
    ids = np.random.default_rng(0).integers(0, VOCAB, 300).astype(np.int32)
    rows = [EncodedPair(1, ids[:40], ids[40:60], ids[60:90]), EncodedPair(2, ids[90:150], ids[150:170], ids[170:180])]
    device = torch.device("cpu")
    scorer, reason = choose_scorer(
        policy.model, token_budget=200, rows_per_micro=1, longest_row=200, pad_id=0, device=device
    )
    assert reason is None
    micros = scorer.cut(rows)
    with FlopCounterMode(display=False) as counter:
        for micro in micros:
            if live:
                LiveReference(scorer).logps(policy.model, micro, rows)
            scorer.logps(policy.model, micro).sums.sum().backward()
    expected = step_flops(shape, rows, 200, adapter_parameters(shape, parameters), live=live)
    assert counter.get_total_flops() == pytest.approx(expected, rel=0.08)


def test_a_ceiling_is_a_speed():
    assert 1e7 < matmul_ceiling(torch.device("cpu"), torch.float32, 64) < 1e15

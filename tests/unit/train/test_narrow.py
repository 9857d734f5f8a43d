"""An embedding that stays in 16 bits changes no number of a model that computes in fp32."""

import copy

import pytest
import torch

from quickalign.train.model import stored_bytes
from quickalign.train.narrow import NarrowEmbedding, NarrowLinear, keep_narrow
from quickalign.train.scoring.head import Head, token_logps
from tests.support.runs import VOCABULARY, small_model


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def pair(request):
    """A model whose embedding and head hold numbers of bf16, and its narrow twin."""
    wide = small_model(tie_word_embeddings=request.param)
    for weight in {wide.get_input_embeddings().weight, wide.get_output_embeddings().weight}:
        weight.data = weight.data.bfloat16().float()
    narrow = copy.deepcopy(wide)
    keep_narrow(narrow, torch.bfloat16)
    return wide.requires_grad_(False), narrow.requires_grad_(False)


def test_it_takes_half_of_the_memory(pair):
    wide, narrow = pair
    tables = {id(part.weight): part.weight for part in (wide.get_input_embeddings(), wide.get_output_embeddings())}
    saved = 2 * sum(weight.numel() for weight in tables.values())
    assert stored_bytes(wide) - stored_bytes(narrow) == saved
    tied = wide.get_input_embeddings().weight is wide.get_output_embeddings().weight
    assert tied == (narrow.get_input_embeddings().weight is narrow.get_output_embeddings().weight)


def test_logits_and_gradients_are_the_same(pair):
    ids = torch.randint(0, VOCABULARY, (2, 9))
    found = []
    for model in pair:
        hidden = model.get_input_embeddings()(ids).requires_grad_()
        logits = model(inputs_embeds=hidden).logits
        logits.logsumexp(-1).sum().backward()
        found.append((hidden.detach(), logits.detach(), hidden.grad))
    for wide, narrow in zip(*found, strict=True):
        torch.testing.assert_close(narrow, wide, rtol=1e-6, atol=1e-7)


def test_the_one_pass_head_gives_the_same_bits(pair):
    hidden = torch.randn(5, pair[0].config.hidden_size)
    which, targets = torch.tensor([0, 1, 3, 3]), torch.tensor([7, 2, 5, 9])
    found = []
    for model in pair:
        states = hidden.clone().requires_grad_()
        scores = token_logps(Head(model.get_output_embeddings()), states, which, targets)
        scores.sum().backward()
        found.append((scores.detach(), states.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_what_is_no_wider_stays_as_it_is():
    model = small_model()
    keep_narrow(model, torch.float32)
    assert not isinstance(model.get_input_embeddings(), NarrowEmbedding)
    assert not isinstance(model.get_output_embeddings(), NarrowLinear)

from types import SimpleNamespace

import pytest
import torch

from quickalign.train.scoring.plain import PlainScorer
from quickalign.train.scoring.reference import LiveReference

CPU = torch.device("cpu")


def scorer(rows_per_micro: int = 3) -> PlainScorer:
    return PlainScorer(pad_id=0, rows_per_micro=rows_per_micro, device=CPU)


def test_values_are_those_of_one_sequence_at_a_time(toys: SimpleNamespace) -> None:
    model, pairs = toys.tiny_model(), toys.random_pairs(7)
    seen: list[int] = []
    for micro in scorer().cut(pairs):
        scored = scorer().logps(model, micro)
        expected = torch.stack([toys.by_oracle(model, pairs[row]) for row in micro.rows])
        assert torch.allclose(scored.sums, expected, rtol=0, atol=1e-9)
        assert scored.lengths.tolist() == [[len(pairs[r].chosen), len(pairs[r].rejected)] for r in micro.rows]
        seen.extend(micro.rows)
    assert seen == list(range(7))


def test_gradients_are_those_of_one_sequence_at_a_time(toys: SimpleNamespace) -> None:
    model, pairs = toys.with_adapter(toys.tiny_model()), toys.random_pairs(4)
    weights = torch.tensor([[1.0, -0.5], [0.3, 2.0], [-1.0, 0.7], [0.1, 0.2]], dtype=torch.float64)
    (torch.stack([toys.by_oracle(model, pair) for pair in pairs]) * weights).sum().backward()
    expected = toys.gradients(model)
    for micro in scorer().cut(pairs):
        (scorer().logps(model, micro).sums * weights[list(micro.rows)]).sum().backward()
    found = toys.gradients(model)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert torch.allclose(found[name], gradient, rtol=0, atol=1e-9), name


def test_answers_of_one_token_and_an_empty_prompt(toys: SimpleNamespace) -> None:
    model = toys.tiny_model()
    pairs = [toys.make_pair(1, [5, 6], [7], [8]), toys.make_pair(2, [], [9, 10, 11], [12])]
    (micro,) = scorer().cut(pairs)
    scored = scorer().logps(model, micro)
    expected = torch.stack([toys.by_oracle(model, pair) for pair in pairs])
    assert torch.allclose(scored.sums, expected, rtol=0, atol=1e-9)
    assert scored.lengths.tolist() == [[1, 1], [2, 0]]


def test_the_pad_token_does_not_matter(toys: SimpleNamespace) -> None:
    model, pairs = toys.tiny_model(), toys.random_pairs(3)
    one, other = (PlainScorer(pad_id=pad, rows_per_micro=3, device=CPU) for pad in (0, 41))
    first, second = (s.logps(model, s.cut(pairs)[0]).sums for s in (one, other))
    assert torch.equal(first, second)


def test_tokens_are_counted_without_padding(toys: SimpleNamespace) -> None:
    (micro,) = scorer().cut([toys.make_pair(1, [1, 2, 3], [4], [5, 6]), toys.make_pair(2, [1], [2], [3])])
    assert micro.tokens == (3 + 1) + (3 + 2) + (1 + 1) + (1 + 1)


def test_samples_have_one_answer(toys: SimpleNamespace) -> None:
    model = toys.tiny_model()
    rows = [toys.make_sample(1, [3, 4], [5, 6, 7]), toys.make_sample(2, [8], [9])]
    (micro,) = scorer().cut(rows)
    scored = scorer().logps(model, micro)
    expected = torch.stack([toys.one_by_one(model, row.prompt, row.response) for row in rows])
    assert scored.sums.shape == (2, 1)
    assert torch.allclose(scored.sums[:, 0], expected, rtol=0, atol=1e-9)


def test_sums_are_fp32_for_a_bf16_model(toys: SimpleNamespace) -> None:
    model = toys.tiny_model(torch.bfloat16)
    (micro,) = scorer().cut(toys.random_pairs(2))
    assert scorer().logps(model, micro).sums.dtype == torch.float32


def test_the_live_reference_is_the_model_without_its_adapter(toys: SimpleNamespace) -> None:
    pairs = toys.random_pairs(3)
    (micro,) = scorer().cut(pairs)
    expected = scorer().logps(toys.tiny_model(), micro).sums
    model = toys.with_adapter(toys.tiny_model()).train()
    policy = scorer().logps(model, micro).sums
    found = LiveReference(scorer()).logps(model, micro, pairs)
    assert torch.equal(found, expected)
    assert not found.requires_grad
    assert not torch.allclose(policy, expected)
    assert model.training
    assert all(p.requires_grad for name, p in model.named_parameters() if "lora_" in name)


def test_the_live_reference_refuses_a_model_without_an_adapter(toys: SimpleNamespace) -> None:
    pairs = toys.random_pairs(1)
    (micro,) = scorer().cut(pairs)
    with pytest.raises(TypeError, match="needs an adapter"):
        LiveReference(scorer()).logps(toys.tiny_model(), micro, pairs)

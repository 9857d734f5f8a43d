"""Every parameter of a draw against its definition written out plainly."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quickalign.core.errors import RunError
from quickalign.serve import sampling as subject
from quickalign.serve.engine import Sampling
from quickalign.serve.sampling import Sampler, candidates, choose_all, prompt_scores, score_of

LOGITS = st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=60)


def plainly(logits: list[float], how: Sampling) -> dict[int, float]:
    """top_k, then top_p, then min_p, as their definitions say."""
    order = sorted(range(len(logits)), key=lambda i: -logits[i])
    if how.top_k:
        order = order[: how.top_k]
    top = max(logits)
    weights = {i: math.exp(logits[i] - top) for i in order}
    total = sum(weights.values())
    share = {i: weights[i] / total for i in order}
    kept, reached = [], 0.0
    for i in order:
        if kept and reached >= how.top_p:
            break
        kept.append(i)
        reached += share[i]
    kept = [i for i in kept if share[i] >= how.min_p * share[order[0]]] or order[:1]
    total = sum(share[i] for i in kept)
    return {i: share[i] / total for i in kept}


def probabilities(logits: list[float], how: Sampling) -> dict[int, float]:
    values, ids = candidates(torch.tensor(logits), how)
    names = range(len(values)) if ids is None else ids.tolist()
    return dict(zip(names, (values / values.sum()).tolist(), strict=True))


@settings(max_examples=300, deadline=None)
@given(logits=LOGITS, k=st.integers(0, 70), p=st.floats(0, 1), least=st.sampled_from([0.0, 0.05, 0.5, 1.0]))
def test_candidates_are_those_of_the_definition(logits: list[float], k: int, p: float, least: float) -> None:
    logits = [round(value, 2) + 1e-3 * i for i, value in enumerate(logits)]
    if len(set(logits)) < len(logits):
        return
    how = Sampling(max_tokens=1, top_k=k, top_p=p, min_p=least)
    wanted, found = plainly(logits, how), probabilities(logits, how)
    # A sum that meets top_p exactly may fall on either side in another order of addition.
    edge = set(wanted.keys() ^ found.keys())
    assert len(edge) <= 1
    if not edge:
        assert found == pytest.approx(wanted, abs=1e-5)


def test_all_are_sorted_only_where_the_likeliest_do_not_suffice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "_FEW", 4)
    flat = [0.001 * i for i in range(50)]
    peaked = [10.0, *([0.0] * 49)]
    for logits in (flat, peaked):
        how = Sampling(max_tokens=1, top_p=0.9)
        assert probabilities(logits, how).keys() == plainly(logits, how).keys()
        how = Sampling(max_tokens=1, min_p=0.5)
        assert probabilities(logits, how).keys() == plainly(logits, how).keys()


def test_draws_follow_the_probabilities() -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0])
    sampler = Sampler(Sampling(max_tokens=1, temperature=0.7, seed=1), [], 0)
    counts = Counter(sampler.choose(logits).token for _ in range(8000))
    for token, share in enumerate((logits / 0.7).softmax(-1).tolist()):
        assert counts[token] / 8000 == pytest.approx(share, abs=0.02)


@settings(max_examples=50, deadline=None)
@given(logits=LOGITS, seed=st.integers(-(2**63), 2**63 - 1))
def test_a_seed_gives_the_same_draws_whatever_stands_beside(logits: list[float], seed: int) -> None:
    how = Sampling(max_tokens=1, seed=seed, top_p=0.9)
    row = torch.tensor(logits)
    alone = Sampler(how, [], 0)
    wanted = [alone.choose(row).token for _ in range(5)]
    beside = [Sampler(how, [], 0), Sampler(Sampling(max_tokens=1, seed=99), [], 0)]
    assert [choose_all(torch.stack([row, row + 1]), beside)[0].token for _ in range(5)] == wanted


def test_choices_of_one_request_draw_differently() -> None:
    how = Sampling(max_tokens=1, seed=5)
    drawn = [[Sampler(how, [], index).choose(torch.zeros(10_000)).token] for index in range(4)]
    assert len({tuple(one) for one in drawn}) == 4


@settings(max_examples=100, deadline=None)
@given(logits=LOGITS)
def test_temperature_zero_takes_the_likeliest(logits: list[float]) -> None:
    row = torch.tensor(logits)
    how = Sampling(max_tokens=1, temperature=0, logprobs=0)
    assert row[Sampler(how, [], 0).choose(row).token] == row.max()
    assert row[choose_all(row[None], [Sampler(Sampling(max_tokens=1, temperature=0), [], 0)])[0].token] == row.max()


def greedy(logits: list[float], taken: list[int], prompt: list[int] | None = None, **how: object) -> int:
    sampler = Sampler(Sampling(max_tokens=1, temperature=0, **how), prompt or [], 0)  # type: ignore[arg-type]
    for token in taken:
        sampler.take(token)
    return sampler.choose(torch.tensor(logits)).token


@pytest.mark.parametrize("temperature", [1e-20, 1e-40, 5e-324])
@pytest.mark.parametrize("top_p", [1.0, 0.5])
def test_the_least_temperatures_take_the_likeliest_too(temperature: float, top_p: float) -> None:
    logits = torch.tensor([3.0, -40.0, 25.0, 24.999, 0.0])
    sampler = Sampler(Sampling(max_tokens=1, temperature=temperature, top_p=top_p, seed=1), (), 0)
    assert {sampler.choose(logits).token for _ in range(20)} == {2}


def test_penalties_and_bias() -> None:
    assert greedy([1.0, 0.5], [0], presence=0.4) == 0
    assert greedy([1.0, 0.5], [0], presence=0.6) == 1
    assert greedy([1.0, 0.5], [0, 0, 0], frequency=0.2) == 1
    assert greedy([1.0, 0.5], [0], frequency=0.2) == 0
    assert greedy([1.0, 0.5], [], prompt=[0], presence=2.0) == 0, "presence counts the answer, not the prompt"
    assert greedy([1.0, 0.9], [], prompt=[0], repetition=1.5) == 1
    assert greedy([-1.0, -1.2], [0], repetition=1.5) == 1
    assert greedy([1.0, 0.5], [], bias=((1, 0.6),)) == 1
    assert greedy([1.0, 0.5], [], bias=((0, -100.0),)) == 1
    assert greedy([1.0, 0.5], [1], presence=-0.6) == 1


def test_scores_are_of_the_model_itself() -> None:
    logits = torch.tensor([1.0, 0.5, -3.0])
    sampler = Sampler(Sampling(max_tokens=1, temperature=0, bias=((2, 100.0),), logprobs=2), [], 0)
    chosen = sampler.choose(logits)
    assert chosen.token == 2
    assert chosen.score is not None
    own = logits.log_softmax(-1)
    assert chosen.score.logprob == pytest.approx(float(own[2]))
    assert [token for token, _ in chosen.score.top] == [0, 1]
    assert chosen.score.top[0][1] == pytest.approx(float(own[0]))


def test_prompt_scores_belong_to_the_tokens_that_follow() -> None:
    logits = torch.randn(3, 7)
    scores = prompt_scores(logits, [4, 0, 6], 1)
    assert [score.token for score in scores] == [4, 0, 6]
    assert [s.logprob for s in scores] == pytest.approx(
        [float(logits[i].log_softmax(-1)[t]) for i, t in enumerate([4, 0, 6])]
    )
    assert score_of(logits[0], 4, 0).top == ()


def test_nan_is_an_error() -> None:
    with pytest.raises(RunError, match="NaN"):
        choose_all(torch.tensor([[float("nan"), 1.0]]), [Sampler(Sampling(max_tokens=1), [], 0)])

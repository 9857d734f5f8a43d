"""Answers over blocks are those computed alone, whoever joins and leaves, and no block is lost."""

import pytest
import torch

from quickalign.serve.engine import EngineInfo, Generation, Sampling, TokenOut
from quickalign.serve.engines.load import generate_greedily
from quickalign.serve.engines.paged import PagedCore
from tests.doubles.paged_model import TokenBlocks
from tests.support.runs import small_model

PROMPTS = [[5, 9, 3], [7] * 40, [11, 12, 13, 14, 15, 16, 17], [2], list(range(20, 90))]


def make_core(slots: int = 8, blocks: int = 500) -> PagedCore:
    info = EngineInfo("double", "cpu", "fp32", 512, 160, (1,), slots, "none", 0)
    return PagedCore(TokenBlocks(small_model(seed=3)), info, blocks=blocks)


def model_of(core: PagedCore) -> TokenBlocks:
    assert isinstance(core._model, TokenBlocks)
    return core._model


def greedy(prompt: list[int], tokens: int = 12, **how: object) -> Generation:
    sampling = Sampling(max_tokens=tokens, temperature=0, **how)  # type: ignore[arg-type]
    return Generation(tuple(prompt), sampling)


def drain(core: PagedCore, out: dict[tuple[int, int], list[TokenOut]] | None = None) -> dict:
    out = {} if out is None else out
    for _ in range(1000):
        if core.idle:
            assert core._blocks.free == core._count, "a block is lost"
            return out
        for number, told in core.step():
            out.setdefault((number, told.choice), []).append(told)
    raise AssertionError("the engine does not come to an end")


def ids(told: list[TokenOut]) -> list[int]:
    return [one.token for one in told if one.token is not None]


def wanted(core: PagedCore, prompt: list[int], tokens: int = 12) -> list[int]:
    return list(generate_greedily(model_of(core).model, tuple(prompt), tokens, ()).ids)


def test_greedy_answers_are_those_of_generate_while_rows_come_and_go() -> None:
    core = make_core()
    out: dict[tuple[int, int], list[TokenOut]] = {}
    for number, prompt in enumerate(PROMPTS):
        core.add(number, greedy(prompt, 4 + 3 * number))
        for _ in range(2):
            for at, told in core.step():
                out.setdefault((at, told.choice), []).append(told)
    drain(core, out)
    for number, prompt in enumerate(PROMPTS):
        assert ids(out[number, 0]) == wanted(core, prompt, 4 + 3 * number)
        assert [one.finish for one in out[number, 0]][-2:] == [None, "length"]


def test_a_long_prompt_is_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quickalign.serve.engines.paged._PROMPT_TOKENS_A_STEP", 16)
    core = make_core()
    core.add(0, greedy([3, 4]))
    core.step()
    core.add(1, greedy(PROMPTS[4]))
    told = core.step()
    assert [number for number, _ in told] == [0], "the running answer goes on while the prompt is read"
    assert ids(drain(core)[1, 0]) == wanted(core, PROMPTS[4])


def test_choices_share_one_reading_and_draw_apart() -> None:
    core = make_core()
    sampling = Sampling(max_tokens=8, temperature=1.5, seed=4)
    core.add(0, Generation((5, 6, 7), sampling, choices=3, first=2))
    out = drain(core)
    assert sorted(out) == [(0, 2), (0, 3), (0, 4)]
    assert len({tuple(ids(told)) for told in out.values()}) == 3
    core.add(1, Generation((5, 6, 7), sampling, choices=3, first=2))
    core.add(2, greedy(PROMPTS[1]))
    again = drain(core)
    assert [ids(again[1, c]) for c in (2, 3, 4)] == [ids(out[0, c]) for c in (2, 3, 4)]


def test_an_end_token_ends_an_answer() -> None:
    core = make_core()
    tokens = wanted(core, PROMPTS[0])
    core.add(0, greedy(PROMPTS[0], stop=frozenset({tokens[3]})))
    told = drain(core)[0, 0]
    assert ids(told) == tokens[: tokens.index(tokens[3]) + 1]
    assert told[-1].finish == "stop"


def test_prompt_scores() -> None:
    core = make_core()
    core.add(0, Generation(tuple(PROMPTS[4]), Sampling(max_tokens=0, prompt_logprobs=2)))
    (told,) = drain(core)[0, 0]
    assert told.finish == "length"
    assert told.token is None
    assert told.prompt is not None
    with torch.inference_mode():
        logits = model_of(core).model(input_ids=torch.tensor([PROMPTS[4]])).logits[0].log_softmax(-1)
    assert [score.token for score in told.prompt] == PROMPTS[4][1:]
    for place, score in enumerate(told.prompt):
        assert score.logprob == pytest.approx(float(logits[place, PROMPTS[4][place + 1]]), abs=1e-4)
        assert score.top[0][1] == pytest.approx(float(logits[place].max()), abs=1e-4)


def test_cancelled_choices_are_computed_no_more() -> None:
    core = make_core()
    core.add(0, Generation((5, 6, 7), Sampling(max_tokens=100, seed=1), choices=2))
    core.add(1, greedy(PROMPTS[1], 5))
    core.step()
    core.cancel(0, 1)
    out = drain_some(core, 3)
    assert {(0, 0), (1, 0)} == set(out)
    core.cancel(0, None)
    out = drain(core)
    assert (0, 0) not in out
    core.add(2, greedy([4], 4))
    core.cancel(2, None)
    assert core.idle


def drain_some(core: PagedCore, steps: int) -> set[tuple[int, int]]:
    return {(number, told.choice) for _ in range(steps) for number, told in core.step()}


def test_no_more_rows_than_slots_and_blocks() -> None:
    core = make_core(slots=2)
    for number in range(5):
        core.add(number, greedy([3 + number], 6))
    seen = set()
    while not core.idle:
        core.step()
        assert len(core._rows) <= 2
        seen |= {row.number for row in core._rows}
    assert seen == set(range(5))
    core = make_core(slots=8, blocks=7)
    for number in range(3):
        core.add(number, greedy([3, 4, 5, 6], 6))
    core.step()
    assert len(core._rows) == 2, "each takes three blocks of four"
    assert sorted(drain(core)) == [(0, 0), (1, 0), (2, 0)]


def test_more_choices_than_there_are_blocks_for_come_one_after_another() -> None:
    core = make_core(blocks=7)
    core.add(0, Generation((3, 4, 5, 6), Sampling(max_tokens=8, seed=2, temperature=1.5), choices=5))
    core.step()
    assert len(core._waiting[0].choices) == 3, "three blocks each"
    out = drain(core)
    roomy = make_core()
    roomy.add(0, Generation((3, 4, 5, 6), Sampling(max_tokens=8, seed=2, temperature=1.5), choices=5))
    told = drain(roomy)
    assert {key: ids(one)[-7:] for key, one in out.items()} == {key: ids(one)[-7:] for key, one in told.items()}


def test_choices_share_the_full_blocks_of_their_prompt() -> None:
    core = make_core()
    core.add(0, Generation(tuple(range(10, 19)), Sampling(max_tokens=3, seed=1, prompt_logprobs=1), choices=3))
    out = drain(core)
    assert sum(model_of(core).sizes) == 9 + 2 * 1 + 3 * 2, "two of three blocks are read once"
    for choice in range(3):
        assert out[0, choice][0].prompt == out[0, 0][0].prompt
        assert [one.prompt for one in out[0, choice][1:]] == [None, None]
    whole = make_core()
    whole.add(0, Generation(tuple(range(10, 19)), Sampling(max_tokens=3, seed=1), choices=3))
    whole.cancel(0, 0)
    again = drain(whole)
    assert {key: ids(told) for key, told in again.items()} == {(0, c): ids(out[0, c]) for c in (1, 2)}


def test_what_is_given_up_is_told() -> None:
    core = make_core(slots=1)
    core.add(0, greedy([3]))
    core.step()
    core.add(1, greedy([4]))
    assert {(number, told.error) for number, told in core.abandon("no memory")} == {(0, "no memory"), (1, "no memory")}
    assert core.idle
    core.add(2, greedy(PROMPTS[0]))
    assert ids(drain(core)[2, 0]) == wanted(core, PROMPTS[0])

"""Answers computed side by side are those computed alone, whoever joins and leaves, by rows and over blocks."""

from collections.abc import Callable

import pytest

from quickalign.serve.engine import Generation, Sampling
from tests.support.cores import (
    PROMPTS,
    AnyCore,
    drain,
    greedy,
    ids,
    logits_of,
    paged_core,
    rows_core,
    some,
    wanted,
)

Make = Callable[..., AnyCore]


@pytest.fixture(params=[rows_core, paged_core], ids=["rows", "blocks"])
def make_core(request: pytest.FixtureRequest) -> Make:
    return request.param  # type: ignore[no-any-return]


def come_and_go(core: AnyCore) -> None:
    """Requests of all lengths, a new one in every second step; each gets what it would get alone."""
    out = {}
    for number, prompt in enumerate(PROMPTS):
        core.add(number, greedy(prompt, 4 + 3 * number))
        some(core, 2, out)
    drain(core, out)
    for number, prompt in enumerate(PROMPTS):
        assert ids(out[number, 0]) == wanted(core, prompt, 4 + 3 * number)
        assert [one.finish for one in out[number, 0]][-2:] == [None, "length"]


def test_greedy_answers_are_those_of_generate_while_rows_come_and_go(make_core: Make) -> None:
    come_and_go(make_core())


def test_and_so_they_are_with_a_sliding_window() -> None:
    come_and_go(rows_core(use_sliding_window=True, sliding_window=8, max_window_layers=0))


def test_a_long_prompt_is_read_in_parts(make_core: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    core = make_core()
    monkeypatch.setattr(f"{type(core).__module__}._PROMPT_TOKENS_A_STEP", 16)
    core.add(0, greedy([3, 4]))
    core.step()
    core.add(1, greedy(PROMPTS[4]))
    told = core.step()
    assert [number for number, _ in told] == [0], "the running answer goes on while the prompt is read"
    assert ids(drain(core)[1, 0]) == wanted(core, PROMPTS[4])


def test_choices_share_one_reading_and_draw_apart(make_core: Make) -> None:
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


def test_an_end_token_ends_an_answer(make_core: Make) -> None:
    core = make_core()
    tokens = wanted(core, PROMPTS[0])
    core.add(0, greedy(PROMPTS[0], stop=frozenset({tokens[3]})))
    told = drain(core)[0, 0]
    assert ids(told) == tokens[: tokens.index(tokens[3]) + 1]
    assert told[-1].finish == "stop"


def test_prompt_scores(make_core: Make) -> None:
    core = make_core()
    core.add(0, Generation(tuple(PROMPTS[4]), Sampling(max_tokens=0, prompt_logprobs=2)))
    (told,) = drain(core)[0, 0]
    assert told.finish == "length"
    assert told.token is None
    assert told.prompt is not None
    logits = logits_of(core, PROMPTS[4]).log_softmax(-1)
    assert [score.token for score in told.prompt] == PROMPTS[4][1:]
    for place, score in enumerate(told.prompt):
        assert score.logprob == pytest.approx(float(logits[place, PROMPTS[4][place + 1]]), abs=1e-4)
        assert score.top[0][1] == pytest.approx(float(logits[place].max()), abs=1e-4)


def test_cancelled_choices_are_computed_no_more(make_core: Make) -> None:
    core = make_core()
    core.add(0, Generation((5, 6, 7), Sampling(max_tokens=100, seed=1), choices=2))
    core.add(1, greedy(PROMPTS[1], 5))
    core.step()
    core.cancel(0, 1)
    assert {(0, 0), (1, 0)} == set(some(core, 3))
    core.cancel(0, None)
    assert (0, 0) not in drain(core)
    core.add(2, greedy([4], 4))
    core.cancel(2, None)
    assert core.idle


def test_no_more_rows_than_slots(make_core: Make) -> None:
    core = make_core(slots=2)
    for number in range(5):
        core.add(number, greedy([3 + number], 6))
    seen = set()
    while not core.idle:
        core.step()
        assert len(core._rows) <= 2
        seen |= {row.number for row in core._rows}
    assert seen == set(range(5))


def test_what_is_given_up_is_told(make_core: Make) -> None:
    core = make_core(slots=1)
    core.add(0, greedy([3]))
    core.step()
    core.add(1, greedy([4]))
    assert {(number, told.error) for number, told in core.abandon("no memory")} == {(0, "no memory"), (1, "no memory")}
    assert core.idle
    core.add(2, greedy(PROMPTS[0]))
    assert ids(drain(core)[2, 0]) == wanted(core, PROMPTS[0])

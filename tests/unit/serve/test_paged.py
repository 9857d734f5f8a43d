"""Answers over the blocks of a cache; see test_cores for what every engine does."""

from quickalign.serve.engine import Generation, Sampling
from tests.support.cores import drain, greedy, ids, paged_core


def test_no_more_rows_than_there_are_blocks_for() -> None:
    core = paged_core(slots=8, blocks=7)
    for number in range(3):
        core.add(number, greedy([3, 4, 5, 6], 6))
    core.step()
    assert len(core._rows) == 2, "each takes three blocks of four"
    assert sorted(drain(core)) == [(0, 0), (1, 0), (2, 0)]


def test_more_choices_than_there_are_blocks_for_come_one_after_another() -> None:
    core = paged_core(blocks=7)
    core.add(0, Generation((3, 4, 5, 6), Sampling(max_tokens=8, seed=2, temperature=1.5), choices=5))
    core.step()
    assert len(core._waiting[0].choices) == 3, "three blocks each"
    out = drain(core)
    roomy = paged_core()
    roomy.add(0, Generation((3, 4, 5, 6), Sampling(max_tokens=8, seed=2, temperature=1.5), choices=5))
    told = drain(roomy)
    assert {key: ids(one)[-7:] for key, one in out.items()} == {key: ids(one)[-7:] for key, one in told.items()}


def test_choices_share_the_full_blocks_of_their_prompt() -> None:
    core = paged_core()
    core.add(0, Generation(tuple(range(10, 19)), Sampling(max_tokens=3, seed=1, prompt_logprobs=1), choices=3))
    out = drain(core)
    assert sum(core._model.sizes) == 9 + 2 * 1 + 3 * 2, "two of three blocks are read once"
    for choice in range(3):
        assert out[0, choice][0].prompt == out[0, 0][0].prompt
        assert [one.prompt for one in out[0, choice][1:]] == [None, None]
    whole = paged_core()
    whole.add(0, Generation(tuple(range(10, 19)), Sampling(max_tokens=3, seed=1), choices=3))
    whole.cancel(0, 0)
    again = drain(whole)
    assert {key: ids(told) for key, told in again.items()} == {(0, c): ids(out[0, c]) for c in (1, 2)}

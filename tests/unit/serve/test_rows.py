"""Rows of one batch, as the transformers engine computes them; see test_cores for what every engine does."""

import torch

from quickalign.serve.engines.rows import Rows
from tests.support.cores import PROMPTS, greedy, rows_core
from tests.support.runs import small_model


@torch.inference_mode()
def test_rows_of_different_lengths_give_the_logits_of_each_alone() -> None:
    model = small_model(seed=1).eval()
    together = Rows(model, 2)
    for prompt in PROMPTS:
        alone = Rows(model, 2)
        alone.feed([prompt], 1)
        together.take_over(alone, 1)
    together.keep([0, 2, 3])
    logits = together.feed([[4], [5], [6]], 1)
    for row, (place, token) in enumerate([(0, 4), (2, 5), (3, 6)]):
        whole = model(input_ids=torch.tensor([[*PROMPTS[place], token]])).logits[0, -1]
        torch.testing.assert_close(logits[row, -1], whole, atol=1e-5, rtol=1e-4)
    assert together.lengths == [4, 8, 2]


def test_no_more_rows_than_the_cache_has_room_for() -> None:
    core = rows_core(slots=8, cache_tokens=30)
    for number in range(3):
        core.add(number, greedy([3, 4, 5, 6], 6))
    while not core.idle:
        core.step()
        assert len(core._rows) <= 3
        assert len(core._rows) * 10 <= 30

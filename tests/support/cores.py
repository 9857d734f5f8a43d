"""The cores of the engines that compute here, over a small model, and what is asked of them."""

import torch
from torch import Tensor

from quickalign.serve.engine import EngineInfo, Generation, Sampling, TokenOut
from quickalign.serve.engines.load import generate_greedily
from quickalign.serve.engines.paged import PagedCore
from quickalign.serve.engines.transformers import TransformersCore
from tests.doubles.paged_model import TokenBlocks
from tests.support.runs import small_model

AnyCore = PagedCore | TransformersCore
Told = dict[tuple[int, int], list[TokenOut]]
PROMPTS = [[5, 9, 3], [7] * 40, [11, 12, 13, 14, 15, 16, 17], [2], list(range(20, 90))]


def paged_core(slots: int = 8, blocks: int = 500) -> PagedCore:
    """Answers over blocks of a cache, as the OpenVINO engine computes them."""
    info = EngineInfo("double", "cpu", "fp32", 512, 160, (1,), slots, "none", 0)
    return PagedCore(TokenBlocks(small_model(seed=3)), info, blocks=blocks)


def rows_core(slots: int = 8, cache_tokens: int = 10_000, **changes: object) -> TransformersCore:
    """Answers as rows of one batch, as the transformers engine computes them."""
    info = EngineInfo("transformers", "cpu", "fp32", 512, 160, (1,), slots, "none", 0)
    return TransformersCore(small_model(seed=3, **changes), info, layers=2, cache_tokens=cache_tokens)


def model_of(core: AnyCore) -> torch.nn.Module:
    """The small model of a core."""
    return core._model.model if isinstance(core, PagedCore) else core._model


def logits_of(core: AnyCore, prompt: list[int]) -> Tensor:
    """What the model alone makes of `prompt`."""
    with torch.inference_mode():
        return model_of(core)(input_ids=torch.tensor([prompt])).logits[0]


def greedy(prompt: list[int], tokens: int = 12, **how: object) -> Generation:
    """A request for the likeliest tokens."""
    return Generation(tuple(prompt), Sampling(max_tokens=tokens, temperature=0, **how))


def wanted(core: AnyCore, prompt: list[int], tokens: int = 12) -> list[int]:
    """The answer of the model alone to `greedy(prompt, tokens)`."""
    return list(generate_greedily(model_of(core), tuple(prompt), tokens, ()).ids)


def some(core: AnyCore, steps: int, out: Told | None = None) -> Told:
    """What `steps` steps tell, added to `out`, by request and choice."""
    out = {} if out is None else out
    for _ in range(steps):
        for number, told in core.step():
            out.setdefault((number, told.choice), []).append(told)
    return out


def drain(core: AnyCore, out: Told | None = None) -> Told:
    """What everything that is left tells; no block of a cache may be lost."""
    out = {} if out is None else out
    for _ in range(1000):
        if core.idle:
            assert not isinstance(core, PagedCore) or core._blocks.free == core._count, "a block is lost"
            return out
        some(core, 1, out)
    raise AssertionError("the engine does not come to an end")


def ids(told: list[TokenOut]) -> list[int]:
    """The tokens of an answer."""
    return [one.token for one in told if one.token is not None]

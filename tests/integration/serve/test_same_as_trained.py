"""What is trained is what is served: the prompt's ids, and greedy answers token by token."""

import asyncio
import json

import openai
import pytest
import torch
from transformers import AutoModelForCausalLM

from quickalign.core import paths
from quickalign.core.hyperparameters import DEFAULT_SYSTEM_PROMPT
from quickalign.data.encode import Encoder
from quickalign.data.records import Message
from quickalign.serve.chat import load_tokenizer
from quickalign.serve.engine import ReferenceAnswer
from quickalign.serve.engines.load import generate_greedily
from quickalign.serve.proof import compare_greedy
from tests.support.replicas import MODEL, RunningReplica

TOKENS = 48
PROMPTS = [row["prompt"] for row in json.loads((paths.assets() / "sample" / "heldout.json").read_text())][:64]
ENDS = (5631, 5629)


@pytest.fixture(scope="module")
def references() -> list[ReferenceAnswer]:
    folder = paths.assets() / MODEL
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    model.generation_config.repetition_penalty = None
    encoder = Encoder(load_tokenizer(folder), seq_length=2048, system_prompt=DEFAULT_SYSTEM_PROMPT)
    prompts = [tuple(encoder.prompt_ids((Message("user", text),))) for text in PROMPTS]
    return [generate_greedily(model, prompt, TOKENS, ENDS) for prompt in prompts]


async def ask(client: openai.AsyncOpenAI, text: str) -> tuple[list[int], list[int]]:
    answer = await client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": text}],
        temperature=0,
        max_tokens=TOKENS,
        extra_body={"return_token_ids": True},
    )
    return answer.prompt_token_ids, answer.choices[0].token_ids  # type: ignore[attr-defined]


def test_greedy_answers_are_those_of_generate(replica: RunningReplica, references: list[ReferenceAnswer]) -> None:
    async def ask_all() -> list[tuple[list[int], list[int]]]:
        async with replica.async_client() as client:
            return await asyncio.gather(*(ask(client, text) for text in PROMPTS))

    answers = asyncio.run(ask_all())
    assert len(answers) >= 50
    for reference, (prompt, found) in zip(references, answers, strict=True):
        assert prompt == list(reference.prompt)
        assert len(found) in (len(reference.ids), len(reference.ids) - 1), "only an end token is left out"
    check = compare_greedy(references, [found for _, found in answers], frozenset(ENDS), tie=1e-3)
    assert check.passed, check.seen
    print(check.seen)  # noqa: T201

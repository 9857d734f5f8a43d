"""What every engine must hold: what is trained is what is served, and a request means the same on each."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import openai
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from quickalign.core import paths
from quickalign.core.hyperparameters import DEFAULT_SYSTEM_PROMPT
from quickalign.data.encode import Encoder
from quickalign.data.records import Message
from quickalign.data.tokenizer import load_tokenizer
from quickalign.serve.engine import ReferenceAnswer
from quickalign.serve.engines.load import generate_greedily
from quickalign.serve.engines.vllm import environment
from quickalign.serve.proof import compare_greedy
from tests.support.engines import capped_model, random_adapter
from tests.support.replicas import MODEL, RunningReplica, running_replica

TOKENS = 24
ROWS = json.loads((paths.assets() / "sample" / "heldout.json").read_text())
PROMPTS = [row["prompt"] for row in ROWS][:200]
ENDS = (5631, 5629)
HELLO = [{"role": "user", "content": "Could you please hurt me?"}]
TIE = 1e-3
"""Nats between two tokens below which sums taken in another order may change their places, in fp32."""
LOGPROB_BOUND = 1e-3
"""Nats by which a log-prob may differ from transformers' own, in fp32."""

CLIENT_SECONDS = 2400
"""vLLM's kernels for an adapter are slow on a CPU."""

pytestmark = pytest.mark.slow
needs_openvino = pytest.mark.skipif(not find_spec("openvino"), reason="OpenVINO is not installed here")
needs_vllm = pytest.mark.skipif(
    environment.python() is None,
    reason=f"vLLM has an environment of its own, which {environment.PYTHON_VARIABLE} does not name",
)
CASES = [
    pytest.param(("transformers", True), id="transformers-adapter"),
    pytest.param(("openvino", True), id="openvino-adapter", marks=needs_openvino),
    pytest.param(("openvino", False), id="openvino-merged", marks=needs_openvino),
    pytest.param(("vllm", True), id="vllm-adapter", marks=needs_vllm),
    pytest.param(("vllm", False), id="vllm-merged", marks=needs_vllm),
]


@dataclass(frozen=True)
class Oracle:
    """The model as transformers has it, with the adapter beside its weights or none."""

    model: Any
    answers: list[ReferenceAnswer]


@dataclass(frozen=True)
class Case:
    engine: str
    replica: RunningReplica
    oracle: Oracle

    def chat(self, **settings: Any) -> Any:
        return self.replica.client().chat.completions.create(
            **({"model": "default", "messages": HELLO, "max_tokens": 16} | settings)
        )


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(random_adapter(tmp_path_factory.mktemp("adapter")))


@pytest.fixture(scope="module")
def oracle(adapter: str) -> Callable[[bool], Oracle]:
    """Makes the oracle with or without the adapter, once, where a case needs it."""
    folder = paths.assets() / MODEL
    encoder = Encoder(load_tokenizer(folder), seq_length=2048, system_prompt=DEFAULT_SYSTEM_PROMPT)
    prompts = [tuple(encoder.prompt_ids((Message("user", text),))) for text in PROMPTS]

    @cache
    def make(with_adapter: bool) -> Oracle:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        model.generation_config.repetition_penalty = None
        tuned = PeftModel.from_pretrained(model, adapter).eval() if with_adapter else model
        return Oracle(tuned, [generate_greedily(tuned, prompt, TOKENS, ENDS) for prompt in prompts])

    return make


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, adapter: str, oracle: Callable[[bool], Oracle]) -> Iterator[Case]:
    engine, with_adapter = request.param
    flags = ["--model", MODEL, "--engine", engine, "--precision", "fp32"]
    flags += ["--adapter", adapter] if with_adapter else []
    with running_replica(*flags, "--max-waiting", "300") as replica:
        assert replica.told["engine"] == engine
        assert replica.told["precision"] == "fp32"
        yield Case(engine, replica, oracle(with_adapter))


class TestEveryEngine:
    def test_greedy_answers_are_those_of_generate(self, case: Case) -> None:
        async def ask(client: openai.AsyncOpenAI, text: str) -> Any:
            return await client.chat.completions.create(
                model="default",
                messages=[{"role": "user", "content": text}],
                temperature=0,
                max_tokens=TOKENS,
                extra_body={"return_token_ids": True},
            )

        async def ask_all() -> list[Any]:
            async with case.replica.async_client(timeout=CLIENT_SECONDS) as client:
                return await asyncio.gather(*(ask(client, text) for text in PROMPTS))

        answers = asyncio.run(ask_all())
        assert len(answers) == 200
        for wanted, answer in zip(case.oracle.answers, answers, strict=True):
            assert answer.prompt_token_ids == list(wanted.prompt)
        found = [answer.choices[0].token_ids for answer in answers]
        for wanted, ids in zip(case.oracle.answers, found, strict=True):
            assert len(ids) in (len(wanted.ids), len(wanted.ids) - 1), "only an end token is left out"
        check = compare_greedy(case.oracle.answers, found, frozenset(ENDS), TIE)
        print(check.seen)  # noqa: T201 - the ties are listed
        assert check.passed, check.seen

    def test_log_probs_are_the_models_own(self, case: Case) -> None:
        for prompt in (case.oracle.answers[0].prompt, case.oracle.answers[1].prompt):
            answer = case.replica.client().completions.create(
                model="default", prompt=list(prompt), max_tokens=1, echo=True, logprobs=2, temperature=0
            )
            told = answer.choices[0].logprobs.token_logprobs
            with torch.inference_mode():
                scores = case.oracle.model(input_ids=torch.tensor([prompt])).logits[0].log_softmax(-1)
            wanted = [float(scores[place, token]) for place, token in enumerate(prompt[1:])]
            assert told[1 : len(prompt)] == pytest.approx(wanted, abs=LOGPROB_BOUND)
            assert told[0] is None
            assert told[len(prompt)] == pytest.approx(float(scores[-1].max()), abs=LOGPROB_BOUND)

    def test_a_seed_gives_the_same_choices_again_whatever_runs_beside(self, case: Case) -> None:
        def texts() -> list[str]:
            answer = case.chat(n=3, seed=11, temperature=1.4)
            return [choice.message.content for choice in answer.choices]

        alone = texts()
        assert len(set(alone)) == 3
        with case.chat(stream=True, max_tokens=1500, extra_body={"ignore_eos": True}) as beside:
            next(iter(beside))
            assert texts() == alone

    def test_stops_penalties_and_bias(self, case: Case) -> None:
        whole = case.chat(temperature=0).choices[0].message.content
        stopped = case.chat(temperature=0, stop=whole[4:7]).choices[0]
        assert stopped.message.content == whole[: whole.index(whole[4:7])]
        assert stopped.finish_reason == "stop"
        forced = case.chat(max_tokens=3, logit_bias={"300": 100}, extra_body={"return_token_ids": True}).choices[0]
        assert forced.token_ids == [300, 300, 300]
        assert forced.finish_reason == "length"
        apart = case.chat(
            temperature=0,
            logit_bias={"300": 100, "301": 99},
            max_tokens=2,
            presence_penalty=2,
            extra_body={"return_token_ids": True},
        )
        assert apart.choices[0].token_ids == [300, 301]

    def test_a_client_that_leaves_stops_its_answer(self, case: Case) -> None:
        with case.chat(stream=True, n=2, max_tokens=1500, extra_body={"ignore_eos": True}) as stream:
            next(iter(stream))
            assert case.replica.open_answers() == 2
        deadline = time.monotonic() + 30
        while case.replica.open_answers():
            assert time.monotonic() < deadline, "the answer goes on"
            time.sleep(0.02)

    def test_what_cannot_be_honoured_is_refused_by_name(self, case: Case) -> None:
        for body in ({"tools": [{"type": "function"}]}, {"response_format": {"type": "json_object"}}, {"best_of": 4}):
            with pytest.raises(openai.BadRequestError) as refused:
                case.chat(extra_body=body)
            assert refused.value.param == next(iter(body))


@needs_openvino
def test_rounded_weights_are_told_and_pass_the_proof() -> None:
    for weights in ("int8", "int4"):
        with running_replica("--model", MODEL, "--engine", "openvino", "--weights", weights) as replica:
            assert replica.told["precision"].endswith(f"weights in {weights}")
            assert all(check["passed"] for check in replica.told["proof"])


def test_a_model_that_openvino_cannot_compute_is_served_all_the_same(tmp_path: Any) -> None:
    folder = str(capped_model(tmp_path / "capped"))
    with running_replica("--model", folder) as replica:
        assert replica.told["engine"] == "transformers"
        assert ("softcap" in "".join(replica.errors)) == bool(find_spec("openvino"))

"""What was trained is what is served: every kind of export through a deployed replica, within its stated limit."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from quickalign.export.run import export
from quickalign.export.spec import LIMITS
from quickalign.train import manifest as manifests
from quickalign.train.observer import Observer
from tests.integration.evaluate.test_export import BASE, greedy, prompt_of, questions, spec_of, trained
from tests.support.replicas import RunningReplica, running_replica

PROMPTS, TOKENS = 200, 16
SCORED = ("Of course. Let us look at it together.", "No.")
KINDS = {"bf16": {"precision": "bf16"}, "int8": {"compression": "int8"}, "int4": {"compression": "int4"}}


@pytest.fixture(scope="module")
def exported(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The export of a kind, made once."""
    folder = tmp_path_factory.mktemp("kinds")

    def made(kind: str) -> Path:
        found = export(spec_of(run_folder, folder / kind, **KINDS.get(kind, {"precision": kind})), Observer())
        if found.made and kind in KINDS:
            assert 0 < found.parity.largest_per_token <= LIMITS[kind] == found.parity.limit
            assert found.parity.after.bytes < 0.7 * found.parity.before.bytes
        return found.folder

    return made


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_keeps_its_stated_limit(exported: Callable[[str], Path], kind: str) -> None:
    folder = exported(kind)
    AutoModelForCausalLM.from_pretrained(folder)
    manifest = manifests.read(folder)
    assert manifest is not None
    assert (manifest.kind, manifest.quantization) == ("model", "none")


@pytest.mark.slow
def test_the_merged_model_answers_200_prompts_as_the_adapter(run_folder: Path, exported: Callable[[str], Path]) -> None:
    """Loaded by transformers, and through a replica."""
    asked, folder = questions(PROMPTS), exported("fp32")
    assert len(asked) == PROMPTS
    tokenizer, tuned = AutoTokenizer.from_pretrained(folder), trained(run_folder)
    wanted = greedy(tuned, tokenizer, asked, TOKENS)
    with tuned.disable_adapter():
        assert greedy(tuned, tokenizer, asked[:50], TOKENS) != wanted[:50], "the adapter changes answers"
    merged = AutoModelForCausalLM.from_pretrained(folder).eval()
    assert merged.dtype == torch.float32
    assert greedy(merged, tokenizer, asked, TOKENS) == wanted
    with running_replica("--model", str(folder), "--engine", "transformers") as replica:
        client = replica.client()

        def answer(question: str) -> str | None:
            chat = [{"role": "user", "content": question}]
            made = client.chat.completions.create(model="default", messages=chat, temperature=0, max_tokens=TOKENS)
            return made.choices[0].message.content

        with ThreadPoolExecutor(8) as threads:
            said = list(threads.map(answer, asked))
    assert said == [tokenizer.decode(ids, skip_special_tokens=True) for ids in wanted]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["adapter", "fp32", *KINDS])
def test_every_kind_is_served_within_its_limit(run_folder: Path, exported: Callable[[str], Path], kind: str) -> None:
    tokenizer, tuned = AutoTokenizer.from_pretrained(BASE), trained(run_folder)
    rows = [
        (prompt_of(tokenizer, question), tokenizer(answer + "<|im_end|>", add_special_tokens=False)["input_ids"])
        for question in questions(3)
        for answer in SCORED
    ]
    folder = run_folder if kind == "adapter" else exported(kind)
    with running_replica("--model", str(folder), "--engine", "transformers") as replica:
        apart = [abs(plain(tuned, *row) - served(replica, *row)) / len(row[1]) for row in rows]
    assert max(apart) <= LIMITS["fp32" if kind == "adapter" else kind]


@torch.inference_mode()
def plain(model: torch.nn.Module, prompt: list[int], answer: list[int]) -> float:
    """The answer's log-probability by transformers alone."""
    logps = model(input_ids=torch.tensor([prompt + answer])).logits[0].log_softmax(-1)[len(prompt) - 1 : -1]
    return float(logps.gather(1, torch.tensor(answer)[:, None]).sum())


def served(replica: RunningReplica, prompt: list[int], answer: list[int]) -> float:
    """The same as the replica says it of a prompt that it echoes."""
    found = replica.client().completions.create(
        model="default", prompt=prompt + answer, echo=True, logprobs=1, max_tokens=1, temperature=0
    )
    logprobs = found.choices[0].logprobs
    assert logprobs is not None and logprobs.token_logprobs is not None
    return sum(logprobs.token_logprobs[len(prompt) : len(prompt) + len(answer)])

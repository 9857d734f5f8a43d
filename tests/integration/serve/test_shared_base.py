"""Two replicas of one base on one vLLM, against transformers with PEFT."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from quickalign.core import paths
from quickalign.core.hyperparameters import DEFAULT_SYSTEM_PROMPT
from quickalign.data.encode import Encoder
from quickalign.data.records import Message
from quickalign.data.tokenizer import load_tokenizer
from quickalign.serve.engines.load import generate_greedily
from quickalign.serve.engines.vllm import rendezvous
from quickalign.serve.engines.vllm.beginning import MARK
from quickalign.serve.proof import compare_greedy
from tests.integration.serve.test_engines import CLIENT_SECONDS, ENDS, PROMPTS, TIE, needs_vllm
from tests.support.engines import random_adapter
from tests.support.replicas import MODEL, RunningReplica, running_replica

TOKENS = 12
ASKED = PROMPTS[:12]
pytestmark = [pytest.mark.slow, needs_vllm]


def answers(replica: RunningReplica) -> list[list[int]]:
    client = replica.client(timeout=CLIENT_SECONDS)
    found = []
    for text in ASKED:
        told: Any = client.chat.completions.create(
            model="default",
            messages=[{"role": "user", "content": text}],
            temperature=0,
            max_tokens=TOKENS,
            extra_body={"return_token_ids": True},
        )
        found.append(told.choices[0].token_ids)
    return found


def kept(mark: str) -> list[psutil.Process]:
    """Everything that a keeper has started, and itself."""
    return [one for one in psutil.process_iter() if mark in _environment(one).get(MARK, "")]


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}


def is_vllm(process: psutil.Process) -> bool:
    command = process.cmdline()
    return "vllm.entrypoints.openai.api_server" in command and not any(part.endswith("guard.py") for part in command)


def test_two_adapters_of_one_base_on_one_vllm(tmp_path: Path) -> None:
    folder = paths.assets() / MODEL
    encoder = Encoder(load_tokenizer(folder), seq_length=2048, system_prompt=DEFAULT_SYSTEM_PROMPT)
    prompts = [tuple(encoder.prompt_ids((Message("user", text),))) for text in ASKED]
    adapters = [random_adapter(tmp_path / f"adapter{seed}", seed) for seed in (5, 6)]
    flags = ["--model", MODEL, "--engine", "vllm", "--precision", "fp32", "--context", "512", "--share-base"]
    with ExitStack() as stack:
        replicas = [stack.enter_context(running_replica(*flags, "--adapter", str(one))) for one in adapters]
        keepers = [replica.told["keeper"] for replica in replicas]
        assert keepers[0] == keepers[1]
        assert [replica.told["adapter"] for replica in replicas] == ["beside", "beside"]
        assert all(check["passed"] for replica in replicas for check in replica.told["proof"])
        processes = kept(keepers[0]["mark"])
        assert len(list(filter(is_vllm, processes))) == 1
        assert len(rendezvous.clients_of(keepers[0]["key"]) or ()) == 2
        seen = []
        for adapter, replica in zip(adapters, replicas, strict=True):
            base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
            base.generation_config.repetition_penalty = None
            tuned = PeftModel.from_pretrained(base, str(adapter)).eval()
            wanted = [generate_greedily(tuned, prompt, TOKENS, ENDS) for prompt in prompts]
            found = answers(replica)
            check = compare_greedy(wanted, found, frozenset(ENDS), TIE)
            print(check.seen)  # noqa: T201 - the ties are listed
            assert check.passed, check.seen
            seen.append(found)
        assert seen[0] != seen[1], "each has its own adapter"
    gone, alive = psutil.wait_procs(processes, timeout=30)
    assert not alive
    assert len(gone) >= 3, "the keeper, the guard and vLLM"

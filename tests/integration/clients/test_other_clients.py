"""Clients that nobody here wrote, unmodified, in an environment of their own, against a deployed service."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from quickalign.core import paths
from tests.support.deployed import MODEL

pytestmark = pytest.mark.slow

SCRIPTS = Path(__file__).resolve().parents[2] / "clients"
QUESTION = "Could you please hurt me?"


@pytest.fixture
def environment(predictor, tmp_path):
    """A client's environment: the service's address and token, and no network for data."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "QUICKALIGN"))},
        "OPENAI_BASE_URL": f"{predictor.endpoint}/v1",
        "OPENAI_API_KEY": predictor.access_token,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_OFFLINE": "1",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "NO_PROXY": "127.0.0.1",
        "TOKENIZERS_PARALLELISM": "false",
    }


@pytest.fixture
def run(clients, environment, tmp_path):
    """`run(program, *arguments)` runs one of the clients' programs to its end; returns standard output."""

    def call(program, *arguments):
        done = subprocess.run(
            [clients / program, *arguments], env=environment, cwd=tmp_path, capture_output=True, text=True,
            timeout=550, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    return call


def answer_to(predictor, question, **settings):
    asked = {"messages": [{"role": "user", "content": question}], "temperature": 0, **settings}
    return predictor.predict(asked)["choices"][0]["message"]["content"]


def test_litellm(run, predictor):
    told = json.loads(run("python", SCRIPTS / "with_litellm.py").splitlines()[-1])
    expected = answer_to(predictor, QUESTION, max_tokens=40)
    assert told["whole"] == told["streamed"] == expected
    assert told["async"].startswith(expected)
    assert told["tokens"] > 0
    completion = predictor.predict({"prompt": "I am", "max_tokens": 4, "temperature": 0})
    assert told["text"] == completion["choices"][0]["text"]
    assert (told["bad"], told["wrong_token"]) == ("BadRequestError", "AuthenticationError")


def test_langchain(run, predictor):
    told = json.loads(run("python", SCRIPTS / "with_langchain.py").splitlines()[-1])
    expected = answer_to(predictor, QUESTION)
    assert told["whole"] == told["streamed"] == told["async"] == told["system"] == expected
    assert told["batch"] == [expected] * 4
    # the end token counts, and has no log-prob
    assert told["logprobs"] == told["tokens"] - 1
    assert told["wrong_token"] == "AuthenticationError"


def lm_eval(run, tmp_path, model, path, task, **arguments):
    """Run a task; returns (its metrics, its samples)."""
    (tmp_path / "tasks").mkdir()
    text = (SCRIPTS / "tasks" / f"{task}.yaml").read_text()
    data = task.removeprefix("quickalign_") + ".jsonl"
    (tmp_path / "tasks" / f"{task}.yaml").write_text(text.replace(data, str(tmp_path / data)))
    settings = {"model": "default", "base_url": path, "max_retries": 1, **arguments}
    told = run("python", SCRIPTS / "with_lm_eval.py", model, json.dumps(settings), task, tmp_path / "tasks")
    found = json.loads(told.splitlines()[-1])
    return found["results"], found["samples"]


def test_lm_eval_scores_texts_as_transformers_does(run, environment, tmp_path):
    rows = [
        {"text": "Question: How are you?\nAnswer:", "choices": [" Fine, thank you.", " Blue seven."], "gold": 0},
        {"text": "Good", "choices": [" morning", " sink", " cake, my friend"], "gold": 0},
        {"text": "你好", "choices": [",很高兴见到你。", "石头"], "gold": 0},
    ]
    (tmp_path / "choice.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = environment["OPENAI_BASE_URL"] + "/completions"
    folder = paths.assets() / MODEL
    metrics, samples = lm_eval(
        run,
        tmp_path,
        "local-completions",
        path,
        "quickalign_choice",
        tokenizer=str(folder),
        tokenizer_backend="huggingface",
    )
    found = {(s["doc"]["text"], choice): float(r[0][0]) for s in samples
             for choice, r in zip(s["doc"]["choices"], s["resps"], strict=True)}  # fmt: skip
    expected = {
        (row["text"], choice): log_prob(folder, row["text"], choice) for row in rows for choice in row["choices"]
    }
    assert found == pytest.approx(expected, abs=2e-3)
    best = [max(row["choices"], key=lambda choice, row=row: expected[row["text"], choice]) for row in rows]
    right = [choice == row["choices"][row["gold"]] for choice, row in zip(best, rows, strict=True)]
    assert metrics["acc,none"] == pytest.approx(sum(right) / len(right))


def log_prob(folder, context, continuation):
    """The log-probability of `continuation` after `context`, by transformers."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    start = len(tokenizer(context).input_ids)
    ids = torch.tensor([tokenizer(context + continuation).input_ids])
    with torch.no_grad():
        scores = model(ids).logits.log_softmax(-1)
    picked = scores[0, :-1].gather(-1, ids[0, 1:, None]).squeeze(-1)
    return float(picked[start - 1 :].sum())


def test_guidellm_as_the_load(run, predictor, tmp_path):
    before = predictor.metrics().requests
    run(
        "guidellm", "benchmark", "run", "--target", predictor.endpoint, "--model", predictor.service_name,
        "--backend-args", json.dumps({"api_key": predictor.access_token}),
        "--processor", str(paths.assets() / MODEL), "--data", "prompt_tokens=48,output_tokens=24",
        "--rate-type", "concurrent", "--rate", "8", "--max-requests", "32",
        "--disable-progress", "--disable-console-outputs", "--output-path", str(tmp_path / "load.json"),
    )  # fmt: skip
    (benchmark,) = json.loads((tmp_path / "load.json").read_text())["benchmarks"]
    totals = benchmark["run_stats"]["requests_made"]
    assert (totals["successful"], totals["errored"]) == (32, 0)
    assert predictor.metrics().requests >= before + 32

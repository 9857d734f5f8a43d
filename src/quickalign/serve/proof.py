"""Ready means proven: before a replica is ready it has shown that it serves what was trained.

Four checks: the prompts and end tokens are those of training; the base's weights are those that the adapter was trained
on, and what was trained is as it was saved; greedy answers are those of transformers' own `generate`; one answer comes
through the endpoint, streamed.
"""

from __future__ import annotations

from collections.abc import Sequence

from quickalign.core.hyperparameters import Hyperparameters
from quickalign.data.encode import Encoder
from quickalign.data.records import Message
from quickalign.data.tokenizer import load_tokenizer
from quickalign.serve.chat import Prompts
from quickalign.serve.checks import PROBE_TOKENS, PROBES, Check
from quickalign.serve.engine import Engine, Generation, ReferenceAnswer, Sampling
from quickalign.serve.source import Served
from quickalign.train.manifest import Manifest

_TIES = {"fp32": 1e-3, "fp16": 0.02, "bf16": 0.15}
"""How far, in nats, two tokens may lie apart and still change places because sums are taken in another order."""
_ROUNDED_TIES = {"int8": 0.5, "int4": 3.0}
"""The same where weights are rounded, which moves every logit."""
_WIDEST_TIE = 0.15


def probe_prompts(prompts: Prompts) -> tuple[tuple[int, ...], ...]:
    """The prompts that the greedy comparison is made on."""
    return tuple(tuple(prompts.chat([Message("user", text)])) for text in PROBES)


def check_prompts(served: Served, prompts: Prompts, engine: Engine) -> Check:
    """Whether prompts and end tokens are those that the training's own encoder makes from its manifest."""
    name, manifest = "template and end token", served.manifest
    if manifest is None:
        return Check(name=name, passed=True, seen="The model was not trained here; its own template is used.")
    trained = Encoder(
        load_tokenizer(served.adapter or served.weights if _has_tokenizer(served) else served.tokenizer),
        seq_length=Hyperparameters.model_validate(manifest.hyperparameters).seq_length,
        apply_chat_template=manifest.apply_chat_template,
        system_prompt=prompts.encoder.system_prompt,
    )
    for text in PROBES:
        chat = (Message("user", text),)
        if (wanted := trained.prompt_ids(chat)) != (found := prompts.chat(chat)):
            return Check(name=name, passed=False, seen=f"{text!r} is {found[:20]} here and {wanted[:20]} in training.")
    ends = prompts.end_tokens(engine.info.end_tokens)
    if trained.end_id is not None and trained.end_id not in ends:
        return Check(name=name, passed=False, seen=f"{trained.end_id} ends answers in training and is no end here.")
    trained_system = manifest.system_prompt if manifest.apply_chat_template else ""
    system = "" if prompts.encoder.system_prompt == trained_system else " The system prompt is another one."
    return Check(
        name=name, passed=True, seen=f"{len(PROBES)} prompts are the same ids; {sorted(ends)} end answers.{system}"
    )


def check_base(served: Served) -> Check:
    """Whether the base is the one that the adapter was trained on, and the trained files are as they were saved.

    Others are refused before they are loaded.
    """
    name, kept = "base weights", _kept(served.manifest)
    if served.adapter is None:
        return Check(name=name, passed=True, seen=f"There is no adapter.{kept}")
    if not served.fingerprint_checked or served.manifest is None:
        return Check(name=name, passed=True, seen="The adapter was not trained here and names no fingerprint.")
    fingerprint = served.manifest.base.fingerprint
    return Check(name=name, passed=True, seen=f"The fingerprint is the training's: {fingerprint}.{kept}")


def _kept(manifest: Manifest | None) -> str:
    """Which files were found to be as they were saved, when they were looked for."""
    if manifest is None or not (manifest.weights_sha256 or manifest.files):
        return ""
    if manifest.files or manifest.beside:
        return " Trained weights, tokenizer and template are as they were saved."
    return " The trained weights are as they were saved."


async def check_greedy(engine: Engine, ends: frozenset[int]) -> Check:
    """Whether the engine's greedy answers are those of transformers' own `generate`, but for ties."""
    references = engine.info.references
    sampling = Sampling(max_tokens=PROBE_TOKENS, temperature=0, stop=ends)
    stream = engine.submit([Generation(one.prompt, sampling, 1, index) for index, one in enumerate(references)])
    answers: list[list[int]] = [[] for _ in references]
    async for told in stream:
        if told.token is not None:
            answers[told.choice].append(told.token)
    tie = widest_tie(engine.info.precision)
    return compare_greedy(references, answers, ends, tie)


def widest_tie(precision: str) -> float:
    """How far, in nats, two tokens may lie apart and still change places in what an engine tells as its precision."""
    rounded = [tie for weights, tie in _ROUNDED_TIES.items() if weights in precision]
    return max(rounded, default=_TIES.get(precision, _WIDEST_TIE))


def compare_greedy(
    references: Sequence[ReferenceAnswer], answers: Sequence[Sequence[int]], ends: frozenset[int], tie: float
) -> Check:
    """Compare token by token up to an end token. Where two tokens lie less than `tie` nats apart, either is right."""
    name, compared, ties = "greedy answers", 0, []
    for number, (wanted, found) in enumerate(zip(references, answers, strict=True)):
        for place, (one, other, lead) in enumerate(zip(wanted.ids, found, wanted.leads, strict=False)):
            compared += 1
            if one != other and lead < tie:
                ties.append(f"prompt {number} token {place} ({lead:.2g} nats apart)")
            elif one != other:
                wrong = f"prompt {number} token {place} is {other}; generate has {one}, ahead by {lead:.2g} nats."
                return Check(name=name, passed=False, seen=wrong)
            if one != other or one in ends:
                break
    listed = f" Ties: {', '.join(ties)}." if ties else ""
    return Check(
        name=name,
        passed=compared > 0,
        seen=f"{compared} tokens of {len(references)} answers are those of transformers' generate.{listed}",
    )


def _has_tokenizer(served: Served) -> bool:
    folder = served.adapter or served.weights
    return (folder / "tokenizer_config.json").is_file()

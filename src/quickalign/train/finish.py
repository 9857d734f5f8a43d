"""The end of a run: final weights, sample answers before and after, the report, the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from quickalign.core import atomic
from quickalign.train import checkpoint as checkpoints
from quickalign.train.closing import closing_evaluation
from quickalign.train.device import peak_memory
from quickalign.train.loop import Setup
from quickalign.train.metrics import read_evaluations, read_steps, read_warnings
from quickalign.train.observer import Evaluation, Observer, RunResult, SampleAnswer, StepMetrics
from quickalign.train.prepare import Prepared
from quickalign.train.prompts import PromptEncoder
from quickalign.train.report import build_report, write_report
from quickalign.train.report.build import RunParts
from quickalign.train.samples import SamplePrompt, Samples, answer_after, answer_before, choose_prompts, compare

RESULT_FILE = "result.json"
BEFORE_FILE = "samples-before.json"


def read_result(output: Path) -> RunResult | None:
    """The result of a finished run, or None where it is not finished."""
    file = output / RESULT_FILE
    if not file.exists():
        return None
    values = orjson.loads(file.read_bytes())
    for name in ("first_evaluation", "last_evaluation"):
        values[name] = Evaluation(**values[name]) if values[name] else None
    values["final"] = StepMetrics(**values["final"]) if values["final"] else None
    values["samples"] = tuple(SampleAnswer(**sample) for sample in values["samples"])
    values["output"], values["adapter"] = Path(values["output"]), Path(values["adapter"])
    return RunResult(**values)


def write_result(result: RunResult) -> None:
    """Write `result.json`, the mark of a finished run."""
    values = asdict(result) | {"output": str(result.output), "adapter": str(result.adapter)}
    atomic.write_bytes(result.output / RESULT_FILE, orjson.dumps(values, option=orjson.OPT_INDENT_2) + b"\n")


class Finish:
    """What a run leaves behind besides its checkpoints. Every process calls it; the main one does the work."""

    def __init__(self, setup: Setup, prepared: Prepared, observer: Observer) -> None:
        self._setup = setup
        self._prepared = prepared
        self._observer = observer
        parameters = setup.spec.hyperparameters
        self._encoder = PromptEncoder(
            setup.tokenizer,
            apply_chat_template=parameters.apply_chat_template,
            system_prompt=parameters.system_prompt if parameters.apply_chat_template else "",
        )
        self._prompts: tuple[SamplePrompt, ...] = ()
        self._before: list[str] = []

    def use(self, setup: Setup) -> None:
        """Go on with `setup`, in which the trained weights are whole."""
        self._setup = setup

    def answer_before(self) -> None:
        """Answer the sample prompts with the untrained model; a resumed run keeps the answers of its start."""
        setup = self._setup
        if not setup.processes.is_main:
            return
        rows = setup.validation or setup.rows
        if setup.spec.sample_tokens == 0:
            return
        self._prompts = choose_prompts(setup.spec.sample_prompts, rows, self._encoder)
        file = setup.spec.output / BEFORE_FILE
        asked = [prompt.text for prompt in self._prompts]
        stored = orjson.loads(file.read_bytes()) if file.exists() else None
        if stored and stored["prompts"] == asked:
            self._before = stored["answers"]
            return
        self._observer.phase("samples", "answers before training")
        limit = setup.spec.sample_tokens
        answers = answer_before(setup.policy.model, self._encoder, self._prompts, limit)
        self._before = [answer.text for answer in answers]
        atomic.write_bytes(file, orjson.dumps({"prompts": asked, "answers": self._before}))

    def write(self, *, resumed_from: int, seconds: float) -> None:
        """Export the weights, answer the sample prompts again, write report and result."""
        setup = self._setup
        if not setup.processes.is_main:
            setup.processes.barrier()
            return
        samples = self._answer_after()
        result = self._result(samples, resumed_from, seconds)
        self._write_report(result, samples)
        write_result(result)
        setup.processes.barrier()

    def _answer_after(self) -> Samples:
        if not self._prompts:
            return Samples((), ())
        self._observer.phase("samples", "answers after training")
        limit = self._setup.spec.sample_tokens
        after = answer_after(self._setup.policy.model, self._encoder, self._prompts, limit)
        samples = compare(self._prompts, self._before, after)
        self._observer.samples(samples.answers)
        for remark in samples.remarks:
            self._observer.warning(remark)
        return samples

    def _write_report(self, result: RunResult, samples: Samples) -> None:
        setup, prepared = self._setup, self._prepared
        self._observer.phase("report")
        steps = read_steps(result.output)
        parts = RunParts(
            spec=setup.spec,
            manifest=setup.manifest,
            plan=setup.plan,
            device=prepared.device,
            data=prepared.data.report,
            validation_data=prepared.data.validation_report,
            steps=steps,
            evaluations=read_evaluations(result.output),
            warnings=[*read_warnings(result.output), *samples.remarks],
            result=result,
        )
        write_report(build_report(parts), steps, result.output)

    def _result(self, samples: Samples, resumed_from: int, seconds: float) -> RunResult:
        setup = self._setup
        output = setup.spec.output
        steps, evaluations = read_steps(output), read_evaluations(output)
        folder = output / setup.policy.kind
        final = setup.manifest.model_copy(update={"step": len(steps)})
        self._observer.phase("save", str(folder))
        digest = checkpoints.export(setup.policy, setup.tokenizer, folder, final)
        return RunResult(
            output=output,
            adapter=folder,
            steps=len(steps),
            resumed_from=resumed_from,
            final=steps[-1] if steps else None,
            first_evaluation=evaluations[0] if evaluations else None,
            last_evaluation=evaluations[-1] if evaluations else None,
            samples=samples.answers,
            adapter_sha256=digest,
            peak_memory_bytes=max([peak_memory(setup.processes.device), *(s.peak_memory_bytes for s in steps)]),
            predicted_peak_bytes=setup.plan.predicted_peak_bytes,
            seconds=seconds,
            results=self._closing_evaluation(evaluations),
        )

    def _closing_evaluation(self, evaluations: Sequence[Evaluation]) -> dict[str, Any] | None:
        first, last = (evaluations[0], evaluations[-1]) if evaluations else (None, None)
        return closing_evaluation(self._setup, first, last, self._observer)

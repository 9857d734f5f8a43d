"""Tasks of lm-eval on a model that a replica of ours serves; what was finished is not run again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from quickalign.core import atomic
from quickalign.core.errors import RunError
from quickalign.evaluate.lm_eval.program import find_program, run_program
from quickalign.evaluate.lm_eval.replica import Endpoint, serving
from quickalign.evaluate.lm_eval.result import TaskResult, read_results
from quickalign.evaluate.spec import EvaluationSpec
from quickalign.evaluate.subject import Subject, identity
from quickalign.train.observer import Observer

_AT_ONCE = 4
_RETRIES = 3


def run_tasks(spec: EvaluationSpec, subject: Subject, folder: Path, observer: Observer) -> tuple[TaskResult, ...]:
    """The results of `spec.lm_eval`, kept in `folder` by what decides them.

    Raises:
        OptionError: lm-eval is not installed or knows no such task.
        RunError: the model cannot be served, or lm-eval failed.
    """
    if not spec.lm_eval:
        return ()
    work = folder / f"lm-eval-{_key(spec, subject)}"
    finished = work / "finished.json"
    if finished.exists():
        observer.note("The tasks of lm-eval were finished by an earlier call and are not run again.")
    else:
        work.mkdir(parents=True, exist_ok=True)
        content = _run(spec, subject, work, observer)
        atomic.write_text(finished, json.dumps(content))
    found = _read(finished)
    if not found:
        raise RunError("lm-eval gave no number for any task.", f"{work} has all that it said.")
    return found


def _run(spec: EvaluationSpec, subject: Subject, work: Path, observer: Observer) -> Any:
    program = find_program()
    observer.phase("lm-eval", f"serving {subject.name}")
    log = work / "replica.log"
    with serving(spec.model, precision=subject.precision, system_prompt=spec.system_prompt, log=log) as endpoint:
        observer.phase("lm-eval", ", ".join(spec.lm_eval))
        # A proxy of the environment must not stand between two programs of one machine.
        environment = {"OPENAI_API_KEY": endpoint.token, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        return run_program(program, _settings(spec, subject, endpoint, work), work, environment)


def _settings(spec: EvaluationSpec, subject: Subject, endpoint: Endpoint, work: Path) -> dict[str, Any]:
    """What lm-eval is told. Its answers are kept, so that an interrupted run asks only what is open."""
    about: dict[str, Any] = {"model": endpoint.model, "num_concurrent": _AT_ONCE, "max_retries": _RETRIES}
    if spec.lm_eval_chat:
        path = "/chat/completions"
    else:
        path = "/completions"
        about |= {"tokenizer": str(subject.found.tokenizer), "tokenizer_backend": "huggingface"}
    return {
        "model": "local-chat-completions" if spec.lm_eval_chat else "local-completions",
        "model_args": {**about, "base_url": endpoint.url + path},
        "tasks": list(spec.lm_eval),
        "include_path": None if spec.lm_eval_tasks is None else str(spec.lm_eval_tasks.resolve()),
        "limit": spec.lm_eval_limit or None,
        "apply_chat_template": spec.lm_eval_chat,
        "use_cache": str((work / "responses").resolve()),
    }


def _key(spec: EvaluationSpec, subject: Subject) -> str:
    """What decides the results: model, tasks and their files."""
    asked = {
        "model": identity(subject.found, subject.precision),
        "system_prompt": subject.system_prompt,
        "tasks": spec.lm_eval,
        "files": _hashes(spec.lm_eval_tasks) if spec.lm_eval_tasks else {},
        "limit": spec.lm_eval_limit,
        "chat": spec.lm_eval_chat,
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def _hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file of the tasks' folder."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _read(file: Path) -> tuple[TaskResult, ...]:
    try:
        return tuple(read_results(json.loads(file.read_text(encoding="utf-8"))))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise RunError(f"{file} is no result of lm-eval.", "Remove it, and run the same command again.") from None

"""From deploying the embedded model to its first answer: `python -m benchmarks.deploy [--rounds N]`.

Each round has a home of its own with a server that runs already. The first deployment of a home converts the model for
OpenVINO, the second finds it converted. Shown are the seconds from the call to a service that answers and to the end of
a streamed answer's first token, and the processor seconds of all that was started meanwhile. The exit code is 1 where
the median of the first deployments is over the bound.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import openai  # noqa: F401 - imported here, because the second that it takes is not the service's
import psutil

from quickalign.sdk import discover
from quickalign.sdk.registered_model import RegisteredModel
from quickalign.sdk.session import Session

MODEL, QUESTION, BOUND_SECONDS = "qwen2-tiny-instruct", "Could you please hurt me?", 10.0


def deployed(session: Session, name: str) -> tuple[float, float, float]:
    """Seconds to a service that answers, seconds to its first token, processor seconds of its processes."""
    started = time.perf_counter()
    predictor = RegisteredModel(MODEL, session=session).deploy(name)
    answers = time.perf_counter() - started
    stream = predictor.openai().chat.completions.create(
        model="default", messages=[{"role": "user", "content": QUESTION}], max_tokens=8, stream=True
    )
    next(chunk for chunk in stream if chunk.choices and chunk.choices[0].delta.content)
    first = time.perf_counter() - started
    spent = sum(sum(one.cpu_times()[:2]) for one in psutil.process_iter() if _is_replicas(one))
    stream.close()
    predictor.delete_service()
    return answers, first, spent


def _is_replicas(process: psutil.Process) -> bool:
    try:
        command = process.cmdline()
    except psutil.Error:
        return False
    return any(name in command for name in ("quickalign.serve", "quickalign.serve.worker"))


def one_home() -> list[tuple[float, float, float]]:
    """The first and the second deployment of a fresh home."""
    with tempfile.TemporaryDirectory(prefix="quickalign-deploy-") as folder:
        home = Path(folder)
        try:
            session = Session(home=home)
            session.server.info()
            return [deployed(session, name) for name in ("first", "second")]
        finally:
            discover.stop(home)


def main() -> int:
    """Measure; returns 1 where the bound is not kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = [one_home() for _ in range(parser.parse_args().rounds)]
    for number, what in enumerate(("model new here", "converted before")):
        columns = zip(*(one[number] for one in rounds), strict=True)
        answers, first, spent = (statistics.median(column) for column in columns)
        print(f"{what:18} answers after {answers:5.2f} s, first token {first:5.2f} s, processor {spent:5.2f} s")
    return int(statistics.median(one[0][1] for one in rounds) > BOUND_SECONDS)


if __name__ == "__main__":
    sys.exit(main())

"""The engine's process: `python -m quickalign.serve.worker FD ENGINE`, started by `quickalign.serve.process`.

An engine holds Python's lock while it computes; in a process of its own it holds up no stream. It loads what the first
message names, then takes commands and computes, step after step. When the other side goes away, so does it.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from quickalign.core.errors import QuickalignError, first_line
from quickalign.core.scheduling import step_aside
from quickalign.core.startup import leave_out, uncollected
from quickalign.serve.engine import Core, Generation, Load, TokenOut
from quickalign.serve.engines.registry import loader
from quickalign.serve.lean import is_quantised
from quickalign.serve.pipe import Pipe

_log = logging.getLogger(__name__)
_MOST_FAILURES = 3
_LOOK_SECONDS = 1.0
"""How often an engine that has nothing to do looks whether it still could do something."""


def main(arguments: list[str]) -> int:
    """Serve the connection with this file descriptor by the engine of this name."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the other process decides
    pipe = Pipe(socket.socket(fileno=int(arguments[0])))
    try:
        with uncollected():
            make = loader(arguments[1])  # before the first message, so that imports take no time behind it
            load: Load = pipe.receive()
            if not is_quantised(Path(load.weights), load.quantization):
                leave_out("bitsandbytes")  # where the engine has not looked for it yet
            commands: queue.SimpleQueue[Any] = queue.SimpleQueue()
            threading.Thread(target=_read, args=(pipe, commands), daemon=True).start()  # loading may take minutes
            core = make(load)
    except EOFError:  # the other side has found something wrong
        return 0
    except QuickalignError as error:
        pipe.send(error)
        return error.exit_code
    pipe.send(core.info)
    try:
        return _loop(core, pipe, commands)
    except QuickalignError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code


def _read(pipe: Pipe, commands: queue.SimpleQueue[Any]) -> None:
    """Pass commands on as they come; the end of the connection is the end of the process, whatever it is doing."""
    while True:
        try:
            commands.put(pipe.receive())
        except (EOFError, OSError):
            os._exit(0)


def _loop(core: Core, pipe: Pipe, commands: queue.SimpleQueue[Any]) -> int:
    failures = 0
    while True:
        _obey(core, commands)
        try:
            out = core.step()
            failures = 0
        except Exception as error:
            _log.exception("A step of the engine failed.")
            failures += 1
            if failures == _MOST_FAILURES:
                raise
            out = core.abandon(first_line(error))
        _send(pipe, out)


def _obey(core: Core, commands: queue.SimpleQueue[Any]) -> None:
    """Take all commands there are; where there is nothing to compute, wait for one.

    Raises:
        RunError: the engine cannot compute any more.
    """
    waits = core.idle
    while True:
        try:
            number, what = commands.get(block=waits, timeout=_LOOK_SECONDS if waits else None)
        except queue.Empty:
            if not waits:
                return
            core.check()
            continue
        waits = False
        if isinstance(what, Generation):
            core.add(number, what)
        else:
            core.cancel(number, what)
            waits = core.idle and commands.empty()


def _send(pipe: Pipe, out: list[tuple[int, TokenOut]]) -> None:
    if not out:
        return
    try:
        pipe.send(out)
    except OSError:
        os._exit(0)


if __name__ == "__main__":
    step_aside()
    leave_out("boto3")  # accelerate loads it where it is there, and nothing here uses it
    leave_out("openvino_telemetry")  # it would tell OpenVINO's makers of every import and conversion
    sys.exit(main(sys.argv[1:]))

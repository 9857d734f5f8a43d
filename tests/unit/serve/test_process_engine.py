"""The outside of an engine against a worker of the test's own: what is written, and what happens after the end."""

import asyncio
import os
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest

from quickalign.serve.engine import EngineFailedError, EngineInfo, Generation, Sampling
from quickalign.serve.pipe import Pipe
from quickalign.serve.process import ProcessEngine

WORKER = """
import socket, sys
from quickalign.serve.pipe import Pipe
from quickalign.serve.engine import EngineInfo, TokenOut
pipe = Pipe(socket.socket(fileno=int(sys.argv[1])))
pipe.receive()
pipe.send(EngineInfo("double", "cpu", "fp32", 1 << 30, 10, (), 8, "none", 0))
number, generation = pipe.receive()
pipe.send([(number, TokenOut(0, len(generation.prompt), None, "length"))])
pipe.receive()
"""


class OneWorker:
    """What `ProcessEngine.start` needs of a child."""

    def __init__(self):
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-c", WORKER, str(theirs.fileno())]
            self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        self.pipe = Pipe(ours)

    def load(self, load):
        self.pipe.send(load)
        info = self.pipe.receive()
        assert isinstance(info, EngineInfo)
        return info

    def end(self):
        self.process.kill()
        self.process.wait()


def test_a_long_prompt_goes_whole_and_nothing_is_written_behind_the_end():
    async def scenario():
        engine = await ProcessEngine.start(OneWorker(), SimpleNamespace(), max_waiting=0)
        prompt = tuple(range(500_000))  # far more than the socket takes at once
        stream = engine.submit([Generation(prompt, Sampling(max_tokens=1))])
        assert [told.token async for told in stream] == [len(prompt)]
        engine.submit([Generation((1,), Sampling(max_tokens=1))])  # which ends the worker
        while not engine._wire.is_closing():
            await asyncio.sleep(0.005)
        await asyncio.sleep(0)
        other, end = os.pipe()  # takes the descriptors that are free now
        os.set_blocking(other, False)
        if engine.failure is None:
            engine.submit([Generation((2,), Sampling(max_tokens=1))])
        with pytest.raises(BlockingIOError):
            os.read(other, 1)
        await asyncio.wait_for(engine.failed.wait(), 10)
        with pytest.raises(EngineFailedError, match="exit code 0"):
            engine.submit([Generation((3,), Sampling(max_tokens=1))])
        await engine.close()
        os.close(other)
        os.close(end)

    asyncio.run(scenario())

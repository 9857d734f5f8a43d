"""The contract on this machine's executor, and what only processes can do: die, and leave their ids to others."""

import os
import signal
import sys
import time

import pytest

from quickalign.core.errors import StorageError
from quickalign.platform.executors import records
from quickalign.platform.executors.base import Phase
from quickalign.platform.executors.local import LocalExecutor
from quickalign.platform.executors.records import Claim
from quickalign.platform.processes import Identity, Sight, identify, look
from tests.integration.platform.executor_contract import OBEDIENT, STUBBORN, ExecutorContract


class TestLocalExecutor(ExecutorContract):
    def make(self, home):
        return LocalExecutor(home.jobs)

    def claim(self, home, attempt) -> Claim:
        end = time.monotonic() + 30
        file = home.attempt(attempt.job, attempt.number) / records.CLAIM
        while not ((claim := records.read(file, Claim)) and claim.child):
            assert time.monotonic() < end
            time.sleep(0.01)
        return claim

    def test_an_installation_that_is_gone_is_named(self, begun, monkeypatch, tmp_path):
        monkeypatch.setattr(sys, "executable", str(tmp_path / "gone" / "python"))
        with pytest.raises(StorageError, match=r"Python, .*gone/python, is gone.*server stop"):
            begun(OBEDIENT)

    @pytest.mark.parametrize("code", [OBEDIENT, STUBBORN])
    def test_what_the_wrapper_started_dies_with_it(self, home, executor, begun, code):
        attempt = begun(code)
        self.wait_for_output(executor, "job-a", "working")
        claim = self.claim(home, attempt)
        os.kill(claim.wrapper.pid, signal.SIGKILL)
        assert self.wait(executor, attempt, Phase.VANISHED).exit_code is None
        assert look(claim.child) is Sight.GONE

    def test_also_what_its_command_started_and_hid(self, home, executor, begun):
        hidden = "import os, sys, time; os.setsid(); print('hidden', os.getpid(), flush=True); time.sleep(600)"
        attempt = begun(
            "import subprocess, sys, time;"
            f"subprocess.Popen([sys.executable, '-c', {hidden!r}], close_fds=False); time.sleep(600)"
        )
        self.wait_for_output(executor, "job-a", "hidden")
        end = time.monotonic() + 10
        while len(words := self.said(executor, "job-a").split()) < 2:
            assert time.monotonic() < end
        grandchild = identify(int(words[1]))
        executor.cancel(attempt, force=True)
        self.wait(executor, attempt, Phase.VANISHED)
        assert look(grandchild) is Sight.GONE

    def test_the_trainer_killed_alone_is_a_crash_that_is_told(self, home, executor, begun):
        attempt = begun(OBEDIENT)
        self.wait_for_output(executor, "job-a", "working")
        os.kill(self.claim(home, attempt).child.pid, signal.SIGKILL)
        assert self.wait(executor, attempt, Phase.FINISHED).exit_code == -signal.SIGKILL

    def test_after_a_reboot_a_reused_id_never_reads_as_running(self, home, executor, begun):
        """The same id, even with the same start time, belongs to another process after a boot; and so does a later one."""
        attempt = begun("import time; time.sleep(600)")
        claim = self.claim(home, attempt)
        executor.cancel(attempt, force=True)
        self.wait(executor, attempt, Phase.VANISHED)
        file = home.attempt(attempt.job, attempt.number) / records.CLAIM
        me = identify(os.getpid())  # it lives, and stands for whoever got the id
        for reused in (
            me.model_copy(update={"boot_id": "the boot before"}),
            me.model_copy(update={"create_time": me.create_time - 1}),
        ):
            records.replace(file, claim.model_copy(update={"wrapper": reused, "child": reused}))
            assert executor.observe(attempt).phase is Phase.VANISHED
            executor.cancel(attempt, force=True)  # nor is it killed for it

    def test_what_cannot_be_decided_is_left_alone(self, home, executor, begun, monkeypatch):
        attempt = begun(OBEDIENT)
        self.wait(executor, attempt, Phase.RUNNING)
        monkeypatch.setattr("quickalign.platform.executors.files.look", lambda identity: Sight.UNKNOWN)
        assert executor.observe(attempt).phase is Phase.UNKNOWN

    def test_a_process_that_only_the_lock_betrays_is_not_gone(self, home, executor, begun):
        """As after a container's restart: its ids mean nothing here, but it lives and holds the job's lock."""
        attempt = begun(OBEDIENT)
        claim = self.claim(home, attempt)
        unknown = Identity(pid=2**22 + 1, create_time=1.0, boot_id=claim.wrapper.boot_id)
        file = home.attempt(attempt.job, attempt.number) / records.CLAIM
        records.replace(file, claim.model_copy(update={"wrapper": unknown, "child": unknown}))
        assert executor.observe(attempt).phase is Phase.UNKNOWN

    def test_a_heartbeat_is_there(self, home, executor, begun):
        attempt = begun(OBEDIENT)
        seen = self.wait(executor, attempt, Phase.RUNNING)
        end = time.monotonic() + 10
        while (seen := executor.observe(attempt)).silent_seconds is None:
            assert time.monotonic() < end
        assert seen.silent_seconds < 10

    def test_no_zombie_stays(self, executor, begun):
        attempt = begun("pass")
        self.wait(executor, attempt, Phase.FINISHED)
        end = time.monotonic() + 10
        while executor._wrappers:
            executor.observe(attempt)
            assert time.monotonic() < end
            time.sleep(0.01)

"""The contract on a Ray executor that sees nothing of its wrappers but their files, with a double of Ray Jobs.

It believes to be on another machine than the wrappers, so that all it knows comes over the shared disk.
"""

import contextlib
import os
import signal
import time

import pytest

from quickalign.platform.executors import ray as ray_executor
from quickalign.platform.executors import records
from quickalign.platform.executors.base import Phase
from quickalign.platform.executors.ray import RayExecutor
from quickalign.platform.executors.records import Claim
from quickalign.platform.processes import Sight, identify, look
from tests.integration.platform.executor_contract import OBEDIENT, ExecutorContract
from tests.support.fake_ray import FakeRay


class TestRayExecutorElsewhere(ExecutorContract):
    @pytest.fixture(autouse=True)
    def ray(self):
        self.ray = FakeRay(room=3)
        yield self.ray
        for process in self.ray.processes:
            with contextlib.suppress(ProcessLookupError):
                process.wait(30)

    def make(self, home):
        return RayExecutor(home.jobs, self.ray.client(), here="another machine")

    def test_a_head_that_forgets_a_running_attempt_changes_nothing(self, executor, begun):
        attempt = begun(OBEDIENT)
        self.wait_for_output(executor, "job-a", "working")
        self.ray.forget_all()
        assert executor.observe(attempt).phase is Phase.RUNNING
        assert not self.ray.jobs
        executor.cancel(attempt, force=False)
        assert self.wait(executor, attempt, Phase.FINISHED).exit_code == 130

    def test_one_that_forgets_what_waits_is_told_again_and_nothing_runs_twice(self, executor, begun, tmp_path):
        self.ray.room = 0
        marks = tmp_path / "marks"
        attempt = begun(f"open({str(marks)!r}, 'a').write('x'); import time; time.sleep(1)")
        assert executor.observe(attempt).phase is Phase.PENDING
        self.ray.forget_all()
        assert executor.observe(attempt).phase is Phase.PENDING
        self.ray.room = 3
        executor.observe(attempt)
        self.ray.forget_all()  # it was started just now, and is so again
        assert self.wait(executor, attempt, Phase.FINISHED).exit_code == 0
        assert marks.read_text() == "x"
        assert len(self.ray.processes) >= 1

    def test_cut_off_from_the_disk_it_ends_before_it_is_given_up(self, home, executor, monkeypatch, begun):
        monkeypatch.setattr(ray_executor, "FENCE_SECONDS", 2.0)
        monkeypatch.setattr(ray_executor, "GONE_SECONDS", 6.0)
        attempt = begun(OBEDIENT)
        self.wait_for_output(executor, "job-a", "working")
        folder = home.attempt("job-a", 1)
        end = time.monotonic() + 30
        while (claim := records.read(folder / records.CLAIM, Claim)).child is None:  # written down after its first word
            assert time.monotonic() < end
            time.sleep(0.02)
        aside = folder.rename(folder.with_name("aside"))
        self.gone(claim.child)
        self.gone(claim.wrapper)
        aside.rename(folder)
        assert self.wait(executor, attempt, Phase.VANISHED).exit_code is None

    def test_by_force_also_what_its_command_started_and_hid_ends(self, executor, begun):
        hidden = "import os, time; os.setsid(); print('hidden', os.getpid(), flush=True); time.sleep(600)"
        start = f"subprocess.Popen([sys.executable, '-c', {hidden!r}], close_fds=False)"
        attempt = begun(f"import subprocess, sys, time; {start}; time.sleep(600)")
        self.wait_for_output(executor, "job-a", "hidden")
        end = time.monotonic() + 10
        while len(words := self.said(executor, "job-a").split()) < 2:
            assert time.monotonic() < end
        grandchild = identify(int(words[1]))
        executor.cancel(attempt, force=True)
        assert self.wait(executor, attempt, Phase.FINISHED).exit_code == -9
        self.gone(grandchild)

    def test_a_job_of_a_gpu_saves_and_stops_when_ray_has_lost_it(self, executor, begun):
        attempt = begun(OBEDIENT, gpus=1)
        self.wait_for_output(executor, "job-a", "working")
        (process,) = self.ray.processes
        os.killpg(process.pid, signal.SIGKILL)  # as Ray does when it loses its own
        assert self.wait(executor, attempt, Phase.FINISHED).exit_code == 130
        assert "saved" in self.said(executor, "job-a")

    def test_one_without_a_gpu_goes_on(self, executor, begun):
        attempt = begun("import time; print('working', flush=True); time.sleep(3)")
        self.wait_for_output(executor, "job-a", "working")
        (process,) = self.ray.processes
        os.killpg(process.pid, signal.SIGKILL)
        assert self.wait(executor, attempt, Phase.FINISHED).exit_code == 0

    @staticmethod
    def gone(one):
        end = time.monotonic() + 30
        while look(one) is Sight.ALIVE:
            assert time.monotonic() < end
            time.sleep(0.05)

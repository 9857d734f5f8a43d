"""The contract on a Ray executor that sees nothing of its wrappers but their files, with a double of Ray Jobs.

It believes to be on another machine than the wrappers, so that all it knows comes over the shared disk.
"""

import contextlib

import pytest

from quickalign.platform.executors.base import Phase
from quickalign.platform.executors.ray import RayExecutor
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

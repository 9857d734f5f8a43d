"""What every executor must do. A test module subclasses `ExecutorContract` and says how its executor is made.

Commands are small Python programs, so that the contract sees real exits, signals and output.
"""

import secrets
import sys
import time
from pathlib import Path

import pytest

from quickalign.platform.executors.base import Attempt, Executor, Launch, Observation, Phase, Recovery
from quickalign.platform.home import Home

ENDED = (Phase.FINISHED, Phase.VANISHED, Phase.NEVER_RAN)
OBEDIENT = """
import signal, sys, time
def stop(number, frame):
    print('saved', flush=True)
    sys.exit(130)
signal.signal(signal.SIGTERM, stop)
print('working', flush=True)
time.sleep(600)
"""
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('working', flush=True); time.sleep(600)"
)


class ExecutorContract:
    """Subclasses give `make(home)`, a new executor as a new server would make it."""

    def make(self, home: Home) -> Executor:
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _other_tokens(self):
        """No two tests, at the same time on one machine, have a token in common: what bears it is killed with it."""
        self.tests_own = secrets.token_hex(4)

    def attempt_of(self, job: str, number: int) -> Attempt:
        """An attempt: the same for the same job and number, within a test."""
        return Attempt(job, number, f"token-{job}-{number}-{self.tests_own}")

    @pytest.fixture
    def home(self, tmp_path):
        home = Home(tmp_path / "home")
        home.make()
        return home

    @pytest.fixture
    def executor(self, home):
        return self.make(home)

    @pytest.fixture
    def begun(self, home, executor):
        """Begins attempts, and ends what is left of them."""
        attempts: list[Attempt] = []

        def begin(code: str, *, job: str = "job-a", number: int = 1, **launch) -> Attempt:
            attempt = self.attempt_of(job, number)
            home.job(job).mkdir(exist_ok=True)
            attempts.append(attempt)
            executor.submit(attempt, Launch((sys.executable, "-c", code), home.job(job), **launch))
            return attempt

        yield begin
        for attempt in attempts:
            if executor.recover(attempt) is Recovery.REATTACH:
                executor.cancel(attempt, force=True)
                self.wait(executor, attempt, *ENDED)

    @staticmethod
    def wait(executor: Executor, attempt: Attempt, *phases: Phase, seconds: float = 30) -> Observation:
        end = time.monotonic() + seconds
        while (seen := executor.observe(attempt)).phase not in phases:
            assert time.monotonic() < end, f"it is {seen}"
            time.sleep(0.02)
        return seen

    def wait_for_output(self, executor: Executor, job: str, text: str) -> None:
        end = time.monotonic() + 30
        while text not in self.said(executor, job):
            assert time.monotonic() < end, self.said(executor, job)
            time.sleep(0.02)

    @staticmethod
    def said(executor: Executor, job: str) -> str:
        return "".join(file.read_text() for file in executor.logs(job))

    def test_a_command_that_ends_well(self, executor, begun):
        attempt = begun("import sys; print('to stdout'); print('to stderr', file=sys.stderr)")
        assert self.wait(executor, attempt, *ENDED) == Observation(Phase.FINISHED, exit_code=0)
        assert "to stdout" in self.said(executor, "job-a")
        assert "to stderr" in self.said(executor, "job-a")

    @pytest.mark.parametrize("code", [1, 3, 70, 130])
    def test_exit_codes_are_told(self, executor, begun, code):
        attempt = begun(f"raise SystemExit({code})")
        assert self.wait(executor, attempt, *ENDED).exit_code == code

    def test_a_signal_is_told(self, executor, begun):
        attempt = begun("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
        assert self.wait(executor, attempt, *ENDED) == Observation(Phase.FINISHED, exit_code=-9)

    def test_it_is_seen_while_it_runs_also_by_another_server(self, home, executor, begun):
        attempt = begun(OBEDIENT)
        self.wait(executor, attempt, Phase.RUNNING)
        later = self.make(home)
        assert later.observe(attempt).phase is Phase.RUNNING
        assert later.recover(attempt) is Recovery.REATTACH
        self.wait_for_output(executor, "job-a", "working")
        later.cancel(attempt, force=False)
        assert self.wait(later, attempt, *ENDED).exit_code == 130

    def test_what_ended_while_no_server_looked_is_collected(self, home, executor, begun):
        attempt = begun("raise SystemExit(5)")
        self.wait(executor, attempt, *ENDED)
        assert self.make(home).observe(attempt) == Observation(Phase.FINISHED, exit_code=5)

    def test_asked_kindly_it_saves(self, executor, begun):
        attempt = begun(OBEDIENT)
        self.wait_for_output(executor, "job-a", "working")
        for _ in range(3):  # a second signal would not let it save
            executor.cancel(attempt, force=False)
        assert self.wait(executor, attempt, *ENDED) == Observation(Phase.FINISHED, exit_code=130)
        assert "saved" in self.said(executor, "job-a")

    def test_by_force_it_ends_whatever_it_does(self, executor, begun):
        attempt = begun(STUBBORN)
        self.wait_for_output(executor, "job-a", "working")
        executor.cancel(attempt, force=False)
        executor.cancel(attempt, force=True)
        seen = self.wait(executor, attempt, *ENDED)
        assert seen.phase is Phase.VANISHED or seen.exit_code == -9

    def test_nobody_else_is_ended(self, executor, begun):
        attempt = begun(OBEDIENT)
        self.wait(executor, attempt, Phase.RUNNING)
        stranger = Attempt(attempt.job, attempt.number, "another token")
        executor.cancel(stranger, force=True)
        assert executor.observe(stranger).phase is Phase.WAITING
        assert executor.observe(attempt).phase is Phase.RUNNING

    def test_what_was_never_begun_is_given_up_for_good(self, home, executor, begun, tmp_path):
        attempt = self.attempt_of("job-a", 1)
        assert executor.observe(attempt).phase is Phase.WAITING
        home.job("job-a").mkdir()
        assert executor.recover(attempt) is Recovery.REQUEUE
        assert executor.recover(attempt) is Recovery.REQUEUE
        mark = tmp_path / "it ran"
        begun(f"open({str(mark)!r}, 'w')")
        assert self.wait(executor, attempt, *ENDED).phase is Phase.NEVER_RAN
        time.sleep(0.5)
        assert not mark.exists()

    def test_a_second_attempt_waits_for_the_end_of_the_first(self, executor, begun, tmp_path):
        mark = tmp_path / "it ran"
        first = begun(OBEDIENT)
        self.wait_for_output(executor, "job-a", "working")
        second = begun(f"open({str(mark)!r}, 'w')", number=2)
        time.sleep(1)
        assert not mark.exists()
        assert executor.observe(second).phase in (Phase.WAITING, Phase.PENDING)
        executor.cancel(first, force=True)
        assert self.wait(executor, second, *ENDED).exit_code == 0
        assert mark.exists()

    def test_logs_of_all_attempts_in_order(self, executor, begun):
        for number in (1, 2):
            attempt = begun(f"print('attempt {number}')", number=number)
            self.wait(executor, attempt, *ENDED)
        assert [file.read_text() for file in executor.logs("job-a")] == ["attempt 1\n", "attempt 2\n"]
        assert executor.logs("job-nothing") == []

    def test_much_output_stops_nobody(self, executor, begun):
        attempt = begun("for n in range(50_000): print('line', n)")
        self.wait(executor, attempt, *ENDED)
        assert self.said(executor, "job-a").endswith("line 49999\n")

    def test_a_command_that_cannot_be_started_says_so(self, home, executor):
        attempt = Attempt("job-a", 1, "token")
        home.job("job-a").mkdir()
        executor.submit(attempt, Launch(("/nothing/at/all",), home.job("job-a")))
        seen = self.wait(executor, attempt, *ENDED)
        assert seen.exit_code == 70
        assert "/nothing/at/all" in seen.message

    def test_results_are_copied_when_it_ended_well(self, home, executor, begun, tmp_path):
        results = Path(home.job("job-a")) / "output"
        code = (
            "import pathlib; p = pathlib.Path('output'); (p / 'adapter').mkdir(parents=True);"
            "(p / 'adapter' / 'weights').write_text('w'); (p / 'result.json').write_text('{}');"
            "(p / 'checkpoints').mkdir(); (p / 'checkpoints' / 'large').write_text('c')"
        )
        attempt = begun(code, results=results, copy_to=str(tmp_path / "wanted"))
        assert self.wait(executor, attempt, *ENDED).exit_code == 0
        copied = {
            str(file.relative_to(tmp_path / "wanted")) for file in (tmp_path / "wanted").rglob("*") if file.is_file()
        }
        assert copied == {"adapter/weights", "result.json"}

    def test_results_that_cannot_be_copied_are_a_failure_with_its_reason(self, home, executor, begun, tmp_path):
        (tmp_path / "file").write_text("")
        code = "import pathlib; p = pathlib.Path('output'); p.mkdir(); (p / 'result.json').write_text('{}')"
        attempt = begun(code, results=home.job("job-a") / "output", copy_to=str(tmp_path / "file" / "inside"))
        seen = self.wait(executor, attempt, *ENDED)
        assert seen.exit_code == 5
        assert "cannot be copied" in seen.message

"""Services on a Ray cluster of two nodes: what their clients see while replicas come, go and are killed."""

import asyncio
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import openai
import pytest

from quickalign.api.app import make_app
from quickalign.core.program import AWAY
from quickalign.core.wire.services import Autoscaling, RevisionSpec, ServiceCreate, ServiceState, Source
from quickalign.platform.config import Config
from quickalign.platform.context import Platform
from quickalign.platform.services.routes import Upstream
from tests.support.cluster_services import TOKEN, processes, program, start, wait_for
from tests.support.gateways import FakeEndpoints, running
from tests.support.platforms import open_stub
from tests.support.ray_cluster import TOKEN as CLUSTER_TOKEN
from tests.support.ray_cluster import ray_cluster
from tests.support.replicas import ENVIRONMENT, MODEL, running_replica
from tests.support.service_rounds import BRISK, drive_to

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.timeout(1200)]
ASK = [{"role": "user", "content": "Could you please hurt me?"}]
LONG = {"model": "default", "messages": ASK, "max_tokens": 1900, "stream": True, "extra_body": {"ignore_eos": True}}
CLIENTS = 8
SLOTS = {"max_concurrency": 4, "max_waiting": 2}


@pytest.fixture(scope="module")
def cluster():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        with ray_cluster(2, cpus=2) as found:
            yield found


@pytest.fixture(scope="module")
def scaled(cluster, tmp_path_factory):
    """A service of at most two replicas, which one node has no room for, that goes down to none soon."""
    bounds = {"min": 0, "max": 2, "ongoing_requests": 2, "quiet_seconds": 5}
    folder = tmp_path_factory.mktemp("scaled") / "one"
    with program(folder, cluster.address, "scaled-1", autoscaling=bounds, cpus=1.5, **SLOTS) as found:
        yield found


def test_the_answer_is_that_of_a_replica_of_this_machine(scaled):
    asked = {"model": "default", "messages": ASK, "max_tokens": 24, "temperature": 0}
    with running_replica("--model", MODEL, "--engine", "transformers", "--no-proof") as here:
        wanted = here.client().chat.completions.create(**asked)
    assert all(check["passed"] for check in scaled.told["proof"])
    assert [check["name"] for check in scaled.told["proof"]][-1] == "streamed answer"
    whole = scaled.client().chat.completions.create(**asked)
    assert (whole.choices, whole.usage) == (wanted.choices, wanted.usage)
    stream = list(scaled.client().chat.completions.create(**asked, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == wanted.choices[0].message.content
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{scaled.endpoint}/v1", api_key="wrong").models.list()


def test_it_grows_with_its_work_says_429_and_sleeps_when_there_is_none(scaled):
    begun = []
    with ThreadPoolExecutor(1) as pool, _kept_busy(scaled, 4):
        wait_for(lambda: scaled.health()["replicas"] == 2, 180, "a second replica")
        refused = pool.submit(_fill, scaled, begun)
        error = refused.result(120)
    assert error.status_code == 429
    assert int(error.response.headers["Retry-After"]) >= 1
    for stream in begun:
        stream.close()
    wait_for(lambda: scaled.health()["open_answers"] == 0, 20, "answers whose clients left")
    # A replica goes only when it makes no answer any more: they have all been stopped in it, too.
    wait_for(lambda: scaled.health()["replicas"] == 0, 120, "no replica")
    wait_for(lambda: not scaled.replicas(), 60, "no process of a replica")
    again = scaled.client().chat.completions.create(model="default", messages=ASK, max_tokens=4)
    assert again.choices[0].finish_reason
    assert len(scaled.replicas()) == 1


@contextmanager
def _kept_busy(scaled, answers):
    """So many answers at any time: where one is over before there is another replica, the next one is asked for."""
    over = threading.Event()

    def ask():
        while not over.is_set():
            with suppress(openai.RateLimitError), scaled.client().chat.completions.create(**LONG) as stream:
                for _ in stream:
                    if over.is_set():
                        break

    with ThreadPoolExecutor(answers) as pool:
        asking = [pool.submit(ask) for _ in range(answers)]
        try:
            yield
        finally:
            over.set()
    for one in asking:
        one.result()


def _fill(scaled, begun):
    """Ask until one is refused: two replicas have twelve places, and what waits for one is bounded too."""
    for _ in range(40):
        try:
            stream = scaled.client().chat.completions.create(**LONG)
            next(stream)
            begun.append(stream)
        except openai.RateLimitError as error:
            return error
    raise AssertionError("nobody was refused")


async def _ask(address, over, ended, reading, number):
    """Ask again and again until it is over: how each answer ended, and whether client `number` is in the middle of one."""
    async with openai.AsyncOpenAI(base_url=f"{address}/services/tiny/v1", api_key="qs-tiny", max_retries=0) as asked:
        while not over.is_set():
            try:
                stream = await asked.chat.completions.create(**LONG | {"max_tokens": 300})
                finish = None
                async for chunk in stream:
                    reading.add(number)
                    finish = chunk.choices[0].finish_reason or finish
                ended.append("whole" if finish else "cut")
            except openai.APIError as error:
                ended.append(str(error.code))
            reading.discard(number)


def test_updates_and_a_killed_replica_fail_no_answer_but_its_own(cluster, tmp_path):
    two = {"min": 2, "max": 2}
    half = {"max_concurrency": CLIENTS // 2, "max_waiting": CLIENTS}  # who reads them all reads from both
    endpoints = FakeEndpoints()
    platform = open_stub(tmp_path / "home")
    with (
        ExitStack() as later,
        program(tmp_path / "old", cluster.address, "updated-1", autoscaling=two, **half) as old,
        running(make_app(platform, endpoints=endpoints)) as address,
    ):
        endpoints.add("tiny", Upstream("old", 1, old.endpoint, TOKEN, 160))

        async def play():
            over, ended, reading = asyncio.Event(), [], set()
            clients = [asyncio.create_task(_ask(address, over, ended, reading, each)) for each in range(CLIENTS)]
            await _so(lambda: len(ended) >= CLIENTS, "all clients had answers")
            victim = await asyncio.to_thread(lambda: old.replicas()[0])
            await _so(lambda: len(reading) == CLIENTS, "all clients are in the middle of an answer")
            victim.send_signal(signal.SIGKILL)
            fresh = program(tmp_path / "new", cluster.address, "updated-2", autoscaling=two)
            new = await asyncio.to_thread(later.enter_context, fresh)
            endpoints.change("tiny", replicas=(Upstream("new", 2, new.endpoint, TOKEN, 160),))
            await _so(lambda: endpoints.open_requests("old") == 0, "the old revision is left")
            assert await asyncio.to_thread(old.end) == 0
            seen = len(ended)
            await _so(lambda: len(ended) >= seen + CLIENTS, "all clients had answers of the new revision")
            over.set()
            await asyncio.gather(*clients)
            return ended

        ended = asyncio.run(play())
    platform.close()
    assert [how for how in ended if how not in ("whole", "replica_lost")] == []
    assert ended.count("whole") > 2 * CLIENTS
    assert 0 < ended.count("replica_lost") <= CLIENTS


async def _so(so, what):
    await asyncio.to_thread(wait_for, so, 240, what)


def test_a_killed_program_leaves_an_application_that_is_taken_away(cluster, tmp_path):
    with program(tmp_path / "left", cluster.address, "left-1") as left:
        assert len(left.replicas()) == 1
        left.end(signal.SIGKILL)
        wait_for(lambda: not left.replicas(), 120, "the application goes")


def test_a_platform_runs_its_services_there(cluster, tmp_path):
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text(CLUSTER_TOKEN)
    settings = BRISK.model_dump(exclude={"ray", "cpu_jobs", "gpu_jobs", "executor", "service_start_seconds"})
    ray = {"address": cluster.url, "token_file": file}
    platform = Platform.open(
        tmp_path / "home", config=Config.model_validate(settings | {"executor": "ray", "ray": ray})
    )
    try:
        spec = RevisionSpec(source=Source(model=MODEL), engine="transformers", autoscaling=Autoscaling(max=2))
        made = platform.services.create(ServiceCreate(name="tiny", spec=spec))
        service = drive_to(platform, made, ServiceState.RUNNING, seconds=400)
        assert [check.passed for check in service.revisions[0].proof] == [True] * 4
        (upstream,) = platform.services.endpoints.find("tiny").replicas
        asked = openai.OpenAI(base_url=f"{upstream.base_url}/v1", api_key=upstream.token, max_retries=0)
        assert asked.chat.completions.create(model="default", messages=ASK, max_tokens=4).choices[0].finish_reason
        assert len(processes(f"ray::ServeReplica:quickalign-{service.replicas[0].id}")) == 1
        platform.services.delete("tiny")
        gone = drive_to(platform, made, ServiceState.DELETED, seconds=200)
        assert len(gone.removal.processes) >= 3, "wrapper, program and replica"
        assert processes(f"ray::ServeReplica:quickalign-{service.replicas[0].id}") == []
    finally:
        platform.close()


def test_what_is_ended_leaves_nothing(cluster, scaled):
    assert scaled.end() == 0
    assert scaled.replicas() == []
    wait_for(lambda: not processes("ray::Keeper"), 90, "the keeper of nothing goes")


def test_a_model_that_is_not_there_ends_it_with_its_sentence(cluster, tmp_path):
    process = start(tmp_path / "none", cluster.address, "none-1", model=str(tmp_path / "nothing"))
    assert process.wait(180) == 4
    assert "error: " in (tmp_path / "none" / "log").read_text()


def test_a_cluster_that_is_not_there_is_said_at_once(tmp_path):
    process = start(tmp_path / "away", "127.0.0.1:9", "away-1")
    assert process.wait(60) == AWAY
    assert "The cluster 127.0.0.1:9 cannot be reached" in (tmp_path / "away" / "log").read_text()


def test_a_lost_head_ends_it_so_that_it_is_started_again(cluster, tmp_path):
    """Runs last: the cluster is gone afterwards."""
    with program(tmp_path / "headless", cluster.address, "headless-1") as headless:
        cluster.kill_head(with_its_work=False)
        assert headless.process.wait(180) != 0

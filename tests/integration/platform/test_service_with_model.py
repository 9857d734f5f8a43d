"""A service with the real replica program on the tiny model: from creation to the proof that it is gone."""

import httpx
import openai
import pytest

from quickalign.core.wire.services import RevisionSpec, ServiceCreate, ServiceState, ServiceUpdate, Source
from quickalign.platform.context import Platform
from tests.support.platforms import cpu
from tests.support.replicas import ENVIRONMENT
from tests.support.service_rounds import BRISK, drive, drive_to, end_all, processes_of

S = ServiceState
SECONDS = 600
"""Far more than it takes; it counts on a machine with much else to do."""
CONFIG = BRISK.model_copy(update={"service_start_seconds": SECONDS})
SPEC = RevisionSpec(source=Source(model="qwen2-tiny-instruct"), precision="fp32")
PROMPT = [{"role": "user", "content": "Could you please help me with something?"}]


def open_home(home):
    return Platform.open(home, config=CONFIG, devices=cpu())


def answer(platform, name):
    """What the service answers, asked as the gateway does."""
    [upstream] = platform.services.endpoints.find(name).replicas
    client = openai.OpenAI(base_url=f"{upstream.base_url}/v1", api_key=upstream.token, max_retries=0)
    done = client.chat.completions.create(model="default", messages=PROMPT, max_tokens=8, temperature=0)
    return done.choices[0].message.content


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_created_asked_updated_found_again_and_deleted(tmp_path, monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    home = tmp_path / "home"
    platform = open_home(home)
    try:
        service = platform.services.create(ServiceCreate(name="tiny", spec=SPEC))
        running = drive_to(platform, service, S.RUNNING, seconds=SECONDS)
        assert running.revisions[0].engine
        assert all(check.passed for check in running.revisions[0].proof)
        assert len(running.revisions[0].proof) == 4
        first = answer(platform, "tiny")
        [upstream] = platform.services.endpoints.find("tiny").replicas
        assert httpx.get(f"{upstream.base_url}/v1/models").status_code == 401, "its token is needed"

        platform.close()  # the server ends, its replica goes on, and the next server finds it
        assert httpx.get(f"{upstream.base_url}/health").status_code == 200
        platform = open_home(home)
        platform.service_reconciler.tick()
        assert platform.services.get("tiny").replicas[0].pid == running.replicas[0].pid
        assert answer(platform, "tiny") == first

        spec = SPEC.model_copy(update={"context": 128})
        platform.services.update("tiny", ServiceUpdate(spec=spec))
        drive(platform, lambda: platform.services.get("tiny").revision == 2, SECONDS)
        updated = platform.services.get("tiny")
        assert (updated.state, updated.revisions[0].context) == (S.RUNNING, 128)
        assert answer(platform, "tiny") == first
        drive(platform, lambda: len(platform.services.get("tiny").replicas) == 1, SECONDS)

        platform.services.delete("tiny")
        gone = drive_to(platform, service, S.DELETED, seconds=SECONDS)
        assert len(gone.removal.processes) >= 3, "wrapper, endpoint and engine"
        assert gone.removal.memory_bytes > 100_000_000
        assert processes_of(home) == []
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://127.0.0.1:{gone.removal.ports[0]}/health")
    finally:
        platform.close()
        end_all(home)

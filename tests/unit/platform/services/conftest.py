import json

import pytest

from tests.support.platforms import stub_job, write_data
from tests.support.services import Stage, write_model


@pytest.fixture
def stage(tmp_path, database_url):
    opened = Stage(tmp_path / "home", database_url=database_url)
    yield opened
    opened.platform.close()


@pytest.fixture
def lone(tmp_path):
    """A stage on SQLite, for what has nothing to do with the database."""
    opened = Stage(tmp_path / "home")
    yield opened
    opened.platform.close()


@pytest.fixture
def succeeded_job(stage, tmp_path):
    """A job that the world has brought to its end, with an adapter's folder."""
    world = stage.job_world
    job = stage.platform.jobs.create(stub_job(write_data(tmp_path / "data")))
    stage.platform.reconciler.tick()
    [run] = world.waiting()
    world.arrive(run)
    adapter = write_model(stage.platform.home.output(job.id) / "adapter")
    (adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "qwen2-tiny-instruct"}')
    world.end(run, 0)
    result = {"adapter": str(adapter), "adapter_sha256": "a" * 64}
    (stage.platform.home.output(job.id) / "result.json").write_text(json.dumps(result))
    stage.platform.reconciler.tick()
    return job.id

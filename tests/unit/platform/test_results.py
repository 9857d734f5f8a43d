"""Results where their job wants them: whole, and of one run."""

import pytest

from quickalign.core.errors import StorageError
from quickalign.platform.executors.results import copy_results
from quickalign.serve import source
from tests.support.platforms import stub_job


def run_of(folder, kind, *files):
    for name in (*(f"{kind}/{file}" for file in ("quickalign.json", *files)), "result.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(folder.name)
    return folder


def test_a_model_is_not_put_beside_the_adapter_of_another_run(platform, data, tmp_path):
    place = tmp_path / "place"
    copy_results(run_of(tmp_path / "first", "adapter", "adapter_config.json"), str(place))
    assert source._trained_folder(place) == place / "adapter", "what would be served"
    with pytest.raises(StorageError, match="the adapter of another run"):
        copy_results(run_of(tmp_path / "second", "model", "config.json"), str(place))
    assert not (place / "model").exists()
    request = stub_job(data, output=str(place))
    assert platform.jobs.create(request)
    options = request.spec.hyperparameters | {"lora_dim": 0}
    spec = request.spec.model_copy(update={"hyperparameters": options})
    with pytest.raises(StorageError, match="the adapter of another run") as caught:
        platform.jobs.create(request.model_copy(update={"spec": spec}))
    assert caught.value.field == "output"


def test_a_model_takes_the_place_of_one_in_more_files(tmp_path):
    place = tmp_path / "place"
    shards = ("model-00001-of-00001.safetensors", "model.safetensors.index.json")
    copy_results(run_of(tmp_path / "first", "model", *shards), str(place))
    (place / "model" / "notes.txt").write_text("mine")
    copy_results(run_of(tmp_path / "second", "model", "model.safetensors"), str(place))
    found = {file.name: file.read_text() for file in (place / "model").iterdir()}
    assert found == {"quickalign.json": "second", "model.safetensors": "second", "notes.txt": "mine"}

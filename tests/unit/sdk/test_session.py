"""Sessions: where they connect, what of the cloud's arguments is honoured, and what is refused by name."""

import inspect

import pytest

import quickalign
from quickalign.core.errors import OptionError
from quickalign.sdk import cloud
from quickalign.sdk import session as sessions
from quickalign.session import Session, get_default_session, setup_default_session
from tests.support.fake_api import ENDPOINT, TOKEN


def test_the_names_are_those_of_the_cloud_s_sdk():
    from quickalign.common.utils import random_str
    from quickalign.job import TrainingJob, TrainingJobStatus
    from quickalign.model import ModelTrainingRecipe, RegisteredModel

    for found in (random_str, TrainingJob, TrainingJobStatus, ModelTrainingRecipe, RegisteredModel, Session):
        assert getattr(quickalign, found.__name__) is found
    assert set(quickalign.__all__) <= {*dir(quickalign), *quickalign._HOMES}
    with pytest.raises(AttributeError, match="no attribute 'Estimator'"):
        _ = quickalign.Estimator


CLOUD = {
    setup_default_session: "access_key_id access_key_secret security_token region_id credential_config oss_bucket_name "
    "oss_endpoint workspace_id network",
    Session: "region_id workspace_id",
    quickalign.random_str: "n",
    quickalign.RegisteredModel: "model_name model_version model_provider session",
    quickalign.RegisteredModel.list: "model_name model_provider task session",
    quickalign.RegisteredModel.training_recipe: "self method",
    quickalign.ModelTrainingRecipe: "model_name model_version model_provider model_uri method",
    quickalign.ModelTrainingRecipe.train: "self inputs outputs wait job_name show_logs",
    quickalign.TrainingJob.get: "training_job_id session",
    quickalign.TrainingJob.list: "status session page_size page_number",
    quickalign.TrainingJob.wait: "self interval show_logs",
    quickalign.TrainingJob.output_path: "self channel_name",
}
"""The positional arguments of PAI's SDK 0.4.13, as far as programs give them by position."""


@pytest.mark.parametrize("call", CLOUD, ids=lambda call: call.__qualname__)
def test_arguments_stand_in_the_cloud_s_order(call):
    names = [
        parameter.name
        for parameter in inspect.signature(call).parameters.values()
        if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    wanted = CLOUD[call].split()
    assert names[: len(wanted)] == wanted


def test_every_argument_of_the_cloud_s_recipe_is_known():
    own = inspect.signature(quickalign.ModelTrainingRecipe).parameters
    rest = "source_dir model_channel_name hyperparameters job_type image_uri command instance_count instance_type spot_spec"
    rest += (
        " instance_spec resource_id resource_type user_vpc_config labels requirements environments experiment_config"
    )
    rest += " input_channels output_channels max_run_time default_training_inputs base_job_name"
    for name in rest.split():
        assert name in own or name in cloud.REFUSED, name


def test_random_texts_are_of_the_length_and_differ():
    texts = {quickalign.random_str(6) for _ in range(50)}
    assert len(texts) > 45
    assert all(len(text) == 6 and text.isalnum() and text == text.lower() for text in texts)


def test_the_default_session_is_one_and_connects_nowhere_yet(monkeypatch):
    monkeypatch.setattr(sessions.discover, "find_or_start", lambda home: pytest.fail("connected"))
    session = get_default_session()
    assert session is get_default_session()
    assert session.region_id == "local"
    assert session.is_own_server


def test_setting_up_keeps_what_is_left_out():
    first = setup_default_session(region_id="cn-hangzhou", endpoint=ENDPOINT, token=TOKEN, oss_bucket_name="b")
    second = setup_default_session(workspace_id=7)
    assert get_default_session() is second is not first
    assert (second.region_id, second.workspace_id, second.oss_bucket_name) == ("cn-hangzhou", "7", "b")
    assert second.endpoint == ENDPOINT


def test_a_home_is_a_server_whatever_was_named_before(monkeypatch, tmp_path):
    monkeypatch.setenv("QUICKALIGN_ENDPOINT", ENDPOINT)
    monkeypatch.setenv("QUICKALIGN_TOKEN", TOKEN)
    assert not get_default_session().is_own_server
    chosen = setup_default_session(home=str(tmp_path))
    assert (chosen.is_own_server, chosen.home) == (True, tmp_path)
    kept = setup_default_session(region_id="cn-hangzhou")
    assert (kept.is_own_server, kept.home) == (True, tmp_path)
    assert setup_default_session(endpoint=ENDPOINT, token=TOKEN).endpoint == ENDPOINT
    with pytest.raises(OptionError, match="home and endpoint exclude each other"):
        Session(home=tmp_path, endpoint=ENDPOINT, token=TOKEN)


def test_a_token_read_from_a_file_opens_the_server():
    assert Session(endpoint=f"{ENDPOINT}\n", token=f"{TOKEN}\n").client.place == sessions.Place(ENDPOINT, TOKEN)


@pytest.mark.parametrize(
    ("endpoint", "token", "said"),
    [
        (ENDPOINT, "tökén", "holds characters that no token has"),
        (ENDPOINT, "two\nlines", "holds characters that no token has"),
        ("http://host:port", TOKEN, "not the address of a server"),
        ("http://host:99999", TOKEN, "not the address of a server"),
        ("http://[::1", TOKEN, "not the address of a server"),
        ("127.0.0.1:8421", TOKEN, "not the address of a server"),
    ],
)
def test_an_address_or_a_token_that_cannot_be_is_refused_before_it_is_used(endpoint, token, said):
    with pytest.raises(OptionError, match=said) as refusal:
        Session(endpoint=endpoint, token=token)
    assert token not in str(refusal.value)


@pytest.mark.parametrize("name", ["access_key_id", "access_key_secret", "security_token", "oss_endpoint", "network"])
def test_what_cannot_be_honoured_is_refused_by_name(name):
    with pytest.raises(OptionError, match=f"argument {name} cannot be honoured"):
        setup_default_session(**{name: "x"})
    assert Session(**{name: None}).is_own_server


def test_an_unknown_argument_is_refused():
    with pytest.raises(OptionError, match="no argument 'regoin_id'"):
        Session(regoin_id="x")


def test_a_named_server_is_not_this_home_s_own(remote, own):
    assert not remote.is_own_server
    assert own.is_own_server
    assert own.endpoint == ENDPOINT


def test_importing_the_package_imports_nothing_else():
    import subprocess
    import sys

    program = "import sys, quickalign; print([m for m in ('httpx', 'pydantic', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_sdk_needs_neither_torch_nor_the_platform():
    import subprocess
    import sys

    program = (
        "import sys\nfrom quickalign import ModelTrainingRecipe, RegisteredModel, TrainingJob, Session\n"
        "wrong = [m for m in sys.modules if m.split('.')[0] in ('torch', 'transformers', 'sqlalchemy', 'fastapi')\n"
        "         or m.startswith(('quickalign.train', 'quickalign.platform', 'quickalign.api', 'quickalign.cli'))]\n"
        "sys.exit(str(wrong) if wrong else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

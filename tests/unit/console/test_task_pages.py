"""The forms that evaluate and export what a job has trained."""

import html
import re
import shlex
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from quickalign.cli.main import app
from quickalign.console.sample import SAMPLE_VALIDATION
from quickalign.core.wire.evaluations import EvaluateRequest
from quickalign.core.wire.exports import ExportRequest
from quickalign.core.wire.jobs import EvaluationCreate, ExportCreate
from quickalign.platform.jobs import moves
from tests.support.forms import form_fields

HTMX = {"HX-Request": "true"}


def made_of(platform, answer):
    """The job that a form has made."""
    assert answer.status_code == 303, answer.text
    return platform.jobs.get(answer.headers["location"].rpartition("/")[2])


class EnoughError(Exception):
    """The job was asked for."""


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What programs and commands that run here ask of their server, a request each."""
    requests = []

    def submit(session, request):
        requests.append(request)
        raise EnoughError

    session = SimpleNamespace(is_own_server=True, endpoint="")
    monkeypatch.chdir(tmp_path)
    for module in ("inputs", "model_recipe"):
        monkeypatch.setattr(f"quickalign.sdk.{module}.submit", submit)
    monkeypatch.setattr("quickalign.cli.connect.connect", lambda: session)
    monkeypatch.setattr("quickalign.sdk.model_recipe.get_default_session", lambda: session)
    return requests


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("export", {}),
        ("export", {"compression": "gguf", "precision": "bf16", "rows": "4", "parity_limit": "0.5", "license": "it's"}),
        ("export", {"data": SAMPLE_VALIDATION, "output": "/tmp/there", "name": 'a "name" of $HOME'}),
        ("evaluate", {"data": SAMPLE_VALIDATION}),
        ("evaluate", {"data": SAMPLE_VALIDATION, "bad_rows": "drop", "prompts": "0", "name": "x"}),
        ("evaluate", {"data": SAMPLE_VALIDATION, "fail_below": "accuracy=0.7, margin=1e-9", "fail_above": "kl=2"}),
    ],
)
def test_what_is_copied_makes_the_same_job(change, platform, finished, asked, tmp_path, kind, values):
    wanted = made_of(platform, change(f"/jobs/{finished}/{kind}", **values))
    page = html.unescape(change(f"/jobs/{finished}/{kind}/code", **values, headers=HTMX).text)
    texts = dict(re.findall(r'aria-label="(SDK|CLI|curl)">(.*?)</pre>', page, re.DOTALL))
    with pytest.raises(EnoughError):
        exec(compile(texts["SDK"], "sdk", "exec"), {})
    command = shlex.split(texts["CLI"].replace("\\\n", " "), comments=True)
    assert isinstance(CliRunner().invoke(app, command[1:]).exception, EnoughError)
    words = shlex.split(texts["curl"].replace("\\\n", " "))
    assert words[1].endswith("/api/v1/jobs")
    sent = words[words.index("-d") + 1]
    by_program, by_command = asked
    by_call = (ExportCreate if kind == "export" else EvaluationCreate).model_validate_json(sent)
    for request in (by_program, by_command, by_call):
        assert (request.kind, request.spec) == (wanted.kind, wanted.spec)
        assert "name" not in values or request.name == wanted.name
    assert by_program.output == by_call.output == wanted.output
    must = kind == "export" and not wanted.output
    assert by_command.output == (str(tmp_path / "exported") if must else wanted.output)
    assert ("# The command line also copies the result" in texts["CLI"]) == must


@pytest.mark.parametrize("kind", ["export", "evaluate"])
def test_a_form_that_is_sent_as_it_is_asks_for_the_defaults(browser, change, platform, finished, kind):
    assert f'href="/console/jobs/{finished}/{kind}"' in browser.get(f"/console/jobs/{finished}").text
    values = form_fields(browser.get(f"/console/jobs/{finished}/{kind}").text)
    values |= {"data": SAMPLE_VALIDATION} if kind == "evaluate" else {}
    del values["csrf"]
    job = made_of(platform, change(f"/jobs/{finished}/{kind}", **values))
    expected = (
        ExportRequest(model=finished) if kind == "export" else EvaluateRequest(model=finished, data=SAMPLE_VALIDATION)
    )
    assert (job.kind, job.spec, job.output) == (kind, expected, None)


def test_an_export_is_as_the_form_says(change, platform, finished, tmp_path):
    values = {"compression": "gguf", "precision": "bf16", "rows": "4", "parity_limit": "0.5", "license": "mit"}
    job = made_of(
        platform, change(f"/jobs/{finished}/export", **values, name="Small", output=str(tmp_path / "out"), key="k")
    )
    expected = ExportRequest(
        model=finished, compression="gguf", precision="bf16", rows=4, parity_limit=0.5, license="mit"
    )
    assert (job.spec, job.name, job.output) == (expected, "Small", str(tmp_path / "out"))
    again = change(f"/jobs/{finished}/export", **values, name="Small", output=str(tmp_path / "out"), key="k")
    assert made_of(platform, again).id == job.id, "a form that is sent twice makes one job"


def test_an_evaluation_is_as_the_form_says(change, platform, finished, file_id):
    limits = {"fail_below": "accuracy=0.7, margin = 0.1", "fail_above": "kl=2"}
    job = made_of(platform, change(f"/jobs/{finished}/evaluate", data=file_id, rows="9", against=finished, **limits))
    assert (job.spec.data, job.spec.rows, job.spec.against) == (file_id, 9, finished)
    assert (job.spec.fail_below, job.spec.fail_above) == ({"accuracy": 0.7, "margin": 0.1}, {"kl": 2.0})


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        ("export", {"compression": "gguf-q8_0", "precision": "fp16"}, "has no effect with compression="),
        ("export", {"rows": "many"}, "rows"),
        ("export", {"compression": "zip"}, "gguf-q8_0"),
        ("evaluate", {}, "data"),
        ("evaluate", {"data": SAMPLE_VALIDATION, "fail_below": "accuracy"}, "has no value"),
        ("evaluate", {"data": SAMPLE_VALIDATION, "fail_below": "acuracy=1"}, "acuracy"),
        ("evaluate", {"data": SAMPLE_VALIDATION, "fail_below": "kl=1, kl=2"}, "twice"),
        ("evaluate", {"data": SAMPLE_VALIDATION, "fail_above": "kl=much"}, "fail_above.kl"),
    ],
)
def test_what_cannot_be_is_refused_in_place(change, platform, finished, kind, values, words):
    answer = change(f"/jobs/{finished}/{kind}", **values, headers=HTMX)
    assert words in answer.text
    assert 'role="alert"' in answer.text
    assert words in change(f"/jobs/{finished}/{kind}/code", **values, headers=HTMX).text
    assert [job.id for job in platform.jobs.list().items] == [finished]


def test_a_job_without_a_model_has_no_such_forms(browser, platform, finished, change):
    job = made_of(platform, change(f"/jobs/{finished}/export"))
    for kind in ("export", "evaluate"):
        assert f"/{kind}" not in browser.get(f"/console/jobs/{job.id}").text
        refused = browser.get(f"/console/jobs/{job.id}/{kind}")
        assert refused.status_code == 422
        assert "has no model" in refused.text


def test_a_gguf_file_is_for_llama_cpp(browser, platform, finished):
    made = ExportCreate(spec=ExportRequest(model=finished, compression="gguf-q8_0"))
    job = platform.jobs.create(made)
    folder = platform.home.output(job.id) / "model"
    folder.mkdir(parents=True)
    (folder / "model.gguf").write_bytes(b"GGUF")
    with platform._database.write() as session:
        row = moves.find(session, job.id)
        row.state, row.model_path = "succeeded", str(folder)
        row.results = {"bytes": 4, "parity": {"after": {"bytes": 4}, "before": {"bytes": 9}}}
    page = browser.get(f"/console/jobs/{job.id}").text
    assert f"llama-server --jinja --model {folder}/model.gguf" in page
    assert "/services/new" not in page.partition("<main")[2]
    assert "/evaluate" not in page
    assert browser.get(f"/console/jobs/{job.id}/files/model/model.gguf").content == b"GGUF"

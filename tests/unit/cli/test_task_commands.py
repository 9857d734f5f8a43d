"""`eval` and `export` as jobs of a server in memory: what they ask for, and how they end."""

import json
from types import SimpleNamespace

import httpx
import pytest

from quickalign.cli.commands import evaluate
from quickalign.core.wire.jobs import JobState, Reason
from quickalign.sdk import session as sessions
from quickalign.sdk.client import Client
from tests.support.fake_api import ENDPOINT, TOKEN, FakeApi, job

PARITY = {
    "rows": 3,
    "largest_difference": 0.01,
    "largest_per_token": 0.001,
    "limit": 0.1,
    "prompts": 1,
    "equal_answers": 1,
    "equal_tokens": 1.0,
    "before": {"bytes": 40, "tokens_per_second": 9.0, "perplexity": 2.0, "likelihood_accuracy": 0.5},
    "after": {"bytes": 10, "tokens_per_second": 8.0, "perplexity": 2.1, "likelihood_accuracy": 0.5},
}


@pytest.fixture
def api(monkeypatch):
    """A server that the environment names, whose jobs end at once as `api.ends` says."""
    made = FakeApi()
    made.ends = {"state": JobState.SUCCEEDED}
    create = made._create

    def created(request):
        answer = create(request)
        name = next(reversed(made.jobs))
        made.jobs[name] = made.jobs[name].model_copy(update=made.ends)
        return answer

    made._create = created
    transport = httpx.MockTransport(made.answer)
    monkeypatch.setattr(sessions, "Client", lambda place, **more: Client(place, transport=transport, **more))
    monkeypatch.setenv("QUICKALIGN_ENDPOINT", ENDPOINT)
    monkeypatch.setenv("QUICKALIGN_TOKEN", TOKEN)
    return made


def posted(api):
    return next(
        json.loads(one.content) for one in api.requests if one.method == "POST" and one.url.path.endswith("jobs")
    )


def test_an_evaluation_names_its_kind_its_job_and_its_limits(cli, api):
    limits = ("--fail-below", "accuracy=0.7", "--rows", "9", "--label", "team=a")
    code, out, _ = cli("eval", "job-1", "hf://o/r/d.json", *limits, "--detach", "--json")
    assert code == 0
    assert json.loads(out)["kind"] == "evaluate"
    asked = posted(api)
    assert (asked["kind"], asked["spec"]["model"], asked["spec"]["data"]) == ("evaluate", "job-1", "hf://o/r/d.json")
    assert (asked["spec"]["fail_below"], asked["spec"]["rows"]) == ({"accuracy": 0.7}, 9)
    assert asked["metadata"] == {"team": "a"}


def test_one_that_misses_its_limit_shows_the_report_and_ends_with_13(cli, api, monkeypatch):
    shown = []
    monkeypatch.setattr(evaluate, "_show", lambda content, as_json: shown.append((content, as_json)))
    api.artifacts["report.json"] = b"{}"
    missed = "The model does not keep its limits: accuracy is 0.5, below 0.7."
    api.ends = {"state": JobState.FAILED, "reason": Reason(code="failed", message=missed, exit_code=13)}
    code, out, err = cli("eval", "qwen2-tiny-instruct", "file-1", "--fail-below", "accuracy=0.7", "--json")
    assert (code, shown) == (13, [(b"{}", True)])
    assert missed in out + err


def test_an_export_shows_its_parity_and_where_it_is(cli, api):
    found = {"bytes": 10, "parity": PARITY}
    api.ends |= {"results": found, "model_path": "/home/jobs/job-2/output/model", "adapter_sha256": "c" * 64}
    code, out, _ = cli("export", "job-1", "s3://models/mine", "--compression", "int4")
    assert code == 0
    asked = posted(api)
    assert (asked["kind"], asked["output"], asked["spec"]["compression"]) == ("export", "s3://models/mine", "int4")
    assert "0.001 per token (limit 0.1)" in " ".join(out.split())
    assert "/home/jobs/job-2/output/model" in out


def test_watching_an_evaluation_ends_with_its_figures(cli, api):
    spec = {"model": "job-1", "data": "file-1"}
    found = {"figures": {"accuracy": 0.75}, "base": {"accuracy": 0.5}, "failed_checks": ["end token"]}
    api.add(job(4, JobState.SUCCEEDED, kind="evaluate", spec=spec, results=found))
    code, out, _ = cli("jobs", "watch", job(4).id)
    assert code == 0
    assert "accuracy" in out and "0.75" in out and "end token" in out
    code, out, _ = cli("jobs", "list", "--kind", "evaluate", "--json")
    assert code == 0
    assert api.requests[-1].url.params["kind"] == "evaluate"
    assert cli("jobs", "list", "--kind", "tune")[0] == 2


def test_the_view_of_an_export_is_made_of_its_record():
    from quickalign.cli.draw.tasks import exported_of

    record = SimpleNamespace(results={"bytes": 10, "parity": PARITY}, output=None, model_path="/m", adapter_sha256="d")
    assert str(exported_of(record).folder) == "/m"

import html
import io
import json
import re
import shlex
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from quickalign import server
from quickalign.api.app import make_app
from quickalign.console.sample import SAMPLE_TRAIN, TINY_SETTINGS
from quickalign.core import options
from quickalign.core.errors import OptionError
from quickalign.core.wire.evaluations import EvaluateRequest
from quickalign.core.wire.exports import ExportRequest
from quickalign.core.wire.jobs import EvaluationCreate, ExportCreate, JobCreate, JobState, TrainRequest
from quickalign.platform.jobs import moves
from tests.doubles.jupyter_server import TOKEN, Jupyter, serve
from tests.support.forms import form_fields
from tests.support.platforms import FAST, drive_to, open_stub, stub_job, write_data
from tests.unit.console.conftest import signed_in

HTMX = {"HX-Request": "true"}
NASTY = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


def test_the_gallery_filters(browser, platform):
    page = browser.get("/console/models").text
    for card in platform.models.list():
        assert card.title in page
    part = browser.get("/console/models", params={"text": "tiny"}, headers=HTMX).text
    assert "<html" not in part
    assert "Qwen2 Tiny Instruct" in part
    assert "Llama" not in part
    assert "No model is like that" in browser.get("/console/models", params={"text": "zzz"}, headers=HTMX).text
    small = browser.get("/console/models", params={"size": "small", "family": "Qwen3"}, headers=HTMX).text
    assert "Qwen3 0.6B" in small
    assert "Qwen3 8B" not in small


def test_a_card_and_its_notebook(browser):
    page = browser.get("/console/models/qwen2-tiny-instruct").text
    assert "ModelTrainingRecipe" in page
    assert "quickalign train" in page
    notebook = json.loads(browser.get("/console/models/qwen2-tiny-instruct/notebook.ipynb").text)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            compile("".join(cell["source"]), "cell", "exec")
    assert browser.get("/console/models/none").status_code == 404


def test_a_notebook_opens_in_jupyter(tmp_path):
    with serve(Jupyter()) as jupyter:
        (tmp_path / "token").write_text(TOKEN)
        config = FAST.model_copy(update={"jupyter_url": jupyter.url, "jupyter_token_file": tmp_path / "token"})
        platform = open_stub(tmp_path / "home", config=config)
        with signed_in(make_app(platform, server.parts()), platform.tokens.create("test")) as browser:
            page = browser.get("/console/models/qwen2-tiny-instruct").text
            address = page.partition('hx-post="')[2].partition('"')[0]
            headers = HTMX | {"X-CSRF-Token": browser.csrf}
            part = browser.post(address, headers=headers).text
            assert f'href="{jupyter.url}/lab/tree/qwen2-tiny-instruct.ipynb" target="_blank" rel="noopener"' in part
            downloaded = json.loads(browser.get("/console/models/qwen2-tiny-instruct/notebook.ipynb").text)
            assert jupyter.notebooks == {"qwen2-tiny-instruct.ipynb": downloaded}
            (tmp_path / "token").write_text("another")
            assert "refuses to be written to" in browser.post(address, headers=headers).text
            assert len(jupyter.notebooks) == 1
        platform.close()


def test_no_button_for_jupyter_where_there_is_none(browser):
    assert "Jupyter" not in browser.get("/console/models/qwen2-tiny-instruct").text


def test_the_first_run_s_settings_are_the_quickstart_s():
    from quickalign.cli.demonstration import HYPERPARAMETERS
    from quickalign.core.hyperparameters import Hyperparameters

    assert Hyperparameters(**TINY_SETTINGS) == Hyperparameters(**HYPERPARAMETERS)


def test_the_form_shows_every_option_with_its_bounds(browser, platform):
    page = browser.get("/console/train").text
    schema = platform.models.get("qwen2-tiny-instruct").hyperparameters["properties"]
    for name in schema:
        assert f'name="option.{name}"' in page
    places = [page.index(f'name="option.{name}"') for name in schema]
    assert places == sorted(places)
    assert 'data-above="0.0"' in page or 'data-above="0"' in page


def test_a_job_from_the_form(browser, change, platform, file_id):
    options = {"option.training_strategy": "dpo", "option.learning_rate": "1e-4", "option.seq_length": "128"}
    asked = {"model": "qwen2-tiny-instruct", "train": file_id, "name": "From a form", "key": "k1", **options}
    asked |= {"sample_prompts": "One?\r\n\r\nTwo?", "gpus": "", "priority": "3"}
    answer = change("/train", **asked, headers=HTMX)
    job = platform.jobs.list().items[0]
    assert answer.headers["hx-redirect"] == f"/console/jobs/{job.id}"
    assert job.spec.hyperparameters == {"training_strategy": "dpo", "learning_rate": 1e-4}
    assert job.spec.sample_prompts == ("One?", "Two?")
    assert (job.name, job.priority) == ("From a form", 3)
    change("/train", **asked, headers=HTMX)
    assert len(platform.jobs.list().items) == 1, "the same form sent twice makes one job"


WRONG = (
    ({"train": ""}, "no training data"),
    ({"option.learning_rate": "7"}, "learning_rate"),
    ({"option.learning_rate": "many"}, "learning_rate"),
    ({"option.colour": "red"}, "colour"),
    ({"option.training_strategy": "sft", "option.dpo_beta": "0.3"}, "dpo_beta"),
    ({"model": "no-such-model"}, "no-such-model"),
    ({"train": "file-none"}, "file-none"),
    ({"priority": "high"}, "priority"),
    ({"name": "x" * 101}, "name"),
)


def test_a_form_that_cannot_be_says_why(change, platform, file_id):
    for fields, words in WRONG:
        asked = {"model": "qwen2-tiny-instruct", "train": file_id, "option.training_strategy": "dpo"} | fields
        answer = change("/train", **asked, headers=HTMX)
        assert answer.status_code == 200, fields
        assert 'role="alert"' in answer.text, fields
        assert words in answer.text, fields
    assert not platform.jobs.list().items


def test_the_form_as_text(change, file_id):
    asked = {"model": "qwen2-tiny-instruct", "train": file_id, "option.training_strategy": "dpo"}
    text = change("/train/code", **asked, headers=HTMX).text
    assert "--training-strategy dpo" in text
    assert "/api/v1/jobs" in text


def test_an_upload_and_its_rows(browser, platform):
    rows = [{"prompt": "Why <b>?", "chosen": "Because of light.", "rejected": "Because of night."}, {"prompt": "x"}]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    headers = {"X-CSRF-Token": browser.csrf, "Accept": "application/json"}
    stored = browser.post("/console/files", params={"filename": "a b.jsonl"}, content=content, headers=headers).json()
    assert platform.files.path(stored["id"]).read_bytes() == content
    page = browser.get(f"/console/datasets/{stored['id']}/rows", headers=HTMX).text
    assert "Why &lt;b&gt;?" in page
    assert "<ins>light</ins>" in page
    assert "<del>night</del>" in page
    assert "row 2" in page
    refused = browser.post("/console/files", params={"filename": ".."}, content=b"x", headers=headers)
    assert refused.status_code == 200
    assert "cannot be a file" in refused.json()["problem"]["message"]


def test_the_report_of_a_file(browser, change, platform, file_id):
    part = browser.get(f"/console/datasets/{file_id}/report", headers=HTMX).text
    assert ">30<" in part
    assert change(f"/datasets/{file_id}/delete").headers["location"] == "/console/datasets"
    assert not platform.files.list().items


def test_rows_come_in_pages(browser, file_id):
    page = browser.get(f"/console/datasets/{file_id}/rows", headers=HTMX).text
    assert "Question 19?" in page
    assert "Question 20?" not in page
    assert "Question 29?" in browser.get(f"/console/datasets/{file_id}/rows?offset=20", headers=HTMX).text


def test_a_finished_job(browser, finished):
    page = browser.get(f"/console/jobs/{finished}").text
    assert "Polite answers" in page
    for words in ("succeeded", "6 / 6", "Deploy", "Clone", "Delete"):
        assert words in page
    assert "/pause" not in page
    news = browser.get(f"/console/jobs/{finished}/news?event=2", headers={"Accept": "application/json"}).json()
    assert news["over"]
    assert news["lines"] == 6
    assert "succeeded" in news["parts"]["job-head"]
    assert "succeeded" in news["events"]
    again = browser.get(f"/console/jobs/{finished}/news?event={news['event']}&seen={news['seen']}")
    assert (again.status_code, again.content) == (204, b"")
    head = news["seen"].partition("-")[0]
    assert "job-head" not in browser.get(f"/console/jobs/{finished}/news?event=2&seen={head}").json()["parts"]
    seen = page.partition('data-seen="')[2].partition('"')[0]
    assert seen == head
    series = browser.get(f"/console/jobs/{finished}/series").json()
    assert series["values"]["loss"][0] == 1
    assert series["steps"] == [1, 2, 3, 4, 5, 6]
    log = browser.get(f"/console/jobs/{finished}/log").json()
    assert "step 6/6" in log["text"]
    found = browser.get(f"/console/jobs/{finished}/log/search", params={"text": "STEP 3/6"}).json()
    assert log["text"][found["found"] :].startswith("step 3/6")
    assert (
        browser.get(f"/console/jobs/{finished}/files/result.json")
        .headers["content-security-policy"]
        .startswith("sandbox")
    )


def test_what_can_be_done_with_a_job(browser, change, platform, tmp_path):
    job = platform.jobs.create(stub_job(write_data(tmp_path / "d"))).id
    for action, state in (("pause", "paused"), ("resume", "resuming"), ("cancel", "cancelled")):
        assert change(f"/jobs/{job}/{action}").headers["location"] == f"/console/jobs/{job}"
        assert platform.jobs.get(job).state == state
    refused = change(f"/jobs/{job}/pause", back=f"/console/jobs/{job}")
    assert "cannot be paused" in browser.get(refused.headers["location"]).text
    said = change(f"/jobs/{job}/delete").headers["location"]
    assert "is deleted" in browser.get(said).text
    assert not platform.jobs.list().items


def test_clones_begin_with_the_job_s_values(browser, finished):
    page = browser.get(f"/console/train?clone={finished}").text
    assert "Clone of Polite answers" in page
    assert 'name="option.save_steps" value="2"' in page


CLONED = {
    "model": "qwen2-tiny-instruct",
    "safe_rlhf_preference": "safer",
    "sample_prompts": ("Two\nlines", "One"),
    "sample_tokens": 7,
    "closing_rows": 3,
    "bad_rows": "drop",
    "hyperparameters": {
        "training_strategy": "dpo",
        "load_in_4bit": False,
        "learning_rate": 1.23456789e-5,
        "system_prompt": "\nBe brief.\nBe kind.",
    },
}


@pytest.fixture
def original(platform, tmp_path):
    data = write_data(tmp_path / "d")
    spec = TrainRequest(train=str(data), **CLONED)
    made = platform.jobs.create(JobCreate(spec=spec, gpus=0, priority=3, metadata={"of": "me"}, max_retries=1))
    data.write_text('[{"prompt": "other", "chosen": "data", "rejected": "now"}]')
    return made


def clone_of(platform, answer):
    return platform.jobs.get(answer.headers["location"].rpartition("/")[2])


def test_a_clone_that_nobody_changed_is_the_same_job(browser, change, platform, original):
    sent = form_fields(browser.get(f"/console/train?clone={original.id}").text, "data-train")
    made = clone_of(platform, change("/train", **sent))
    assert made.cloned_from == original.id
    assert made.inputs == original.inputs, "the data as it was, whatever is at its path by now"
    for name in ("spec", "name", "resources", "priority", "metadata", "max_retries", "output"):
        assert getattr(made, name) == getattr(original, name), name


def test_a_clone_is_changed_where_the_form_was(browser, change, platform, original):
    sent = form_fields(browser.get(f"/console/train?clone={original.id}").text, "data-train")
    new = {"option.learning_rate": "0.5", "option.load_in_4bit": "true", "sample_prompts": "Who?", "priority": "0"}
    made = clone_of(platform, change("/train", **(sent | new)))
    options = {"training_strategy": "dpo", "learning_rate": 0.5, "system_prompt": "\nBe brief.\nBe kind."}
    assert made.training.hyperparameters == options
    assert made.training.sample_prompts == ("Who?",)
    assert made.training.safe_rlhf_preference == "safer"
    assert made.priority == 0


@pytest.mark.parametrize("deleted", [False, True])
def test_the_estimate_of_a_clone_reads_its_data(browser, change, original, tmp_path, monkeypatch, deleted):
    """The job's own copy, whatever is at its path by now, but for data that is named anew."""
    read = []

    def plan(module, request, seconds, *arguments):
        read.append(Path(json.loads(Path(arguments[1]).read_text())["train"]).read_text())
        raise OptionError("This is enough.", "Stop.")

    monkeypatch.setattr("quickalign.platform.estimates.run_program", plan)
    data = Path(original.training.train)
    other = write_data(tmp_path / "e")
    other.write_text("named anew")
    if deleted:
        data.unlink()
    sent = form_fields(browser.get(f"/console/train?clone={original.id}").text, "data-train")
    for fields in ({}, {"train": str(other)}):
        assert "This is enough." in change("/train/estimate", **(sent | fields), headers=HTMX).text
    assert read == [write_data(tmp_path / "f").read_text(), "named anew"]


def copied(change, sent):
    """The three texts that a form is copied as."""
    page = html.unescape(change("/train/code", **sent, headers=HTMX).text)
    return dict(re.findall(r'aria-label="(SDK|CLI|curl)">(.*?)</pre>', page, re.DOTALL))


def asked_by_program(text):
    """What a program asks of the SDK: the job, and the changes."""
    asked = []
    jobs = SimpleNamespace(clone=lambda *given: asked.append(given) or SimpleNamespace(id=""))
    names = {"get_default_session": lambda: SimpleNamespace(jobs=jobs), "print": lambda *_: None}
    exec(compile(text.partition("\n\n")[2], "sdk", "exec"), names)
    return asked[0][0], (*asked[0], {})[1]


def asked_by_curl(text):
    words = shlex.split(text.replace("\\\n", " "))
    return re.search(r"/api/v1/jobs/(.*)/clone$", words[1])[1], json.loads(words[words.index("-d") + 1])


def asked_by_command(text):
    """What the command line asks of the SDK, with its options as texts."""
    words = shlex.split(text.replace("\\\n", " "))
    assert words[:3] == ["quickalign", "jobs", "clone"]
    given = list(zip(words[4::2], words[5::2], strict=True))
    options = dict(value.split("=", 1) for name, value in given if name == "--set")
    changes = {name.removeprefix("--"): value for name, value in given if name != "--set"}
    return words[3], changes | ({"spec": {"hyperparameters": options}} if options else {})


@pytest.mark.parametrize(
    ("fields", "cannot"),
    [
        ({}, None),
        ({"option.learning_rate": "0.5", "option.system_prompt": "", "option.load_in_4bit": "true"}, None),
        ({"priority": "0", "output": "/tmp/there", "name": "it's $HOME"}, None),
        ({"sample_prompts": "Who?", "bad_rows": "error", "option.num_train_epochs": "2"}, "bad_rows, sample_prompts"),
        ({"name": "", "priority": "1"}, "name"),
    ],
    ids=["as it is", "options", "job", "data", "no name"],
)
def test_what_is_copied_of_a_clone_makes_the_same_job(browser, change, platform, original, fields, cannot):
    """Of the job's own copy of the data, whatever is at its path by now."""
    sent = form_fields(browser.get(f"/console/train?clone={original.id}").text, "data-train") | fields
    expected = clone_of(platform, change("/train", **sent))
    texts = copied(change, sent)
    asked = [asked_by_program(texts["SDK"]), asked_by_curl(texts["curl"])]
    if cannot is None:
        asked.append(asked_by_command(texts["CLI"]))
    else:
        assert texts["CLI"] == f"# Of a clone, the command line cannot change: {cannot}\n"
    for job, changes in asked:
        made = platform.jobs.clone(job, changes)
        for name in ("name", "inputs", "resources", "priority", "metadata", "max_retries", "output", "cloned_from"):
            assert getattr(made, name) == getattr(expected, name), name
        assert options.parse(made.training.hyperparameters) == options.parse(expected.training.hyperparameters)
        bare = {"hyperparameters": {}}
        assert made.training.model_copy(update=bare) == expected.training.model_copy(update=bare)


def test_a_clone_of_the_first_run_is_none(browser, change, platform):
    change("/start/train")
    first = platform.jobs.list().items[0]
    platform.jobs.clone(first.id)
    page = browser.get("/console/start").text
    assert first.id in page
    assert platform.jobs.list().items[0].id not in page


def test_the_list_filters_and_pages(browser, platform, tmp_path):
    data = write_data(tmp_path / "d")
    for number in range(22):
        platform.jobs.create(stub_job(data, name=f"run-{number}"))
    page = browser.get("/console/jobs").text
    assert "run-21" in page
    assert "run-1<" not in page
    following = page.partition("after=")[2].partition('"')[0].partition("&")[0]
    assert "run-1<" in browser.get(f"/console/jobs?after={following}").text
    assert "run-7<" in browser.get("/console/jobs?text=run-7", headers=HTMX).text
    assert "No job is like that" in browser.get("/console/jobs?state=failed", headers=HTMX).text


def test_the_list_renews_itself_while_something_moves(browser, platform, tmp_path):
    data = write_data(tmp_path / "d")
    job = platform.jobs.create(stub_job(data, name="alone")).id
    assert 'hx-trigger="every 10s"' in browser.get("/console/jobs").text
    platform.jobs.pause(job)
    assert "every" not in browser.get("/console/jobs").text
    platform.jobs.resume(job)
    drive_to(platform, job, JobState.RUNNING)
    moving = browser.get("/console/jobs?text=alo&state=running", headers=HTMX).text
    assert 'hx-get="/console/jobs?text=alo&amp;state=running" hx-trigger="every 3s"' in moving
    assert f'id="pick-{job}"' in moving
    drive_to(platform, job, JobState.SUCCEEDED)
    assert "every" not in browser.get("/console/jobs").text


def test_comparing_marks_what_differs(browser, platform, tmp_path):
    data = write_data(tmp_path / "d")
    jobs = [platform.jobs.create(stub_job(data, seed=seed, name=f"seed {seed}")).id for seed in (1, 2)]
    for job in jobs:
        drive_to(platform, job, JobState.SUCCEEDED)
    page = browser.get("/console/compare", params={"job": jobs}).text
    differing = [row for row in page.split("<tr")[1:] if row.startswith(' class="differs"')]
    assert len(differing) == 1
    assert "<code>seed</code>" in differing[0]
    assert "Nothing to compare yet" in browser.get("/console/compare").text


def test_the_first_run_is_one_job(browser, change, platform):
    assert "Align a model in three steps" in browser.get("/console/start").text
    change("/start/train", key="once")
    change("/start/train", key="once")
    jobs = platform.jobs.list().items
    assert len(jobs) == 1
    assert jobs[0].spec.train == SAMPLE_TRAIN
    assert browser.get("/console/").headers["location"] == "/console/models"


def test_tokens_are_shown_once(browser, change, platform):
    page = change("/settings/tokens", name="for a program").text
    token = page.partition('aria-label="Token">')[2].partition("<")[0]
    assert platform.tokens.verify(token)
    assert token not in browser.get("/console/settings").text
    made = platform.tokens.list()[1]
    change(f"/settings/tokens/{made.id}/revoke")
    assert not platform.tokens.verify(token)


def test_the_diagnostics_hold_no_token(browser, token):
    bundle = zipfile.ZipFile(io.BytesIO(browser.get("/console/settings/diagnostics.zip").content))
    assert set(bundle.namelist()) == {"system.json", "config.json", "server.log"}
    assert not any(token.encode() in bundle.read(name) for name in bundle.namelist())


def test_what_users_write_is_text_everywhere(browser, change, platform, tmp_path):
    data = write_data(tmp_path / "d")
    request = stub_job(data, name=NASTY[:100], metadata={"a": NASTY}, trouble=NASTY)
    job = platform.jobs.create(request).id
    with platform.files.begin("<script>alert(3)<.jsonl") as incoming:
        incoming.write(json.dumps({"prompt": NASTY, "chosen": NASTY, "rejected": "x"}).encode())
        stored = incoming.commit()
    change("/settings/tokens", name=NASTY)
    pages = [
        "/jobs",
        f"/jobs/{job}",
        f"/train?clone={job}",
        f"/compare?job={job}",
        "/datasets",
        f"/datasets/{stored.id}",
    ]
    pages += [f"/datasets/{stored.id}/rows", "/settings", "/train", f"/jobs?text={NASTY}", f"/models?text={NASTY}"]
    pages += ["/train?model=" + NASTY, "/train?data=" + NASTY, "/services/new?job=" + NASTY, "/signin?next=" + NASTY]
    for path in pages:
        page = browser.get(f"/console{path}").text
        assert "<script>alert" not in page, path
        assert "<img src=x" not in page, path


def test_a_job_that_evaluates_shows_what_it_found(browser, platform, tmp_path):
    data = write_data(tmp_path / "data")
    spec = EvaluateRequest(model="qwen2-tiny-instruct", data=str(data), rows=7)
    job = platform.jobs.create(EvaluationCreate(spec=spec, name="Is it better?"))
    assert "Clone" not in browser.get(f"/console/jobs/{job.id}").text
    found = {"rows": 7, "verdict": "better", "figures": {"margin": 0.75}, "base": {"margin": 0.25}}
    with platform._database.write() as session:
        row = moves.find(session, job.id)
        row.state, row.results = "succeeded", found
    output = platform.home.output(job.id)
    output.mkdir(parents=True)
    (output / "report.html").write_text("<p>all of it")
    page = browser.get(f"/console/jobs/{job.id}").text
    for shown in ("evaluation", "margin", "0.75", "0.25", f"/console/jobs/{job.id}/files/report.html", "fail_below"):
        assert shown in page
    assert "data-plots" not in page and "Deploy" not in page
    assert "data-log" in page
    listed = browser.get("/console/jobs").text
    assert "Is it better?" in listed and "evaluation" in listed
    assert f'name="job" value="{job.id}"' not in listed, "there is nothing to compare"
    assert browser.get(f"/console/jobs/{job.id}/news?event=0").status_code == 200
    assert job.id not in browser.get("/console/services/new").text
    assert browser.get(f"/console/train?clone={job.id}").status_code == 422


def test_a_job_that_exports_shows_what_it_made(browser, platform, finished):
    job = platform.jobs.create(ExportCreate(spec=ExportRequest(model=finished), name="To take away"))
    parity = {"after": {"bytes": 10, "perplexity": 1.5}, "before": {"perplexity": 1.25}}
    with platform._database.write() as session:
        row = moves.find(session, job.id)
        row.state, row.results = "succeeded", {"bytes": 10, "parity": parity}
    page = browser.get(f"/console/jobs/{job.id}").text
    for shown in ("To take away", "export", "perplexity", "1.25", "1.5"):
        assert shown in page
    assert browser.get(f"/console/jobs/{job.id}/news?event=0").status_code == 200


def test_what_a_job_has_trained_is_trained_further(browser, change, platform, finished, file_id):
    assert f'href="/console/train?model={finished}"' in browser.get(f"/console/jobs/{finished}").text
    page = browser.get(f"/console/train?model={finished}").text
    assert "What Polite answers has trained is trained further." in page
    sent = form_fields(page, "data-train") | {"train": file_id}
    assert sent["model"] == finished
    made = platform.jobs.get(change("/train", **sent).headers["location"].rpartition("/")[2])
    assert (made.spec.model, made.model) == (finished, platform.jobs.get(finished).model)
    assert 'value="job-none"' in browser.get("/console/train?model=job-none").text

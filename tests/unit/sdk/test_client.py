"""What is retried and what is not, and what errors become."""

import httpx
import pytest

from quickalign.core import errors
from quickalign.core.wire.jobs import Job, JobCreate, TrainRequest
from quickalign.sdk.calls import Jobs
from quickalign.sdk.place import Place
from tests.support.fake_api import TOKEN, job, problem

REQUEST = JobCreate(spec=TrainRequest(model="m", train="file-1"))
LOST = [httpx.ReadTimeout("slow"), httpx.ReadError("reset"), httpx.RemoteProtocolError("cut off")]
REFUSED = [503, 502, 504, 429]


def error_kinds(kind=errors.QuickalignError):
    """`kind` and all below it in `core.errors`."""
    own = (below for below in kind.__subclasses__() if below.__module__ == errors.__name__)
    return [kind, *(each for below in own for each in error_kinds(below))]


@pytest.mark.parametrize("accident", [*LOST, httpx.ConnectError("refused"), *map(httpx.Response, REFUSED)])
def test_reading_deleting_and_creating_with_a_key_are_tried_again(api, accident):
    api.add(job(1))
    for call in (
        lambda jobs: jobs.get(job(1).id),
        lambda jobs: jobs.create(REQUEST),
        lambda jobs: jobs.delete(job(1).id),
    ):
        api.accidents.extend([accident, accident])
        call(Jobs(api.client()))
    assert len(api.requests) == 9


def test_a_create_whose_answer_was_lost_makes_one_job(api):
    def done_but_lost(request):
        api._create(request)
        raise httpx.ReadTimeout("slow")

    api.accidents.append(done_but_lost)
    made = Jobs(api.client()).create(REQUEST)
    assert list(api.jobs) == [made.id]
    keys = {request.headers["Idempotency-Key"] for request in api.requests}
    assert len(keys) == 1
    Jobs(api.client()).create(REQUEST)
    assert len(api.jobs) == 2


@pytest.mark.parametrize("accident", LOST)
@pytest.mark.parametrize("verb", ["cancel", "pause", "resume"])
def test_what_may_have_been_done_is_not_done_again(api, accident, verb):
    api.add(job(1))
    api.accidents.append(accident)
    with pytest.raises(errors.UnavailableError, match="may or may not have been done"):
        getattr(Jobs(api.client()), verb)(job(1).id)
    assert len(api.requests) == 1


def test_what_was_never_sent_is_sent_again(api):
    api.add(job(1))
    api.accidents.append(httpx.ConnectError("refused"))
    Jobs(api.client()).cancel(job(1).id)
    assert len(api.requests) == 2


def test_a_delete_whose_answer_was_lost_is_done(api):
    api.add(job(1))

    def done_but_lost(request):
        api.jobs.clear()
        raise httpx.ReadError("reset")

    api.accidents.append(done_but_lost)
    Jobs(api.client()).delete(job(1).id)
    with pytest.raises(errors.NotFoundError):
        Jobs(api.client()).delete(job(1).id)


def test_attempts_end_and_the_error_says_where_the_server_was_looked_for(api):
    api.accidents.extend([httpx.ConnectError("refused")] * 100)
    with pytest.raises(errors.UnavailableError, match=r"quickalign\.test:1234 cannot be reached \(ConnectError"):
        Jobs(api.client()).get("job-1")
    assert len(api.requests) == 5


def test_the_last_refusal_is_told(api):
    api.accidents.extend([problem(503, "unavailable", "The disk is full.", remedy="Free some.")] * 5)
    with pytest.raises(errors.UnavailableError, match=r"The disk is full\. Free some\."):
        Jobs(api.client()).get("job-1")


def test_pauses_grow_and_honour_what_the_server_asks(api):
    waited = []
    client = api.client()
    client._sleep = waited.append
    api.accidents.extend([httpx.Response(503), httpx.Response(503), httpx.Response(429, headers={"Retry-After": "7"})])
    api.add(job(1))
    Jobs(client).get(job(1).id)
    assert 0.1 <= waited[0] <= 0.2
    assert 0.2 <= waited[1] <= 0.4
    assert waited[2] == 7


def test_a_server_that_listens_elsewhere_now_is_found_again(api):
    looked = []

    def locate(start):
        looked.append(start)
        return Place("http://elsewhere.test", TOKEN)

    api.add(job(1))
    api.accidents.append(httpx.ConnectError("refused"))
    Jobs(api.client(locate=locate)).get(job(1).id)
    assert [request.url.host for request in api.requests] == ["quickalign.test", "elsewhere.test"]
    assert looked == [False], "a server is started only when looking did not help"


@pytest.mark.parametrize("kind", error_kinds())
def test_every_kind_of_error_comes_back_as_itself(api, kind):
    code = kind.__name__.removesuffix("Error")
    spelled = "".join(f"-{c.lower()}" if c.isupper() else c for c in code).lstrip("-")
    remedy = "Do otherwise."
    for name in (spelled, code, kind.__name__, spelled.replace("-", "_")):
        api.accidents.append(problem(418, name, "It cannot be.", remedy=remedy, field="spec.model", value="x"))
        with pytest.raises(kind) as caught:
            Jobs(api.client()).get("job-1")
        assert type(caught.value) is kind
        assert (caught.value.message, caught.value.remedy) == ("It cannot be.", remedy)
        assert (caught.value.field, caught.value.value) == ("spec.model", "x")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, errors.AccessError),
        (404, errors.NotFoundError),
        (413, errors.TooLargeError),
        (500, errors.UnavailableError),
    ],
)
def test_an_answer_of_something_else_in_between_is_told_apart_by_its_status(api, status, kind):
    api.accidents.append(httpx.Response(status, text="<html>nginx</html>"))
    with pytest.raises(kind, match="nginx"):
        Jobs(api.client()).get("job-1")


def test_an_answer_that_is_no_job_is_one_sentence(api):
    api.accidents.append(httpx.Response(200, text="<html>a page</html>"))
    with pytest.raises(errors.UnavailableError, match="not what this version"):
        Jobs(api.client()).get("job-1")


def test_fields_of_a_newer_server_are_left_out(api):
    newer = job(1).model_dump(mode="json") | {"colour": "blue"}
    api.accidents.append(httpx.Response(200, json=newer))
    assert isinstance(Jobs(api.client()).get("job-1"), Job)


def test_ids_cannot_name_another_page(api):
    with pytest.raises(errors.NotFoundError):
        Jobs(api.client()).get("../system?x=")
    assert api.requests[0].url.raw_path == b"/api/v1/jobs/..%2Fsystem%3Fx%3D"


def test_the_token_shows_in_no_error_and_no_repr(api):
    place = Place("http://h", "secret-token")
    assert "secret" not in repr(place)

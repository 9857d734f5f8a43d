"""The parts of services on a cluster that need no cluster."""

import asyncio
import json
from contextlib import aclosing

import pytest

from quickalign.cluster import service_deployment as deployment
from quickalign.cluster import service_refusal as refusal
from quickalign.cluster import service_spec as specs
from quickalign.cluster.service_application import Look, Standing
from quickalign.cluster.service_calling import call
from quickalign.cluster.service_leases import LAPSE_SECONDS, Leases
from quickalign.cluster.service_messages import Asked, Begun
from quickalign.cluster.service_watch import lost
from quickalign.core import errors
from quickalign.core.errors import CapacityError, OptionError
from quickalign.serve.engine import EngineCannotError, EngineFailedError

ASKED = Asked("POST", "/v1/x", b"", ((b"host", b"127.0.0.1"),), b"body")
VALUES = {"model": "tiny", "application": "quickalign-a-1"}


def test_an_application_is_called_without_a_connection():
    async def app(scope, receive, send):
        assert (scope["method"], scope["path"], (await receive())["body"]) == ("POST", "/v1/x", b"body")
        await send({"type": "http.response.start", "status": 201, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await send({"type": "http.response.body", "body": b"two", "more_body": True})
        await asyncio.sleep(0.05)
        await send({"type": "http.response.body", "body": b"three"})

    async def play():
        return [part async for part in call(app, ASKED)]

    assert asyncio.run(play()) == [Begun(201, ((b"a", b"b"),)), b"onetwo", b"three"]


def test_whoever_leaves_a_call_is_gone_for_the_application():
    seen = []

    async def app(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            seen.append((await receive())["type"])
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def play():
        async with aclosing(call(app, ASKED)) as answer:
            await anext(answer)

    asyncio.run(play())
    assert seen in (["http.disconnect"], ["cancelled"])


def test_what_an_application_raises_is_raised():
    async def app(scope, receive, send):
        raise ValueError("broken")

    async def play():
        return [part async for part in call(app, ASKED)]

    with pytest.raises(ValueError, match="broken"):
        asyncio.run(play())


def test_bounds_become_autoscaling_and_one_number_becomes_a_number():
    fixed = deployment.options(specs.parse(VALUES | {"autoscaling": {"min": 3, "max": 3}}), {})
    assert fixed["num_replicas"] == 3
    assert "autoscaling_config" not in fixed
    wide = specs.parse(VALUES | {"autoscaling": {"min": 0, "max": 4, "ongoing_requests": 5, "quiet_seconds": 60}})
    found = deployment.options(wide, {})["autoscaling_config"]
    bounds = {"min_replicas": 0, "max_replicas": 4, "initial_replicas": 1, "target_ongoing_requests": 5}
    assert bounds.items() <= found.items()
    assert found["downscale_delay_s"] == found["downscale_to_zero_delay_s"] == 60


def test_a_full_replica_is_still_asked_so_that_it_says_so():
    found = deployment.options(specs.parse(VALUES | {"max_concurrency": 2, "max_waiting": 1}), {})
    assert found["max_ongoing_requests"] > 3


def test_replicas_reserve_what_they_take_and_get_what_they_need_to_know():
    environment = {"HF_HUB_OFFLINE": "1", "QUICKALIGN_LEASE": "x", "SHELL": "sh", "RAY_ADDRESS": "here"}
    spec = specs.parse(VALUES | {"cpus": 2, "gpus": 1, "memory_bytes": 5})
    actor = deployment.options(spec, environment)["ray_actor_options"]
    kept = {"env_vars": {"HF_HUB_OFFLINE": "1", "QUICKALIGN_LEASE": "x"}}
    assert actor == {"num_cpus": 2, "num_gpus": 1, "memory": 5, "runtime_env": kept}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"application": "someone-elses"}, "application"),
        ({"autoscaling": {"min": 2, "max": 1}}, "min is 2 and max is 1"),
        ({"replicas": 2}, "replicas"),
        ({"host": "0.0.0.0"}, "without a token"),
        ({"share_base": True}, "share_base=true is not possible on a cluster"),
    ],
)
def test_a_specification_that_cannot_be_is_refused(changes, said):
    with pytest.raises(OptionError, match=said):
        specs.parse(VALUES | changes)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (CapacityError("It is too large.", "Take another."), CapacityError),
        (EngineCannotError("It cannot be."), errors.ModelError),
        (EngineFailedError("It ended."), errors.UnavailableError),
    ],
)
def test_why_a_replica_cannot_be_reaches_who_asked_for_it(tmp_path, error, kind):
    file = tmp_path / "refused.json"
    assert refusal.read(file) is None
    refusal.write(file, error)
    found = refusal.read(file)
    assert (type(found), str(found), found.exit_code) == (kind, str(error), error.exit_code)
    file.write_text(json.dumps({"exit_code": 2}))
    assert refusal.read(file) is None


def test_an_application_is_taken_away_when_its_program_is_silent():
    leases = Leases()
    leases.hear("a", 0)
    assert leases.lapsed(["a", "b"], LAPSE_SECONDS - 1) == []  # b was seen now, and may be about to speak
    leases.hear("a", LAPSE_SECONDS)
    assert leases.lapsed(["a", "b"], 2 * LAPSE_SECONDS - 1) == ["b"]
    assert leases.lapsed(["a", "b"], 2 * LAPSE_SECONDS) == ["a", "b"]


def test_what_is_gone_is_no_more_kept():
    leases = Leases()
    leases.hear("a", 0)
    leases.hear("b", 0)
    assert leases.forget("a") == 1
    assert leases.forget("b") == 0
    assert leases.lapsed([], 100) == []


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (Look(Standing.RUNNING, 0), None),
        (Look(Standing.UNWELL, 0, "it restarts"), None),
        (Look(Standing.GONE), "gone from the cluster"),
        (Look(Standing.FAILED, 0, "first\n the last word\n"), "the last word"),
    ],
)
def test_only_what_does_not_come_back_is_lost(seen, why):
    found = lost(seen)
    assert found is None if why is None else why in found

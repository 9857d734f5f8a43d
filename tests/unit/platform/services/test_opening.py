"""What opens a service, and what nobody else can open with it."""

import pytest

from quickalign.core.errors import ConflictError, NotFoundError, OptionError, StorageError
from quickalign.platform.services.secrets import Secrets


def test_the_own_token_can_be_shown_again_and_rotated(stage):
    service = stage.running().id
    routes, tokens = stage.services.endpoints, stage.services.tokens
    first = tokens.own("tiny").token
    assert tokens.own("tiny").token == first
    assert routes.verify(service, first) == "service"
    second = tokens.rotate("tiny").token
    assert second != first
    assert (routes.verify(service, first), routes.verify(service, second)) == (None, "service")
    stage.reopen()
    assert stage.services.tokens.own("tiny").token == second
    content = stage.platform.home.database.read_bytes() if stage.platform._database.kind == "sqlite" else b""
    assert second.encode() not in content


def test_named_tokens_are_shown_once_and_revoked_one_by_one(stage):
    service = stage.running().id
    routes, tokens = stage.services.endpoints, stage.services.tokens
    ann, ben = tokens.create("tiny", "Ann"), tokens.create("tiny", "Ben")
    assert routes.verify(service, ann.token) == ann.id
    tokens.revoke("tiny", ann.id)
    assert (routes.verify(service, ann.token), routes.verify(service, ben.token)) == (None, ben.id)
    assert [one.name for one in tokens.list("tiny").items if one.revoked_at] == ["Ann"]
    with pytest.raises(NotFoundError, match="no token"):
        tokens.revoke("tiny", "token-x")
    with pytest.raises(OptionError, match="cannot be a token's name"):
        tokens.create("tiny", "\n")


def test_a_token_opens_no_other_service(stage):
    one, other = stage.running("one").id, stage.running("other").id
    routes, tokens = stage.services.endpoints, stage.services.tokens
    named = tokens.create("one", "Ann").token
    for token in (tokens.own("one").token, named):
        assert routes.verify(one, token)
        assert routes.verify(other, token) is None
    assert routes.verify("service-x", named) is None
    assert routes.verify(one, "\ud800") is None
    with pytest.raises(NotFoundError):
        tokens.revoke("other", tokens.list("one").items[0].id)


def test_a_deleted_service_opens_to_nobody(stage):
    service = stage.running().id
    own, named = stage.services.tokens.own("tiny").token, stage.services.tokens.create("tiny", "Ann").token
    stage.services.delete("tiny")
    with pytest.raises(ConflictError, match="is deleting"):
        stage.services.tokens.create("tiny", "Ben")
    stage.finish_stopping()
    assert stage.services.endpoints.verify(service, own) is None
    assert stage.services.endpoints.verify(service, named) is None


def test_the_key_is_for_its_owner_alone_and_must_be_whole(lone):
    key = lone.platform.home.secrets / "services.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert Secrets(lone.platform.home).service_token("a", 1) == Secrets(lone.platform.home).service_token("a", 1)
    assert Secrets(lone.platform.home).service_token("a", 1) != Secrets(lone.platform.home).service_token("a", 2)
    key.write_bytes(b"short")
    with pytest.raises(StorageError, match="is damaged: it holds 5 bytes"):
        Secrets(lone.platform.home)


def test_routes_grow_a_version_with_every_change_and_only_then(lone):
    routes = lone.services.endpoints
    before = routes.version
    lone.running()
    made = routes.version
    assert made > before
    for _ in range(3):
        lone.tick(1)
    assert routes.version == made
    lone.services.tokens.rotate("tiny")
    assert routes.version == made + 1


def test_a_model_is_found_by_its_fine_tuned_name(stage, succeeded_job):
    stage.running("polite", spec={"source": {"job": succeeded_job}})
    route = stage.services.endpoints.find("polite")
    [_, name] = route.model_names
    assert name.endswith(succeeded_job.removeprefix("job-"))
    assert stage.services.endpoints.find(name) is route
    assert stage.services.endpoints.find("ft:other") is None

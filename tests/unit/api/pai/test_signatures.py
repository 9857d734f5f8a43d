from email.utils import formatdate

import pytest

from quickalign.api.signed import SKEW_SECONDS, Nonces
from tests.support.signing import OssSigner, PaiSigner

MODELS = ("ListModels", "GET", "/api/v1/models")


def code(answer):
    return answer.status_code, answer.json()["Code"]


def test_a_signed_call_is_let_in(pai):
    answer = pai(*MODELS, Provider="pai", ModelName='"qwen2-tiny-instruct"', WorkspaceId="1", Empty="")
    assert answer.status_code == 200, answer.text
    assert answer.json()["TotalCount"] == 1
    assert answer.json()["RequestId"].startswith("req-")


def test_a_wrong_secret_an_unknown_key_and_a_stale_date_are_told_apart(pai, key):
    assert code(pai(*MODELS, signer=PaiSigner(key[0], "other"))) == (400, "SignatureDoesNotMatch")
    assert code(pai(*MODELS, signer=PaiSigner("QANOBODY", key[1]))) == (404, "InvalidAccessKeyId.NotFound")
    stale = formatdate(1_600_000_000, usegmt=True)
    assert code(pai(*MODELS, signer=PaiSigner(*key, date=stale))) == (400, "InvalidTimeStamp.Expired")
    assert code(pai(*MODELS, signer=PaiSigner(*key, date="yesterday"))) == (400, "IncompleteSignature")


def test_a_call_is_made_once(pai, key):
    signer = PaiSigner(*key, nonce="the-same", date=formatdate(usegmt=True))
    assert pai(*MODELS, signer=signer).status_code == 200
    assert code(pai(*MODELS, signer=signer)) == (400, "SignatureNonceUsed")


def test_a_revoked_key_opens_nothing(pai, platform, key):
    platform.access_keys.revoke(key[0])
    assert code(pai(*MODELS)) == (404, "InvalidAccessKeyId.NotFound")


def test_another_workspace_is_not_found(pai):
    assert code(pai(*MODELS, WorkspaceId="2")) == (404, "WorkspaceNotFound")
    body = {"ModelName": "mine", "WorkspaceId": "2"}
    assert code(pai("CreateModel", "POST", "/api/v1/models", body=body)) == (404, "WorkspaceNotFound")


@pytest.mark.parametrize("action", ["CreatePipeline", "GetInstance", "", "listmodels"])
def test_what_is_outside_is_named(pai, action):
    assert code(pai(action, "GET", "/api/v1/models")) == (404, "InvalidAction.NotFound")


def test_a_bearer_token_does_not_sign(client):
    answer = client.get("/api/v1/trainingjobs", headers={"x-acs-action": "ListTrainingJobs"})
    assert answer.status_code == 404


def test_a_key_s_secret_is_the_same_after_a_restart_and_stored_nowhere(platform, key, tmp_path):
    assert platform.access_keys.secret(key[0]) == key[1]
    database = (tmp_path / "home" / "quickalign.db").read_bytes()
    assert key[0].encode() in database + (tmp_path / "home" / "quickalign.db-wal").read_bytes()
    assert key[1].encode() not in database + (tmp_path / "home" / "quickalign.db-wal").read_bytes()


def test_nonces_are_forgotten_when_their_dates_are_stale():
    now = [0.0]
    nonces = Nonces(lambda: now[0])
    assert nonces.take("a")
    assert not nonces.take("a")
    now[0] = 2 * SKEW_SECONDS + 1
    assert nonces.take("b")
    assert nonces.take("a")


def test_storage_tells_the_same_apart(oss, key):
    def told(signer):
        answer = oss("GET", "/quickalign/", signer=signer)
        return answer.status_code, answer.text.partition("<Code>")[2].partition("<")[0]

    assert told(OssSigner(key[0], "other")) == (403, "SignatureDoesNotMatch")
    assert told(OssSigner("QANOBODY", key[1])) == (403, "InvalidAccessKeyId")
    assert told(OssSigner(*key, date=formatdate(1_600_000_000, usegmt=True))) == (403, "RequestTimeTooSkewed")

import hashlib

from tests.unit.api.conftest import BOTH, CONTENT, PAIRS

pytestmark = BOTH


def test_upload_show_and_download(client, file_id):
    shown = client.get(f"/api/v1/files/{file_id}").json()
    assert shown["bytes"] == len(CONTENT)
    assert shown["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    whole = client.get(f"/api/v1/files/{file_id}/content")
    assert whole.content == CONTENT
    assert whole.headers["content-type"] == "application/octet-stream"
    assert "pairs.jsonl" in whole.headers["content-disposition"]


def test_a_range_gets_a_part(client, file_id):
    address = f"/api/v1/files/{file_id}/content"
    part = client.get(address, headers={"Range": "bytes=2-9"})
    assert (part.status_code, part.content) == (206, CONTENT[2:10])
    assert client.get(address, headers={"Range": "bytes=-5"}).content == CONTENT[-5:]
    beyond = client.get(address, headers={"Range": "bytes=999999-"})
    assert (beyond.status_code, beyond.headers["content-type"]) == (416, "application/problem+json")
    assert (beyond.json()["type"], beyond.headers["content-range"]) == (
        "urn:quickalign:problem:range",
        f"bytes */{len(CONTENT)}",
    )
    for nonsense in ("bytes=9-2x", "lines=1-2", "bytes", "bytes=5-2", "bytes=--", "bytes=a-b"):
        answer = client.get(address, headers={"Range": nonsense})
        assert answer.status_code == 200, nonsense
        assert answer.content == CONTENT


def test_as_many_rows_are_shown_as_may_be_asked_for(client):
    content = b"".join(b'{"prompt": "p%d", "chosen": "y", "rejected": "n"}\n' % number for number in range(1001))
    file = client.post("/api/v1/files", params={"filename": "many.jsonl"}, content=content).json()["id"]
    page = client.get(f"/api/v1/files/{file}/rows", params={"limit": 1000}).json()
    assert (len(page["rows"]), page["next_offset"]) == (1000, 1000)


def test_head_tells_the_length_without_a_body(client, file_id):
    answer = client.head(f"/api/v1/files/{file_id}/content")
    assert answer.status_code == 200
    assert answer.headers["content-length"] == str(len(CONTENT))
    assert answer.content == b""


def test_a_checksum_that_does_not_match_leaves_nothing(client, platform):
    wrong = client.post(
        "/api/v1/files", params={"filename": "a.json"}, content=b"[1]", headers={"X-Content-SHA256": "0" * 64}
    )
    assert wrong.status_code == 422
    assert wrong.json()["field"] == "X-Content-SHA256"
    assert client.get("/api/v1/files").json()["items"] == []
    assert list(platform.home.uploads.iterdir()) == []
    assert list(platform.home.blobs.glob("*/*")) == []
    right = client.post(
        "/api/v1/files",
        params={"filename": "a.json"},
        content=b"[1]",
        headers={"X-Content-SHA256": hashlib.sha256(b"[1]").hexdigest().upper()},
    )
    assert right.status_code == 201


def test_a_checksum_that_is_none(client):
    answer = client.post(
        "/api/v1/files", params={"filename": "a.json"}, content=b"[1]", headers={"X-Content-SHA256": "abc"}
    )
    assert answer.status_code == 422
    assert "64 hexadecimal digits" in answer.json()["remedy"]


def test_empty_files_and_bad_names_are_refused(client):
    assert client.post("/api/v1/files", params={"filename": "a.json"}, content=b"").status_code == 422
    for name in ("..", "a\nb", "x" * 300):
        answer = client.post("/api/v1/files", params={"filename": name}, content=b"[]")
        assert answer.status_code == 422, name
        assert answer.json()["field"] == "filename"
    assert client.post("/api/v1/files", content=b"[]").status_code == 422


def test_a_path_as_a_name_keeps_its_last_part(client):
    answer = client.post("/api/v1/files", params={"filename": "../../etc/passwd"}, content=b"[1]")
    assert answer.json()["filename"] == "passwd"


def test_paging_and_filter(client):
    for number in range(5):
        client.post("/api/v1/files", params={"filename": f"{number}.json"}, content=b"[1]")
    client.post("/api/v1/files", params={"filename": "other.json", "purpose": "evals"}, content=b"[1]")
    first = client.get("/api/v1/files", params={"limit": 4}).json()
    second = client.get("/api/v1/files", params={"limit": 4, "after": first["next"]}).json()
    names = [file["filename"] for file in first["items"] + second["items"]]
    assert names == ["other.json", "4.json", "3.json", "2.json", "1.json", "0.json"]
    assert second["next"] is None
    evals = client.get("/api/v1/files", params={"purpose": "evals"}).json()["items"]
    assert [file["filename"] for file in evals] == ["other.json"]


def test_rows(client, file_id):
    answer = client.get(f"/api/v1/files/{file_id}/rows", params={"offset": 3, "limit": 2}).json()
    assert answer["format"] == "prompt"
    assert [row["prompt"] for row in answer["rows"]] == [PAIRS[3]["prompt"], PAIRS[4]["prompt"]]
    assert answer["next_offset"] == 5


def test_delete_and_what_still_reads_it(client, make_job, file_id):
    job = make_job()
    busy = client.delete(f"/api/v1/files/{file_id}")
    assert busy.status_code == 409
    client.post(f"/api/v1/jobs/{job['id']}/cancel")
    assert client.delete(f"/api/v1/files/{file_id}").status_code == 204
    assert client.get(f"/api/v1/files/{file_id}").status_code == 404

import base64
import errno
import hashlib
import os
from pathlib import Path
from xml.etree import ElementTree

import pytest

from quickalign.core.wire.jobs import JobState
from quickalign.platform.objects.outputs import LABEL
from tests.support.platforms import drive_to
from tests.unit.api.conftest import CONTENT


def keys(answer, tag="Contents/Key"):
    return [node.text for node in ElementTree.fromstring(answer.content).iterfind(tag)]


def error(answer):
    return answer.status_code, ElementTree.fromstring(answer.content).findtext("Code")


def test_put_get_head_and_delete(oss):
    put = oss("PUT", "/quickalign/data/a b.json", content=CONTENT, headers={"content-type": "application/json"})
    assert put.status_code == 200, put.text
    assert put.headers["etag"] == f'"{hashlib.md5(CONTENT).hexdigest().upper()}"'
    got = oss("GET", "/quickalign/data/a b.json")
    assert got.content == CONTENT
    assert got.headers["content-type"] == "application/json"
    part = oss("GET", "/quickalign/data/a b.json", headers={"range": "bytes=1-4"})
    assert (part.status_code, part.content) == (206, CONTENT[1:5])
    head = oss("HEAD", "/quickalign/data/a b.json")
    assert (head.content, head.headers["content-length"]) == (b"", str(len(CONTENT)))
    assert oss("DELETE", "/quickalign/data/a b.json").status_code == 204
    assert error(oss("GET", "/quickalign/data/a b.json")) == (404, "NoSuchKey")
    assert oss("DELETE", "/quickalign/data/a b.json").status_code == 204, "deleting twice is no error"


def test_a_second_put_takes_the_first_one_s_place_and_its_bytes_go(oss, platform, tmp_path):
    oss("PUT", "/quickalign/x", content=b"one")
    oss("PUT", "/quickalign/x", content=b"two")
    assert oss("GET", "/quickalign/x").content == b"two"
    assert len(platform.files.list().items) == 1
    assert len([path for path in (tmp_path / "home" / "blobs").rglob("*") if path.is_file()]) == 1


def test_a_body_that_is_not_what_was_announced_leaves_nothing(oss, platform):
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    assert error(oss("PUT", "/quickalign/x", content=b"one", headers={"content-md5": wrong})) == (400, "InvalidDigest")
    assert error(oss("GET", "/quickalign/x")) == (404, "NoSuchKey")
    assert platform.files.list().items == ()


def test_an_upload_in_parts_on_a_full_disk_is_refused_as_one_that_may_be_tried_again(oss, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        answer = oss("POST", "/quickalign/big?uploads")
    assert error(answer) == (503, "ServiceUnavailable")
    assert "is full" in answer.text
    assert oss("POST", "/quickalign/big?uploads").status_code == 200


def test_lists_are_folded_and_paged(oss):
    for key in ("a/1", "a/2", "a/b/1", "B/1", "c"):
        oss("PUT", f"/quickalign/{key}", content=b"x")
    assert keys(oss("GET", "/quickalign/", params={"prefix": "a/"})) == ["a/1", "a/2", "a/b/1"]
    assert keys(oss("GET", "/quickalign/", params={"prefix": "b/"})) == [], "upper case is not lower case"
    folded = oss("GET", "/quickalign/", params={"prefix": "a/", "delimiter": "/"})
    assert (keys(folded), keys(folded, "CommonPrefixes/Prefix")) == (["a/1", "a/2"], ["a/b/"])
    seen, marker = [], ""
    for _ in range(9):
        page = oss("GET", "/quickalign/", params={"max-keys": "2", "marker": marker})
        seen += keys(page)
        marker = ElementTree.fromstring(page.content).findtext("NextMarker")
        if marker is None:
            break
    assert sorted(seen) == ["B/1", "a/1", "a/2", "a/b/1", "c"]


def test_parts_become_an_object(oss, platform):
    begun = oss("POST", "/quickalign/big?uploads")
    upload = ElementTree.fromstring(begun.content).findtext("UploadId")
    parts = [os.urandom(50_000), os.urandom(50_000), b"end"]
    etags = []
    for number, content in enumerate(parts, 1):
        put = oss("PUT", f"/quickalign/big?partNumber={number}&uploadId={upload}", content=content)
        etags.append(put.headers["etag"].strip('"'))
    listed = oss("GET", f"/quickalign/big?uploadId={upload}")
    assert keys(listed, "Part/PartNumber") == ["1", "2", "3"]
    wrong = _complete([(1, etags[1])])
    assert error(oss("POST", f"/quickalign/big?uploadId={upload}", content=wrong)) == (400, "InvalidPart")
    done = oss("POST", f"/quickalign/big?uploadId={upload}", content=_complete(list(enumerate(etags, 1))))
    assert done.status_code == 200, done.text
    assert oss("GET", "/quickalign/big").content == b"".join(parts)
    assert error(oss("GET", f"/quickalign/big?uploadId={upload}")) == (404, "NoSuchUpload")


def _complete(parts):
    inside = "".join(f'<Part><PartNumber>{n}</PartNumber><ETag>"{etag}"</ETag></Part>' for n, etag in parts)
    return f"<CompleteMultipartUpload>{inside}</CompleteMultipartUpload>"


@pytest.mark.parametrize(
    ("method", "path", "options", "expected"),
    [
        ("GET", "/other/", {}, (404, "NoSuchBucket")),
        ("PUT", "/quickalign/x?acl", {}, (501, "NotImplemented")),
        ("PUT", "/quickalign/x", {"headers": {"x-oss-copy-source": "/quickalign/y"}}, (501, "NotImplemented")),
        ("PUT", "/quickalign/" + "x" * 1100, {"content": b"x"}, (400, "InvalidObjectName")),
        ("POST", "/quickalign/?delete", {"content": b"<nonsense"}, (400, "InvalidArgument")),
        ("POST", "/quickalign/?delete", {"content": b"<!DOCTYPE x><Delete/>"}, (400, "InvalidArgument")),
        ("PUT", "/quickalign/x?partNumber=1&uploadId=../../etc", {"content": b"x"}, (404, "NoSuchUpload")),
        ("GET", "/quickalign/", {"params": {"max-keys": "-1"}}, (400, "InvalidArgument")),
        ("PUT", "/quickalign/x", {"content": b"x" * 300_000}, (400, "EntityTooLarge")),
    ],
)
def test_what_cannot_be_is_refused_by_the_protocol_s_words(oss, method, path, options, expected):
    assert error(oss(method, path, **options)) == expected


def test_a_job_s_result_is_seen_where_its_maker_wanted_it(oss, make_job, platform):
    job = make_job(metadata={LABEL: "quickalign/pai/job-x/model/"})
    drive_to(platform, job["id"], JobState.SUCCEEDED)
    folder = Path(platform.jobs.get(job["id"]).model_path)
    found = keys(oss("GET", "/quickalign/", params={"prefix": "pai/"}))
    assert found
    for key in found:
        inside = key.removeprefix("pai/job-x/model/")
        assert oss("GET", f"/quickalign/{key}").content == (folder / inside).read_bytes()
    assert error(oss("GET", "/quickalign/pai/job-x/model/../../../../quickalign.db"))[0] in (403, 404)
    assert error(oss("PUT", f"/quickalign/{found[0]}", content=b"x")) == (409, "FileImmutable")
    assert error(oss("DELETE", f"/quickalign/{found[0]}")) == (409, "FileImmutable")

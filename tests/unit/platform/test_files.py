"""Uploads: whole or absent, once by content, kept as long as somebody needs them."""

import gzip
import hashlib
import json
import os

import pytest

from quickalign.core.errors import ConflictError, DataError, NotFoundError, OptionError, StorageError, TooLargeError
from tests.support.platforms import open_stub, stub_job

ROWS = json.dumps([{"prompt": f"p{n}", "chosen": "yes", "rejected": "no"} for n in range(50)]).encode()


def upload(platform, content=ROWS, name="pairs.json", **options):
    with platform.files.begin(name, "fine-tune") as upload:
        for start in range(0, len(content), 100):
            upload.write(content[start : start + 100])
        return upload.commit(**options)


def leftovers(platform):
    return list(platform.home.uploads.iterdir())


def blobs(platform):
    return sorted(file.name for file in platform.home.blobs.rglob("*") if file.is_file())


def test_a_file_comes_back_as_it_went_in(platform):
    stored = upload(platform, expected_sha256=hashlib.sha256(ROWS).hexdigest().upper())
    assert (stored.bytes, stored.sha256) == (len(ROWS), hashlib.sha256(ROWS).hexdigest())
    assert platform.files.path(stored.id).read_bytes() == ROWS
    assert platform.files.get(stored.id) == stored
    assert leftovers(platform) == []


def test_equal_contents_are_stored_once(platform):
    first, second = upload(platform), upload(platform, name="again.json")
    assert first.id != second.id
    assert blobs(platform) == [first.sha256]
    platform.files.delete(first.id)
    assert platform.files.path(second.id).read_bytes() == ROWS
    platform.files.delete(second.id)
    assert blobs(platform) == []


def test_a_cut_off_upload_leaves_nothing(platform):
    with pytest.raises(ConnectionError), platform.files.begin("pairs.json") as upload:
        upload.write(b"[{")
        raise ConnectionError
    assert leftovers(platform) == blobs(platform) == []
    assert platform.files.list().items == ()


def test_too_large_empty_and_changed_uploads(tmp_path):
    from tests.support.platforms import FAST

    platform = open_stub(tmp_path, config=FAST.model_copy(update={"max_upload_bytes": 1000}))
    try:
        with pytest.raises(TooLargeError, match="1,000 bytes"):
            upload(platform)
        with pytest.raises(DataError, match="is empty"):
            upload(platform, b"")
        with pytest.raises(DataError, match="SHA-256"):
            upload(platform, b"[]", expected_sha256="0" * 64)
        assert leftovers(platform) == blobs(platform) == []
    finally:
        platform.close()


def test_a_full_disk(platform, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="is full"):
        upload(platform)
    monkeypatch.undo()
    assert leftovers(platform) == blobs(platform) == []


@pytest.mark.parametrize("name", ["", "..", "a\0b", "a\nb", "x" * 300, "/"])
def test_impossible_names(platform, name):
    with pytest.raises(OptionError):
        platform.files.begin(name)


@pytest.mark.parametrize(
    ("sent", "kept"), [("C:\\data\\pairs.json", "pairs.json"), ("../../etc/passwd", "passwd"), ("对.json", "对.json")]
)
def test_only_the_last_part_of_a_name_counts(platform, sent, kept):
    assert upload(platform, name=sent).filename == kept


def test_an_unknown_purpose_and_an_unknown_file(platform):
    with pytest.raises(OptionError, match="no purpose"):
        platform.files.begin("a.json", "nonsense")
    for call in (platform.files.get, platform.files.path, platform.files.delete, platform.files.rows):
        with pytest.raises(NotFoundError, match="file-none"):
            call("file-none")


def test_pages_go_from_the_newest_to_the_oldest(platform):
    made = [upload(platform, name=f"{n}.json").id for n in range(5)]
    first = platform.files.list(limit=2)
    second = platform.files.list(limit=2, after=first.next)
    third = platform.files.list(limit=2, after=second.next)
    assert [file.id for page in (first, second, third) for file in page.items] == made[::-1]
    assert third.next is None
    assert platform.files.list(purpose="batch").items == ()


def test_a_page_goes_on_where_the_last_file_of_the_one_before_was_deleted(platform):
    made = [upload(platform, name=f"{n}.json").id for n in range(4)]
    first = platform.files.list(limit=2)
    for file in first.items:
        platform.files.delete(file.id)
    assert [file.id for file in platform.files.list(limit=2, after=first.next).items] == made[1::-1]
    assert [file.id for file in platform.files.list(after=made[1]).items] == made[:1], "an id will do, as long as it is"


def test_a_file_that_a_job_reads_stays(platform):
    stored = upload(platform)
    job = platform.jobs.create(stub_job(stored.id))
    assert job.inputs == {"train": stored.sha256}
    assert platform.files.get(stored.id).used_by == 1
    with pytest.raises(ConflictError, match="read by 1 job"):
        platform.files.delete(stored.id)
    platform.jobs.cancel(job.id)
    platform.files.delete(stored.id)
    assert blobs(platform) == [stored.sha256], "the job can still be cloned"
    platform.jobs.delete(job.id)
    assert blobs(platform) == []


def test_contents_without_a_row_are_swept_when_the_home_is_opened(tmp_path):
    platform = open_stub(tmp_path)
    kept = upload(platform)
    with platform.files.blobs.writing() as writing:
        writing.write(b"left by a server that was killed before it wrote the row")
        writing.finish()
    assert len(blobs(platform)) == 2
    platform.close()
    platform = open_stub(tmp_path)
    try:
        assert blobs(platform) == [kept.sha256]
    finally:
        platform.close()


def test_rows_are_shown_in_pages(platform):
    stored = upload(platform)
    page = platform.files.rows(stored.id, offset=45, limit=10)
    assert (page.format, page.offset, page.next_offset) == ("prompt", 45, None)
    assert [row["prompt"] for row in page.rows] == ["p45", "p46", "p47", "p48", "p49"]
    assert platform.files.rows(stored.id, limit=3).next_offset == 3
    beyond = 10_000_200  # who reads on page by page must not come back to where they were
    for look in (platform.files.rows, platform.files.texts):
        assert look(stored.id, offset=beyond).offset == beyond


def test_rows_of_other_containers_and_of_nothing(platform):
    packed = upload(platform, gzip.compress(b'{"messages": []}\n'), "rows.jsonl.gz")
    assert platform.files.rows(packed.id).rows == ({"messages": []},)
    table = upload(platform, b"prompt\tchosen\trejected\na\tb\tc\n", "rows.tsv")
    assert platform.files.rows(table.id).rows[0]["chosen"] == "b"
    picture = upload(platform, b"\x89PNG....", "rows.json")
    with pytest.raises(DataError, match=r"^rows.json is a picture"):
        platform.files.rows(picture.id)


def test_a_report_refuses_options_that_do_not_exist(platform):
    stored = upload(platform)
    with pytest.raises(OptionError, match="'seq_lenght'"):
        platform.files.report(stored.id, options={"seq_lenght": 3})


@pytest.mark.parametrize("shared", [False, True])
def test_what_a_killed_server_was_taking_goes_when_the_next_one_opens(tmp_path, postgres, shared):
    """Of several servers another one may still be taking it; then it goes when it is a day old."""
    url = postgres.database() if shared else None
    first = open_stub(tmp_path / "home", database_url=url)
    first.files.begin("pairs.json").write(b"[" * 10_000_000)
    first.close()
    second = open_stub(tmp_path / "home", database_url=url)
    try:
        (left,) = list(second.home.uploads.iterdir()) or [None]
        assert (left is not None) == shared
        if left is not None:
            os.utime(left, (0, 0))
            second.files.blobs.remove_stale()
            assert not left.exists()
    finally:
        second.close()

"""Following a run: logs over several attempts, metrics by line, nothing outside its folder."""

import json

import pytest

from quickalign.core.errors import NotFoundError
from quickalign.platform.jobs.reading import artifact, last_step, read_checkpoints, read_log, read_metrics

TEXT = "Grüße, 你好, 🙂!\n" * 40


def write_logs(folder, *texts):
    files = []
    for number, text in enumerate(texts):
        file = folder / f"{number}.log"
        file.write_bytes(text.encode())
        files.append(file)
    return files


@pytest.mark.parametrize("limit", [4, 5, 7, 16, 1000])
def test_a_log_is_read_in_whole_characters_over_all_files(tmp_path, limit):
    files, offset, text = write_logs(tmp_path, TEXT, "", TEXT), 0, ""
    while True:
        chunk = read_log(files, offset, limit, over=True)
        assert chunk.offset == offset
        text, offset = text + chunk.text, chunk.next_offset
        if chunk.complete:
            break
    assert text == TEXT * 2
    assert offset == len((TEXT * 2).encode())


def test_a_character_that_is_half_there_waits_for_its_other_half(tmp_path):
    (file,) = write_logs(tmp_path, "")
    file.write_bytes("ü".encode()[:1])
    chunk = read_log([file], 0, 100, over=False)
    assert (chunk.text, chunk.next_offset, chunk.complete) == ("", 0, False)
    file.write_bytes("ü".encode())
    assert read_log([file], 0, 100, over=False).text == "ü"


def test_bytes_that_are_no_text_do_not_stop_anybody(tmp_path):
    (file,) = write_logs(tmp_path, "")
    file.write_bytes(b"\xff\xfe\x80\x80\x80\x80\x80\x80 end \xe4")
    offset, text = 0, ""
    for _ in range(10):
        chunk = read_log([file], offset, 4, over=True)
        offset, text = chunk.next_offset, text + chunk.text
    assert chunk.complete
    assert " end " in text


def test_past_the_end_and_before_the_beginning(tmp_path):
    files = write_logs(tmp_path, "abc")
    assert read_log(files, 10, 10, over=False).text == ""
    assert read_log(files, -5, 10, over=True).text == "abc"
    assert read_log([], 0, 10, over=False).next_offset == 0


def lines(count, extra=""):
    return "".join(json.dumps({"step": n + 1, "loss": 0.5, "pad": extra}) + "\n" for n in range(count))


def test_metrics_by_line_also_after_the_run_went_back(tmp_path):
    file = tmp_path / "metrics.jsonl"
    file.write_text(lines(10))
    assert [line["step"] for line in read_metrics(tmp_path, "steps", 3, 4, over=False).items] == [4, 5, 6, 7]
    replaced = tmp_path / "new"
    replaced.write_text(lines(6, "other lengths"))
    replaced.replace(file)
    page = read_metrics(tmp_path, "steps", 4, 100, over=True)
    assert [line["step"] for line in page.items] == [5, 6]
    assert page.complete
    file.write_text(lines(3))  # in the same inode
    assert read_metrics(tmp_path, "steps", 0, 100, over=False).next_offset == 3
    with file.open("a") as stream:
        stream.write('{"step": 4')
    assert len(read_metrics(tmp_path, "steps", 0, 100, over=False).items) == 3


def test_no_metrics_so_far(tmp_path):
    page = read_metrics(tmp_path, "evaluations", 0, 10, over=False)
    assert (page.items, page.next_offset, page.complete) == ((), 0, False)


def test_checkpoints_with_their_metrics(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(lines(10))
    (tmp_path / "evaluations.jsonl").write_text('{"step": 6, "loss": 0.25, "accuracy": null}\n')
    for step in (3, 6):
        folder = tmp_path / "checkpoints" / f"step-{step:08d}"
        folder.mkdir(parents=True)
        (folder / "state.json").write_text("{}")
    (tmp_path / "checkpoints" / "step-00000009").mkdir()  # being removed
    found = read_checkpoints(tmp_path)
    assert [checkpoint.step for checkpoint in found] == [3, 6]
    assert found[1].metrics == {"loss": 0.5, "validation_loss": 0.25}
    assert last_step(tmp_path) == 6


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "..", "", ".", "link", ".lock", "nothing", "a\0b", "x" * 5000, "folder"]
)
def test_artefacts_stay_in_the_folder(tmp_path, name):
    output = tmp_path / "output"
    (output / "folder").mkdir(parents=True)
    (tmp_path / "secret").write_text("")
    (output / ".lock").write_text("")
    (output / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(NotFoundError):
        artifact(output, name)


def test_artefacts_in_folders(tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "config.json").write_text("{}")
    assert artifact(tmp_path, "adapter/config.json").read_text() == "{}"

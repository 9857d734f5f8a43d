"""Templates as compiled are kept from one start to the next, and thrown away where they are of another template."""

import pytest
from jinja2 import Environment, FileSystemLoader

from quickalign.console.compiled import Compiled


def rendered(templates, kept, forbidden=None):
    """The template in a new environment, as after a start; compiling it is an error where that is `forbidden`."""
    known = Compiled()
    known.folder = kept
    environment = Environment(loader=FileSystemLoader(templates), bytecode_cache=known, autoescape=True)
    if forbidden:
        forbidden.setattr(environment, "compile", lambda *_: pytest.fail("compiled again"))
    return environment.get_template("a.html").render(name="<b>")


def test_what_was_compiled_is_kept(tmp_path, monkeypatch):
    (tmp_path / "a.html").write_text("one {{ name }}")
    kept = tmp_path / "kept"
    assert rendered(tmp_path, kept) == "one &lt;b&gt;"
    assert len(list(kept.iterdir())) == 1
    assert rendered(tmp_path, kept, monkeypatch) == "one &lt;b&gt;"


@pytest.mark.parametrize("content", [b"", b"something else", None])
def test_another_template_or_a_damaged_file_is_compiled_again(tmp_path, content):
    (tmp_path / "a.html").write_text("one {{ name }}")
    kept = tmp_path / "kept"
    rendered(tmp_path, kept)
    (tmp_path / "a.html").write_text("two {{ name }}")
    if content is not None:
        next(kept.iterdir()).write_bytes(content)
    assert rendered(tmp_path, kept) == "two &lt;b&gt;"


def test_a_folder_that_cannot_be_written_to_is_no_hindrance(tmp_path):
    (tmp_path / "a.html").write_text("one {{ name }}")
    assert rendered(tmp_path, tmp_path / "none" / "kept") == "one &lt;b&gt;"
    assert rendered(tmp_path, None) == "one &lt;b&gt;"

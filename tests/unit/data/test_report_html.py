"""The HTML report: whole, self-contained, and safe whatever the rows hold."""

import json
import re
from html.parser import HTMLParser

import pytest

from quickalign.data.prepare import DataRequest, check
from quickalign.data.report_html import render, render_section, style
from tests.support import tokenizers as toys

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> </style>"
VOID = {"meta", "br", "img"}


class Outline(HTMLParser):
    """Collects tags and attributes, and whether what is opened is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.extend(attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(params=[True, False], ids=["tokens", "rows-only"])
def page(request, tmp_path):
    rows = [
        {"prompt": EVIL, "chosen": EVIL + "c", "rejected": EVIL, "category": EVIL, EVIL: 1, "language": EVIL},
        {"prompt": EVIL, "chosen": {EVIL: 1}, "rejected": EVIL},
    ] * 15
    path = tmp_path / "<script>alert(3)<"
    path.write_text(json.dumps(rows))
    report = check(DataRequest(str(path), seq_length=40), toys.qwen2_like() if request.param else None)
    assert (report.ok, report.bad) == (15, 15)
    return render(report)


def test_users_texts_never_become_markup(page):
    outline = Outline()
    outline.feed(page)
    assert outline.open == []
    assert "script" not in outline.tags
    assert "img" not in outline.tags
    assert not [name for name, _ in outline.attributes if name.startswith("on")]
    assert page.count("</style>") == 1
    assert "&lt;script&gt;" in page


def test_it_asks_nothing_of_any_network(page):
    outline = Outline()
    outline.feed(page)
    assert not {"link", "script", "iframe", "object", "embed"} & set(outline.tags)
    assert not [value for name, value in outline.attributes if name in {"src", "href", "action", "srcset"}]
    assert not re.search(r"url\(|@import", page)
    assert "default-src 'none'" in page


def test_it_has_light_and_dark_and_the_first_twenty_bad_rows(page):
    assert "prefers-color-scheme: dark" in page
    assert page.count('<td class="keep"><code>') == 15


def test_tokens_are_coloured_by_their_part(tmp_path):
    path = tmp_path / "d.json"
    path.write_text(json.dumps([{"prompt": "one", "chosen": "two", "rejected": "three"}]))
    report = check(DataRequest(str(path)), toys.qwen2_like())
    assert report.tokens is not None
    section = render_section(report)
    row = report.tokens.first_row
    assert row.rejected_tokens is not None
    for part in ("prompt", "answer"):
        expected = sum(token.part == part for token in (*row.tokens, *row.rejected_tokens))
        assert section.count(f'<span class="{part}"') == expected
    assert all(line.startswith((".data-report", "@media", "  ", "}")) for line in style().splitlines())

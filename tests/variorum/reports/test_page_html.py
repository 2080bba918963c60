"""The page as a file: what it allows a browser to do, and that data stays data."""

from __future__ import annotations

import base64
import gzip
import html
import io
import json
import math
import re
import tracemalloc
from html.parser import HTMLParser

import pytest
import sample_page
from hypothesis import given
from hypothesis import strategies as st

from variorum.reports.page.html import embedded, hashed, script, style, write_page

NOTHING = {"rows": 0, "columns": []}


class Blocks(HTMLParser):
    """Texts of the page's scripts and styles, as a browser finds them; other elements by name."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.scripts: list[tuple[str | None, str | None, str]] = []
        self.styles: list[str] = []
        self.names: list[str] = []
        self.policy = ""
        self.into: list[str] | None = None
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.names.append(tag)
        assert not [name for name in found if name.startswith("on") or name == "style"], found
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found["content"]
        if tag in ("script", "style"):
            self.open, self.into = (found.get("type"), found.get("id")), []

    def handle_data(self, data):
        if self.into is not None:
            self.into.append(data)

    def handle_endtag(self, tag):
        if tag not in ("script", "style") or self.into is None:
            return
        text = "".join(self.into)
        if tag == "style":
            self.styles.append(text)
        else:
            self.scripts.append((*self.open, text))
        self.into = None

    def text(self, name: str) -> str:
        (found,) = [text for _, one, text in self.scripts if one == name]
        return found


def page(facts=None, table=NOTHING, pictures=(), records=()) -> str:
    file = io.BytesIO()
    write_page(file, facts or sample_page.facts(), table, pictures, records)
    return file.getvalue().decode()


@given(st.text() | st.sampled_from(sample_page.HOSTILE), st.text())
def test_any_text_of_data_comes_back_and_ends_no_script(text, key):
    facts = {"title": text, "kind": "edition", key: [text]}
    table = {"rows": 1, "columns": [{"name": text, "kind": "text", "values": [text], "codes": [0]}]}
    found = Blocks(page(facts, table, [[b"<>"]], [[json.dumps({text: text})]]))
    assert json.loads(found.text("facts")) == facts
    assert json.loads(found.text("table")) == table
    (record,) = json.loads(gzip.decompress(base64.b64decode(found.text("records-0"))))
    assert json.loads(record) == {text: text}
    assert base64.b64decode(found.text("pictures-0")) == b"<>"
    assert found.names == Blocks(page({"title": ""})).names + ["script"] * 2


@given(st.text(alphabet="<!->/scriptSCRIPT \u2028\ud800é"))
def test_embedded_json_has_no_sign_that_markup_begins_with(text):
    assert "<" not in embedded([text])
    assert embedded([text]).isascii()
    assert json.loads(embedded([text])) == [text]


def test_the_policy_allows_the_pages_own_script_and_style_and_nothing_else():
    found = Blocks(page())
    run = [text for kind, _, text in found.scripts if kind is None]
    assert run == [script()]
    assert found.styles == [style()]
    assert all(kind in (None, "application/json", "text/plain") for kind, _, _ in found.scripts)
    rules = dict(rule.split(" ", 1) for rule in found.policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == hashed(run[0])
    assert rules["style-src"] == hashed(found.styles[0])
    assert rules["img-src"] == "data:"
    assert rules["base-uri"] == rules["form-action"] == "'none'"
    assert "unsafe" not in found.policy


def test_the_policy_comes_before_everything_that_it_rules():
    names = Blocks(page()).names
    assert names.index("meta") < names.index("style") < names.index("script")
    assert {"link", "iframe", "object", "embed", "base", "form", "img"}.isdisjoint(names)


def test_the_shell_holds_no_address_and_writes_no_markup():
    text = html.unescape(page({"title": "", "kind": "edition"}))
    assert re.findall(r"https?:[^\s\"']*", text) == ["http://www.w3.org/2000/svg"]  # SVG's name
    app = script()
    for risky in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "fetch("):
        assert risky not in app
    assert "</script" not in app.lower()
    assert "<!--" not in app
    assert "</style" not in style().lower()


def test_title_bar_shows_a_plain_text():
    text = page({"title": "</title><script>\x00\u202e\ud800" + "x" * 999})
    title = text[text.index("<title>") + 7 : text.index("</title>")]
    assert title.startswith("&lt;/title&gt;&lt;script&gt;x")
    assert len(html.unescape(title)) == 200


def test_numbers_that_json_lacks_are_missing_in_columns_and_refused_in_facts():
    table = {"rows": 3, "columns": [{"name": "n", "kind": "number", "values": [math.nan, math.inf, 1.5]}]}
    found = json.loads(Blocks(page(table=table)).text("table"))
    assert found["columns"][0]["values"] == [None, None, 1.5]
    with pytest.raises(ValueError, match="JSON"):
        page({"title": "a", "score": math.nan})


def test_rows_are_written_as_they_come_and_never_all_held():
    rows = 3000
    given_rows = []
    sizes = []

    class File(io.RawIOBase):
        def write(self, data):
            sizes.append((len(given_rows), len(data)))
            return len(data)

    def shown():
        for start in range(0, rows, 100):
            given_rows.extend(range(start, start + 100))
            yield [bytes([row % 256]) * 20_000 for row in range(start, start + 100)]

    def told():
        for start in range(0, rows, 100):
            yield [json.dumps({"row": row}) for row in range(start, start + 100)]

    script(), style()
    tracemalloc.start()
    write_page(File(), {"title": "many"}, NOTHING, shown(), told())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sizes[0][0] == 0  # the shell comes before the first picture is asked for
    assert sum(size for _, size in sizes) > 75e6
    assert peak < 25e6


def test_chunks_that_dont_fit_are_refused():
    with pytest.raises(ValueError, match="chunk 0 has 2 pictures and 1 records"):
        page(pictures=[[b"a", b"b"]], records=[["{}"]])
    with pytest.raises(ValueError, match="shorter"):
        page(pictures=[[b"a"], [b"b"]], records=[["{}"]])
    diff = page({"title": "a", "kind": "diff"}, pictures=[[b"a", b"b"]], records=[["{}"]])
    assert Blocks(diff).text("pictures-0") == "\nYQ==\nYg=="


def test_a_page_is_the_same_bytes_each_time(photos, tmp_path):
    one = sample_page.write(tmp_path / "one.html", photos, 30).read_bytes()
    assert one == sample_page.write(tmp_path / "other.html", photos, 30).read_bytes()

"""Components, differences and verification from Python."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest
from small_store import one_line

import variorum as va
from variorum.api import html
from variorum.api.listing import Changes, Components
from variorum.flows.cli import main
from variorum.reports.diff import Change
from variorum.schemas.catalogue import Entry
from variorum.schemas.lookup import kinds


def said(call) -> str:
    with pytest.raises(va.errors.VariorumError) as error:
        call()
    assert one_line(str(error.value))
    return str(error.value)


def tags(text: str) -> set[str]:
    found: set[str] = set()
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: found.add(tag)  # type: ignore[method-assign]
    parser.feed(text)
    return found


# ── components ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_components_are_those_of_the_command(capsys):
    with pytest.raises(SystemExit):
        main(["components", "--json"])
    listed = json.loads(capsys.readouterr().out)
    mine = va.components()
    rows = [{"part": x.part, "name": x.name, "kind": x.kind, "about": x.about, "from": x.origin} for x in mine]
    assert rows == listed["components"]
    assert [{"plugin": name, "problem": why} for name, why in mine.broken.items()] == listed["broken"]


def test_components_by_part_name_and_position():
    every, sources = va.components(), va.components("source")
    assert {one.part for one in sources} == {"source"}
    assert sum(len(va.components(part)) for part in kinds()) == len(every)
    assert every["bright"].origin == "acme-components 1.0"
    assert every["bright_rules"].kind == "decider"
    assert every[0] == next(iter(every))
    assert len(every[2:5]) == 3
    assert "quality" in every
    assert "qualty" not in every


def test_fields_of_a_component_with_types_and_defaults():
    fields = {field.name: field for field in va.components()["image_folder"].fields}
    assert (fields["path"].type, fields["path"].default, fields["path"].where) == ("Path", "", True)
    assert fields["labels"].type == "'auto' | 'folder' | 'wnid' | 'none'"
    for one in va.components():
        for field in one.fields:
            assert field.type
            assert not {"Annotated", "FieldInfo", " object at 0x"} & set(f"{field.type} {field.default}".split())
            assert "0x" not in field.type + field.default


def test_components_are_a_table_to_look_at():
    text, page = repr(va.components()), va.components()._repr_html_()
    assert text.startswith("source:\n  balanced")
    assert "(acme-components 1.0)" in text
    assert max(map(len, text.splitlines())) <= 118
    assert tags(page) == {"table", "thead", "tbody", "tr", "th", "td"}


def test_a_component_that_isnt_there():
    assert "did you mean attribute_edit?" in said(lambda: va.components()["atribute_edit"])
    assert "did you mean generate?" in said(lambda: va.components("generat"))
    assert "no part 3" in said(lambda: va.components(3))
    two = [Entry("x", part, "kind", "", "variorum", ()) for part in ("generate", "curate")]
    assert "components('generate'), components('curate')" in said(lambda: Components(two)["x"])


def test_text_of_a_plugin_is_no_markup():
    entry = Entry("x", "curate", "detector", "<script>alert(1)</script>", "<b>", ())
    page = Components([entry], [("<i>", "no & component")])._repr_html_()
    assert tags(page) == {"table", "thead", "tbody", "tr", "th", "td", "p"}
    assert "no &amp; component" in page


# ── differences ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_differences_of_a_release(here):
    changes = va.diff("mine@1.0.0", "mine")
    assert repr(changes) == "<mine@1.0.0 to mine@1.0.0-r1: 2 changes: dropped 1, relabelled 1>"
    assert changes.counts == [
        ("dropped", "bright_rules: too_bright", 1),
        ("relabelled", "bright_rules: dark_is_a_cat", 1),
    ]
    table = changes.table()
    assert table.column_names == ["kind", "id", "variant", "origin", "why", "before", "after"]
    assert table["after"].to_pylist() == [[], ["chelsea"]]
    dropped = va.open("mine@1.0.0")[changes[0].id]
    assert dropped.labels == changes[0].before
    assert changes[1:].counts == changes.counts[1:]
    assert "too_bright" in changes._repr_html_()


def test_no_difference(here):
    same = va.diff("mine", va.open("mine"))
    assert len(same) == 0
    assert "no changes" in repr(same)
    assert "the same pictures" in same._repr_html_()
    assert same.table().num_columns == 7


def test_editions_in_two_stores(here):
    fields = {"dataset": "mine", "version": "1.0.0", "source": {"name": "image_folder", "path": "photos"}}
    other = va.run(fields, generate=[{"name": "negative"}], limit=6, store="other", progress=False)
    changes = va.diff("mine@1.0.0", other)
    assert [(kind, number) for kind, _, number in changes.counts] == [("dropped", 12)]
    assert "no edition 'x'" in said(lambda: va.diff("mine", "x"))
    assert "not by NoneType" in said(lambda: va.diff("mine", None))


def test_text_of_a_difference_is_no_markup():
    change = Change("dropped", "0" * 32, "v", "o", "<script>x</script>", (), ())
    assert "<script>" not in Changes([change], "a", "b")._repr_html_()


# ── verification ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_edition_that_is_whole(here, monkeypatch, tmp_path):
    import datasets

    datasets.disable_progress_bars()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hf"))
    edition = va.open("mine")
    assert va.verify("mine") == va.verify(edition, digest=edition.digest, load=True) == []


def test_problems_are_lines(here):
    edition = va.open("mine")
    assert "another edition of this name" in va.verify(edition, digest="0" * 64)[0]
    assert "64 hexadecimal digits" in va.verify("mine", digest="x")[0]
    card = edition.path / "README.md"
    card.write_text(card.read_text().replace("png", "jpg"))
    assert "header" in va.verify(edition)[0]
    edition.store.path(edition.manifest.shards["test"][0]).unlink()
    problems = va.verify(edition, load=True)
    assert all(map(one_line, problems))
    assert any("no such file" in one for one in problems)
    assert "/store?" in said(lambda: va.verify("mine", "stor"))


# ── HTML ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_html_is_escaped_cut_and_without_secrets():
    page = html.table(("<a>", "n"), [("x" * 10_000, 3), ("https://u:hunter2000@h/<b>\u202e", 4.5)], "<c>&")
    assert tags(page) == {"table", "caption", "thead", "tbody", "tr", "th", "td"}
    assert len(page) < 2000
    assert "hunter2000" not in page
    assert "\u202e" not in page
    assert page.count("text-align:right") == 3  # the column of numbers and its head

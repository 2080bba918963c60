"""`variorum view`: where the page goes, and what else happens."""

import json
import os
import shutil
from functools import partial
from pathlib import Path

import pytest

from variorum.edition.editions import check_data, find
from variorum.edition.store import Store
from variorum.edition.verify import verify
from variorum.flows import browser
from variorum.pipeline import Job, build, curate, release
from variorum.reports.card import write_card
from variorum.reports.page.write import write_view
from variorum.reports.rows import edition_rows
from variorum.schemas.errors import CorruptShard, StoreError, VariorumError
from variorum.schemas.recipe import Recipe

PLUGINS = Path(__file__).parents[1] / "plugins"


@pytest.fixture(scope="module")
def made(photos, tmp_path_factory):
    """The folder of a store with `d@1.0.0` and its release."""
    folder = tmp_path_factory.mktemp("view")
    what = {
        "dataset": "d",
        "version": "1.0.0",
        "samples_per_shard": 5,
        "masters": "original",
        "source": {"name": "image_folder", "path": str(photos)},
        "curate": [{"name": "bright"}, {"name": "bright_rules", "drop": 2, "relabel": 1}],
        "card": {"title": "Small photographs"},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VARIORUM_CACHE", str(folder / "cache"))
        job = Job(Recipe.parse(what), str(folder / "store"))
        manifest = build(job)
        write_card(job.recipe, release(job, manifest, *curate(job, manifest)), job.store)
    return folder / "store"


@pytest.fixture
def store(made, tmp_path, own_cache):
    shutil.copytree(made, tmp_path / "store", copy_function=os.link)
    return Store(str(tmp_path / "store"), writable=False)


@pytest.fixture
def cli(store, command):
    return partial(command, PYTHONPATH=str(PLUGINS))


def files(folder):
    return {path: path.stat().st_ino for path in Path(folder).rglob("*") if path.is_file()}


def test_a_page_is_one_more_file_of_the_edition_and_nothing_else(store):
    manifest, before = find("d", store), files(store.root)
    written = write_view(manifest, store)
    page = Path(store.root, "editions", "d", "1.0.0-r1", "view.html")
    assert (written.path, written.rows, written.pictures) == (str(page), 12, 12)
    assert written.size == page.stat().st_size > 10_000
    after = files(store.root)
    assert after.keys() - before.keys() == {page}
    assert before.items() <= after.items()
    assert check_data(manifest, store) == verify(manifest, store) == []
    text = page.read_text()
    assert manifest.digest() in text
    assert "Small photographs" in text
    assert '"README.md"' in text
    assert write_view(manifest, store).size == written.size
    assert page.read_text() == text


def test_diff_writes_the_page_too(cli, tmp_path):
    page = tmp_path / "changes.html"
    said = [
        json.loads(line)
        for line in cli("diff", "d@1.0.0", "d@1.0.0-r1", "--json", "--to", str(page)).stdout.splitlines()
    ]
    assert [line["kind"] for line in said[-2:]] == ["page", "rank"]
    assert (said[-2]["path"], said[-2]["size"]) == (str(page), page.stat().st_size)
    assert said[-2]["rows"] == len(said) - 2


def test_the_page_of_a_difference_has_the_pictures_before_and_after(store):
    first, second = find("d@1.0.0", store), find("d@1.0.0-r1", store)
    written = write_view(first, store, second)
    assert Path(written.path).name == "diff-d@1.0.0-r1.html"
    assert (written.rows, written.pictures) == (3, 4)  # two dropped, one relabelled
    text = Path(written.path).read_text()
    assert "bright_rules: too_bright" in text
    assert "relabelled" in text
    assert second.digest() in text
    back = write_view(second, store, first, to=Path(written.path).with_name("back.html"))
    assert (back.rows, back.pictures) == (3, 4)
    same = write_view(first, store, first, to=Path(written.path).with_name("same.html"))
    assert (same.rows, same.pictures) == (0, 0)


def test_a_page_can_go_elsewhere(store, tmp_path):
    manifest, to = find("d", store), tmp_path / "new" / "page.html"
    before = files(store.root)
    assert write_view(manifest, store, to=to).path == str(to)
    assert files(store.root) == before
    assert [path.name for path in to.parent.iterdir()] == ["page.html"]
    assert '"README.md"' not in to.read_text()
    for wrong, why in (("page.png", "ends in .html"), ("folder.html", "is a folder")):
        (tmp_path / "folder.html").mkdir(exist_ok=True)
        with pytest.raises(VariorumError, match=why):
            write_view(manifest, store, to=tmp_path / wrong)
    with pytest.raises(VariorumError, match="most is 0"):
        write_view(manifest, store, most=0, to=to)


def test_larger_pictures_lie_beside_the_page_if_they_are_wanted_there(store, tmp_path, monkeypatch):
    monkeypatch.setattr("variorum.reports.page.parts.thumbnail_side", lambda pictures: 40)
    manifest, to = find("d", store), tmp_path / "page.html"
    embedded = write_view(manifest, store, to=to)
    assert 'id="larger-0"' in to.read_text()
    assert "img-src data:;" in to.read_text()
    beside = write_view(manifest, store, to=to, pictures=True)
    assert beside.size < embedded.size
    assert 'id="larger-0"' not in to.read_text()
    assert "img-src data: &#x27;self&#x27;;" in to.read_text()
    rows = edition_rows(manifest, store, ("sha256", "status"))
    there = {row["sha256"][:16] for row in rows.to_pylist() if row["sha256"]}
    names = {path.stem for path in (tmp_path / "page-pictures").glob("*.webp")}
    assert names == there
    assert len(names) > 5
    with pytest.raises(VariorumError, match="name its file with --to"):
        write_view(manifest, store, pictures=True)


def test_a_store_that_can_t_be_written_asks_for_another_place(store, tmp_path, monkeypatch):
    manifest = find("d", store)
    monkeypatch.setattr(Store, "can_write", lambda self: False)
    with pytest.raises(StoreError, match=r"view\.html: can't be written; write the page to another file with --to"):
        write_view(manifest, store)
    assert write_view(manifest, store, to=tmp_path / "page.html").pictures == 12


def test_a_full_disk_leaves_no_page(store, tmp_path, monkeypatch):
    def full(file, *rest):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("variorum.reports.page.write.write_page", full)
    for to in (None, tmp_path / "new" / "page.html"):
        with pytest.raises(StoreError, match="No space left on device; write the page to another file with --to"):
            write_view(find("d", store), store, to=to)
    assert not list(tmp_path.rglob("*.html*"))


def test_a_damaged_picture_leaves_no_page(store, tmp_path):
    manifest = find("d", store)
    path = store.path(manifest.accepted()[0][1], check=False)
    content = bytearray(path.read_bytes())
    content[content.find(b"\xff\xd8") + 300] ^= 1
    path.unlink()
    path.write_bytes(bytes(content))
    with pytest.raises(CorruptShard, match=path.name):
        write_view(manifest, store)
    assert not list(tmp_path.rglob("*.html*"))


def test_the_folder_of_an_edition_that_leads_out_of_the_store_gets_no_page(store, tmp_path):
    manifest, folder = find("d", store), Path(store.root, "editions", "d", "1.0.0-r1")
    folder.rename(tmp_path / "outside")
    folder.symlink_to(tmp_path / "outside")
    with pytest.raises(StoreError, match="leads out of the store"):
        write_view(manifest, store)


def test_the_command_prints_the_path(cli, tmp_path):
    page = tmp_path / "store" / "editions" / "d" / "1.0.0-r1" / "view.html"
    found = cli("view", "d")
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith(f"{page}: 12 pictures, ")
    assert "making thumbnails: 12 of 12" in found.stderr
    found = cli("view", "d@1.0.0", "d@1.0.0-r1", "--to", "changes.html", "--json", "--blur", "--no-map")
    assert json.loads(found.stdout) == {
        "path": "changes.html",
        "rows": 3,
        "pictures": 4,
        "size": (tmp_path / "changes.html").stat().st_size,
        "left_out": {},
    }
    for wrong in (["view", "d", "--to", "page.tar"], ["view", "e"], ["view", "d", "d@2.0.0"]):
        found = cli(*wrong)
        assert (found.returncode, found.stdout, len(found.stderr.splitlines())) == (1, "", 1)
    assert cli("view", "d", "--most", "0").returncode == 2


def test_a_browser_is_opened_only_where_somebody_sees_it(monkeypatch, tmp_path):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or True)
    monkeypatch.setattr(browser.sys, "platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    for terminal, display, expected in ((False, ":0", False), (True, "", False), (True, ":0", True)):
        monkeypatch.setattr(browser.sys.stdout, "isatty", lambda terminal=terminal: terminal, raising=False)
        monkeypatch.setenv("DISPLAY", display)
        assert browser.open_page(str(tmp_path / "a b.html")) is expected
    assert opened == [(tmp_path / "a b.html").as_uri()]
    assert browser.open_page("s3://bucket/view.html") is False

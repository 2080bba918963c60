"""`variorum.view`: pages from Python, and how a notebook shows them."""

import inspect
import shutil
from urllib.parse import unquote, urlparse

import pytest

import variorum as va
from variorum.api.page import Page
from variorum.pipeline import Job, build
from variorum.schemas.errors import StoreError
from variorum.schemas.recipe import Recipe


@pytest.fixture(scope="module")
def store(photos, tmp_path_factory):
    """A store with `d@1.0.0` and `d@1.1.0`, which has other pictures."""
    url = str(tmp_path_factory.mktemp("api") / "store")
    for version, name in (("1.0.0", "coffee"), ("1.1.0", "chelsea")):
        source = {"name": "image_folder", "path": str(photos / name)}
        build(Job(Recipe.parse({"dataset": "d", "version": version, "source": source}), url))
    return url


def test_an_open_edition_a_name_and_a_folder_give_the_same_page(store, tmp_path):
    edition = va.open("d@1.0.0", store)
    pages = [
        va.view(one, store=store, to=tmp_path / f"{k}.html", progress=False)
        for k, one in enumerate((edition, "d@1.0.0", edition.path))
    ]
    assert [(page.rows, page.pictures) for page in pages] == [(4, 4)] * 3
    assert len({(tmp_path / f"{k}.html").read_bytes() for k in range(3)}) == 1
    default = va.view(edition, progress=False)
    assert default.path == str(edition.path / "view.html")


def test_two_editions_give_the_page_of_their_difference(store, tmp_path):
    page = va.view("d@1.0.0", "d@1.1.0", store=store, to=tmp_path / "diff.html", progress=False)
    assert (page.rows, page.pictures) == (4, 8)  # a picture of the same name is the same one, changed
    with pytest.raises(StoreError, match="did you mean"):
        va.view("d@1.0.0", "d@1.1.1", store=store)


def test_a_notebook_gets_a_link_and_a_frame_only_for_a_file_it_can_reach(tmp_path, monkeypatch):
    folder = tmp_path / 'a "b" & <c>'
    folder.mkdir()
    monkeypatch.chdir(folder)
    inside = Page(str(folder / "<c>" / "view.html"), 3, 2, 1_500_000)._repr_html_()
    assert '<iframe src="%3Cc%3E/view.html"' in inside
    assert "2 pictures, 1.5 MB" in inside
    assert "<c>" not in inside
    assert "&lt;c&gt;" in inside
    outside = Page(str(tmp_path / "view.html"), 3, 2, 1_500_000)
    assert "<iframe" not in outside._repr_html_()
    assert unquote(urlparse(outside.url).path) == str(tmp_path / "view.html")
    odd = Page(str(folder / "\udcff.html"), 3, 2, 1)._repr_html_()
    assert 'href="%FF.html"' in odd
    assert odd.encode()
    assert Page("s3://bucket/view.html", 3, 2, 1)._repr_html_().count("s3://bucket/view.html") == 2


def test_the_page_of_a_remote_store_has_a_url(photos):
    source = {"name": "image_folder", "path": str(photos / "coffee")}
    url = "memory://pages"
    build(Job(Recipe.parse({"dataset": "d", "version": "1.0.0", "source": source}), url))
    page = va.view("d", store=url, progress=False)
    assert page.path == page.url == f"{va.open('d', url).url}/view.html"
    assert page.path.startswith("memory://")


def test_a_page_takes_no_folders_place(store, tmp_path):
    copied = tmp_path / "store"
    shutil.copytree(store, copied, symlinks=True)
    edition = va.open("d@1.0.0", copied)
    (edition.path / "view.html").unlink(missing_ok=True)
    (edition.path / "view.html").mkdir()
    for to in (None, edition.path / "view.html"):
        with pytest.raises(StoreError, match=r"view\.html: is a folder"):
            va.view(edition, to=to, progress=False)


def test_it_is_opened_only_when_asked(store, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or True)
    for wanted in (False, True):
        va.view("d@1.0.0", store=store, to=tmp_path / "page.html", open=wanted, progress=False)
    assert opened == [(tmp_path / "page.html").as_uri()]


def test_its_arguments_are_those_of_the_command():
    from variorum.flows.edition_commands import view

    words = {"edition", "store", "to", "most", "blur"}
    assert words <= inspect.signature(va.view).parameters.keys() & inspect.signature(view).parameters.keys()
    defaults = [inspect.signature(one).parameters["most"].default for one in (va.view, view)]
    assert defaults == [10_000, 10_000]

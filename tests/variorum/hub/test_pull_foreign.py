"""Other people's tars: what is fetched, where it lies, and the recipe that is written for them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import webdataset
import yaml
from PIL import Image
from served_files import serving
from small_store import one_line, snapshot

from variorum.edition.gc import collect
from variorum.edition.store import Store
from variorum.hub import pull_fetch
from variorum.hub.pull_fetch import PIECE, Body
from variorum.hub.pull_foreign import Tar, Tars, _hub_tars, _safe, bring, find_tars
from variorum.hub.pull_places import Listed, Place, place_of
from variorum.hub.pull_terms import class_names, licence_of
from variorum.hub.pull_web import web_file
from variorum.pipeline import Job, run
from variorum.reports.verified import verify_edition
from variorum.schemas.errors import RecipeError, SourceError, TemporaryError, TooManyFailures
from variorum.stages.recipe_files import load_recipe

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def tars(tmp_path_factory) -> Path:
    """A folder with `train-000.tar`, `train-001.tar` and `test-000.tar` as `webdataset` writes them."""
    folder = tmp_path_factory.mktemp("tars")
    (folder / "data").mkdir()
    for split, most in (("train", 4), ("test", 2)):
        with webdataset.ShardWriter(f"{folder}/data/{split}-%03d.tar", maxcount=2, verbose=0) as writer:
            for number in range(most):
                noise = np.random.default_rng(100 * most + number).integers(0, 255, (24, 32, 3), np.uint8)
                data = io.BytesIO()
                Image.fromarray(noise).save(data, "JPEG")
                record = {"camera": number}
                sample = {"jpg": data.getvalue(), "cls": number % 2, "txt": f"picture {number}", "json": record}
                writer.write({"__key__": f"{split}{number}", **sample})
    return folder


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(str(tmp_path / "store"))


def test_tars_of_a_web_server_become_an_edition(tars, store):
    with serving(tars) as web:
        url = f"{web.url}/data/{{train-{{000..001}},test-000}}.tar"
        found = find_tars(url)
        brought = bring(found, "theirs", store)
        again = bring(find_tars(url), "theirs", store)
    assert (brought.tars, brought.kept, again.fetched, again.kept) == (3, 0, 0, brought.fetched)
    assert brought.fetched == sum(path.stat().st_size for path in (tars / "data").iterdir())
    made = run(Job(load_recipe(str(brought.recipe)), store))
    assert (f"{made.dataset}@{made.version}", made.splits()) == ("theirs@1.0.0", {"train": 4, "test": 2})
    assert (made.licences, "txt" in made.members) == ({"unknown": 6}, True)
    assert verify_edition(made, store) == []
    collect(store, 0)
    assert all(path.exists() for path in brought.recipe.parent.glob("*.tar"))


def test_an_interrupted_fetch_continues(tars, store, monkeypatch):
    monkeypatch.setattr(pull_fetch, "WAITS", ())
    with serving(tars) as web:
        web.faults["train-001.tar"] = lambda handler, _: handler.answer(503) or True
        url = f"{web.url}/data/train-{{000..001}}.tar"
        with pytest.raises(TemporaryError):
            bring(find_tars(url), "theirs", store)
        web.faults.clear()
        brought = bring(find_tars(url), "theirs", store)
    assert (brought.tars, brought.fetched < brought.fetched + brought.kept) == (2, True)
    assert brought.kept > 0


def test_the_recipe_says_what_the_repository_says(tars, store):
    about = {
        "license": "cc-by-4.0",
        "pretty_name": "Their pictures",
        "dataset_info": {
            "features": [{"name": "cls", "dtype": {"class_label": {"names": {"0": "cat: a", "1": "dog # b"}}}}]
        },
    }
    with serving(tars) as web:
        one = Tar("data/train-000.tar", "one", web_file(f"{web.url}/data/train-000.tar"))
        brought = bring(Tars("hf://datasets/org/My-Set@0123", "0123", (one,), about), "", store)
    fields = yaml.safe_load(brought.recipe.read_text())
    assert (fields["dataset"], fields["version"], fields["masters"]) == ("my_set", "1.0.0", "original")
    assert fields["source"]["licence"] == "CC-BY-4.0"
    assert fields["source"]["class_names"] == ["cat: a", "dog # b"]
    made = run(Job(load_recipe(str(brought.recipe)), store))
    assert [name for _, name in made.classes] == ["cat: a", "dog # b"]
    assert made.licences == {"CC-BY-4.0": 2}


@pytest.mark.parametrize(
    ("about", "licence"),
    [
        ({}, "unknown"),
        ({"license": "mit"}, "MIT"),
        ({"license": ["cc0-1.0", "cc-by-sa-3.0"]}, "CC0-1.0 AND CC-BY-SA-3.0"),
        ({"license": "other", "license_name": "research only"}, "research only"),
        ({"license": "other"}, "other"),
        ({"license": "<script>"}, "unknown"),
        ({"license": {"a": 1}}, "unknown"),
        ({"license": 4}, "unknown"),
    ],
)
def test_licences(about, licence):
    assert licence_of(about) == licence


@pytest.mark.parametrize(
    "info",
    [
        None,
        "cls",
        [],
        [{"features": "cls"}],
        {"features": [{"name": "cls", "dtype": "int64"}]},
        {"features": [{"name": "cls", "dtype": {"class_label": {"names": {"0": "a", "2": "b"}}}}]},
        {"features": [{"name": "cls", "dtype": {"class_label": {"names": ["a", "a"]}}}]},
        {"features": [{"name": "cls", "dtype": {"class_label": {"names": ["a", 3]}}}]},
        {"features": [{"name": "label", "dtype": {"class_label": {"names": ["a", "b"]}}}]},
    ],
)
def test_a_header_without_usable_class_names(info):
    assert class_names({"dataset_info": info}) == []


@pytest.mark.parametrize(
    "path",
    [
        *(
            "../x.tar",
            "/etc/x.tar",
            "a/../../x.tar",
            "a//x.tar",
            ".hidden.tar",
            "~root/x.tar",
            "a\x1b[31m.tar",
            "a\\b.tar",
        ),
        *("\U0001f600" * 100 + ".tar", "a/" * 500 + "x.tar"),
    ],
)
def test_names_that_lead_elsewhere(path):
    with pytest.raises(SourceError) as caught:
        _safe(path)
    assert one_line(str(caught.value))
    assert "\x1b" not in str(caught.value)


def from_the_hub(names: list[str], data: bytes = b"", pattern: str = "") -> Tars:
    """The tars of a repository with these files, all of one content."""
    listed = [Listed(name, len(data)) for name in names]

    def open_at(start: int) -> Body:
        file = io.BytesIO(data[start:])
        return Body(iter(lambda: file.read(PIECE), b""), file.close, start, len(data))

    return _hub_tars(Place("hf://datasets/a/b", lambda _: open_at, "0" * 40, listed=lambda: listed), "a/b", pattern)


@pytest.mark.parametrize("names", [["recipe.yaml/x.tar"], ["a.tar", "a.tar/b.tar"], ["a/b.tar", "a/b.tar/c/d.tar"]])
def test_a_tar_in_a_folder_with_the_name_of_a_file(names):
    with pytest.raises(SourceError, match="lies in a folder with the name of another file"):
        from_the_hub(names)


def test_a_pattern_that_stands_for_too_much():
    with pytest.raises(SourceError, match="more than 10000 names"):
        from_the_hub(["a.tar"], pattern="{a,b}" * 20)


def test_tars_of_another_pattern_stay_out_of_the_recipe(tars, store):
    data = (tars / "data" / "train-000.tar").read_bytes()
    whole = bring(from_the_hub(["train/a.tar"], data), "theirs", store)
    assert yaml.safe_load(whole.recipe.read_text())["source"]["shards"].endswith("/**/*.tar")
    part = bring(from_the_hub(["test/b.tar", "train/a.tar"], data, "test/*.tar"), "theirs@2.0.0", store)
    assert [Path(one).name for one in yaml.safe_load(part.recipe.read_text())["source"]["shards"]] == ["b.tar"]


def test_an_edited_recipe_is_kept_and_a_link_isnt_followed(tars, store, tmp_path):
    found = from_the_hub(["a.tar"], (tars / "data" / "train-000.tar").read_bytes())
    recipe, before = bring(found, "theirs", store).recipe, tmp_path / "precious"
    written, kept = recipe.read_text(), recipe.with_name("recipe.before.yaml")
    bring(found, "theirs", store)
    assert not kept.exists()
    recipe.write_text(f"{written}# mine")
    assert bring(found, "theirs", store).recipe.read_text() == written
    assert kept.read_text() == f"{written}# mine"
    before.write_text("precious")
    recipe.unlink()
    recipe.symlink_to(before)
    assert bring(found, "theirs", store).recipe.read_text() == written
    assert before.read_text() == "precious"


def test_names_that_no_edition_can_have(store):
    for name in ("../x", "Name", "a@1", "a@1.0.0-r1"):
        with pytest.raises(RecipeError, match="--as"):
            bring(Tars("x", "x", (), {}), name, store)


@pytest.mark.parametrize("source", ["http://me:hunter22@[::1/x.tar", "http://me:hunter22@[::1/x", "s3://[x/y.tar"])
def test_what_is_no_url(source):
    with pytest.raises(SourceError, match="it is no URL") as caught:
        find_tars(source) if ".tar" in source else place_of(source)
    assert "hunter22" not in str(caught.value)


def test_what_is_no_place_of_tars(tmp_path):
    for source in (str(tmp_path), "https://example.org/set", "nothing.tar"):
        with pytest.raises(SourceError, match="it names no tars"):
            find_tars(source)


def hostile(path: Path) -> None:
    """A tar with links, devices, names that lead out, and one picture."""
    data = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(data, "PNG")
    with tarfile.open(path, "w") as tar:
        for name, kind, target in (
            ("a.png", tarfile.SYMTYPE, "/etc/passwd"),
            ("b.png", tarfile.LNKTYPE, "../../precious"),
            ("c.png", tarfile.CHRTYPE, ""),
            ("d.png", tarfile.FIFOTYPE, ""),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            tar.addfile(info)
        for name in ("../../precious.png", "/tmp/precious.png", "good.png"):
            info = tarfile.TarInfo(name)
            info.size = len(data.getvalue())
            tar.addfile(info, io.BytesIO(data.getvalue()))


def test_a_hostile_tar(store, tmp_path):
    """It is kept as it is and never unpacked; what it holds becomes pictures, or rows with reasons."""
    (tmp_path / "www").mkdir()
    (tmp_path / "precious").write_text("precious")
    hostile(tmp_path / "www" / "x.tar")
    before = snapshot(tmp_path, leave_out=tmp_path / "store")
    with serving(tmp_path / "www") as web:
        brought = bring(find_tars(f"{web.url}/x.tar"), "theirs", store)
    assert [path.name for path in brought.recipe.parent.rglob("*.tar")] == ["x.tar"]
    with pytest.raises(TooManyFailures, match="6 of 7 failed"):
        run(Job(load_recipe(str(brought.recipe)), store))
    made = run(Job(load_recipe(str(brought.recipe), ["max_failure_rate=1.0"]), store))
    assert made.counts["original"] == {"accepted": 1, "failed:no_picture": 4, "failed:unsafe_name": 2}
    assert verify_edition(made, store) == []
    after = snapshot(tmp_path, leave_out=tmp_path / "store")
    assert {name: kept for name, kept in after.items() if not name.startswith("cache")} == before
    assert not Path("/tmp/precious.png").exists()
    assert list(Path(store.root).rglob("*precious*")) == []

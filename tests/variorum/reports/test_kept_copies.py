"""Pages on dropped copies show the picture that is kept, and what found the copy."""

import json
import shutil

import pytest
from PIL import Image

from variorum.machine.progress import QUIET
from variorum.pipeline import Job, build, curate, release
from variorum.reports.page.diff_page import diff_page
from variorum.reports.page.edition_page import edition_page
from variorum.schemas.recipe import Recipe


@pytest.fixture(scope="module")
def cleaned(photos, tmp_path_factory):
    """A folder with a copied file and a re-encoded picture, before and after its copies were dropped."""
    folder = tmp_path_factory.mktemp("copies")
    shutil.copytree(photos, folder / "photos")
    first, second, *_ = sorted((folder / "photos").rglob("*.jpg"))
    shutil.copy(first, first.with_name(f"copy_of_{first.name}"))
    Image.open(second).save(second.with_name(f"again_{second.name}"), quality=40)
    rule = {
        "when": [{"column": "duplicates.flag", "equals": True}],
        "action": "drop",
        "reason": "copy",
        "guarded": False,
    }
    steps = [{"name": "duplicates", "embedding": False}, {"name": "policy", "rules": [rule]}]
    source = {"name": "image_folder", "path": str(folder / "photos")}
    job = Job(
        Recipe.parse({"dataset": "d", "version": "1.0.0", "source": source, "curate": steps}), str(folder / "store")
    )
    manifest = build(job)
    return manifest, release(job, manifest, *curate(job, manifest)), job.store, (first.name, second.name)


def column(parts, name: str) -> list:
    one = next(one for one in parts.table["columns"] if one["name"] == name)
    return one["values"] if "codes" not in one else [one["values"][code] if code >= 0 else "" for code in one["codes"]]


def test_a_difference_shows_the_kept_picture_beside_the_dropped_copy(cleaned):
    before, after, store, names = cleaned
    parts = diff_page((before, store), (after, store), most=100, blur=False)
    kept, how = column(parts, "kept instead"), column(parts, "found by")
    assert {(origin.rpartition("/")[2], said.partition(" ")[0]) for origin, said in zip(kept, how, strict=True)} == {
        (names[0], "the"),
        (names[1], "hash:"),
    }
    pictures, records, *_ = ([one for chunk in stream for one in chunk] for stream in parts.streams(QUIET))
    assert len(pictures) == 4
    assert all(pictures)  # both sides of both
    for text, origin, distance in zip(records, kept, column(parts, "distance"), strict=True):
        record = json.loads(text)
        assert record["before"]["origin"] != record["after"]["origin"] == origin
        assert record["difference"]["kept_instead"]["distance"] == distance
    back = diff_page((after, store), (before, store), most=100, blur=False)
    assert "kept instead" not in {one["name"] for one in back.table["columns"]}


def test_a_dropped_copy_stands_beside_the_kept_picture_in_its_release(cleaned):
    _, after, store, names = cleaned
    parts = edition_page(after, store, QUIET, most=100, with_map=False, blur=False)
    origins, source, how = column(parts, "origin"), column(parts, "source"), column(parts, "found by")
    dropped = [row for row, status in enumerate(column(parts, "status")) if status == "dropped"]
    assert {origins[source[row]].rpartition("/")[2] for row in dropped} == set(names)
    assert {how[row].partition(" ")[0] for row in dropped} == {"the", "hash:"}
    assert {row for row, said in enumerate(how) if said} == set(dropped)


def test_a_kept_picture_that_is_gone_is_not_shown(cleaned):
    before, after, store, _ = cleaned
    ledger = after.ledger.model_copy(update={"scored": {}})
    without = after.model_copy(update={"ledger": ledger})
    parts = diff_page((before, store), (without, store), most=100, blur=False)
    assert [entry.places[1] for entry in parts.entries] == [None, None]

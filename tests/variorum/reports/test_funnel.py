import io
import shutil
from collections import Counter

import pytest
from PIL import Image

from variorum.edition.store import Store
from variorum.pipeline import Job, build, curate, release
from variorum.reports.funnel import (
    COLOURS,
    MOST,
    WIDTH,
    Funnel,
    Group,
    funnel,
    most_affected,
    plot,
    source_of,
    why,
    worst,
)
from variorum.reports.plots import DENSITY
from variorum.reports.rows import edition_rows
from variorum.schemas.recipe import Recipe

pytestmark = pytest.mark.usefixtures("own_cache")


def group(kept=0, *, drop=0, review=0, reason="odd"):
    reasons = Counter({("drop", reason): drop, ("review", reason): review})
    return Group(Counter(kept=kept, drop=drop, review=review), +reasons)


def told(folder, store, **rules):
    """The funnel of the release that `bright_rules` makes of a folder."""
    what = Recipe.parse(
        {
            "dataset": "d",
            "version": "1.0.0",
            "samples_per_shard": 5,
            "source": {"name": "image_folder", "path": str(folder), "labels": "folder", "licence": "CC0-1.0"},
            "curate": [{"name": "bright"}, {"name": "bright_rules", **rules}],
        }
    )
    job = Job(what, store)
    manifest = build(job)
    made = release(job, manifest, *curate(job, manifest))
    return funnel(made, edition_rows(made, store))


def test_classes_and_sources_say_why_they_lost_what_they_lost(photos, tmp_path):
    shutil.copytree(photos, tmp_path / "all" / "web")
    shutil.copytree(photos / "coffee", tmp_path / "all" / "shop" / "cup")
    store = Store(str(tmp_path / "store"))
    found = told(tmp_path / "all", store, drop=3, relabel=2, review=1)
    assert found.stages[-2:] == [("passed the checks", 16), ("kept by curation", 13)]
    assert set(found.groups) == {"class", "variant", "source", "licence"}
    assert not found.class_folders
    assert {name: found.groups["source"][name].pictures for name in ("web", "shop")} == {"web": 12, "shop": 4}
    for kind in found.groups:
        whole = sum(found.groups[kind].values(), Group())
        assert whole.actions == {"kept": 10, "drop": 3, "relabel": 2, "review": 1}
        assert whole.reasons == {("drop", "too_bright"): 3, ("relabel", "dark_is_a_cat"): 2, ("review", "odd"): 1}
    assert {cause[:3] for cause in found.reasons} == {
        ("drop", "bright_rules", "too_bright"),
        ("relabel", "bright_rules", "dark_is_a_cat"),
        ("review", "bright_rules", "odd"),
    }


def test_folders_that_are_classes_are_no_sources(photos, tmp_path):
    store = Store(str(tmp_path / "store"))
    found = told(photos, store, drop=1)
    assert "source" not in found.groups
    assert found.class_folders


def test_splits_and_configurations_are_groups_where_there_are_several(make):
    rules = [{"name": "bright"}, {"name": "bright_rules", "drop": 4}]
    source = {"pictures": 8, "boxes": False, "captions": False, "states": False}
    job, made = make(source=source, configs="place", curate=rules)
    found = funnel(made, edition_rows(made, job.store)).groups
    assert {name: group.pictures for name, group in found["split"].items()} == {"train": 4, "validation": 2, "test": 2}
    assert {name: group.pictures for name, group in found["configuration"].items()} == {"hall": 4, "street_5": 4}
    assert sum(found["split"].values(), Group()).actions["drop"] == 4
    job, made = make(source={**source, "splits": False}, configs="licence", curate=rules)
    assert not {"split", "configuration"} & funnel(made, edition_rows(made, job.store)).groups.keys()


@pytest.mark.parametrize(
    ("origin", "source"),
    [
        ("cat/1.jpg", ""),
        ("web/cat/1.jpg", "web"),
        ("Cat/web/1.jpg", "web"),
        ("1.jpg", ""),
        ("a b/c/1.jpg", "a b"),
        ("dog/1.jpg", ""),
    ],
)
def test_a_source_is_a_folder_that_is_not_a_class(origin, source):
    assert source_of(origin, {"cat", "Cat", "dog"}) == source


def test_a_picture_with_another_label_has_no_source_in_an_edition_of_a_release(photos, tmp_path):
    from variorum.pipeline import run

    store = Store(str(tmp_path / "store"))
    told(photos, store, relabel=2)
    again = {
        "dataset": "again",
        "version": "1.0.0",
        "source": {"name": "edition", "edition": "d@1.0.0-r1", "store": store.url},
    }
    manifest = run(Job(Recipe.parse(again), store))
    rows = edition_rows(manifest, store)
    moved = [row for row in rows.to_pylist() if row["origin"].split("/")[0] != dict(manifest.classes)[row["labels"][0]]]
    assert len(moved) == 2
    assert "source" not in funnel(manifest, rows).groups


def test_the_worst_come_first_and_the_rest_is_one():
    groups = {f"class {k:03d}": group(100 - k, drop=k) for k in range(0, 60)}
    ordered = most_affected(groups)
    assert list(ordered)[:2] == ["class 059", "class 058"]
    shown, others, rest = worst(ordered)
    assert len(shown) == MOST
    assert others == 40
    assert rest.pictures == 4000
    assert rest.touched == sum(range(40))
    assert sum([*shown.values(), rest], Group()) == sum(groups.values(), Group())
    assert worst({"fine": group(3), "gone": group(drop=1)})[:2] == ({"gone": group(drop=1)}, 1)


def test_reasons_are_told_commonest_first_and_the_rarest_together():
    reasons = {("drop", "copy"): 2, ("review", "b"): 5, ("review", "c"): 1, ("drop", "d"): 1, ("drop", "b"): 1}
    assert why(Group(Counter(), Counter(reasons))) == "b 6, copy 2, c 1, d 1"
    assert why(Group(Counter(), Counter(reasons)), most=1) == "b 6, others 4"
    assert why(group(3)) == ""


@pytest.mark.parametrize("classes", [0, 1, 3, 1000])
def test_the_plot_holds_any_number_of_classes(classes):
    groups = most_affected({f"class $x_{k}": group(10, drop=k % 7, review=1) for k in range(classes)})
    sources = most_affected({name: group(9, drop=2) for name in ("web", "shop")})
    reasons = [("drop", "policy", "copy_$x", 3), ("audit", "audit", "drawn", 100)]
    stages = [("source pictures", 12), ("kept by curation", 9)]
    found = Funnel(stages, reasons, {"class": groups, "source": sources} if classes else {}, class_folders=False)
    image = Image.open(io.BytesIO(plot(found)))
    assert image.width == WIDTH * DENSITY
    assert image.height < 800 * DENSITY
    counts = {colour: number for number, colour in image.convert("RGB").getcolors(1 << 24)}
    dropped, people = (tuple(bytes.fromhex(COLOURS[action][1:])) for action in ("drop", "review"))
    assert counts[dropped] > 1000
    assert (people in counts) == (classes > 1)  # a panel of one bar says nothing

import pytest

from variorum.edition.editions import resolve
from variorum.edition.store import Store
from variorum.pipeline import Job, build, curate, release
from variorum.reports.diff import change_counts, diff
from variorum.schemas.recipe import Recipe

pytestmark = pytest.mark.usefixtures("own_cache")


def test_diff_says_what_and_why(photos, tmp_path):
    what = Recipe.parse(
        {
            "dataset": "d",
            "version": "1.0.0",
            "samples_per_shard": 4,
            "source": {"name": "image_folder", "path": str(photos)},
            "curate": [{"name": "bright"}, {"name": "bright_rules", "drop": 2, "relabel": 1}],
        }
    )
    store = Store(str(tmp_path / "store"))
    job = Job(what, store)
    manifest = build(job)
    made = release(job, manifest, *curate(job, manifest))
    changes = diff(manifest, made, store)
    assert change_counts(changes) == [
        ("dropped", "bright_rules: too_bright", 2),
        ("relabelled", "bright_rules: dark_is_a_cat", 1),
    ]
    assert [change.after for change in changes if change.kind == "relabelled"] == [("chelsea",)]
    back = diff(made, manifest, store)
    assert [kind for kind, *_ in change_counts(back)] == ["added", "relabelled"]
    assert {why for kind, why, _ in change_counts(back) if kind == "added"} == {"bright_rules: too_bright"}
    assert diff(made, made, store) == []


def test_diff_tells_pictures_that_moved_and_new_annotations(make, tmp_path):
    store = Store(str(tmp_path / "store"))
    (_, first), (_, second) = (
        make(store, {"shifted": shifted}, version=version, **more)
        for version, shifted, more in (("1.0.0", False, {}), ("1.1.0", True, {"configs": "place"}))
    )
    changes = diff(first, second, store)
    assert change_counts(changes) == [("annotated", "", 1), ("moved", "", 12)]
    annotated, *moved = changes
    assert (annotated.origin, annotated.before, annotated.after) == ("1.png", ("circle",), ("circle",))
    assert {(change.before, change.after) for change in moved} == {
        (("train",), ("hall/train",)),
        (("train",), ("street_5/train",)),
        (("validation",), ("hall/validation",)),
        (("test",), ("street_5/test",)),
    }
    assert diff(second, second, store) == []


def test_another_draw_moves_pictures_and_more_pictures_are_added(make, tmp_path):
    store = Store(str(tmp_path / "store"))
    source = {"boxes": False, "captions": False, "states": False}
    _, first = make(store, {**source, "pictures": 8}, splits={"test": 0.5})
    _, second = make(store, {**source, "pictures": 12}, version="1.1.0", splits={"test": 1})
    found = {kind: number for kind, _, number in change_counts(diff(first, second, store))}
    assert found == {"added": 4, "moved": first.splits()["train"]}
    back = diff(second, first, store)
    assert {kind: number for kind, _, number in change_counts(back)} == {"dropped": 4, "moved": found["moved"]}
    assert all(change.before == ("test",) and change.after == ("train",) for change in back if change.kind == "moved")


def test_editions_of_format_3_are_compared(format3, make):
    first, second = resolve("old@1.0.0", format3), resolve("old@1.0.0-r1", format3)
    assert change_counts(diff(first, second, format3)) == [("dropped", "policy: copy", 2)]
    _, other = make(format3, {"pictures": 3, "splits": False})
    kinds = {kind for kind, *_ in change_counts(diff(first, other, format3))}
    assert kinds == {"added", "dropped"}

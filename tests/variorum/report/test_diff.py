import pytest

from variorum.edition.store import Store
from variorum.report.diff import change_counts, diff
from variorum.run import Job, build, curate, release
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

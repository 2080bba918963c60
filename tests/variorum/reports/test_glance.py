"""The five figures at the top of a card fit what the edition is."""

from types import SimpleNamespace

import pyarrow as pa
import pytest

from variorum.pipeline import Job, build, curate, release
from variorum.reports.class_plot import class_counts
from variorum.reports.glance import _source, glance
from variorum.reports.rows import edition_rows
from variorum.schemas.recipe import Recipe

RULES = {"name": "bright_rules", "drop": 2, "relabel": 3, "review": 1, "to": "coffee"}
PROBE = {"name": "probe", "copies": 2, "ineligible": "chelsea/1", "quarantine": "coffee/0"}


def figures(manifest, store) -> dict[str, str]:
    rows = edition_rows(manifest, store)
    return dict(glance(manifest, rows, class_counts(manifest, rows)))


def test_five_figures_of_pictures_as_given_cleaned_and_made(photos, tmp_path, own_cache):
    plain = {"dataset": "d", "version": "1.0.0", "source": {"name": "image_folder", "path": str(photos)}}
    job = Job(Recipe.parse({**plain, "curate": [{"name": "bright"}, RULES]}), str(tmp_path / "store"))
    manifest = build(job)
    given = figures(manifest, job.store)
    assert list(given) == ["pictures", "splits", "classes", "size", "licence"]
    assert (given["pictures"], given["classes"]) == ("12", "3")
    cleaned = figures(release(job, manifest, *curate(job, manifest)), job.store)
    assert list(cleaned.values()) == ["10 kept of 12 judged", "2", "3", "1", "0"]
    job = Job(Recipe.parse({**plain, "dataset": "e", "generate": [PROBE]}), job.store)
    made = figures(build(job), job.store)
    assert list(made) == ["pictures", "photographs", "classes", "size", "licence"]
    assert made["pictures"] == "32 kept of 34 made; 2 more not made"


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        (["digitalCapture", "algorithmicallyEnhanced"], ("photographs", "3, 2 of them with an edit")),
        (["digitalCreation"], ("sources", "3, 2 of them with an edit")),  # renderings of objects
        (["algorithmicMedia", ""], ("variants", "2")),
        (["trainedAlgorithmicMedia"], ("variants", "2")),
    ],
)
def test_only_photographs_are_called_so(kinds, said):
    manifest = SimpleNamespace(sources=3, sources_edited=2, counts={"a": {}, "b": {}})
    assert _source(manifest, pa.table({"digital_source_type": kinds})) == said

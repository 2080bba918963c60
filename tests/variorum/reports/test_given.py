"""Files that components give beside a card: a guest's are written, and no name reaches another file."""

from types import SimpleNamespace

import pytest

from variorum.edition.editions import read_beside
from variorum.pipeline import Job, run
from variorum.reports.card import write_card
from variorum.reports.given import Sealed, given_files, given_pictures
from variorum.schemas.component import Evaluation
from variorum.schemas.errors import CorruptShard, RecipeError
from variorum.schemas.recipe import Recipe

BRIGHTNESS = '''
"""How bright the pictures are, with the figure in a file of its own."""

from variorum.schemas.component import Evaluation


class Brightness(Evaluation):
    """How bright the pictures are."""

    def measure(self, samples, ctx):
        return [{"light": float(sample.image.mean())} for sample in samples]

    def figures(self, table, ctx):
        return {"light": round(float(table["light"].mean()), 1)}

    def files(self, figures, edition):
        line = f"{edition.manifest.dataset},{figures['light']},{len(edition.rows)}"
        return {"light.csv": line.encode(), "lights/all.json": b"{}"}

    @staticmethod
    def card_pictures(edition):
        row = next(row for row in edition.rows.to_pylist() if row["shard"] >= 0)
        return {"first.png": edition.sample(row).image}
'''


@pytest.fixture
def made(photos, tmp_path):
    (tmp_path / "brightness.py").write_text(BRIGHTNESS)
    recipe = {
        "dataset": "lit",
        "version": "1.0.0",
        "limit": 2,
        "source": {"name": "image_folder", "path": str(photos)},
        "generate": [],
        "evaluate": [{"name": str(tmp_path / "brightness.py")}],
    }
    job = Job(Recipe.parse(recipe), str(tmp_path / "store"))
    return job, run(job)


def test_files_and_pictures_of_a_guest_lie_beside_the_card(made):
    job, manifest = made
    figures = read_beside(manifest, "light.csv", job.store)
    assert figures.startswith(b"lit,")
    assert figures.endswith(b",2")
    assert read_beside(manifest, "lights/all.json", job.store) == b"{}"
    assert len(read_beside(manifest, "first.png", job.store)) > 100
    assert write_card(job.recipe, manifest, job.store)


@pytest.mark.parametrize(
    "name", ["manifest.json", "../x.csv", "a/b/c", "results/x.json", "/x.csv", "x.png", "source.txt"]
)
def test_a_file_with_another_files_name_is_refused(name):
    class Giving(Evaluation):
        def measure(self, samples, ctx):
            return []

        def figures(self, table, ctx):
            return {}

        def files(self, figures, edition):
            return {name: b"" + figures["content"]}

    one = Giving()
    found = {one.component_name(): {"figures": {"content": b"1"}}}
    with pytest.raises(RecipeError, match=r"can't lie beside a card; call it x\.csv"):
        given_files([one], found, Sealed(None, None, None))
    with pytest.raises(CorruptShard, match="can't be shown"):
        given_files([one], {one.component_name(): {"figures": {}}}, Sealed(None, None, None))


def test_a_manifest_names_no_file_to_run(tmp_path):
    file = tmp_path / "evil.py"
    file.write_text("raise SystemExit('run')")
    manifest = SimpleNamespace(recipe={"generate": [{"name": str(file)}, {"name": "no_such_thing"}, 3]})
    assert given_pictures(Sealed(manifest, None, None)) == {}

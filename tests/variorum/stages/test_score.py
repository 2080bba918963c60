import numpy as np
import pytest
from acme_components.bright import Bright
from acme_components.dependent import Dependent
from bright_editions import judged, nothing, recipe
from threadpoolctl import threadpool_info, threadpool_limits

from variorum.edition.store import Store
from variorum.edition.tables import read_table
from variorum.pipeline import Job
from variorum.schemas.errors import CorruptShard, RecipeError
from variorum.schemas.recipe import Recipe
from variorum.stages.score import Columns, Score, add_columns, curated_table, picture_table, score_key

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


def test_sums_do_not_depend_on_the_cores(photos, store, monkeypatch):
    seen, score = [], Bright.score

    def watched(self, table, ctx):
        seen.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return score(self, table, ctx)

    monkeypatch.setattr(Bright, "score", watched)
    what = recipe(photos)
    manifest, _, ledger = judged(what, store)  # on a thread of the runner
    assert seen
    assert set(seen) == {1}
    stage = Score(Job(what, store), manifest, "bright", Columns(ledger.measured))
    with threadpool_limits(2, user_api="blas"):  # only the thread that set a limit may set another
        assert stage.make(stage.parts()[0], nothing).tables == ledger.scored
    assert set(seen) == {1}


def test_tables_of_other_pictures_are_refused(photos, store):
    what = recipe(photos)
    manifest, _, ledger = judged(what, store)
    swapped = Columns({"bright": ledger.measured["bright"][::-1]}, {})
    stage = Score(Job(what, store), manifest, "bright", swapped)
    with pytest.raises(CorruptShard, match=r"this table of curate\.bright isn't of the edition's pictures"):
        stage.make(stage.parts()[0], nothing)
    fewer = Columns({"bright": ledger.measured["bright"][:2]}, {})
    stage = Score(Job(what, store), manifest, "bright", fewer)
    with pytest.raises(CorruptShard, match=r"curate\.bright has tables of 8 pictures, the edition of 12; curate again"):
        stage.make(stage.parts()[0], nothing)
    table = picture_table(manifest, store)
    assert add_columns(table, Columns({}, ledger.scored), "bright", store, vectors=False).num_rows == 12


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"rank": np.arange(3)}, "curate.bright: column 'rank' has 3 values for 12 samples"),
        ({"label": np.arange(12)}, "curate.bright: column 'label' has the name of a column of every edition; rename"),
        ({"id": ["x"] * 12}, "curate.bright: column 'id' has the name of a column of every edition; rename it"),
        ({"rank": [1, "x"] * 6}, "curate.bright: column 'rank' isn't of one shape and type"),
        ({"rank": np.zeros((12, 2, 2))}, "curate.bright: column 'rank' isn't of one shape and type"),
    ],
)
def test_columns_that_make_no_table_are_refused_in_a_line(photos, store, monkeypatch, columns, message):
    monkeypatch.setattr(Bright, "score", lambda self, table, ctx: columns)
    with pytest.raises(RecipeError) as error:
        judged(recipe(photos), store)
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_key_covers_every_field_the_seed_and_the_columns_that_are_read(photos, store):
    data = recipe(photos).dump()
    what = Recipe.parse({**data, "curate": [*data["curate"][:1], {"name": "dependent"}]})
    manifest, _, ledger = judged(what, store)
    columns = Columns(ledger.measured, ledger.scored)

    def key(detector, columns=columns, **more):
        return score_key(Job(Recipe.parse({**what.dump(), **more}), store), manifest, detector, columns)

    late = [{"name": "bright", "scale": 2.0}, {"name": "dependent"}]
    assert len({key("bright"), key("bright", curate=late), key("bright", seed=1)}) == 3
    assert key("dependent") == key("dependent", curate=late)  # the same columns, whoever gave them
    others = Columns({"bright": ledger.measured["bright"][::-1]}, ledger.scored)
    assert key("dependent", others) != key("dependent")


def test_a_detector_sees_its_own_columns_and_those_it_needs(photos, store, monkeypatch):
    seen, score = [], Dependent.score
    monkeypatch.setattr(
        Dependent, "score", lambda self, table, ctx: seen.append(table.arrow.column_names) or score(self, table, ctx)
    )
    data = recipe(photos).dump()
    steps = [*data["curate"][:1], {"name": "quality"}, {"name": "dependent"}]
    judged(Recipe.parse({**data, "curate": steps}), store)
    own = {"id", "sha256", "parent", "source", "variant", "status", "reason", "label", "labels", "origin", "licence"}
    own |= {"split", "config", "photograph", "digital_source_type", "credentials", "objects"}
    bright = {"bright.mean", "bright.channels", "bright.rank", "bright.score"}
    assert set(seen[0]) == own | bright


def test_a_ledgers_columns_side_by_side(photos, store):
    manifest, _, ledger = judged(recipe(photos), store)
    table = curated_table(manifest, ledger, ["bright"], store)
    assert table["bright.channels"].shape == (12, 3)
    whole = read_table(store, [ledger.scored["bright"]])
    assert table["bright.rank"].tolist() == whole.column("bright.rank").to_pylist()
    with pytest.raises(RecipeError, match=r"d@1\.0\.0 wasn't curated with quality; add it to the recipe"):
        curated_table(manifest, ledger, ["bright", "quality"], store)

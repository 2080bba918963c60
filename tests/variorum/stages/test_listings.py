"""Listings: tables over a whole edition, drawn up when it is sealed, checked, published and given to evaluations."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from variorum.edition.editions import folder_of, read_manifest
from variorum.edition.verify import verify
from variorum.hub.layout import OURS, objects
from variorum.pipeline import Job, Threads, build, curate, evaluate, release, rollback
from variorum.reports.card import render_card
from variorum.schemas.errors import RecipeError
from variorum.schemas.recipe import Recipe

MAKER = '''"""Turns each picture upside down, and lists pairs of pictures of one photograph."""
import numpy as np
from variorum.schemas.component import Generator

class Pairs(Generator):
    """The picture and its flipped copy."""
    def edit(self, sample, of):
        yield of.made(sample.image, variant="plain", requested={{}})
        yield of.made(sample.image[::-1].copy(), variant="flipped", requested={{"flip": True}})

    def listings(self, table, ctx):
        order = np.argsort(table["id"].astype(str))
        return {listing}
'''
COLUMNS = '"place": np.arange(len(order)), "flipped": table["variant"][order] == "flipped"'
PAIRS = '{"pairs": {"id": table["id"][order], ' + COLUMNS + "}}"
COUNTS = '''"""Counts the listing's rows."""
from variorum.schemas.component import Evaluation

class Counts(Evaluation):
    """How many rows there are."""
    def measure(self, samples, ctx):
        for sample in samples:
            yield {"id": sample.id}

    def figures(self, table, ctx):
        return {"rows": len(ctx.listings["pairs"]["id"]), "flipped": int(ctx.listings["pairs"]["flipped"].sum())}
'''
DROP = {"when": [{"column": "variant", "equals": "flipped"}], "action": "drop", "reason": "flipped", "guarded": False}


def job(photos, tmp_path, *, listing=PAIRS, workers=""):
    (tmp_path / "pairs.py").write_text(MAKER.format(listing=listing))
    (tmp_path / "counts.py").write_text(COUNTS)
    recipe = {
        "dataset": "paired",
        "version": "1.0.0",
        "samples_per_shard": 5,
        "source": {"name": "image_folder", "path": str(photos)},
        "generate": [{"name": str(tmp_path / "pairs.py")}],
        "curate": [{"name": "policy", "rules": [DROP]}],
        "evaluate": [{"name": str(tmp_path / "counts.py")}],
    }
    return Job(Recipe.parse(recipe), str(tmp_path / f"store{workers}"))


def test_an_edition_and_its_release_have_their_own(photos, tmp_path):
    one = job(photos, tmp_path)
    manifest = build(one, Threads(2))
    assert verify(manifest, one.store) == []
    path = f"{folder_of(manifest, one.store)}/listings/pairs.parquet"
    table = pq.read_table(path)
    assert table.column_names == ["id", "place", "flipped"]
    assert len(table) == manifest.pictures() == 2 * manifest.sources
    assert table["id"].to_pylist() == sorted(table["id"].to_pylist())
    assert evaluate(one, manifest)["counts"] == {"rows": len(table), "flipped": len(table) // 2}
    assert f"`listings/pairs.parquet` ({len(table)} rows)" in render_card(one.recipe, manifest, one.store)

    released = release(one, manifest, *curate(one, manifest))
    assert verify(released, one.store) == []
    assert released.listings != manifest.listings
    assert evaluate(one, released)["counts"] == {"rows": len(table) // 2, "flipped": 0}
    assert rollback(manifest, one.store, 1).listings == released.listings
    assert "listings/pairs.parquet" in objects(released)
    assert all(OURS.fullmatch(name) for name in objects(released))


def test_it_is_part_of_the_digest_and_comes_back_when_it_is_lost(photos, tmp_path):
    first, second = job(photos, tmp_path), job(photos, tmp_path, workers="2")
    manifest = build(first)
    assert build(second, Threads(3)).digest() == manifest.digest()
    info = manifest.listings["pairs"]
    one_less = manifest.model_copy(update={"listings": {}})
    assert one_less.digest() != manifest.digest()
    assert "listings" not in one_less.model_dump(mode="json")
    first.store.path(info, ".parquet").unlink()
    assert any(info.sha256[:12] in problem for problem in verify(manifest, first.store))
    assert build(job(photos, tmp_path)).digest() == manifest.digest()
    assert verify(manifest, first.store) == []


def test_one_about_other_pictures_is_found(photos, tmp_path):
    one = job(photos, tmp_path, listing='{"pairs": {"id": np.array(["0" * 32, *table["id"]])}}')
    (problem,) = verify(build(one), one.store)
    assert "the listing pairs has 1 rows about pictures that aren't accepted" in problem


@pytest.mark.parametrize(
    ("listing", "message"),
    [
        ('{"../pairs": {"id": table["id"]}}', "'../pairs' has no valid name"),
        ('{"pairs": {"id": table["id"], "n": [1]}}', "'pairs' is no table"),
        ('{"pairs": {"at": [b"x"] * len(order)}}', "holds binary"),
        ('{"pairs": {"at": [2**70]}}', "'pairs' is no table"),
        ('{"pairs": {1: table["id"]}}', "'pairs' is no table: give its columns by name"),
        ('{"pairs": None}', "'pairs' is no table: give its columns by name"),
        ('{"pairs": {"id": order}}', "'id' must hold the id of an accepted picture in each row"),
        ('{"pairs": {"id": [None, *table["id"]]}}', "'id' must hold the id of an accepted picture in each row"),
    ],
)
def test_what_is_no_table_is_refused(photos, tmp_path, listing, message):
    one = job(photos, tmp_path, listing=listing)
    with pytest.raises(RecipeError, match="pairs: listing") as error:
        build(one)
    assert message in str(error.value)
    assert read_manifest("paired", "1.0.0", one.store) is None


@pytest.mark.parametrize(
    ("listing", "message"),
    [
        ("[1]", "pairs: listings gave list, not tables by name"),
        ('{f"t{k}": {"n": [k]} for k in range(101)}', "pairs: 101 listings, and an edition has at most 100"),
    ],
)
def test_what_is_no_tables_by_name_is_refused(photos, tmp_path, listing, message):
    one = job(photos, tmp_path, listing=listing)
    with pytest.raises(RecipeError, match=message):
        build(one)
    assert read_manifest("paired", "1.0.0", one.store) is None


def test_one_without_rows_keeps_its_columns(photos, tmp_path):
    columns = '"id": [], "name": table["variant"][:0], "n": np.arange(0), "p": np.zeros(0)'
    one = job(photos, tmp_path, listing='{"pairs": {' + columns + ', "on": np.zeros(0, bool)}}')
    manifest = build(one)
    assert verify(manifest, one.store) == []
    found = pq.read_table(f"{folder_of(manifest, one.store)}/listings/pairs.parquet")
    assert len(found) == 0
    assert [str(field.type) for field in found.schema] == ["string", "string", "int64", "double", "bool"]


def test_a_generator_without_one_changes_nothing(photos, tmp_path):
    one = job(photos, tmp_path, listing="{}")
    assert build(one).listings == {}
    assert np.all([not name.startswith("listings") for name in objects(build(one))])

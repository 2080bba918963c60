from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from acme_components.bright import Bright
from bright_editions import judged, nothing, recipe

from variorum.curation.copies.leakage import Leakage
from variorum.edition.store import Store
from variorum.edition.tables import read_table
from variorum.pipeline import Job, build, curate, run
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError, SourceError
from variorum.schemas.lookup import build_component, component_class, component_names
from variorum.schemas.recipe import Recipe
from variorum.schemas.uses import required_models
from variorum.stages.job import open_context
from variorum.stages.measure import BATCH, Measure, measures
from variorum.stages.pieces import edition_pieces, reference_pieces, table_keys

pytestmark = pytest.mark.usefixtures("own_cache")
REQUIRED = {
    "adversarial_detection": {"reference": {"name": "samples"}},
    "group_disparity": {"groups": ["region"]},
    "generated_set": {"train": {"name": "samples"}, "test": {"name": "samples"}},
    "policy": {"rules": [{"when": [{"column": "variant", "equals": "plate"}], "action": "drop", "reason": "plate"}]},
    "mentions": {"model": "classifier"},  # its own is of profile hub, and no model is asked here
    "opt_out": {"list": "opt_out.txt"},
    "sql": {"query": "SELECT id, 'drop' AS action, 'plate' AS reason FROM pictures WHERE variant = 'plate'"},
}
MEASURING = [(part, name) for part in ("curate", "evaluate") for name in component_names(part)]


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


@pytest.fixture
def ctx(photos):
    return open_context(Recipe.parse({**recipe(photos).dump(), "seed": 3}), "embedded")


def key(step, ctx: Context) -> str:
    (found,) = table_keys(["0" * 64], [step], ctx)
    return found[step.component_name()]


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("part", "name"), MEASURING)
def test_a_key_covers_seed_classes_models_and_revision_of_every_measurer(part, name, ctx, photos, monkeypatch):
    step = build_component(part, {"name": name, **REQUIRED.get(name, {})}, part)
    if not measures(step):
        assert "measure" not in vars(component_class(part, name))
        return
    classes = recipe(photos).source.classes(ctx)
    others = [replace(ctx, seed=4), replace(ctx, classes=classes)]
    assert len({key(step, one) for one in (ctx, *others)}) == 3
    before = key(step, ctx)
    monkeypatch.setattr(type(step), "revision", step.revision + 1)
    after = key(step, ctx)
    assert after != before
    monkeypatch.setattr(type(ctx.models), "pin", lambda self, alias: f"another {alias}")
    assert (key(step, ctx) != after) == bool(required_models(step))


def test_a_key_covers_every_field_that_is_not_late(ctx):
    assert key(Bright(), ctx) == key(Bright(scale=2.0), ctx) == key(Bright(notes=True), ctx)
    assert key(Bright(), ctx) != key(Bright(channels=2), ctx)


def test_what_a_detector_sees_is_what_its_key_covers(photos, store, monkeypatch):
    """The seed and the classes of its recipe, but not the source, whose pictures no key covers."""
    seen = []
    kept = Bright.measure
    monkeypatch.setattr(Bright, "measure", lambda self, samples, ctx: seen.append(ctx) or kept(self, samples, ctx))
    for seed in (3, 4):
        what = Recipe.parse({**recipe(photos).dump(), "seed": seed, "version": f"{seed}.0.0"})
        judged(what, store)
        classes = what.source.classes(open_context(what, "embedded"))
        assert [(one.seed, one.source, one.classes) for one in seen] == [(seed, None, classes)] * 3
        seen.clear()


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def measured_as(rows, photos, store, monkeypatch):
    """What comes of a `bright` whose `measure` gives these rows for every batch of four."""
    monkeypatch.setattr(Bright, "measure", lambda self, samples, ctx: iter(rows))
    monkeypatch.setattr(Bright, "score", lambda self, table, ctx: {"rank": np.arange(12)})
    monkeypatch.setattr(Bright, "figures", lambda self, table, ctx: {})
    return judged(recipe(photos), store)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"mean": 1.0}], "curate.bright: measure gave 1 rows for 4 samples; give one row per sample"),
        ([{"mean": 1.0}] * 5, "curate.bright: measure gave 5 rows for 4 samples; give one row per sample"),
        ([], "curate.bright: measure gave 0 rows for 4 samples"),
        (
            [{"mean": 1.0}, {"mean": 1.0, "odd": 2}, {"mean": 1.0}, {"mean": 1.0}],
            "curate.bright: measure's rows differ in their columns: mean in one, mean, odd in another",
        ),
        ([{"mean": 1.0, "a": 1}, {"mean": 1.0}, {"mean": 1.0}, {"mean": 1.0}], "differ in their columns: mean, a in"),
        ([{"label": 1}] * 4, "curate.bright: column 'label' has the name of a column of every edition; rename it"),
        ([{"id": "x"}] * 4, "curate.bright: column 'id' has the name of a column of every edition; rename it"),
        ([{"a": value} for value in (1, "x", 2, 3)], "curate.bright: column 'a' isn't of one shape and type"),
        ([{"a": np.zeros(n)} for n in (1, 2, 2, 2)], "curate.bright: column 'a' isn't of one shape and type"),
        ([{"a": np.zeros((2, 2))}] * 4, "curate.bright: column 'a' isn't of one shape and type"),
    ],
)
def test_rows_that_make_no_table_are_refused_in_a_line(photos, store, monkeypatch, rows, message):
    with pytest.raises(RecipeError) as error:
        measured_as(rows, photos, store, monkeypatch)
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_column_may_be_called_as_one_that_detectors_never_see(photos, store, monkeypatch):
    rows = [{"detail": 1.0, "start": 2, "ops": "x"}] * 4
    ledger = measured_as(rows, photos, store, monkeypatch)[2]
    assert read_table(store, ledger.measured["bright"]).column_names[2:] == [
        "bright.detail",
        "bright.start",
        "bright.ops",
    ]


@pytest.mark.parametrize("odd", [0.5, "x"])
def test_a_columns_type_may_not_change_from_shard_to_shard(photos, store, monkeypatch, odd):
    def measure(self, samples, ctx):
        return [{"a": odd if sample.labels == ("coffee",) else 1} for sample in samples]

    monkeypatch.setattr(Bright, "measure", measure)
    with pytest.raises(RecipeError, match=r"^curate\.bright: a column differs in its type .*bright\.a") as error:
        judged(recipe(photos), store)
    assert len(str(error.value).splitlines()) == 1


def test_a_column_may_be_empty_in_a_shard(photos, store, monkeypatch):
    def measure(self, samples, ctx):
        return [{"a": None if sample.labels == ("coffee",) else 1.0} for sample in samples]

    seen = []
    monkeypatch.setattr(Bright, "measure", measure)
    monkeypatch.setattr(Bright, "score", lambda self, table, ctx: seen.append(table["a"]) or {"rank": np.arange(12)})
    monkeypatch.setattr(Bright, "figures", lambda self, table, ctx: {})
    judged(recipe(photos), store)
    assert np.isnan(seen[0]).tolist() == [False] * 8 + [True] * 4


# ── pieces ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_batches_are_of_one_length_whatever_the_shard(photos, store, monkeypatch):
    batches = []
    kept = Bright.measure

    def measure(self, samples, ctx):
        batches.append(len(samples))
        return kept(self, samples, ctx)

    monkeypatch.setattr(Bright, "measure", measure)
    data = recipe(photos).dump()
    what = Recipe.parse({**data, "samples_per_shard": 12, "generate": [{"name": "probe", "copies": 3}]})
    judged(what, store)
    assert batches == [BATCH, 48 - BATCH]


def test_only_what_is_missing_is_measured_in_one_pass(photos, store, tmp_path, monkeypatch):
    """A detector added to the recipe looks at the pictures, and those that have looked don't look again."""
    log = tmp_path / "log"
    monkeypatch.setenv("PROBE_LOG", str(log))
    data = recipe(photos).dump()
    manifest, _, before = judged(recipe(photos), store)
    more = Recipe.parse({**data, "curate": [*data["curate"], {"name": "quality"}]})
    after = curate(Job(more, store), manifest)[1]
    assert len(log.read_text().split()) == 12
    assert after.measured["bright"] == before.measured["bright"]
    assert [info.samples for info in after.measured["quality"]] == [4, 4, 4]
    job = Job(more, store)
    piece = edition_pieces(manifest, job.recipe.curate[::2], job)[0]
    store.path(after.measured["quality"][0], ".parquet").unlink()
    stage = Measure(job, job.recipe.curate[::2], [piece], "measuring")
    assert stage.make(piece, nothing).tables == {name: after.measured[name][0] for name in ("bright", "quality")}
    assert len(log.read_text().split()) == 12


def test_one_record_names_the_tables_of_a_shard(photos, store, tmp_path, monkeypatch):
    """And those of older stores, with a record for each table, are found: nothing is measured again."""
    log = tmp_path / "log"
    monkeypatch.setenv("PROBE_LOG", str(log))
    data = recipe(photos).dump()
    what = Recipe.parse({**data, "curate": [*data["curate"], {"name": "quality"}]})
    manifest, _, ledger = judged(what, store)
    job = Job(what, store)
    records = Path(store.root, "measures")
    pieces = edition_pieces(manifest, [job.component(name) for name in ("bright", "quality")], job)
    assert len({piece.together for piece in pieces}) == 3
    for place, piece in enumerate(pieces):
        assert not any((records / f"{key}.json").exists() for key in piece.keys.values())
        (records / f"{piece.together}.json").unlink()
        for name, key in piece.keys.items():
            store.put_table(key, ledger.measured[name][place])
    for kept in Path(store.root, "curations").iterdir():
        kept.unlink()
    assert curate(Job(what, store), manifest)[1] == ledger
    assert len(log.read_text().split()) == 12


def test_a_record_of_several_tables_loses_none_to_another_process(store):
    keys = [f"{number:064x}" for number in range(4)]
    first, second, other = (store.keep_bytes(text, ".parquet", samples=1) for text in (b"1", b"2", b"3"))
    store.put_tables(keys[0], {keys[1]: first})
    store.put_tables(keys[0], {keys[1]: first, keys[2]: second})  # of a process that looked before the first had ended
    assert store.together([keys[0]])[keys[0]] == {keys[1]: first}
    assert (store.table(keys[1]), store.table(keys[2])) == (None, second)
    store.put_tables(keys[0], {keys[1]: other, keys[3]: first})  # its own first table was damaged
    assert store.together([keys[0]])[keys[0]] == {keys[1]: other, keys[3]: first}


# ── references ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Corners:
    """A table of models in which every alias is a function that counts the pictures it is given."""

    def __init__(self) -> None:
        self.seen = Counter()

    def get(self, alias):
        def embed(images):
            self.seen[alias] += len(images)
            return np.stack([image[:2, :2].ravel() for image in images]).astype(np.float32)

        return embed

    def pin(self, alias):
        return f"corners@{alias}"

    def role(self, alias):
        return None

    def check(self, aliases):
        pass


def leaking(photos, seen, **leakage) -> Recipe:
    steps = [{"name": "features"}, {"name": "duplicates"}]
    trained_on = {"name": "image_folder", "path": str(seen)}
    data = {**recipe(photos).dump(), "curate": [*steps, {"name": "leakage", "trained_on": trained_on, **leakage}]}
    return Recipe.parse(data)


@pytest.fixture
def models():
    return Corners()


@pytest.fixture
def open_job(ctx, store, models):
    return lambda what: Job(what, store, ctx=Context(what.seed, models, ctx.memo, what.source))


def same_pixels(ledger, store) -> int:
    """How many pictures have the pixels of one that a generator was trained on."""
    table = read_table(store, [ledger.scored["leakage"]])
    columns = (table.column(f"leakage.{name}").to_pylist() for name in ("against", "layer"))
    return list(zip(*columns, strict=True)).count(("trained_on", "pixels"))


def test_what_a_detector_compares_with_is_measured_once_and_kept(photos, store, open_job, models, monkeypatch):
    scores = []
    kept = Leakage.score
    monkeypatch.setattr(Leakage, "score", lambda self, table, ctx: scores.append(self) or kept(self, table, ctx))
    monkeypatch.setattr("variorum.stages.pieces.PIECE", 3)  # the reference is measured in two pieces
    first = open_job(leaking(photos, photos / "coffee", cosine=0.999))
    manifest = build(first)
    ledger = curate(first, manifest)[1]
    assert models.seen == {"encoder": 16}  # the edition's twelve pictures and the four of the reference
    assert same_pixels(ledger, store) == 4
    assert ledger.figures["leakage"]["compared_with"] == "trained_on"
    assert curate(first, manifest)[1] == ledger
    again = curate(open_job(leaking(photos, photos / "coffee", cosine=0.998)), manifest)[1]
    assert [step.cosine for step in scores] == [0.999, 0.998]
    assert same_pixels(again, store) == 4
    assert models.seen == {"encoder": 16}
    other = curate(open_job(leaking(photos, photos / "chelsea", cosine=0.999)), manifest)[1]
    assert models.seen == {"encoder": 20}  # the other reference alone
    assert other.measured == ledger.measured
    assert other.scored["leakage"] != ledger.scored["leakage"]


def test_a_piece_of_a_reference_that_is_lost_is_measured_again(photos, store, open_job, models, monkeypatch):
    monkeypatch.setattr("variorum.stages.pieces.PIECE", 3)
    job = open_job(leaking(photos, photos / "coffee"))
    manifest = build(job)
    ledger = curate(job, manifest)[1]
    leakage, features = job.component("leakage"), job.component("features")
    pieces = reference_pieces(leakage, "trained_on", [features, job.component("duplicates")], job)
    assert [piece.samples for piece in pieces] == [3, 1]
    assert [str(piece) for piece in pieces] == ["trained_on from 0", "trained_on from 3"]
    store.path(store.table(pieces[1].keys["features"]), ".parquet").unlink()
    again = curate(open_job(leaking(photos, photos / "coffee", cosine=0.999)), manifest)[1]
    assert models.seen == {"encoder": 17}
    assert again.measured == ledger.measured


def test_a_reference_is_checked_before_any_picture_is_made(photos, tmp_path, store, open_job):
    with pytest.raises(SourceError, match="nowhere"):
        run(open_job(leaking(photos, tmp_path / "nowhere")))
    assert not list((tmp_path / "store").glob("objects/*"))


def test_unreadable_pictures_of_a_reference_are_left_out(photos, tmp_path, store, open_job, models, caplog):
    (tmp_path / "seen").mkdir()
    (tmp_path / "seen" / "0.jpg").write_bytes((photos / "coffee" / "0.jpg").read_bytes())
    (tmp_path / "seen" / "1.jpg").write_bytes(b"\xff\xd8\xffnot a picture")
    job = open_job(leaking(photos, tmp_path / "seen"))
    manifest = build(job)
    assert same_pixels(curate(job, manifest)[1], store) == 1
    assert models.seen == {"encoder": 13}
    assert "trained_on: 1.jpg is left out" in caplog.text
    (tmp_path / "seen" / "0.jpg").unlink()
    with pytest.raises(SourceError, match="trained_on: no sample of 0 to 0 can be read"):
        curate(open_job(leaking(photos, tmp_path / "seen")), manifest)


def test_a_detector_and_an_evaluation_of_one_name_never_share_a_table():
    class Pins:
        def pin(self, alias):
            return alias

        def why_unavailable(self, alias):
            return ""

    ctx = Context(0, Pins(), None)
    keys = [
        table_keys(["picture"], [build_component(part, {"name": "safety"}, "here")], ctx)[0]["safety"]
        for part in ("curate", "evaluate")
    ]
    assert keys[0] != keys[1]

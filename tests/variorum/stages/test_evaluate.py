import json
from pathlib import Path

import pytest
from acme_components.brightness import Brightness
from bright_editions import judged, recipe

from variorum.edition.editions import read_beside, write_beside
from variorum.edition.store import Store
from variorum.pipeline import Job, Threads, build, evaluate, release
from variorum.schemas.errors import RecipeError
from variorum.schemas.recipe import Recipe
from variorum.stages.evaluate import check_judges, read_figures
from variorum.stages.measure import BATCH

pytestmark = pytest.mark.usefixtures("own_cache")

CHANNEL = """
from typing import ClassVar

from variorum.schemas.component import Evaluation
from variorum.schemas.lookup import NestedSource


class Channel(Evaluation):
    late: ClassVar[frozenset[str]] = frozenset({"scale", "real"})
    log: ClassVar[list[str]] = []

    channel: int = 0
    scale: float = 1.0
    real: NestedSource | None = None

    def references(self):
        return {"real": self.real} if self.real else {}

    def measure(self, samples, ctx):
        for sample in samples:
            self.log.append(sample.id)
            if sample.variant != "negative_1":
                yield {"variant": sample.variant, "mean": float(sample.image[..., self.channel].mean())}
                yield {"variant": "twice", "mean": 2 * float(sample.image[..., self.channel].mean())}

    def figures(self, table, ctx):
        self.log.append("figures")
        sets = set(table["set"]) if "set" in table else {None}
        return {
            "rows": len(table),
            "mean": round(self.scale * float(table["mean"].mean()), 6),
            "sets": sorted(map(str, sets)),
            "seed": ctx.seed,
        }
"""


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


@pytest.fixture
def channel(photos, tmp_path):
    """A function: the recipe with the evaluation `channel`, a file of the test's own, with some fields."""
    path = tmp_path / "channel.py"
    path.write_text(CHANNEL)

    def of(generate=(), **fields) -> Recipe:
        data = {**recipe(photos).dump(), "curate": [], "generate": list(generate)}
        return Recipe.parse({**data, "evaluate": [{"name": str(path), **fields}]})

    return of


def evaluated(what: Recipe, store: Store):
    """The evaluation's figures and what it was asked for: the samples that it measured, `figures` if called."""
    job = Job(what, store)
    manifest = build(job)
    log = job.component("channel").log
    log.clear()
    return evaluate(job, manifest, Threads(2))["channel"], sorted(set(log))


# ── what is done again ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_field_that_is_not_late_measures_again_and_a_late_one_computes_figures_again(channel, store):
    first, asked = evaluated(channel(), store)
    assert len(asked) == 13
    assert evaluated(channel(), store) == (first, [])
    scaled, asked = evaluated(channel(scale=10.0), store)
    assert asked == ["figures"]
    assert scaled["mean"] == pytest.approx(10 * first["mean"])
    other, asked = evaluated(channel(channel=2), store)
    assert len(asked) == 13
    assert other["mean"] != first["mean"]
    assert evaluated(channel(), store) == (first, ["figures"])  # what was measured with that field is kept too


def test_another_seed_measures_again(channel, store):
    first, _ = evaluated(channel(), store)
    what = Recipe.parse({**channel().dump(), "seed": 5, "version": "2.0.0"})
    again, asked = evaluated(what, store)
    assert len(asked) == 13
    assert (first["seed"], again["seed"]) == (0, 5)
    assert again["mean"] == first["mean"]


def test_another_revision_measures_again(channel, store, monkeypatch):
    first, _ = evaluated(channel(), store)
    job = Job(channel(), store)
    monkeypatch.setattr(type(job.component("channel")), "revision", 2)
    again, asked = evaluated(channel(), store)
    assert again == first
    assert len(asked) == 13


def test_a_release_measures_only_the_shards_that_it_changed(channel, photos, store):
    what = channel()
    evaluated(what, store)
    curation = Recipe.parse({**what.dump(), "curate": recipe(photos, drop=1).dump()["curate"]})
    manifest, number, ledger = judged(curation, store)
    job = Job(what, store)
    log = job.component("channel").log
    log.clear()
    figures = evaluate(job, release(job, manifest, number, ledger))["channel"]
    assert figures["rows"] == 22
    assert len(log) == 3 + 1  # three of four pictures of one shard, and the figures


def test_a_lost_table_is_measured_again_and_damaged_figures_are_computed_again(channel, store):
    first, _ = evaluated(channel(), store)
    manifest = build(Job(channel(), store))
    tables = [path for path in Path(store.root).glob("measures/*") if "samples" in json.loads(path.read_text())]
    info = json.loads(tables[0].read_text())
    Path(store.root, "objects", f"{info['sha256']}.parquet").unlink()
    assert evaluated(channel(), store) == (first, [])  # the figures are kept
    write_beside(manifest, "evaluation-channel.json", b"{", store)
    again, asked = evaluated(channel(), store)
    assert again == first
    assert len(asked) == 5


def test_figures_of_what_an_edition_was_do_not_count(channel, store):
    dev = {**channel().dump(), "version": "1.0.0-dev"}
    before = build(Job(Recipe.parse(dev), store))
    first, _ = evaluated(Recipe.parse(dev), store)
    assert read_figures("channel", before, store)["figures"] == first
    after = build(Job(Recipe.parse({**dev, "limit": 8}), store))
    assert read_beside(after, "evaluation-channel.json", store)
    assert read_figures("channel", after, store) is None
    assert evaluated(Recipe.parse({**dev, "limit": 8}), store)[0]["rows"] == 16


# ── rows and batches ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_any_number_of_rows_for_a_picture(channel, store):
    figures, _ = evaluated(channel([{"name": "probe", "copies": 2}]), store)
    assert figures["rows"] == 2 * 24  # two for a picture, none for negative_1
    assert figures["sets"] == ["None"]
    only = Recipe.parse({**channel([{"name": "probe", "copies": 2, "originals": False}]).dump(), "version": "2.0.0"})
    figures, asked = evaluated(only, store)
    assert figures["rows"] == 2 * 12
    assert len(asked) == 24 + 1


def test_an_evaluation_without_any_row(channel, store, monkeypatch):
    what = channel()
    cls = type(what.evaluate[0])
    monkeypatch.setattr(cls, "measure", lambda self, samples, ctx: iter(()))
    monkeypatch.setattr(cls, "figures", lambda self, table, ctx: {"rows": len(table), "mean": "mean" in table})
    assert evaluated(what, store)[0] == {"rows": 0, "mean": False}


def test_it_gets_batches_of_one_length(photos, store, monkeypatch):
    batches = []
    kept = Brightness.measure

    def measure(self, samples, ctx):
        batches.append(len(samples))
        return kept(self, samples, ctx)

    monkeypatch.setattr(Brightness, "measure", measure)
    data = {**recipe(photos).dump(), "samples_per_shard": 12, "generate": [{"name": "probe", "copies": 3}]}
    job = Job(Recipe.parse({**data, "evaluate": [{"name": "brightness"}]}), store)
    figures = evaluate(job, build(job))["brightness"]
    assert batches == [BATCH, 48 - BATCH]
    assert list(figures) == ["negative_0", "negative_1", "negative_2", "original"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{"mean": 1.0}, {"mean": 1.0, "odd": 2}],
            "evaluate.channel: measure's rows differ in their columns: mean in one, mean, odd in another",
        ),
        ([{"a": 1}, {"a": "x"}], "evaluate.channel: column 'a' isn't of one shape and type"),
    ],
)
def test_rows_that_make_no_table_are_refused_in_a_line(channel, store, monkeypatch, rows, message):
    what = channel()
    monkeypatch.setattr(type(what.evaluate[0]), "measure", lambda self, samples, ctx: iter(rows))
    with pytest.raises(RecipeError) as error:
        evaluated(what, store)
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_columns_type_may_not_change_from_shard_to_shard(channel, store, monkeypatch):
    what = channel()

    def measure(self, samples, ctx):
        return [{"mean": "x" if sample.labels == ("coffee",) else 1} for sample in samples]

    monkeypatch.setattr(type(what.evaluate[0]), "measure", measure)
    with pytest.raises(RecipeError, match=r"^evaluate\.channel: a column differs in its type .*mean") as error:
        evaluated(what, store)
    assert len(str(error.value).splitlines()) == 1


# ── references and judges ────────────────────────────────────────────────────────────────────────────────────────────


def test_references_are_measured_as_the_edition_is_and_kept(channel, photos, store, monkeypatch):
    monkeypatch.setattr("variorum.stages.pieces.PIECE", 3)
    coffee, chelsea = ({"name": "image_folder", "path": str(photos / name)} for name in ("coffee", "chelsea"))
    figures, asked = evaluated(channel(real=coffee), store)
    assert figures["rows"] == 2 * (12 + 4)
    assert figures["sets"] == ["", "real"]
    assert len(asked) == 12 + 4 + 1
    assert evaluated(channel(real=coffee), store) == (figures, [])
    assert evaluated(channel(real=coffee, scale=2.0), store)[1] == ["figures"]
    assert len(evaluated(channel(real=chelsea), store)[1]) == 4 + 1


def test_models_that_curated_may_not_judge(photos, store):
    manifest, number, ledger = judged(recipe(photos), store)
    what = Recipe.parse(
        {**recipe(photos).dump(), "evaluate": [{"name": "accuracy_drop", "classifiers": ["classifier_small"]}]}
    )
    job = Job(what, store)
    pin = job.ctx.models.pin("classifier_small")
    made = release(job, manifest, number, ledger.model_copy(update={"models": {"classifier_small": pin}}))
    assert pin in made.filters
    check_judges(what.evaluate[0], manifest, job)
    with pytest.raises(RecipeError, match="classifier_small"):
        check_judges(what.evaluate[0], made, job)
    with pytest.raises(RecipeError, match="classifier_small"):
        evaluate(job, made)

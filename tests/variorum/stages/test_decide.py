from collections.abc import Iterator

import pyarrow as pa
import pytest
from acme_components.bright import Bright
from acme_components.bright_rules import BrightRules
from bright_editions import judged, recipe

from variorum.curation.people.audit import Audit
from variorum.edition.store import Store
from variorum.edition.verdicts import read_verdicts, settle, verdict_table, verdicts_of
from variorum.edition.verify import verify
from variorum.pipeline import Job, release
from variorum.schemas.errors import RecipeError
from variorum.schemas.recipe import Recipe
from variorum.schemas.verdict import Verdict
from variorum.stages.queue import plain, review_queue

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


# ── deciders ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_dropping_everything_is_refused(photos, store):
    what = recipe(photos, drop=12)
    with pytest.raises(RecipeError, match=r"would drop all 12 pictures \(bright_rules too_bright: 12\).*--force"):
        judged(what, store)
    manifest, number, ledger = judged(what, store, force=True)
    empty = release(Job(what, store), manifest, number, ledger)
    assert empty.shards == {}
    assert empty.counts == {"original": {"dropped:too_bright": 12}}
    assert verify(empty, store) == []
    with pytest.raises(RecipeError, match="would drop all 12 pictures"):  # forced once isn't forced for good
        judged(what, store)


def test_a_verdict_on_a_picture_that_isnt_there(photos, store, monkeypatch):
    gone = Verdict("f" * 32, "", "drop", "bright_rules", "gone")
    monkeypatch.setattr(BrightRules, "decide", lambda self, table, ctx: iter([gone]))
    with pytest.raises(RecipeError, match=r"curate.bright_rules: gave a verdict on f+, which .* picture"):
        judged(recipe(photos), store)


def yields(table):
    yield table.verdicts([0, 1], "note", "seen")


def yields_from(table):
    yield from table.verdicts([0], "note", "seen")
    yield from [table.verdict(1, "note", "seen")]


WAYS = {
    "yielded": yields,
    "yielded from": yields_from,
    "returned": lambda table: table.verdicts([0, 1], "note", "seen"),
    "in a list": lambda table: [table.verdict(0, "note", "seen"), table.verdicts([1], "note", "seen")],
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_verdicts_are_yielded_or_returned(photos, store, monkeypatch, way):
    monkeypatch.setattr(BrightRules, "decide", lambda self, table, ctx: way(table))
    ledger = judged(recipe(photos), store)[2]
    assert read_verdicts(ledger.verdicts, store)["reason"].to_pylist() == ["seen", "seen"]


def test_verdicts_in_a_tuple_of_tuples_are_refused(photos, store, monkeypatch):
    monkeypatch.setattr(BrightRules, "decide", lambda self, table, ctx: [(table.verdicts([0], "note", "seen"), 1)])
    with pytest.raises(RecipeError, match=r"bright_rules: decide gave tuple; it must yield or return `table\.verdict"):
        judged(recipe(photos), store)


def test_a_deciders_figures_see_its_own_verdicts_and_it_decides_once(photos, store, monkeypatch):
    calls = []
    decide = BrightRules.decide

    def counted(self, table, ctx) -> Iterator[Verdict]:
        calls.append(table.step)
        return decide(self, table, ctx)

    def figures(self, table, ctx):
        return {"dropped": sorted(table.said["value"].to_pylist()), "seed": ctx.seed}

    monkeypatch.setattr(BrightRules, "decide", counted)
    monkeypatch.setattr(BrightRules, "figures", figures)
    monkeypatch.setattr(Bright, "figures", lambda self, table, ctx: {"said": table.said is not None})
    ledger = judged(Recipe.parse({**recipe(photos, drop=2).dump(), "seed": 7}), store)[2]
    assert ledger.figures == {"bright": {"said": False}, "bright_rules": {"dropped": [10, 11], "seed": 7}}
    assert calls == ["bright_rules"]


def test_who_reads_verdicts_decides_last_whatever_its_place(photos, store, monkeypatch):
    """The audit reads what the others settled on, wherever it stands in the recipe."""
    seen = {}
    decide = Audit.decide

    def watched(self, table, ctx):
        seen.update(zip(table["id"], zip(table["verdict.action"], table["verdict.labels"], strict=True), strict=True))
        return decide(self, table, ctx)

    monkeypatch.setattr(Audit, "decide", watched)
    data = recipe(photos, drop=2, relabel=1).dump()
    audit = {"name": "audit", "sample": 100, "sample_relabelled": 30}
    what = Recipe.parse({**data, "curate": [data["curate"][0], audit, data["curate"][1]]})
    ledger = judged(what, store)[2]
    assert sorted(seen.values()) == [("drop", ""), ("drop", ""), *[("keep", "")] * 9, ("relabel", "chelsea")]
    ids = {verdict.id for verdict in verdicts_of(read_verdicts(ledger.verdicts, store)) if verdict.by == "audit"}
    assert ids == set(seen)


def test_what_is_added_comes_with_every_picture_or_with_none(photos, store, monkeypatch):
    kept = Bright.measure

    def measure(self, samples, ctx):  # of one shard all, of the others none
        for sample, row in zip(samples, kept(self, samples, ctx), strict=True):
            yield {**row, "note": b"x" if sample.labels == ("coffee",) else None}

    monkeypatch.setattr(Bright, "measure", measure)
    with pytest.raises(RecipeError, match="note must have content for every picture, or for none"):
        judged(recipe(photos), store)


@pytest.mark.parametrize("step", [Bright, BrightRules])
def test_unlabelled_pictures_are_refused_before_any_is_measured(photos, store, tmp_path, monkeypatch, step):
    log = tmp_path / "log"
    monkeypatch.setenv("PROBE_LOG", str(log))
    monkeypatch.setattr(step, "needs_labels", True, raising=False)
    what = recipe(photos)
    flat = what.model_copy(update={"source": what.source.model_copy(update={"labels": "none"})})
    name = step.component_name()
    with pytest.raises(
        RecipeError, match=rf"no picture of d@1\.0\.0 has a label, which {name} need; .* --set curate\.{name}=null"
    ):
        judged(flat, store)
    assert not log.exists()
    monkeypatch.setattr(step, "needs_labels", False)
    assert judged(flat, store)[1] == 1


# ── settling ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def said(verdicts, table=None):
    ids = {verdict.id: verdict.sha256 for verdict in verdicts}
    return verdict_table(verdicts, table or pa.table({"id": list(ids), "sha256": list(ids.values())}))


def settled(verdicts, table=None) -> dict[str, Verdict]:
    return {verdict.id: verdict for verdict in verdicts_of(settle(said(verdicts, table)))}


def test_settling():
    def verdict(action, by="a", labels=(), value=0.5):
        return Verdict("1", "s", action, by, "r", labels, value)

    def action(*verdicts):
        return settled(verdicts)["1"].action

    assert action(verdict("keep"), verdict("review"), verdict("drop")) == "drop"
    assert action(verdict("drop"), verdict("review")) == "drop"
    assert action(verdict("relabel", labels=("x",)), verdict("review")) == "review"
    assert action(verdict("relabel", "a", ("x",)), verdict("relabel", "b", ("x",))) == "relabel"
    assert action(verdict("relabel", "a", ("x",)), verdict("relabel", "b", ("y",))) == "review"
    assert settled([verdict("weight"), verdict("weight", "b", value=0.4)])["1"].value == pytest.approx(0.2)
    assert action(verdict("review"), verdict("unasked"), verdict("note")) == "unasked"
    assert action(verdict("note"), verdict("keep")) == "keep"
    assert settled([verdict("note")])["1"].reason == "r"


def test_the_review_queue_is_safe_and_in_order():
    table = pa.table(
        {
            "id": ["1", "2", "3", "4"],
            "sha256": ["a", "b", "c", "d"],
            "variant": ["original"] * 4,
            "labels": [["x"], ["y", "z"], None, ["x"]],
            "origin": ["=cmd()", "b,c.jpg", "c.jpg", "d.jpg"],
        }
    )
    verdicts = [
        Verdict("1", "a", "review", "s", "odd", value=0.1),
        Verdict("2", "b", "review", "s", "odd", value=0.9),
        Verdict("3", "c", "drop", "s", "odd"),
        Verdict("3", "c", "audit", "a", "drawn", value=0.5),
        Verdict("1", "a", "audit", "a", "drawn", value=0.5),
        Verdict("4", "d", "relabel", "s", "wrong", ("=y",)),
        Verdict("4", "d", "audit", "a", "drawn", value=0.25),
    ]
    assert {name: verdict.action for name, verdict in settled(verdicts, table).items()} == {
        "1": "review",
        "2": "review",
        "3": "drop",
        "4": "relabel",
    }
    lines = "".join(review_queue(said(verdicts, table), table)).splitlines()
    assert lines == [
        "id,sha256,variant,labels,origin,by,reason,also,value,worth,proposed,audit,new_labels",
        '2,b,original,y z,"b,c.jpg",s,odd,,0.9,,,0,',
        "1,a,original,x,'=cmd(),s,odd,,0.1,,,1,",
        "3,c,original,,c.jpg,a,drawn,,0.5,,,1,",
        "4,d,original,x,d.jpg,a,drawn,,0.25,,,1,'=y",
    ]
    assert plain("photo.jpg") == "photo.jpg"


def test_a_long_queue_is_the_same_in_pieces(monkeypatch):
    """Twenty pictures, each with up to three questions, two notes, a new label, and one in three drawn at random."""
    names = [f"{k:02d}" for k in range(20)]
    columns = {"id": names, "sha256": names, "variant": ["v"] * 20, "labels": [["x"]] * 20, "origin": ["o"] * 20}
    table, verdicts = pa.table(columns), []
    for k, name in enumerate(names):
        reasons = [("review", f"odd_{k % 3}"), ("note", "other"), ("review", "other"), ("note", f"note_{k % 2}")]
        verdicts += [Verdict(name, name, action, "s", reason, value=k / 10) for action, reason in reasons[: 1 + k % 4]]
        if k % 3 == 0:
            verdicts.append(Verdict(name, name, "audit", "a", "drawn", value=0.5))
    whole = "".join(review_queue(said(verdicts, table), table))
    assert len(whole.splitlines()) == 21
    assert "19,19,v,x,o,s,odd_1,other note_1,1.9,,,0,\n" in whole
    for piece in (1, 3, 20):
        monkeypatch.setattr("variorum.stages.queue.PIECE", piece)
        assert "".join(review_queue(said(verdicts, table), table)) == whole


def test_what_is_surest_to_be_wrong_is_asked_first():
    """By reason, as the rules stand in the recipe, whatever the numbers behind them are."""
    names = "abcdefgh"
    columns = {"id": list(names), "sha256": ["s"] * 8, "variant": ["v"] * 8, "labels": [["x"]] * 8, "origin": ["o"] * 8}
    verdicts = [
        Verdict("h", "s", "review", "bottom", "low_p"),
        Verdict("g", "s", "review", "bottom", "low_p"),
        Verdict("f", "s", "review", "policy", "two_labels"),
        Verdict("a", "s", "relabel", "policy", "wrong", ("x",)),
        Verdict("b", "s", "review", "policy", "doubtful", value=0.2),
        Verdict("c", "s", "review", "policy", "doubtful", value=0.9),
        Verdict("d", "s", "review", "policy", "foreign", value=53.0),
        Verdict("e", "s", "audit", "audit", "drawn", value=0.5),
        Verdict("a", "s", "relabel", "other", "wrong", ("y",)),
    ]
    table = pa.table(columns)
    lines = "".join(review_queue(said(verdicts, table), table)).splitlines()[1:]
    assert "".join(line[0] for line in lines) == "ahgfcbde"
    assert "labels_differ" in lines[0]

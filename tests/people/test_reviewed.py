import csv
import io
import json

import datasets
import numpy as np
import pyarrow as pa
import pytest
from reviewed_set import CONTEXT, PEOPLE, C, columns, kept, picture, table, vote, votes

from variorum.curation.people.consensus import Consensus
from variorum.curation.people.panel.answers import match_answers, read_answers
from variorum.curation.people.review import Review
from variorum.curation.people.reviewed import Reviewed
from variorum.edition.editions import folder_of
from variorum.edition.shards import read_shard
from variorum.edition.tables import read_table
from variorum.edition.verdicts import read_verdicts, settle, verdict_table, verdicts_of
from variorum.edition.verify import verify
from variorum.pipeline import Job, build, curate, release, run
from variorum.reports.card import render_card
from variorum.schemas.lookup import build_component
from variorum.schemas.recipe import Recipe
from variorum.schemas.table import Table
from variorum.schemas.verdict import Verdict
from variorum.schemas.vote import Vote
from variorum.stages.decide import add_verdicts, below_people, decided


def said(tmp_path, given, edition=None, step=None, **fields) -> dict[int, tuple]:
    """Action, reason and labels by number of the picture."""
    wide, _, _ = columns(Consensus(votes=kept(tmp_path, given), **fields), edition)
    found = decided(step or Reviewed(), Table(wide, "reviewed"), CONTEXT)
    return {int(one.id, 16): (one.action, one.reason, one.labels) for one in verdicts_of(found)}


def test_the_ten_pictures(tmp_path):
    found = said(tmp_path, votes())
    assert found[2] == ("relabel", "wrong_label", ("b",))
    assert found[4] == ("relabel", "more_labels", ("a", C))  # the given one stays the first
    assert found[7] == ("drop", "problematic_collage", ())
    assert {row: one for row, one in found.items() if row not in (2, 4, 7)} == dict.fromkeys(
        (0, 1, 3, 5, 6, 8, 9), ("keep", "confirmed", ())
    )


def test_fields_decide_what_becomes_of_pictures_without_a_right_label(tmp_path):
    given = [vote(0, "label", "a", who, "no") for who in PEOPLE]
    given += [vote(1, "label", "a", who, "unclear") for who in PEOPLE]
    given += [vote(2, "problem", "", who, "yes") for who in PEOPLE]
    for no_label in ("review", "drop", "note"):
        found = said(tmp_path, given, step=Reviewed(no_label=no_label, problematic="keep"), method="majority")
        assert found[0] == found[1] == (no_label, "no_right_label", ())
        assert found[2] == ("note", "problematic", ())


def test_given_labels_that_nobody_judged_stay(tmp_path):
    edition = table([["a", "b"], ["a", "b"], []])
    given = [vote(0, "label", C, who, "yes") for who in PEOPLE]
    given += [vote(1, "label", "a", who, "no") for who in PEOPLE]
    given += [vote(2, "label", "d", who, "yes") for who in PEOPLE]
    found = said(tmp_path, given, edition, method="majority")
    assert found == {
        0: ("relabel", "more_labels", ("a", "b", C)),
        2: ("relabel", "more_labels", ("d",)),
    }


# ── votes as answers of an audit ─────────────────────────────────────────────────────────────────────────────────────


def test_votes_are_answers_to_an_audit(tmp_path):
    given = [
        *(vote(0, "label", "a", who, answer) for who, answer in zip(PEOPLE, ("no", "no", "yes"), strict=True)),
        *(vote(0, "label", "b", who, "yes") for who in PEOPLE),
        *(vote(1, "label", "a", who, "unclear") for who in PEOPLE),
        *(vote(2, "label", "a", who, "yes") for who in PEOPLE),
        vote(2, "label", "a", "ann", "no", round=2),  # decided together
        vote(3, "label", "c", "ann", "no"),  # a label that the picture doesn't have
        vote(4, "problem", "", "ann", "yes"),
    ]
    pictures = [(*picture(number), "a", "b" if number == 0 else "") for number in range(5)]
    for name in ("votes.parquet", "votes.csv"):
        rows = read_answers(kept(tmp_path, given, name))
        found = match_answers(rows, pictures)
        np.testing.assert_array_equal(found.wrong, [1, 0.5, 1, np.nan, np.nan])
        np.testing.assert_array_equal(found.new_wrong, [0, *[np.nan] * 4])
    changed = match_answers(rows, [(pictures[0][0], "f" * 64, "a", "")])
    assert changed.changed == 6
    assert changed.unknown == len(rows) - 6
    assert np.isnan(changed.wrong).all()


def test_of_several_labels_the_worst_counts(tmp_path):
    given = [vote(0, "label", "a", "ann", "yes"), vote(0, "label", "b", "ann", "no")]
    rows = read_answers(kept(tmp_path, given))
    assert match_answers(rows, [(*picture(0), "a b", "")]).wrong.tolist() == [1]
    assert match_answers(rows, [(*picture(0), "a", "")]).wrong.tolist() == [0]


# ── the whole way, on real pictures ──────────────────────────────────────────────────────────────────────────────────

CURATE = [
    {"name": "quality", "checks": ["uniform", "dark"]},
    {"name": "consensus"},
    {"name": "reviewed"},
    {
        "name": "policy",
        "min_class_size": 1,
        "max_share_per_class": 1,
        "rules": [  # what models suspect: all pictures, and one is damaged
            {
                "when": [{"column": "origin", "equals": "chelsea/1.jpg"}],
                "action": "drop",
                "reason": "damaged",
                "guarded": False,
            },
            {"when": [{"column": "quality.width", "above": 0}], "action": "review", "reason": "doubtful"},
        ],
    },
    {"name": "audit", "flags": ["consensus.flag"], "sample": 4, "sample_flagged": 4},
    {"name": "review", "budget": 6},
]  # fmt: skip


def recipe(photos, **consensus) -> Recipe:
    curate = [{**step, **consensus} if step["name"] == "consensus" else step for step in CURATE]
    source = {"name": "image_folder", "path": str(photos)}
    return Recipe.parse(
        {"dataset": "folder", "version": "1.0.0", "masters": "original", "samples_per_shard": 5, "source": source,
         "curate": curate}
    )  # fmt: skip


@pytest.fixture(scope="module")
def reviewed(photos, tmp_path_factory):
    """Twelve photographs in three classes, and the release by votes: job, edition, file of votes, ledger, release."""
    folder = tmp_path_factory.mktemp("reviewed")
    job = Job(recipe(photos), str(folder / "store"))
    manifest = build(job)
    rows = read_table(job.store, manifest.rows, ["id", "sha256", "origin"]).sort_by("origin").to_pylist()

    def cast(row: int, subject: str, answers: str, kind: str = "label", **more) -> list[Vote]:
        words = {"y": "yes", "n": "no", "u": "unclear"}
        return [
            Vote(f"{row}.{kind}.{subject}.{who}", kind, rows[row]["id"], rows[row]["sha256"], subject, who, words[said],
                 **more)
            for who, said in zip(PEOPLE, answers, strict=False)
        ]  # fmt: skip

    given = [
        *cast(0, "astronaut", "yyy"),
        *cast(1, "astronaut", "nnn", category="fine_grained", severity="major"),
        *cast(1, "coffee", "yyy"),
        *cast(2, "astronaut", "yyy"),
        *cast(2, "chelsea", "yyy"),
        *cast(3, "", "yyy", "problem", reason="collage"),
        *cast(4, "chelsea", "nnn"),
        *cast(5, "chelsea", "yyu"),
    ]
    path = kept(folder, given)
    job = Job(recipe(photos, votes=str(path)), str(folder / "store"))
    number, ledger = curate(job, manifest)
    return job, manifest, path, number, ledger, release(job, manifest, number, ledger), [row["id"] for row in rows]


def samples(manifest, store) -> dict[str, dict[str, bytes]]:
    return {key: members for _, shard in manifest.accepted() for key, members in read_shard(store.path(shard))}


def test_people_settle_what_models_suspect(reviewed):
    job, _, _, _, ledger, _, ids = reviewed
    everything = list(verdicts_of(read_verdicts(ledger.verdicts, job.store)))
    settled = {one.id: one for one in verdicts_of(settle(read_verdicts(ledger.verdicts, job.store)))}
    assert (settled[ids[0]].action, settled[ids[0]].by) == ("keep", "reviewed")
    assert (settled[ids[1]].action, settled[ids[1]].labels) == ("relabel", ("coffee",))
    assert (settled[ids[2]].action, settled[ids[2]].labels) == ("relabel", ("astronaut", "chelsea"))
    assert (settled[ids[3]].action, settled[ids[3]].reason) == ("drop", "problematic_collage")
    assert (settled[ids[4]].action, settled[ids[4]].reason) == ("review", "no_right_label")
    assert (settled[ids[5]].action, settled[ids[5]].by) == ("drop", "policy")  # though people confirmed its label
    for place in (0, 1, 2, 3):
        mine = [one for one in everything if one.id == ids[place] and one.by == "policy"]
        assert [(one.action, one.reason, one.labels) for one in mine] == [("note", "doubtful", ())]
    assert {settled[name].action for name in ids[6:]} <= {"review", "unasked"}
    assert ledger.counts["relabel"] == {"wrong_label": 1, "more_labels": 1}


def test_ledger_queue_and_card_say_the_same(reviewed):
    job, manifest, _, number, ledger, released, ids = reviewed
    path = f"{job.store.local}/ledgers/{manifest.dataset}/{manifest.version}/{number:04d}.review.csv"
    found = [*job.store.local.rglob(f"*{number:04d}.review.csv")]
    assert found, path
    queue = {row["id"]: row for row in csv.DictReader(io.StringIO(found[0].read_text()))}
    asked = {name for name, row in queue.items() if row["by"] != "audit"}
    assert asked <= {ids[4], *ids[6:]}
    assert ids[4] in asked
    assert ledger.figures["policy"]["decided"] == {"drop damaged": 1, "review doubtful": 7}
    assert ledger.figures["review"]["asked"] == len(asked)
    assert ledger.figures["reviewed"] == {
        "drop problematic_collage": 1, "keep confirmed": 2, "relabel more_labels": 1, "relabel wrong_label": 1,
        "review no_right_label": 1,
    }  # fmt: skip
    card = render_card(job.recipe, released, job.store)
    assert "People judged 7 labels of 6 pictures" in card
    assert "What people said of the labels" in card
    assert "| `labels.json` | what people said:" in card
    assert "person 1" in card
    assert PEOPLE[0] not in card


def test_the_release_has_the_labels_that_people_call_right(reviewed):
    job, _, _, _, _, released, ids = reviewed
    found = samples(released, job.store)
    assert not {ids[3], ids[5]} & set(found)
    assert len(found) == 10
    assert json.loads(found[ids[2]]["json"])["labels"] == ["astronaut", "chelsea"]
    assert json.loads(found[ids[1]]["json"])["labels"] == ["coffee"]
    assert found[ids[1]]["cls"] == b"2"
    assert all("labels.json" in members for members in found.values())
    second = json.loads(found[ids[1]]["labels.json"])
    assert (second["given"], second["correct"], second["wrong"]) == (["astronaut"], ["coffee"], ["astronaut"])
    assert second["mistakes"]["severity"] == ["major"]
    assert json.loads(found[ids[8]]["labels.json"])["n_votes"] == 0
    assert "labels.json" in released.members
    assert verify(released, job.store) == []


def test_datasets_reads_the_labels_with_their_types(reviewed, tmp_path, monkeypatch):
    job, _, _, _, _, released, ids = reviewed
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hf"))
    from variorum.reports.card import write_card

    write_card(job.recipe, released, job.store)
    rows = datasets.load_dataset(folder_of(released, job.store), split="test")
    kinds = rows.features["labels.json"]
    assert kinds["p"] == datasets.List(datasets.Value("float32"))
    assert kinds["problematic"] == datasets.Value("bool")
    assert kinds["mistakes"]["unanimous"] == datasets.List(datasets.Value("bool"))
    found = {row["json"]["id"]: row["labels.json"] for row in rows}
    assert found[ids[2]]["correct"] == ["astronaut", "chelsea"]
    assert found[ids[8]]["correct"] == []


def test_another_threshold_costs_a_ledger_and_looks_at_no_picture(reviewed, photos, monkeypatch):
    job, manifest, path, number, ledger, _, _ = reviewed
    from variorum.stages import measure

    def refuse(*_):
        raise AssertionError("a picture is looked at")

    monkeypatch.setattr(measure, "shard_samples", refuse)
    job = Job(recipe(photos, votes=str(path), threshold=1.0), job.store.url)
    other, stricter = curate(job, manifest)
    assert other == number + 1
    assert stricter.measured == ledger.measured
    assert stricter.figures["consensus"]["labels"]["unclear"] > ledger.figures["consensus"]["labels"]["unclear"]
    assert curate(Job(recipe(photos, votes=str(path)), job.store.url), manifest)[0] == number


def test_more_votes_in_the_same_file_are_noticed(reviewed, photos, tmp_path):
    job, manifest, path, _, ledger, _, _ = reviewed
    moved = tmp_path / "moved.parquet"
    moved.write_bytes(path.read_bytes())
    again = curate(Job(recipe(photos, votes=str(moved)), job.store.url), manifest)[1]
    assert again.scored["consensus"] == ledger.scored["consensus"]  # the same votes in another place
    kept(tmp_path, [vote(0, "label", "coffee", "ann", "yes")], "moved.parquet")
    other = curate(Job(recipe(photos, votes=str(moved)), job.store.url), manifest)[1]
    assert other.scored["consensus"] != ledger.scored["consensus"]
    assert other.figures["consensus"]["votes"]["unknown_picture"] == 1


def test_without_votes_a_release_is_as_it_was(photos, tmp_path):
    job = Job(recipe(photos), str(tmp_path))
    released = run(job)
    assert "labels.json" not in released.members
    assert released.ledger.members == {}
    assert "keep" not in released.ledger.counts


def test_a_release_passes_its_labels_on(reviewed, tmp_path):
    job, _, _, _, _, released, ids = reviewed
    source = {"name": "edition", "edition": f"{released.dataset}@{released.version}", "store": job.store.url}
    again = build(
        Job(
            Recipe.parse({"dataset": "next", "version": "1.0.0", "masters": "original", "source": source}),
            str(tmp_path),
        )
    )
    from variorum.edition.store import Store

    found = samples(again, Store(str(tmp_path)))
    assert json.loads(found[ids[2]]["labels.json"])["correct"] == ["astronaut", "chelsea"]


def test_the_columns_are_arrow_types(tmp_path):
    wide, _, _ = columns(Consensus(votes=kept(tmp_path, votes())))
    assert wide.schema.field("consensus.states").type == pa.string()


def test_a_budget_adds_no_picture_that_people_have_settled():
    edition = table().append_column("s.chance", pa.array(np.linspace(0.9, 0.1, 10)))
    for by_votes, added in ((None, {0, 1, 2}), (pa.array([picture(0)[0], picture(2)[0]]), {1, 3, 4})):
        seen = add_verdicts(edition, verdict_table([], edition), by_votes)
        asked = Review(budget=3, chance="s.chance", gold=0).decide(Table(seen, "review"), CONTEXT)
        found = verdict_table(asked, edition)
        assert {int(one.id, 16) for one in verdicts_of(found) if one.action == "review"} == added


def test_a_drop_stays_and_other_suspicions_are_noted():
    edition = table()

    def by(step: str, *given: tuple[int, str]):
        return verdict_table(
            [Verdict(*picture(row), action, step, "why", ("b",), worth=0.5) for row, action in given], edition
        )

    said = {
        "reviewed": by("reviewed", (0, "keep"), (1, "relabel"), (2, "drop"), (3, "review"), (4, "note")),
        "policy": by("policy", *((row, "review") for row in range(5))),
        "other": by("other", (0, "drop"), (0, "weight"), (1, "relabel"), (1, "unasked"), (2, "audit"), (3, "relabel")),
    }
    steps = [Reviewed(), policy()]
    found = below_people(steps, said)
    noted = {int(one.id, 16): one for one in verdicts_of(found["policy"])}
    assert [noted[row].action for row in range(5)] == ["note", "note", "note", "review", "review"]
    assert (noted[0].labels, noted[3].labels) == ((), ("b",))
    assert np.isnan(noted[0].worth)
    assert found["reviewed"] is said["reviewed"]
    others = below_people(steps, {"reviewed": said["reviewed"], "policy": said["other"]})["policy"]
    assert [one.action for one in verdicts_of(others)] == ["drop", "weight", "note", "note", "audit", "relabel"]
    assert below_people(steps[1:], {"policy": said["policy"]})["policy"] is said["policy"]


def policy():
    rule = {"when": [{"column": "label", "above": -1}], "action": "review", "reason": "why"}
    return build_component("curate", {"name": "policy", "rules": [rule]}, "here")

"""Every kind of question, from a sealed edition over a panel and its votes to the columns of the consensus."""

from __future__ import annotations

import json
import uuid
from collections import defaultdict

import numpy as np
import pytest
import skimage.data
from annotated_set import ANNOTATED
from PIL import Image

from variorum.edition.editions import resolve
from variorum.edition.store import Store
from variorum.people.panel.collected import keep_votes, standing
from variorum.people.panel.dispatch import next_tasks
from variorum.people.panel.panel import newest_ledger, open_panel, publish
from variorum.people.panel.settings import Settings
from variorum.people.votes.ballots import cast, counted, join
from variorum.pipeline import Job, build, run
from variorum.schemas.errors import RecipeError
from variorum.schemas.recipe import Recipe
from variorum.schemas.vote import Vote
from variorum.stages.score import curated_table

KINDS = ("label", "copy", "edit", "box", "safe")
PEOPLE = ("ann", "bob", "cem")
EDITED = '''
from variorum.schemas.component import Generator

class Edited(Generator):
    """The negative of each picture."""

    keeps_objects = True

    def edit(self, sample, of):
        yield sample
        yield of.made(255 - sample.image, variant="negative", requested={})
'''


def recipe(source, folder, **consensus):
    steps = [{"name": "duplicates", "embedding": False}, {"name": "consensus", **consensus}, {"name": "reviewed"}]
    (folder / "edited.py").write_text(EDITED)
    edits = {"generate": [{"name": str(folder / "edited.py")}]} if source is ANNOTATED else {}
    return Recipe.parse({"dataset": "all", "version": "1.0.0", "source": source, **edits, "curate": steps})


@pytest.fixture
def copies(tmp_path):
    """A folder of photographs, two of which are there again in another size, in the folder of another class."""
    for name in ("astronaut", "coffee", "chelsea"):
        (tmp_path / "photos" / name).mkdir(parents=True)
    for number, name in enumerate(("astronaut", "coffee")):
        image = Image.fromarray(getattr(skimage.data, name)()).resize((320, 320))
        image.save(tmp_path / "photos" / name / "1.png")
        image.resize((240, 240)).save(tmp_path / "photos" / "chelsea" / f"{number}.png")
    return {"name": "image_folder", "path": str(tmp_path / "photos")}


def voted(panel, said):
    """Everybody answers everything that they are asked; `said` gives the answer to a question of a kind."""
    for who in PEOPLE:
        join(panel.engine, panel.key, who, 1.0)
        while given := next_tasks(panel.engine, panel.key, who, number=50, now=1.0):
            votes = [
                Vote(str(uuid.uuid4()), one.kind, one.id, one.sha256, asked.subject, who, said(one.kind, asked.subject))
                for one in given
                for asked in one.questions
            ]
            assert {result.state for result in cast(panel.engine, panel.key, votes, 1.0)} == {"kept"}


def judged(made, store):
    """The columns of `consensus` by the newest ledger."""
    manifest = resolve("all@1.0.0", store)
    table = curated_table(manifest, newest_ledger(manifest, store)[1], ["consensus"], store)
    return table, {name: table[name] for name in table.arrow.column_names if name.startswith("consensus.")}


def taken(source, kinds, folder):
    """The columns of the consensus, and the votes by kind, of a panel on an edition of a source."""
    store = Store(str(folder / "store"))
    run(Job(recipe(source, folder), store))
    manifest = resolve("all@1.0.0", store)
    publish(manifest, store, Settings(kinds=kinds))
    panel = open_panel(manifest, store)
    voted(panel, lambda kind, subject: "no" if kind == "edit" or subject in ("1", "square") else "yes")
    now = standing(panel)
    assert (now.settled, now.votes) == (now.questions, len(PEOPLE) * now.questions)
    votes = defaultdict(set)
    for row in counted(panel.engine, panel.key).to_pylist():
        votes[row["kind"]].add((row["id"], row["subject"], row["answer"]))
    run(Job(recipe(source, folder, votes=str(keep_votes(panel))), store))
    return *judged(manifest, store), votes


def test_edits_boxes_labels_and_safety(tmp_path):
    table, found, votes = taken(ANNOTATED, ("label", "edit", "box", "safe"), tmp_path)
    place = {one: row for row, one in enumerate(table["id"].tolist())}
    assert all(votes[kind] for kind in ("label", "edit", "box", "safe"))
    for picture, subject, answer in votes["label"]:
        states = {label: state for label, state, *_ in json.loads(found["consensus.states"][place[picture]])}
        assert states[subject] == ("correct" if answer == "yes" else "wrong")
    edited = [place[picture] for picture, _, _ in votes["edit"]]
    assert (found["consensus.clean_p"][edited] < 0.2).all()
    assert np.isnan(np.delete(found["consensus.clean_p"], edited)).all()
    assert (found["consensus.safe_p"][[place[picture] for picture, _, _ in votes["safe"]]] > 0.8).all()
    boxes = [(picture, box) for picture, box, _ in votes["box"]]
    for picture, box in boxes:
        p = dict(json.loads(found["consensus.boxes"][place[picture]]))
        assert p[box] < 0.2 if box == "1" else p[box] > 0.8
    assert {box for _, box in boxes} == {"0", "1"}


def test_copies(copies, tmp_path):
    table, found, votes = taken(copies, ("copy",), tmp_path)
    place = {one: row for row, one in enumerate(table["id"].tolist())}
    assert len(votes["copy"]) == 2
    for picture, other, _ in votes["copy"]:
        ((subject, p),) = json.loads(found["consensus.copies"][place[picture]])
        assert (subject, p > 0.8) == (other, True)


def test_an_edition_that_has_not_been_curated_has_no_known_copies(copies, tmp_path):
    store = Store(str(tmp_path / "store"))
    manifest = build(Job(recipe(copies, tmp_path), store))
    with pytest.raises(RecipeError, match="hasn't been curated; curate it with a recipe that has the detector"):
        publish(manifest, store, Settings(kinds=("copy",)))
    fields = recipe(copies, tmp_path).model_copy(update={"curate": recipe(copies, tmp_path).curate[1:]})
    run(Job(fields, store))
    with pytest.raises(RecipeError, match="newest ledger doesn't have it"):
        publish(manifest, store, Settings(kinds=("copy",)))

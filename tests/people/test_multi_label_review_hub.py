"""The recipe `multi_label_review` in profile hub, on tiny checkpoints of a true layout."""

import json
from itertools import chain

import pytest

import variorum


@pytest.mark.slow
def test_classifiers_of_the_hub_propose_what_people_are_asked(hub_models, tmp_path):
    aliases = ("encoder", "classifier", "classifier_small")
    table = hub_models(*aliases)
    edition = variorum.run("multi_label_review", profile="hub", store=tmp_path, limit=40, progress=False)
    ledger = edition.manifest.ledger
    assert {**ledger.models, **ledger.proposers} == {alias: table.pin(alias) for alias in aliases}
    cells = map(json.loads, edition.table(ledger=True)["candidates.cells"].to_pylist())
    scores = [score for cell in chain(*cells) for score in cell[2]]  # of the class, by each classifier
    assert len(scores) > 40
    assert all(0 <= score < 0.1 for score in scores)  # random weights prefer no class
    assert {*edition.figures["multi_label_accuracy"]["classifiers"]} == {*aliases[1:]}

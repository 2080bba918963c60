"""A card whose figures aren't its edition's is found, and one that people have added to isn't."""

import re

import pytest

from variorum.edition.editions import folder_of, write_beside
from variorum.reports.card import write_card
from variorum.reports.card_check import check_card
from variorum.reports.rows import edition_rows
from variorum.reports.verified import verify_edition

COUNTED = re.compile(r"^\| (original|\w+ \| test|CC|drop|relabel|\*\*all|brightness|objects|captions).*[0-9]")


@pytest.fixture(scope="module")
def released(make):
    """A release with an evaluation, its card and its rows."""
    job, manifest = make(
        curate=[{"name": "bright", "notes": True}, {"name": "bright_rules", "relabel": 1, "to": "square"}],
        evaluate=[{"name": "brightness"}],
    )
    assert manifest.ledger
    text = write_card(job.recipe, manifest, job.store)
    return manifest, job.store, edition_rows(manifest, job.store), text


def problems(released, text):
    manifest, store, rows, _ = released
    write_beside(manifest, "README.md", text.encode(), store)
    return check_card(manifest, store, rows)


def test_a_card_as_it_was_written_passes(released):
    manifest, store, _, text = released
    assert problems(released, text) == []
    assert verify_edition(manifest, store) == []


def test_any_figure_of_the_edition_that_is_changed_is_found(released):
    manifest, store, _, text = released
    pictures = manifest.pictures()
    changed = [
        (f": {pictures} pictures in", f": {pictures + 1} pictures in"),
        ("The ledger judged 12 pictures", "The ledger judged 13 pictures"),
        *((line, re.sub("[0-9]+", "777", line, count=1)) for line in text.splitlines() if COUNTED.search(line)),
    ]
    assert len(changed) > 8
    for old, new in changed:
        assert old in text
        (problem,) = problems(released, text.replace(old, new, 1))
        assert "isn't what the edition has; write it again with `variorum card`" in problem
    (found,) = [one for one in verify_edition(manifest, store) if "README.md" in one]
    assert folder_of(manifest, store) in found


def test_another_digest_or_licence_is_found(released):
    manifest, _, _, text = released
    (problem,) = problems(released, text.replace(manifest.digest(), "0" * 64))
    assert "about another edition" in problem
    header = next(line for line in text.splitlines() if line.startswith("license:"))
    (problem,) = problems(released, text.replace(header, "license: mit", 1))
    assert "its licence is 'mit'" in problem


def test_text_of_peoples_own_passes(released):
    *_, text = released
    more = "\n## Known limits\n\nOf 500 pictures that we looked at, 3 are blurred.\n\n| camera | 12 |\n"
    assert problems(released, text + more) == []
    assert problems(released, text.replace("license_name", "x_name")) == []
    assert problems(released, "No header, and 4 pictures") == []

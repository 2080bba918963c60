"""The rules for major, minor and patch: each kind of change has its rank, and more changes never lower it."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from variorum.reports.diff import Change
from variorum.reports.ranks import KINDS, RANKS, rank_of
from variorum.schemas.manifest import Manifest

HEX = "0123456789abcdef" * 4


def manifest(version="1.0.0", **more):
    """A manifest of one empty unit."""
    fields = {
        "dataset": "d",
        "version": version,
        "fingerprint": HEX,
        "recipe": {},
        "profile": "embedded",
        "classes": [("cat", "cat"), ("dog", "dog")],
        "members": ["cls", "json", "png"],
        "models": {},
        "filters": [],
        "units": [HEX],
        "shards": {},
        "rows": [{"sha256": HEX, "size": 1, "samples": 0}],
        "counts": {},
        "sources": 1,
        "sources_edited": 0,
        "licences": {},
    }
    return Manifest.model_validate({**fields, **more})


def change(kind):
    return Change(kind, "0", "original", "0.png", "", (), ())


FORMS = {
    "member gone": ({"members": ["cls", "json", "png"]}, {"members": ["json", "png"]}, "major"),
    "member new": ({"members": ["json", "png"]}, {"members": ["cls", "json", "png"]}, "minor"),
    "another picture format": ({"members": ["json", "png"]}, {"members": ["jpg", "json", "png"]}, "major"),
    "class gone": ({}, {"classes": [("cat", "cat")]}, "major"),
    "class renamed": ({}, {"classes": [("cat", "cat"), ("dog", "hound")]}, "major"),
    "class renumbered": ({}, {"classes": [("ant", "ant"), ("cat", "cat"), ("dog", "dog")]}, "major"),
    "class more": ({}, {"classes": [("cat", "cat"), ("dog", "dog"), ("eel", "eel")]}, "minor"),
    "format": ({"format": 3}, {"format": 4}, "major"),
    "licences": ({}, {"licences": {"CC0": 1}}, "patch"),
    "quarantine": ({}, {"counts": {"original": {"quarantined:dark": 1}}}, "patch"),
    "nothing": ({}, {}, "none"),
}


@pytest.mark.parametrize("name", FORMS)
def test_each_difference_of_form_has_its_rank(name):
    before, after, rank = FORMS[name]
    found = rank_of(manifest(**before), manifest(**after), [])
    assert found.rank == rank
    assert bool(found.reasons) == (rank != "none")


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_change_has_its_rank(kind):
    found = rank_of(manifest(), manifest("1.0.1"), [change(kind), change(kind)])
    assert (found.rank, found.why) == (KINDS[kind], f"2 pictures {kind}")
    assert found.fits is False
    assert found.needed == {"major": "2.0.0", "minor": "1.1.0"}[KINDS[kind]]


def test_first_annotations_are_minor_and_other_ones_major():
    members = ["annotations.json", "cls", "json", "png"]
    first, other = manifest(), manifest("1.1.0", members=members)
    assert rank_of(first, other, [change("annotated")]).rank == "minor"
    assert rank_of(manifest(members=members), other, [change("annotated")]).rank == "major"


forms = st.sampled_from(sorted(FORMS)).map(FORMS.__getitem__)
changes = st.lists(st.sampled_from(sorted(KINDS)).map(change), max_size=4)


@given(forms, changes, st.sampled_from(sorted(KINDS)))
def test_one_more_change_never_lowers_the_rank(form, known, kind):
    before, after, _ = form
    first, second = manifest(**before), manifest(**after)
    less = RANKS.index(rank_of(first, second, known).rank)
    more = rank_of(first, second, [*known, change(kind)])
    annotations_new = "annotations.json" in second.members
    assert RANKS.index(more.rank) >= max(less, RANKS.index("minor" if annotations_new else KINDS[kind]))
    ranks = [RANKS.index(reason.rank) for reason in more.reasons]
    assert ranks == sorted(ranks, reverse=True)
    assert more.rank == more.reasons[0].rank


@given(forms, changes)
def test_with_another_difference_of_form_the_rank_never_falls(form, known):
    before, after, rank = form
    alone = rank_of(manifest(), manifest(), known).rank
    both = rank_of(manifest(**before), manifest(**after), known).rank
    assert RANKS.index(both) >= max(RANKS.index(alone), RANKS.index(rank))


@pytest.mark.parametrize(
    ("first", "second", "kinds", "fits"),
    [
        ("1.0.0", "2.0.0", ["dropped"], True),
        ("1.0.0", "1.1.0", ["dropped"], False),
        ("1.0.0", "1.1.0", ["added"], True),
        ("1.0.0", "2.0.0", ["added"], True),
        ("1.0.0", "1.0.1", ["added"], False),
        ("1.0.0", "1.0.1", [], True),
        ("1.9.0", "1.10.0", ["added"], True),
        ("0.1.0", "0.2.0", ["dropped"], True),
        ("0.1.0", "0.1.1", ["dropped"], False),
        ("1.0.0", "1.0.1-dev", ["dropped"], None),
        ("1.1.0", "1.0.0", ["dropped"], None),
        ("1.0.0", "1.0.0", ["dropped"], None),
    ],
)
def test_whether_the_number_fits(first, second, kinds, fits):
    assert rank_of(manifest(first), manifest(second), list(map(change, kinds))).fits is fits

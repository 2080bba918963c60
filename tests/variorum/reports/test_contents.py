"""The counts that cards and the command line show are those of the pictures in the shards."""

from collections import Counter

import pyarrow as pa
import pytest

from variorum.edition.editions import resolve
from variorum.edition.samples import read_sample
from variorum.edition.shards import read_shard
from variorum.reports.card import render_card
from variorum.reports.contents import Contents, Count, annotation_counts, contents, formats, split_table, tasks
from variorum.reports.rows import edition_rows


def pictures(job, manifest):
    """The accepted samples, read from the shards."""
    return [
        read_sample(key, members)[0]
        for _, shard in manifest.accepted()
        for key, members in read_shard(job.store.path(shard))
    ]


def test_the_counts_are_those_of_the_pictures(everything):
    job, manifest = everything
    found, there = contents(edition_rows(manifest, job.store)), pictures(*everything)
    assert found.labelled == sum(bool(sample.labels) for sample in there) == 8
    objects = [len(sample.annotations.objects) for sample in there]
    assert found.objects == Count(sum(objects), sum(map(bool, objects))) == (12, 8)
    assert found.captions == (9, 9)
    assert found.states == (12, 6)
    assert dict(found.kinds) == Counter(sample.digital_source_type for sample in there)
    assert found.credentials == 1
    assert annotation_counts(manifest, job.store).objects == found.objects
    assert found.annotations[0] == ("objects", (12, 8))


def test_only_accepted_pictures_count_and_nulls_are_none():
    rows = pa.table(
        {
            "status": ["accepted", "accepted", "accepted", "quarantined", "failed"],
            "objects": [2, 0, 3, 7, None],
            "captions": [1, 1, 0, 5, None],
            "states": [0, 0, 0, 1, None],
            "digital_source_type": ["b", None, "a", "a", None],
            "credentials": [True, None, False, True, None],
        }
    )
    found = contents(rows)
    assert (found.objects, found.captions, found.states) == ((5, 2), (2, 2), (0, 0))
    assert found.annotations == [("objects", (5, 2)), ("captions", (2, 2))]
    assert found.kinds == (("", 1), ("a", 1), ("b", 1))
    assert found.credentials == 1
    assert contents(rows.slice(0, 0)) == Contents()


def test_pictures_by_configuration_and_split(everything):
    _, manifest = everything
    shown = split_table(manifest)
    assert shown.head == ("configuration", "train", "validation", "test", "all splits")
    assert shown.rows == [("hall", "3", "3", "0", "6"), ("street_5", "3", "0", "3", "6"), ("all", "6", "3", "3", "12")]


def test_splits_or_configurations_alone(make):
    _, manifest = make(source={"pictures": 4})
    assert split_table(manifest).rows == [("train", "2"), ("validation", "1"), ("test", "1")]
    _, manifest = make(source={"pictures": 2, "splits": False}, configs="licence")
    assert split_table(manifest).head == ("configuration", "test")
    assert split_table(manifest).rows == [("CC-BY-4.0_i_", "1"), ("CC0-1.0", "1"), ("all", "2")]
    _, manifest = make(source={"pictures": 2, "splits": False})
    assert split_table(manifest) is None


BARE = {"boxes": False, "captions": False, "states": False}


@pytest.mark.parametrize(
    ("source", "tasks_of_it"),
    [
        ({}, ["object-detection", "image-to-text", "text-to-image", "image-classification"]),
        ({**BARE, "boxes": True}, ["object-detection", "image-classification"]),
        ({**BARE, "captions": True}, ["image-to-text", "text-to-image", "image-classification"]),
        ({**BARE, "pictures": 1}, []),  # its only picture has no class
    ],
)
def test_tasks_follow_from_what_there_is(make, source, tasks_of_it):
    job, manifest = make(source={"pictures": 3, "formats": ["webp"], **source})
    assert tasks(manifest, contents(edition_rows(manifest, job.store))) == tasks_of_it
    assert formats(manifest) == ["webp"]


def test_an_edition_of_format_3_says_only_what_its_rows_have(format3):
    manifest = resolve("old@1.0.0-r1", format3)
    found = contents(edition_rows(manifest, format3))
    assert found == Contents(labelled=manifest.pictures())
    assert annotation_counts(manifest, format3) == Contents()
    assert split_table(manifest) is None


def test_many_variants_that_are_alike_take_one_line(make):
    job, manifest = make(
        source={"pictures": 2, "splits": False}, generate=[{"name": "probe", "copies": 45}], configs="variant"
    )
    assert len(manifest.configs()) == 46
    assert split_table(manifest) is None
    card = render_card(job.recipe, manifest, job.store)
    assert "46 of 46 variants have 2 accepted pictures each and no others: `original`, `negative_0` to" in card
    assert "| negative_3 |" not in card

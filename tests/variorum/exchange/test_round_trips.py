"""What is exported and read back has the same pictures, labels, boxes, licences and splits, and says which it was."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from exchanging import come_back, samples_of, sha256, shapes

from variorum.annotations import decode_mask
from variorum.exchange.export import export
from variorum.exchange.formats import FORMATS
from variorum.exchange.selection import Selection
from variorum.pixels import decode
from variorum.schemas.sample import Sample

NOT_HERE = ("waves",)
"""Formats for other editions."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    job, manifest = shapes(folder)
    asked = Selection(manifest, job.store)
    for form in FORMATS:
        if form not in NOT_HERE:
            export(asked, folder / form, form)
    return folder, asked, samples_of(job, manifest)


def check_pictures(before: dict[str, Sample], after: dict[str, Sample], number: int = 24) -> None:
    """The same bytes, or the same pixels where another format was needed."""
    assert len(after) == number
    for identity, new in after.items():
        old = before[identity]
        if old.image[:4] == b"RIFF":  # WebP
            assert new.image[:4] == b"\x89PNG"
        else:
            assert sha256(new.image) == sha256(old.image)
        assert np.array_equal(decode(new.image), decode(old.image))
        assert not new.reason, new.detail


def check_objects(old: Sample, new: Sample, names: dict[str, str], *, masks: bool = True) -> None:
    assert len(new.annotations.objects) == len(old.annotations.objects)
    for one, other in zip(old.annotations.objects, new.annotations.objects, strict=True):
        assert other.label == names[one.label]
        assert other.box == pytest.approx(one.box, abs=1e-6)
        if masks:
            assert np.array_equal(decode_mask(other, 64, 96), decode_mask(one, 64, 96))


def check_labels(old: Sample, new: Sample, names: dict[str, str]) -> None:
    assert new.labels == tuple(names[label] for label in old.labels)
    assert new.split == old.split


@pytest.mark.parametrize("form", [form for form in FORMATS if form not in NOT_HERE])
def test_the_same_export_is_left_as_it_is(made, form):
    folder, asked, _ = made
    before = {path: path.stat().st_mtime_ns for path in (folder / form).rglob("*")}
    found = export(asked, folder / form, form)
    assert {path: path.stat().st_mtime_ns for path in (folder / form).rglob("*")} == before
    note = json.loads((folder / form / "export.json").read_bytes())
    assert (note["edition"], note["digest"], note["as"]) == ("shapes@1.0.0", asked.manifest.digest(), form)
    assert sum(one.pictures for one in found) > 0


@pytest.mark.parametrize("form", [form for form in FORMATS if form not in NOT_HERE])
def test_it_is_the_same_to_the_byte(made, form, tmp_path):
    folder, asked, _ = made
    export(asked, tmp_path / "again", form)
    tops = folder / form, tmp_path / "again"
    first, again = ({path.relative_to(top): path for path in top.rglob("*")} for top in tops)
    assert first.keys() == again.keys()
    assert all(path.read_bytes() == again[name].read_bytes() for name, path in first.items() if path.is_file())


def test_image_folder(made, own_cache):
    folder, asked, before = made
    names = {name: name for name, _ in asked.manifest.classes}
    for place, variant in (("original", "original"), ("dark_half_", "dark <half>")):
        classes, found = come_back("image_folder", path=folder / "image_folder" / place)
        assert [one.id for one in classes] == list(names)
        after = {one.metadata["id"]: one for one in found}
        check_pictures(before, after, 12)
        for identity, new in after.items():
            old = before[identity]
            assert old.variant == variant
            assert new.labels == old.labels[:1]
            assert tuple(new.metadata["labels"]) == old.labels
            assert new.split == old.split
            assert new.licence == old.licence
            assert new.annotations.caption() == old.annotations.caption()
            assert new.metadata["photograph"] == old.photograph
            assert json.loads(new.metadata["metadata"]) == old.metadata
            check_objects(old, new, names)
            assert Path(new.origin).parts[1] == (old.labels[0] if old.labels else "unlabelled")


def test_parquet(made, own_cache):
    folder, asked, before = made
    columns = ["id", "variant", "sha256", "photograph", "labels"]
    classes, found = come_back(
        "parquet",
        files=f"{folder}/parquet/data/*.parquet",
        label="label",
        caption="captions",
        objects="objects",
        licence_field="license",
        metadata=columns,
    )
    names = asked.names
    assert [one.name for one in classes] == list(names.values())
    after = {one.metadata["id"]: one for one in found}
    check_pictures(before, after)
    for identity, new in after.items():
        old = before[identity]
        assert new.labels == tuple(names[label] for label in old.labels[:1])
        assert new.metadata["labels"] == list(old.labels)
        assert (new.split, new.licence) == (old.split, old.licence)
        assert new.annotations.caption() == old.annotations.caption()
        check_objects(old, new, dict(names))


@pytest.mark.parametrize("form", ["fiftyone", "label_studio", "cvat"])
def test_annotation_tools(made, form, own_cache):
    folder, asked, before = made
    names = dict(asked.names)
    classes, found = come_back(form, path=folder / form)
    assert [one.name for one in classes] == list(names.values())
    after = {one.metadata["id" if form == "cvat" else "picture"]: one for one in found}
    check_pictures(before, after)
    for identity, new in after.items():
        old = before[identity]
        check_labels(old, new, names)
        check_objects(old, new, names)
        assert new.licence == old.licence
        assert new.photograph == old.photograph
        assert new.metadata["variant"] == old.variant
        if form != "cvat":
            assert new.annotations.caption() == old.annotations.caption()


def test_cleanlab(made, own_cache):
    folder, _, before = made
    assert not (folder / "cleanlab" / "issues.csv").exists()  # there is no ledger
    _, found = come_back("cleanlab", path=folder / "cleanlab", issues="")
    after = {one.metadata["id"]: one for one in found}
    check_pictures(before, after)
    for identity, new in after.items():
        old = before[identity]
        assert (new.labels, new.split, new.licence) == (old.labels[:1], old.split, old.licence)
        assert new.photograph == old.photograph
    _write_issues(folder / "cleanlab" / "mine.csv", found)
    _, judged = come_back("cleanlab", path=folder / "cleanlab", issues="mine.csv", predicted=True)
    for number, (old, new) in enumerate(zip(found, judged, strict=True)):
        flagged = number % 3 == 0
        assert new.metadata["issues"]["is_label_issue"] is flagged
        assert new.metadata["issues"]["label_score"] == number / 100
        assert new.labels == (("square",) if flagged else old.labels)


def _write_issues(path: Path, found: list[Sample]) -> None:
    """As pandas writes `Datalab.get_issues()`: with an index."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["", "is_label_issue", "label_score", "given_label", "predicted_label"])
        for number, one in enumerate(found):
            rows.writerow([number, number % 3 == 0, number / 100, "".join(one.labels), "square"])


def test_imagenet_e(made, own_cache):
    folder, asked, before = made
    out = folder / "imagenet_e"
    lines = (out / "labels.txt").read_text().splitlines()
    assert lines[0] == "00000000.JPEG\t0"
    assert {path.suffix for path in (out / "ori").iterdir()} == {".JPEG"}
    assert {path.suffix for path in (out / "dark_half_").iterdir()} == {".png"}
    classes, found = come_back("imagenet_e", path=out, class_names=list(asked.names))
    assert [one.id for one in classes] == list(asked.names)
    after = {one.metadata["id"]: one for one in found}
    labelled = {identity: old for identity, old in before.items() if old.labels}
    assert after.keys() == labelled.keys()
    for identity, new in after.items():
        old = labelled[identity]
        assert np.array_equal(decode(new.image), decode(old.image))
        assert new.labels == old.labels[:1]
        assert (new.split, new.licence, new.photograph) == (old.split, old.licence, old.photograph)
        if old.variant == "original":
            assert (new.variant, new.parent) == ("original", "")
        else:
            assert new.variant == "dark_half_"
            assert new.parent == after[old.parent].id


def test_unsafebench(made, own_cache):
    folder, _, before = made
    out = folder / "unsafebench"
    classes, found = come_back("unsafebench", path=out, other="keep", restricted=False)
    assert {"square", "a_circle_b"} <= {one.id for one in classes}
    told = [(one.metadata["id"], one.metadata["category"], one.metadata["safety_label"]) for one in found]
    ids = {"circle": "a_circle_b", "square": "square"}
    wanted = [
        (identity, ids[state.label], {"correct": "Unsafe", "wrong": "Safe"}[state.state])
        for identity, old in before.items()
        for state in old.annotations.labels
    ]
    assert sorted(told) == sorted(wanted)
    # as the authors' loader opens them: metadata beside the pictures, names relative to it
    for part in ("train", "test"):
        for line in (out / part / "images" / "metadata.jsonl").read_text().splitlines():
            row = json.loads(line)
            assert (out / part / "images" / row["image_fname"]).is_file()
            assert row["label"] in ("Safe", "Unsafe")

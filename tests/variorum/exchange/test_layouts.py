"""The layouts of WAVES and cleanlab's issues, on editions that have what they are about; and what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from exchanging import ANNOTATED, come_back, samples_of, shapes

from variorum.exchange.export import export
from variorum.exchange.folders import NOTE
from variorum.exchange.formats import FORMATS
from variorum.exchange.formats.cleanlab import Issues
from variorum.exchange.formats.waves import cell_of
from variorum.exchange.numbering import Photographs
from variorum.exchange.selection import Selection
from variorum.pipeline import Job, build, curate, run
from variorum.pixels import decode
from variorum.schemas.errors import StoreError
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import Sample


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """An edition without classes, objects and marks."""
    folder = tmp_path_factory.mktemp("plain")
    job, manifest = shapes(folder, edits=False, pictures=4, boxes=False, states=False, labelled=False)
    return job, manifest


# ── WAVES ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_waves(photos, tmp_path, own_cache):
    recipe = {
        "dataset": "marked",
        "version": "1.0.0",
        "source": {"name": "image_folder", "path": str(photos / "coffee"), "licence": "CC0-1.0"},
        "generate": [
            {"name": "watermark", "frame": 128, "marks": [{"name": "dwt_dct_svd"}]},
            {
                "name": "watermark_attack",
                "attacks": [{"name": "distortion", "kind": "jpeg"}, {"name": "denoising"}],
                "strengths": [0.5],
            },
        ],
    }
    job = Job(Recipe.parse(recipe), str(tmp_path / "store"))
    manifest = run(job)
    out = tmp_path / "waves"
    (part,) = export(Selection(manifest, job.store), out, "waves")
    attacks = ("distortion_single_jpeg", "median")
    folders = [f"attacked/mscoco/{attack}-0.5-{mark}" for attack in attacks for mark in ("dwt_dct_svd", "real")]
    folders += ["main/mscoco/dwt_dct_svd", "main/mscoco/real"]
    assert sorted(str(path.parent.relative_to(out)) for path in out.rglob("0.png")) == sorted(folders)
    assert part.pictures == 24
    before = samples_of(job, manifest)
    classes, found = come_back("waves", path=out)
    assert classes == ()
    after = {one.metadata["id"]: one for one in found}
    assert after.keys() == before.keys()
    for identity, new in after.items():
        old = before[identity]
        assert np.array_equal(decode(new.image), decode(old.image))
        assert (new.licence, new.photograph) == (old.licence, old.photograph)
        attack = {"jpeg": "distortion_single_jpeg"}
        name = str(old.ops[-1]["requested"].get("attack", ""))
        assert new.metadata["attack"] == attack.get(name, name)
        if not new.metadata["attack"]:
            assert new.variant == old.variant
        elif new.metadata["mark"] != "real":
            assert before[after_id(found, new.parent)].variant == "dwt_dct_svd"


def after_id(found: list[Sample], identity: str) -> str:
    return next(str(one.metadata["id"]) for one in found if one.id == identity)


def test_a_picture_of_other_steps_has_no_cell():
    op = {"name": "blur", "revision": 1, "requested": {}, "achieved": {}, "gates": {}, "models": {}, "seed": 0}
    assert cell_of(Sample("a" * 32, b"", ops=(op,))) is None
    marked = {**op, "requested": {"mark": "a-b/c", "frame": 8}}
    assert cell_of(Sample("a" * 32, b"", ops=(op, marked))).folder == "main/mscoco/a_b_c"
    assert cell_of(Sample("a" * 32, b"", ops=(marked, op))) is None
    attacked = {**op, "requested": {"attack": "x", "strength": 1e-5}}
    assert cell_of(Sample("a" * 32, b"", ops=(marked, attacked))).folder == "attacked/mscoco/x-0.00001-a_b_c"


# ── ImageNet-E ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_names_of_imagenet_are_kept():
    numbers = Photographs()
    photographs = [
        Sample(f"{k:032x}", b"", origin=f"val/ILSVRC2012_val_0000000{k}.JPEG", photograph="p") for k in (7, 8)
    ]
    assert [numbers.name(one) for one in photographs] == ["ILSVRC2012_val_00000007", "ILSVRC2012_val_00000008"]
    other = Sample("a" * 32, b"", origin="cat.jpg", photograph="q")
    assert [numbers.name(one) for one in (other, other)] == ["00000000", "00000000"]


# ── cleanlab ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_newest_ledger_becomes_issues(tmp_path, own_cache):
    source = {**ANNOTATED, "pictures": 6}
    twice = {"name": "concatenated", "of": [source, {**source, "formats": ["png"]}]}
    recipe = {
        "dataset": "copies",
        "version": "1.0.0",
        "source": twice,
        "curate": [{"name": "duplicates", "embedding": False}],
    }
    job = Job(Recipe.parse(recipe), str(tmp_path / "store"))
    manifest = build(job)
    curate(job, manifest)
    export(Selection(manifest, job.store), tmp_path / "out", "cleanlab")
    rows = rows_of(tmp_path / "out" / "issues.csv")
    assert list(rows[0]) == ["is_near_duplicate_issue", "near_duplicate_score", "near_duplicate_of"]
    assert len(rows) == manifest.pictures()
    flagged = [row for row in rows if row["is_near_duplicate_issue"] == "True"]
    ids = {row["id"] for row in rows_of(tmp_path / "out" / "metadata.csv")}
    assert flagged
    assert all(float(row["near_duplicate_score"]) < 0.2 and row["near_duplicate_of"] in ids for row in flagged)
    assert all(float(row["near_duplicate_score"]) == 1 for row in rows if row not in flagged)
    _, found = come_back("cleanlab", path=tmp_path / "out")
    assert sum(one.metadata["issues"]["is_near_duplicate_issue"] for one in found) == len(flagged)


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_label_issues_have_datalabs_columns():
    issues = Issues("label", {"a": (True, 0.75, 1), "b": (False, float("nan"), -1)}, ("cat", "dog"))
    assert issues.header == ["is_label_issue", "label_score", "given_label", "predicted_label"]
    assert issues.cells("a", "cat") == ["True", "0.25", "cat", "dog"]
    assert issues.cells("b", "") == ["False", "", "", ""]
    assert issues.cells("c", "cat") == ["False", "", "", ""]
    assert Issues("outlier", {"a": (True, 0.01)}, ()).cells("a", "") == ["True", "0.01"]


# ── what isn't written ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("form", "said"),
    [("waves", "no marked pictures"), ("unsafebench", "judged"), ("imagenet_e", "no picture with a class")],
)
def test_an_edition_that_a_layout_is_not_for(plain, tmp_path, form, said):
    job, manifest = plain
    with pytest.raises(StoreError, match=said):
        export(Selection(manifest, job.store), tmp_path / "out", form)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["image_folder", "parquet", "fiftyone", "label_studio", "cvat", "cleanlab"])
def test_an_edition_without_classes(plain, tmp_path, form, own_cache):
    job, manifest = plain
    (part,) = export(Selection(manifest, job.store), tmp_path / "out", form)
    assert part.pictures == 4
    fields = {"image_folder": {"path": tmp_path / "out"}, "cleanlab": {"path": tmp_path / "out", "issues": ""}}
    if form == "parquet":
        fields[form] = {"files": f"{tmp_path}/out/data/*.parquet", "label": "label"}
    _, found = come_back(form, **fields.get(form, {"path": tmp_path / "out"}))
    assert [one.labels for one in found] == [()] * 4


def test_names_that_do_not_exist_and_folders_that_do(plain, tmp_path):
    job, manifest = plain
    with pytest.raises(StoreError, match="no format 'voc'; there are: coco, cleanlab, cvat"):
        export(Selection(manifest, job.store), tmp_path / "out", "voc")
    for asked, said in (
        (Selection(manifest, job.store, ("night",)), "no accepted pictures of variant 'night'; it has: original"),
        (Selection(manifest, job.store, (), "val"), "no split 'val'; it has: train"),
    ):
        with pytest.raises(StoreError, match=said):
            export(asked, tmp_path / "out", "cvat")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    for form in FORMATS:
        with pytest.raises(StoreError, match="other files"):
            export(Selection(manifest, job.store), tmp_path / "mine", form)
    export(Selection(manifest, job.store), tmp_path / "out", "cvat")
    with pytest.raises(StoreError, match="another export"):
        export(Selection(manifest, job.store), tmp_path / "out", "fiftyone")
    (tmp_path / "out" / "images" / "more.png").touch()
    with pytest.raises(StoreError, match="changed"):
        export(Selection(manifest, job.store), tmp_path / "out", "cvat")


def test_a_disk_that_is_full_leaves_nothing(plain, tmp_path, monkeypatch):
    job, manifest = plain

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    for form in ("image_folder", "fiftyone", "cvat"):
        with pytest.raises(OSError, match="No space"):
            export(Selection(manifest, job.store), tmp_path / "deep" / form, form)
    assert list((tmp_path / "deep").iterdir()) == []


BAD = '''"""Half of the pictures fail a check."""

from variorum.schemas.component import Generator


class Bad(Generator):
    """Every second picture goes into quarantine."""

    keeps_objects = True

    def edit(self, sample, of):
        number = int(sample.origin.partition(".")[0])
        requested = {"number": number}
        yield of.made(sample.image, variant="checked", requested=requested, reason="bad" if number % 2 else "")
'''


def test_quarantined_pictures_stay(tmp_path, own_cache):
    """And a split is chosen, and a content warning is noted."""
    (tmp_path / "bad.py").write_text(BAD)
    recipe = {
        "dataset": "some",
        "version": "1.0.0",
        "warning": "Circles.",
        "source": {**ANNOTATED, "pictures": 8},
        "generate": [{"name": str(tmp_path / "bad.py")}],
    }
    job = Job(Recipe.parse(recipe), str(tmp_path / "store"))
    manifest = run(job)
    assert manifest.counts["checked"] == {"accepted": 4, "quarantined:bad": 4}
    (part,) = export(Selection(manifest, job.store, ("checked",), "train"), tmp_path / "out", "fiftyone")
    samples = json.loads((tmp_path / "out" / "samples.json").read_bytes())["samples"]
    assert part.pictures == 2
    assert sorted(one["origin"] for one in samples) == ["0.jpg", "4.jpg"]
    assert {tuple(one["tags"]) for one in samples} == {("train",)}
    assert json.loads((tmp_path / "out" / NOTE).read_bytes())["warning"] == "Circles."

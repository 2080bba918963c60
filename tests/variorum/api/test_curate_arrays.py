"""`va.curate` on arrays, PIL images, files, folders and datasets, and what it says about them."""

import io
import os
import shutil
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest
import skimage.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import variorum as va
from variorum.api.given import read_given
from variorum.api.labels import read_labels
from variorum.models.aliases import ModelTable
from variorum.schemas.errors import RecipeError, SourceError, StoreError, VariorumError, VersionDrift
from variorum.stages.measure import Measure

SMALL = {"curate.features.encoder": "encoder"}
QUICK = {"curate.features": None, "curate.probabilities": None, "curate.training_dynamics": None}
"""Leaves only damage to be found, which takes no model."""

pytestmark = pytest.mark.usefixtures("kept_apart")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("curated") / "store"


def crops(*names: str, each: int = 8) -> list[np.ndarray]:
    found = []
    for name in names:
        image = getattr(skimage.data, name)()
        found += [image[20 * k : 20 * k + 100 + k, 30 * k : 30 * k + 120] for k in range(each)]
    return found


def as_jpeg(pixels: np.ndarray) -> np.ndarray:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=60)
    return np.asarray(Image.open(out))


NAMES = ["cat", "cup", "<b>astronaut</b>"]
LABELS = [0] * 8 + [1] * 8 + [2] * 8 + [1, 0]


@pytest.fixture(scope="module")
def arrays():
    """24 crops of three photographs, a copy of the first as JPEG, and a black picture."""
    found = crops("chelsea", "coffee", "astronaut")
    return [*found, as_jpeg(found[8]), np.zeros((64, 80, 3), np.uint8)]


@pytest.fixture(scope="module")
def found(arrays, store):
    return va.curate(arrays, LABELS, names=NAMES, store=store, progress=False, **SMALL)


# ── what is found ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_copy_and_a_black_picture_are_found(found):
    said = {row["row"]: row for row in found.verdicts("drop").to_pylist()}
    assert said[25]["reason"] == "shows_nothing"
    copies = [row for row in (8, 24) if row in said]
    assert len(copies) == 1
    assert said[copies[0]]["reason"] == "copy"
    assert said[copies[0]]["given"] == "cup"
    assert set(np.flatnonzero(~found.keep)) == said.keys()


def test_labels_are_aligned_and_of_the_kind_that_was_given(found, arrays):
    labels = found.labels()
    assert len(labels) == len(found) == len(arrays)
    changed = {row["row"] for row in found.verdicts("relabel").to_pylist()}
    for row, (before, after, kept) in enumerate(zip(LABELS, labels, found.keep, strict=True)):
        assert after is None if not kept else after == before or row in changed


def test_verdicts_are_a_table(found):
    table = found.verdicts()
    assert table.column_names == ["row", "action", "reason", "by", "given", "proposed", "value", "worth"]
    frame = table.to_pandas()
    assert frame["row"].is_unique
    assert not set(frame["action"]) & {"audit", "keep", "note"}
    order = ["relabel", "review", "drop"]
    assert [a for a in order if a in set(frame["action"])] == list(dict.fromkeys(frame["action"]))
    worth = frame[frame["action"] == "review"]["worth"].dropna()
    assert worth.is_monotonic_decreasing
    assert len(found.verdicts("audit")) > 0
    with pytest.raises(RecipeError, match="no action 'delete'; there are: relabel, review, drop"):
        found.verdicts("delete")


def test_it_is_reported_in_a_few_lines(found, capsys):
    found.report()
    text = capsys.readouterr().out
    assert text.startswith("26 pictures, 26 labels in 3 classes: ")
    assert text.rstrip() == str(found)
    assert "shows nothing" in text
    assert found.release.name in text
    assert repr(found).startswith("<Curated 26 pictures, 26 labels in 3 classes: ")


def test_a_notebook_shows_pictures_and_no_markup_of_theirs(found):
    html = found._repr_html_()
    shown = min(12, len(found.verdicts()))
    assert html.count("<img ") == shown > 0
    assert "shows nothing" in html
    assert "<b>astronaut" not in html
    assert "<script" not in html
    sheet = found.show(3).image
    assert sheet.width > sheet.height
    with pytest.raises(RecipeError, match="whole number from 1 to 1000"):
        found.show(0)


def test_hostile_names_are_escaped(arrays, store):
    mark = "<script>alert(1)</script>"
    found = va.curate([arrays[0], arrays[-1]], [mark, mark], store=store, progress=False, **QUICK)
    assert "&lt;script&gt;" in found._repr_html_()
    assert "<script" not in found._repr_html_()


def test_the_release_is_an_edition(found):
    assert len(found.release) == found.keep.sum()
    assert len(found.edition) == len(found)
    assert found.release.name == f"{found.edition.name}-r1"
    assert {sample.labels[0] for sample in found.release} == set(NAMES)


def test_the_same_pictures_repeat_no_work(arrays, store, found, monkeypatch):
    def refuse(*_):
        raise AssertionError("a picture was measured again")

    monkeypatch.setattr(Measure, "make", refuse)
    again = va.curate(list(arrays), np.array(LABELS), names=NAMES, store=store, progress=False, **SMALL)
    assert again.release.digest == found.release.digest
    budget = {"curate.review.budget": 2, "curate.audit.sample": 5}  # other thresholds read no picture
    other = va.curate(arrays, LABELS, names=NAMES, store=store, progress=False, **SMALL, **budget)
    assert other.edition.digest == found.edition.digest
    assert other.release.name.endswith("-r2")
    assert len(other.verdicts("review")) <= 2


def test_other_pictures_are_another_edition(arrays, store, found):
    other = va.curate(arrays[:4], LABELS[:4], store=store, progress=False, **QUICK)
    assert other.edition.manifest.dataset != found.edition.manifest.dataset
    mine = va.curate(arrays[:4], LABELS[:4], store=store, dataset="mine", progress=False, **QUICK)
    assert mine.edition.name.startswith("mine@")
    with pytest.raises(VersionDrift, match=r"mine@.* has other pictures or labels; give these another name"):
        va.curate(arrays[:5], LABELS[:5], store=store, dataset="mine", progress=False, **QUICK)


# ── what can be given ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_folder_is_what_the_command_line_reads(store, photos):
    found = va.curate(photos, store=store, progress=False, **QUICK)
    assert found.paths == sorted(found.paths)
    assert found.labels() == [os.path.dirname(path) for path in found.paths]
    as_text = va.curate(str(photos), store=store, progress=False, **QUICK)
    assert as_text.release.digest == found.release.digest
    source = {"source.name": "image_folder", "source.path": str(photos), "dataset": found.edition.manifest.dataset}
    same = va.run("curate_folder", store=store, progress=False, **source, **QUICK)
    assert same.digest == found.release.digest


def test_grey_and_transparent_pictures_of_any_size(store):
    grey = skimage.data.camera()[:90, :70]
    clear = Image.fromarray(np.dstack([crops("chelsea", each=1)[0], np.full((100, 120), 128, np.uint8)]))
    turned = Image.fromarray(grey)
    turned.getexif()[0x0112] = 6
    pictures = [grey, grey[..., None], clear, clear.convert("P"), Image.fromarray(grey).convert("CMYK"), turned]
    found = va.curate(pictures, store=store, progress=False, **QUICK)
    assert [sample.image.shape[:2] for sample in found.edition] == [(90, 70)] * 2 + [(100, 120)] * 2 + [
        (90, 70),
        (70, 90),
    ]
    first = next(iter(found.edition)).image
    assert np.array_equal(first, np.repeat(grey[..., None], 3, axis=2))


def test_without_labels_the_rest_is_found(arrays, store):
    found = va.curate(arrays, store=store, progress=False, **SMALL)
    assert {8, 24} & set(np.flatnonzero(~found.keep))
    assert not found.keep[25]
    assert "no labels" in found.notes[0]
    assert "no labels" in str(found)
    assert {label for label in found.labels() if label is not None} == {""}
    unknown = va.curate(arrays, [-1] * len(arrays), names=NAMES, store=store, progress=False, **QUICK)
    assert {label for label in unknown.labels() if label is not None} == {-1}


@pytest.mark.parametrize(("number", "labels"), [(1, None), (5, [0, 0, 1, 1, 2])])
def test_few_pictures_have_a_result(arrays, store, number, labels):
    found = va.curate(arrays[:number], labels, store=store, progress=False, **SMALL)
    assert found.keep.tolist() == [True] * number
    assert found.labels() == (labels or [""] * number)


def test_a_file_that_is_no_picture_is_dropped_and_said(tmp_path, photos, store):
    (tmp_path / "notes.jpg").write_text("not a picture")
    files = [tmp_path / "notes.jpg", *sorted(photos.rglob("*.jpg"))]
    found = va.curate(files, ["a"] * 13, store=store, progress=False, **QUICK)
    (said,) = found.verdicts("drop").to_pylist()
    assert (said["row"], said["path"], said["reason"], said["by"]) == (0, str(files[0]), "not_an_image", "build")
    assert found.keep.tolist() == [False] + [True] * 12
    assert found.labels() == [None] + ["a"] * 12
    assert "notes.jpg" in found._repr_html_()


def test_an_encoder_that_is_not_here_is_replaced_and_said(arrays, store, monkeypatch, caplog):
    status = ModelTable.status

    def missing(self, alias, **options):
        found = status(self, alias, **options)
        return replace(found, state="missing") if alias == "encoder_independent" else found

    monkeypatch.setattr(ModelTable, "status", missing)
    monkeypatch.setattr(ModelTable, "fetch_missing", lambda self, aliases: False)  # as without a network
    alone = {"curate.probabilities": None, "curate.training_dynamics": None}
    found = va.curate(arrays[:3], [0, 1, 1], store=store, progress=False, **alone)
    assert found.notes == (caplog.messages[0],)
    assert "variorum doctor encoder_independent --fetch" in found.notes[0]
    assert set(found.ledger.models) >= {"encoder"}
    assert "encoder_independent" not in found.ledger.models


# ── what can't ───────────────────────────────────────────────────────────────────────────────────────────────────────

BLANK = np.zeros((32, 32, 3), np.uint8)


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        ([], "pictures is empty"),
        (np.zeros((0, 32, 32, 3), np.uint8), "pictures is empty"),
        (BLANK, r"shape \[32, 32, 3\], one picture or none"),
        (7, "pictures is of type int"),
        ({"a": BLANK}, "pictures is of type dict"),
        ({"a.png"}, "pictures is of type set"),
        ((np.zeros((2, 32, 32, 3), np.uint8), [0, 1]), r"several pictures by itself.*curate\(x, y\)"),
        (torch.zeros((2, 32, 32, 3), requires_grad=True), "pictures is of type torch.Tensor: .*detach"),
        ([torch.zeros((32, 32, 3), requires_grad=True)], r"pictures\[0\] is of type torch.Tensor: .*detach"),
        ("nowhere", "nowhere is not there; give a folder"),
        ([BLANK, BLANK / 255], r"pictures\[1\] holds float64.*\(255 \* x\)\.round\(\)\.astype\('uint8'\)"),
        ([BLANK + 0.5], r"holds float64.*\(255 \* x\)"),
        ([BLANK + 99.0], r"holds float64.*: x\.round\(\)\.astype\('uint8'\)"),
        ([BLANK - 1.5], r"runs from -1\.5 to -1\.5; undo its normalisation first"),
        ([BLANK == 0], r"holds bool.*255 \* x\.astype\('uint8'\)"),
        ([BLANK.astype(int)], r"holds int64.*x\.astype\('uint8'\)"),
        ([BLANK.astype(np.uint16) + 999], r"\(x // 257\)"),
        ([np.moveaxis(BLANK, -1, 0)], r"shape \[3, 32, 32\].*np\.moveaxis\(x, 0, -1\)"),
        ([np.zeros((32, 32, 4), np.uint8)], r"without the alpha channel: x\[\.\.\., :3\]"),
        ([BLANK[:4]], r"shape \[4, 32, 3\]; the shorter side must have at least 8 pixels"),
        ([(BLANK, 1, 2)], r"pictures\[0\] is of type tuple"),
        ([None], r"pictures\[0\] is of type NoneType"),
        (["nothing.jpg"], r"pictures\[0\], nothing\.jpg: No such file"),
        (["a\nb.jpg"], r"pictures\[0\], a\\nb\.jpg: No such file"),
        ([os.devnull], r"pictures\[0\], /dev/null: .*device"),
    ],
)
def test_what_is_no_picture_is_named_with_the_way_out(pictures, message, tmp_path):
    with pytest.raises(SourceError, match=message) as raised:
        va.curate(pictures, store=tmp_path / "store")
    assert str(raised.value).startswith("curate: ")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ([0, 1], None, "2 labels for 3 pictures"),
        ("abc", None, "labels is the text 'abc', and these pictures have no columns; give a list"),
        ([0, "a", 1], None, "both numbers and texts"),
        ([0, 1, -2], None, r"labels\[2\] is -2"),
        ([0, 1.5, 1], None, r"labels\[1\] is 1\.5 \(float\)"),
        ([0, 1, [2]], None, r"labels\[2\] is \[2\] \(list\)"),
        ([0, 1, 2], ["a", "b"], "labels has 2, and there are 2 names, for 0 to 1"),
        ([0, 1, 1], ["a", "a"], "two classes are called 'a' and 'a'"),
        ([0, 1, 1], ["a", "a "], "two classes are called 'a' and 'a '"),
        (["a", "a ", "b"], None, "two classes are called 'a' and 'a '"),
        (["a", " b", "c"], None, "' b' has spaces around it"),
        ([0, 0, 0], [""], "'' isn't a class name"),
        (["a", "b", "a\x1b[2J"], None, "has unprintable characters"),
        (["a", "b", "c"], ["a", "b"], "labels has 'c', which isn't among the names"),
        (None, ["a", "b"], "names without labels"),
        ({0: 1, 1: 1, 2: 0}, None, "labels is of type dict"),
        ({0, 1, 2}, None, "labels is of type set"),
        (np.eye(3), None, r"labels\[0\] has shape \[3\].*scores\.argmax\(1\)"),
        ([0, 1, 1], 3, "names is of type int"),
        ([0, 1, 1], {0: "a", 1: "b"}, "names is of type dict"),
    ],
)
def test_labels_that_fit_nothing_are_errors(labels, names, message, tmp_path):
    with pytest.raises(SourceError, match=message) as raised:
        va.curate([BLANK] * 3, labels, names=names, store=tmp_path / "store")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "store").exists()


def test_a_column_of_a_dataset_is_a_list_of_pictures(photos, tmp_path):
    files = sorted(map(str, photos.rglob("*.*")))[:3]
    rows = datasets.Dataset.from_dict({"image": files, "label": [0, 1, 0]})
    rows = rows.cast_column("image", datasets.Image())
    column, listed = read_given(rows["image"], rows["label"]), read_given(list(rows["image"]), [0, 1, 0])
    assert column.source == listed.source
    assert column.labels.texts() == ["0", "1", "0"]


def test_a_damaged_file_that_pil_has_opened_is_named(photos, tmp_path):
    whole = next(photos.rglob("*.*")).read_bytes()
    (tmp_path / "half.jpg").write_bytes(whole[:-500])
    closed = Image.open(io.BytesIO(whole))
    closed.close()
    with Image.open(tmp_path / "half.jpg") as half:
        for broken in (half, closed):
            with pytest.raises(SourceError, match=r"pictures\[1\] can't be decoded \(.*give the path of its file"):
                va.curate([BLANK, broken], store=tmp_path / "store")


def test_missing_labels_of_pandas_are_none():
    numbers = read_labels(pd.Series([1, None, 0], dtype="Int64"), None, 3)
    assert numbers.texts() == ["1", "", "0"]
    assert read_labels(pd.Series(["a", None], dtype="string"), None, 2).texts() == ["a", ""]


def test_a_folder_may_begin_with_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "photos").mkdir()
    assert read_given("~/photos").source["path"] == str(tmp_path / "photos")


def test_a_folder_is_listed_once(photos, tmp_path, store, caplog):
    shutil.copytree(photos / "coffee", tmp_path / "photos" / "coffee")
    (tmp_path / "photos" / "outside").symlink_to(photos)
    va.curate(tmp_path / "photos", store=store, progress=False, **QUICK)
    assert sum("isn't followed" in message for message in caplog.messages) == 1


def test_settings_and_options_are_checked(arrays, photos, tmp_path):
    some = arrays[:3]
    for options, message in [
        ({"limit": 2}, "limit can't be set"),
        ({"source.path": "x"}, "source.path can't be set"),
        ({"curate.policy.nothing": 1}, "nothing: no such field"),
        ({"recipe": "imagenet_e"}, "the recipe generates pictures"),
        ({"recipe": "nothing"}, "no recipe 'nothing'"),
        ({"profile": "x"}, "no model profile named 'x'"),
        ({"workers": 0}, "workers: must be a whole number"),
        ({"dataset": "My Set"}, "lower-case letters"),
    ]:
        with pytest.raises(VariorumError, match=message):
            va.curate(some, store=tmp_path / "store", **options)
    with pytest.raises(SourceError, match="a folder's labels are the folders"):
        va.curate(photos, [1] * 12, store=tmp_path / "store")


def test_pictures_that_would_all_be_dropped_are_one_line(store):
    with pytest.raises(RecipeError, match="would drop all 3 pictures"):
        va.curate([BLANK] * 3, store=store, progress=False, **QUICK)


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path, arrays, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("variorum.api.given.cache_dir", lambda: tmp_path / "file")
    with pytest.raises(StoreError, match=r"can't be kept in .*; set VARIORUM_CACHE"):
        va.curate(arrays[:2], store=tmp_path / "store")


def test_a_damaged_file_of_arrays_is_written_again(tmp_path, arrays, store, monkeypatch):
    monkeypatch.setattr("variorum.api.given.cache_dir", lambda: tmp_path / "own")
    found = va.curate(arrays[:4], store=store, progress=False, **QUICK)
    (file,) = Path(tmp_path / "own").rglob("pictures.parquet")
    content = file.read_bytes()
    file.write_bytes(content[:1000])
    again = va.curate(arrays[:4], store=store, progress=False, **QUICK)
    assert again.release.digest == found.release.digest
    assert file.read_bytes() == content


# ── alignment ────────────────────────────────────────────────────────────────────────────────────────────────────────

SIZES = st.tuples(st.integers(40, 90), st.integers(40, 90))
PICTURES = st.lists(st.tuples(SIZES, st.booleans(), st.sampled_from([None, 0, 1, 7])), min_size=2, max_size=9)


@given(PICTURES)
@settings(max_examples=2)
def test_labels_and_keep_are_aligned_with_any_input(tmp_path_factory, given):
    photo = skimage.data.chelsea()
    given = [*given, ((50, 50), False, 0)]  # something stays
    pictures = [
        np.zeros((*size, 3), np.uint8) if black else photo[7 * k : 7 * k + size[0], 11 * k : 11 * k + size[1]]
        for k, (size, black, _) in enumerate(given)
    ]
    labels = [label for *_, label in given]
    found = va.curate(pictures, labels, store=tmp_path_factory.mktemp("aligned"), progress=False, **QUICK)
    black = [is_black for _, is_black, _ in given]
    assert found.keep.tolist() == [not one for one in black]
    expected = [None if one else -1 if label is None else label for one, label in zip(black, labels, strict=True)]
    assert found.labels() == expected
    assert found.verdicts("drop")["row"].to_pylist() == [row for row, one in enumerate(black) if one]
    assert [sample.image.shape[:2] for sample in found.edition] == [size for size, *_ in given]

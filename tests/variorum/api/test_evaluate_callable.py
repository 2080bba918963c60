"""`va.evaluate` of functions: figures that can be counted by hand, errors before work, and nothing left behind."""

from __future__ import annotations

import shutil
import sys
import textwrap
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from answering import CLASSES, by_warmth, constant, edition, read_only

import variorum as va
from variorum.api.edition import Edition
from variorum.api.model_choice import chosen_models
from variorum.edition.store import Store
from variorum.models import ModelTable
from variorum.schemas.errors import ModelFailed, ModelUnavailable, RecipeError, SourceError, StoreError

WNIDS = ("n02123045", "n02124075", "n07920052")
QUIET = {"progress": False, "save": False}


@pytest.fixture(scope="module")
def shots(photos, tmp_path_factory) -> Edition:
    store = str(tmp_path_factory.mktemp("shots"))
    return Edition(edition(photos, store), Store(store, writable=False))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def own(shots, tmp_path) -> Edition:
    """The same in a store that a test may change."""
    shutil.copytree(shots.store.local, tmp_path / "store", symlinks=True)
    return Edition(shots.manifest, Store(str(tmp_path / "store"), writable=False))


def files(edition: Edition) -> set[Path]:
    return {path for path in Path(edition.store.root).rglob("*") if path.is_file()}


def changed(edition: Edition, **fields) -> Edition:
    return Edition(edition.manifest.model_copy(update=fields), edition.store)


def test_figures_are_those_that_can_be_counted(shots):
    results = va.evaluate(shots, by_warmth, **QUIET)
    samples = list(shots.samples())
    right = {one.id: CLASSES[int(by_warmth([one.image]).argmax())] == one.labels[0] for one in samples}
    answers = results.answers()
    assert dict(zip(answers["id"].to_pylist(), answers["correct"].to_pylist(), strict=True)) == right
    assert 0 < sum(right.values()) < len(right) == 36

    share = {name: np.mean([right[one.id] for one in samples if one.variant == name]) for name in shots.variants}
    found = results.files["by_warmth"].figures
    assert found.original_accuracy == pytest.approx(100 * share["original"], abs=0.01)
    assert found.variants["negative_0"].accuracy == pytest.approx(100 * share["negative_0"], abs=0.01)
    drop = share["original"] - share["negative_0"]
    assert found.variants["negative_0"].drop.value == pytest.approx(100 * drop, abs=0.01)
    assert found.variants["negative_0"].drop.low <= 100 * drop <= found.variants["negative_0"].drop.high

    table = results.table()
    assert table["variant"].to_pylist() == ["original", "negative_0", "negative_1"]
    assert table["n"].to_pylist() == [12, 12, 12]
    scored, correct = results.files["by_warmth"].answers.arrays()
    assert scored.all()
    assert correct.tolist() == [right[one.id] for one in samples]


def test_the_result_has_the_figures_of_the_evaluation(shots):
    results = va.evaluate(shots, by_warmth, **QUIET)
    theirs, ours = results.figures["classifiers"]["by_warmth"], results.files["by_warmth"].figures
    assert theirs["average_drop"] == {**ours.average_drop.model_dump(), "photographs": 12}
    for variant, one in ours.variants.items():
        assert theirs["variants"][variant]["drop"] == {**one.drop.model_dump(), "photographs": 12}
        assert theirs["variants"][variant]["accuracy"] == one.accuracy


def test_a_function_is_asked_each_time_and_leaves_nothing_but_results(own):
    asked = []

    def counting(images):
        asked.append(len(images))
        return by_warmth(images)

    counting.classes = CLASSES
    before = files(own)
    first = va.evaluate(own, counting, progress=False)
    once = sum(asked)
    assert once == 36
    second = va.evaluate(own, counting, progress=False)
    assert sum(asked) == 2 * once
    assert first.files == second.files
    new = files(own) - before
    beside = {path.relative_to(own.path).as_posix() for path in new if path.is_relative_to(own.path)}
    name = first.files["counting"].file_name()
    assert beside == {"leaderboard.json", f"results/{name}", f"answers-{name}"}
    assert [path.suffix for path in new if not path.is_relative_to(own.path)] == [".parquet"]  # that `answers-…` names


def test_a_function_with_a_revision_goes_on_where_it_was_stopped(own):
    asked = []

    def fragile(images):
        asked.append(len(images))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return by_warmth(images)

    fragile.classes = CLASSES
    options = {"revision": "commit 1f3a", "progress": False}
    with pytest.raises(KeyboardInterrupt):
        va.evaluate(own, fragile, **options)
    results = va.evaluate(own, fragile, **options)
    assert asked == [12, 12, 12, 12]  # the first shard isn't asked again
    assert va.evaluate(own, fragile, **options).files == results.files
    assert len(asked) == 4
    va.evaluate(own, fragile, revision="commit 2b", progress=False)
    assert len(asked) == 7
    assert results.files["fragile"].model.revision == "commit 1f3a"


def test_several_functions_see_the_same_pictures_and_are_compared(shots):
    results = va.evaluate(shots, {"warm": by_warmth, "always cat": constant(1)}, **QUIET)
    assert results.models == ("warm", "always cat")
    board = results.leaderboard
    best, worse = board.entries
    assert best.figures.accuracy >= worse.figures.accuracy
    assert best.behind is None
    assert worse.behind.value == pytest.approx(best.figures.accuracy - worse.figures.accuracy, abs=0.02)
    assert worse.figures.accuracy == pytest.approx(100 / 3, abs=0.01)
    assert set(results.answers()["model"].to_pylist()) == set(results.models)
    assert "always cat" in repr(results)
    assert repr(results).count("\n") == 3


def test_workers_and_the_order_of_models_change_no_figure(shots):
    one = va.evaluate(shots, {"a": by_warmth, "b": constant(0)}, **QUIET)
    other = va.evaluate(shots, {"b": constant(0), "a": by_warmth}, workers=3, **QUIET)
    assert one.files == {name: other.files[name] for name in ("a", "b")}
    assert one.leaderboard == other.leaderboard


def test_twenty_models(shots):
    many = {f"model {number:02}": constant(number % 3) for number in range(20)}
    results = va.evaluate(shots, many, **QUIET)
    names = [entry.model.name for entry in results.leaderboard.entries]
    assert names == sorted(many)  # all are as good as each other, so the names decide
    assert all(entry.ties for entry in results.leaderboard.entries[1:])
    assert len(results.answers()) == 20 * 36


def test_an_edition_without_originals_has_accuracies_and_no_drops(photos, tmp_path):
    store = str(tmp_path / "store")
    manifest = edition(photos, store, originals=False)
    results = va.evaluate("shots", {"warm": by_warmth, "cat": constant(1)}, store=store, **QUIET)
    found = results.files["cat"].figures
    assert manifest.pictures() == 24
    assert (found.n, found.original_accuracy, found.average_drop) == (0, None, None)
    assert found.accuracy == pytest.approx(100 / 3, abs=0.01)
    assert results.leaderboard.entries[1].behind is not None
    assert "no originals" in " ".join(results.leaderboard.notes())
    assert results.table()["drop"].null_count == 4


def test_only_originals_are_ranked_by_their_accuracy(photos, tmp_path):
    store = str(tmp_path / "store")
    edition(photos, store, ineligible=".")
    results = va.evaluate("shots", {"warm": by_warmth, "cat": constant(1)}, store=store, **QUIET)
    best, second = results.leaderboard.entries
    assert (best.figures.accuracy, best.figures.average_drop) == (None, None)
    assert best.figures.original_accuracy >= second.figures.original_accuracy
    assert second.behind.value == pytest.approx(
        best.figures.original_accuracy - second.figures.original_accuracy, abs=0.02
    )


def test_labels_outside_of_the_models_classes_are_not_scored(shots):
    with pytest.raises(RecipeError, match=r"1 class \('coffee'\) of the edition's 3 can't be found"):
        va.evaluate(shots, lambda images: np.zeros((len(images), 2)), classes=CLASSES[:2], **QUIET)


@pytest.fixture(scope="module")
def of_a_thousand(photos, tmp_path_factory) -> Edition:
    """Pictures of three classes in an edition that lists all of ImageNet's."""
    folder = tmp_path_factory.mktemp("wnids")
    for name, wnid in zip(CLASSES, WNIDS, strict=True):
        shutil.copytree(photos / name, folder / wnid)
    store = str(tmp_path_factory.mktemp("thousand"))
    return Edition(edition(folder, store), Store(store, writable=False))


def test_a_model_needs_only_the_classes_that_occur(shots, of_a_thousand):
    assert len(of_a_thousand.manifest.classes) == 1000
    found = va.evaluate(of_a_thousand, by_warmth, classes=WNIDS, **QUIET).files["by_warmth"]
    same = va.evaluate(shots, by_warmth, **QUIET).files["by_warmth"]
    assert found.figures.accuracy == same.figures.accuracy > 0
    assert found.answers.arrays()[0].all()
    with pytest.raises(RecipeError, match=rf"1 class \('{WNIDS[2]} .* of the edition's 1000 can't be found"):
        va.evaluate(of_a_thousand, never, classes=(*WNIDS[:2], "n01440764"), **QUIET)


def test_as_many_unnamed_outputs_as_classes_are_those_in_order(shots, caplog):
    def unnamed(images):
        return by_warmth(images)

    found = va.evaluate(shots, unnamed, **QUIET).files["unnamed"]
    assert found.answers == va.evaluate(shots, by_warmth, **QUIET).files["by_warmth"].answers
    said = "its 3 outputs are taken for the edition's classes in order, astronaut, chelsea, coffee"
    assert f"model unnamed: {said}; give classes" in caplog.text
    assert found.model.preprocessing.endswith(f"{said[0].upper()}{said[1:]}.")
    label = {one.image.tobytes(): CLASSES.index(one.labels[0]) for one in shots.samples()}
    next_class = {"wrong": lambda images: [np.eye(3)[label[image.tobytes()] - 1] for image in images]}
    wrong = va.evaluate(shots, next_class, **QUIET)
    assert "wrong is right on" in repr(wrong)
    assert "wrong is right on" in wrong._repr_html_()


def test_a_network_is_asked_before_its_classes_are_judged(shots, of_a_thousand, caplog):
    torch = pytest.importorskip("torch")
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 4))
    said = "it gives 4 scores a picture and doesn't say of which classes; the edition has"
    with pytest.raises(RecipeError, match=f"{said} 3: astronaut, chelsea, coffee; give the classes of all 4"):
        va.evaluate(shots, network, **QUIET)
    with pytest.raises(RecipeError, match=f"{said} 1000: n01440764 tench, "):
        va.evaluate(of_a_thousand, network, **QUIET)
    found = va.evaluate(shots, {"net": network}, classes=[*CLASSES, "other"], preprocess="resize=8x8", **QUIET)
    assert found.files["net"].model.preprocessing == "Stretched to 8 × 8 px (bilinear), values x / 255 (as asked for)."
    assert "model net is a PyTorch module; preprocessing: Stretched to 8 × 8 px (bilinear), values x" in caplog.text
    assert network.training
    choice = chosen_models(
        {"net": network, "classifier": "classifier"}, classes=("a", "b", "c", "d"), preprocess="none"
    )
    assert (choice.names, set(choice.brought)) == (("net", "classifier"), {"net"})  # the other keeps its own
    with pytest.raises(RecipeError, match="'classifier' has preprocessing of its own; leave preprocess out"):
        va.evaluate(shots, "classifier", preprocess="none", **QUIET)
    with pytest.raises(RecipeError, match=r"is given by name and .* must be in words"):
        va.evaluate(shots, "module:mine.py:load", preprocess=np.asarray, **QUIET)


@pytest.mark.parametrize("form", ["lines", "json", "bom"])
def test_classes_from_a_file(shots, tmp_path, form):
    file = tmp_path / "classes.txt"
    text = '["coffee", "chelsea", "astronaut"]' if form == "json" else "coffee\nchelsea\nastronaut\n\n"
    file.write_text(text, encoding="utf-8-sig" if form == "bom" else "utf-8")
    results = va.evaluate(shots, lambda images: by_warmth(images)[:, ::-1], classes=file, name="m", **QUIET)
    assert results.files["m"].answers == va.evaluate(shots, by_warmth, **QUIET).files["by_warmth"].answers


def works_alone(images):
    if len(images) > 1:
        raise ValueError("one at a time")
    return by_warmth(images)


@pytest.mark.parametrize(
    ("function", "error", "said"),
    [
        (lambda images: by_warmth(images)[:, :2], ModelFailed, r"\[12, 2\].*it has 3 classes"),
        (lambda images: by_warmth(images)[0], ModelFailed, r"ndarray \[3\]"),
        (lambda images: by_warmth(images) * np.nan, ModelFailed, "nan for class 0 of picture 0"),
        (lambda images: None, ModelFailed, "is a `return` missing"),
        (works_alone, ModelFailed, "one at a time.*with each of these pictures alone it works"),
        (lambda images: images[99], ModelFailed, "IndexError"),
    ],
)
def test_what_a_function_does_wrong_is_said_in_one_line(shots, function, error, said):
    with pytest.raises(error, match=said) as raised:
        va.evaluate(shots, function, classes=CLASSES, **QUIET)
    assert "\n" not in str(raised.value)


def test_the_picture_that_a_function_fails_on_is_named(shots):
    blues = [(one.id, one.image[..., 2].mean()) for one in shots.samples()]
    limit = sorted(value for _, value in blues)[-3]
    first = next(name for name, value in blues if value >= limit)

    def fails(images):
        if any(image[..., 2].mean() >= limit for image in images):
            raise ValueError("too blue")
        return by_warmth(images)

    with pytest.raises(ModelFailed, match=f"too blue.*first picture that it fails on is {first} ") as raised:
        va.evaluate(shots, fails, classes=CLASSES, **QUIET)
    assert "from" in str(raised.value)


def never(images):
    raise AssertionError("a picture was shown")


@pytest.mark.parametrize(
    ("model", "options", "error", "said"),
    [
        (never, {"classes": ["a", "b", "c"]}, RecipeError, r"3 classes \('astronaut', 'chelsea', 'coffee'\)"),
        ([never, never], {}, RecipeError, "'never' is given twice"),
        (["classifier", "classifier"], {}, RecipeError, "given twice"),
        ([], {}, RecipeError, "no model is given"),
        ({"a": "classifier"}, {}, RecipeError, "keep their names"),
        ({7: never}, {}, RecipeError, "can't be called 7"),
        (never, {"name": "<b>"}, RecipeError, "can't be called '<b>'"),
        (never, {"name": "two\nlines"}, RecipeError, "can't be called"),
        (never, {"name": "classifier", "classes": CLASSES}, RecipeError, "alias"),
        ({"a": never}, {"name": "b"}, RecipeError, "the keys are the names"),
        ([never, "classifier"], {"name": "b"}, RecipeError, "name is for one function"),
        ({"a": never, "b": never}, {"revision": "1"}, RecipeError, "revision is that of one function"),
        (never, {"preprocessing": "two\nlines"}, RecipeError, "preprocessing must be a text"),
        (never, {"confidence": 1}, RecipeError, "confidence is 1"),
        (never, {"confidence": float("nan")}, RecipeError, "confidence is nan"),
        (never, {"confidence": "high"}, RecipeError, "confidence is 'high'"),
        (never, {"workers": 0}, RecipeError, "from 1 to 1000, not 0"),
        (never, {"workers": "2"}, RecipeError, "from 1 to 1000, not '2'"),
        ("classifier", {"classes": CLASSES}, RecipeError, "classes of its own"),
        ("nobody", {}, RecipeError, "no model alias 'nobody'"),
        ("what:ever", {}, RecipeError, "what"),
        (never, {"classes": "nowhere.txt"}, SourceError, "no file nowhere.txt"),
        (never, {"classes": []}, SourceError, "is empty"),
        (never, {"classes": ["a", " "]}, SourceError, "entry 1"),
        (never, {"classes": [1.5]}, SourceError, "entry 0"),
        ("onnx:nowhere.onnx", {}, ModelUnavailable, "nowhere.onnx doesn't exist"),
    ],
)
def test_wrong_calls_are_refused_before_a_picture_is_shown(shots, model, options, error, said):
    with pytest.raises(error, match=said) as raised:
        va.evaluate(shots, model, **options, **QUIET)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("model", [7, {"a": 7}, Edition, np.zeros(3)])
def test_what_is_no_model_is_answered_with_lines_to_paste(shots, model):
    with pytest.raises(RecipeError, match="is of type") as raised:
        va.evaluate(shots, model, **QUIET)
    lines = textwrap.dedent("\n".join(str(raised.value).splitlines()[1:])).splitlines()
    assert len(lines) == 6
    scope = {"prepare": lambda image: image[:2, :2], "network": lambda batch: np.tile([0.25, 0.75], (len(batch), 1))}
    exec("\n".join(lines[:-1]), scope)
    with pytest.raises(RecipeError, match="3 classes"):  # cat and dog, which the edition hasn't
        va.evaluate(shots, scope["model"], **QUIET)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00a", b"[1, ", b"[" * 100_000, b"", b'[["a"]]', b'{"a": 1}'])
def test_odd_files_of_classes(shots, tmp_path, content):
    file = tmp_path / "classes.txt"
    file.write_bytes(content)
    with pytest.raises((SourceError, RecipeError)) as raised:
        va.evaluate(shots, never, classes=file, **QUIET)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 600


def test_a_missing_package_is_named(shots, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelUnavailable, match="timm"):
        va.evaluate(shots, "timm:resnet18", **QUIET)


def test_editions_that_nothing_can_be_said_of(shots, tmp_path):
    with pytest.raises(StoreError, match=r"no edition 'shats'.*did you mean shots"):
        va.evaluate("shats", never, store=shots.store, **QUIET)
    with pytest.raises(StoreError, match="doesn't exist"):
        va.evaluate("shots", never, store=str(tmp_path / "nowhere"), **QUIET)
    with pytest.raises(SourceError, match="no accepted pictures"):
        va.evaluate(changed(shots, shards={}), never, **QUIET)
    with pytest.raises(SourceError, match="no labels"):
        va.evaluate(changed(shots, classes=[]), never, **QUIET)


def test_a_model_that_filtered_the_edition_is_refused(shots):
    pin = ModelTable("embedded").pin("classifier_small")
    with pytest.raises(RecipeError, match="decided what was accepted can't judge"):
        va.evaluate(changed(shots, filters=[pin]), ["classifier_small", "classifier"], **QUIET)


def test_a_store_that_cannot_be_written(own, tmp_path, monkeypatch):
    edition = Edition(own.manifest, read_only(own.store, monkeypatch))
    with pytest.raises(StoreError, match=r"can't be written.*save=False"):
        va.evaluate(edition, never, progress=False)
    before = files(own)
    results = va.evaluate(edition, by_warmth, revision="1", **QUIET)
    assert files(own) == before

    def unasked(images):
        raise AssertionError("asked again")

    unasked.classes = CLASSES
    again = va.evaluate(edition, unasked, name="by_warmth", revision="1", **QUIET)  # its tables are in the cache
    assert again.files["by_warmth"].answers == results.files["by_warmth"].answers
    (saved,) = results.save(tmp_path / "out")
    assert saved.read_bytes() == results.files["by_warmth"].to_bytes()


def test_results_are_saved_where_somebody_says(shots, tmp_path):
    results = va.evaluate(shots, {"a": by_warmth, "b": constant(1)}, **QUIET)
    assert {path.name for path in results.save(tmp_path / "two")} == {one.file_name() for one in results.files.values()}
    with pytest.raises(SourceError, match="there are 2 results"):
        results.save(tmp_path / "one.json")
    (path,) = va.evaluate(shots, by_warmth, **QUIET).save(tmp_path / "one.json")
    assert path == tmp_path / "one.json"
    with pytest.raises(StoreError, match="can't be written"):
        results.save(path / "below")


def test_a_notebook_shows_tables_and_plots_without_markup_of_others(shots):
    def hostile(images):
        return by_warmth(images)

    hostile.classes = CLASSES
    results = va.evaluate(shots, hostile, name='a"b&c', preprocessing="<script>alert(1)</script>", **QUIET)
    html = results._repr_html_()
    assert "<script" not in html
    assert "a&quot;b&amp;c" in html
    plots = results.plots()
    assert len(plots) == 2
    assert all(one.png.startswith(b"\x89PNG") for one in plots)
    assert plots._repr_html_().count("<img") == 2


def test_answers_say_what_was_seen(shots):
    answers = va.evaluate(shots, constant(2), **QUIET).answers()
    assert pc.unique(answers["top1"]).to_pylist() == [2]
    assert pc.unique(answers["model"]).to_pylist() == ["always"]
    assert min(answers["confidence"].to_pylist()) > 0.99
    assert answers["correct"].to_pylist() == [label == 2 for label in answers["label"].to_pylist()]

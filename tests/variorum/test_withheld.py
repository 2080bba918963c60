"""Pictures that may not be kept: a row says that there was one, and nothing of what it showed lies anywhere."""

from __future__ import annotations

import hashlib
import logging
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from annotated_set import ANNOTATED
from pixel_search import Pixels, found
from small_store import GENERATOR

import variorum
from variorum.edition.columns import WITHHELD
from variorum.edition.editions import files_of, folder_of, read_manifest
from variorum.edition.samples import failure_row, without_pixels
from variorum.edition.store import Store
from variorum.edition.tables import read_table, rows_to_parquet
from variorum.edition.verdicts import read_verdicts, settle
from variorum.edition.verify import verify
from variorum.people.panel.askable import Pictures
from variorum.people.panel.panel import open_panel, publish
from variorum.people.panel.settings import Settings
from variorum.people.server.served import Served
from variorum.pipeline import Job, Threads, build, curate, release, rollback, run
from variorum.pixels import decode, encode_png
from variorum.reports.diff import diff
from variorum.reports.page.write import write_view
from variorum.schemas.errors import RecipeError
from variorum.schemas.manifest import Manifest
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import Encoded, Sample

SECRET, BRIGHT = "secret", "bright"


@dataclass(frozen=True)
class Made:
    """What a run of the pipeline left.

    Attributes:
        folder: everything that was written, but for the source's files.
        edition: from which pictures are withheld while it is made.
        release: from which one more is withheld.
        said: what was logged.
    """

    folder: Path
    photos: Path
    recipe: Recipe
    store: Store
    edition: Manifest
    release: Manifest
    said: str

    def jpeg(self, name: str) -> bytes:
        return next(self.photos.rglob(f"{name}.jpg")).read_bytes()

    def rows(self, manifest: Manifest) -> dict[tuple[str, str], dict[str, Any]]:
        return {
            (Path(row["origin"]).stem, row["variant"]): row for row in read_table(self.store, manifest.rows).to_pylist()
        }


def pattern(number: int, brightness: int = 0) -> Pixels:
    """A picture that no other resembles: 8 × 8 random colours, smoothed."""
    colours = np.random.default_rng(number).integers(0, 200, (8, 8, 3)).astype(np.uint8) + np.uint8(brightness)
    return cv2.resize(colours, (80, 80), interpolation=cv2.INTER_CUBIC)


def recipe_of(photos: Path, **fields: Any) -> Recipe:
    """Pictures and their negatives; the brightest is withheld by curation, and what is drawn at random is audited."""
    brightest = {"when": [{"column": "bright.rank", "at_least": 14}], "action": "withhold", "reason": "unsafe"}
    drawn = {"name": "audit", "sample": 20, "sample_flagged": 0, "sample_relabelled": 0}
    return Recipe.parse(
        {
            "dataset": "d",
            "version": "1.0.0",
            "samples_per_shard": 4,
            "masters": "original",
            "max_failure_rate": 0,
            "source": {"name": "image_folder", "path": str(photos)},
            "generate": [{"name": "withholding", "source": f"{SECRET}_a", "made": f"{SECRET}_b"}],
            "curate": [{"name": "bright", "notes": True}, {"name": "policy", "rules": [brightest]}, drawn],
            "card": {"title": "Withheld"},
            **fields,
        }
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Nine photographs: one withheld by the build, one with a negative that is, and two files of one bright picture."""
    photos, folder = tmp_path_factory.mktemp("withheld_photos"), tmp_path_factory.mktemp("withheld")
    names = ["0", "1", "2", f"{SECRET}_a", f"{SECRET}_b", BRIGHT, f"{BRIGHT}_too", "7", "8"]
    for number, name in enumerate(names):
        place = photos / ("c" if name in "78" else "ab"[number % 2]) / f"{name}.jpg"
        place.parent.mkdir(exist_ok=True)
        bright = name.startswith(BRIGHT)
        data = cv2.imencode(".jpg", pattern(9 if bright else number, 55 * bright)[..., ::-1])[1].tobytes()
        place.write_bytes(data)
    records: list[str] = []
    handler = logging.Handler(logging.DEBUG)
    handler.emit = lambda record: records.append(handler.format(record))  # type: ignore[method-assign]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VARIORUM_CACHE", str(folder / "cache"))
        logging.getLogger().addHandler(handler)
        try:
            recipe, store = recipe_of(photos), Store(str(folder / "store"))
            released = run(Job(recipe, store), Threads(2))
            edition = read_manifest("d", "1.0.0", store)
            for manifest in (edition, released):
                write_view(manifest, store)
            write_view(edition, store, released, to=folder / "store" / "editions" / "d" / "1.0.0-r1" / "diff.html")
            (folder / "notebook.html").write_text(variorum.open(folder_of(released, store))._repr_html_())
        finally:
            logging.getLogger().removeHandler(handler)
        yield Made(folder, photos, recipe, store, edition, released, "\n".join(records))


# ── the build ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_row_of_a_withheld_picture_has_ids_hash_and_labels_alone(made):
    rows = made.rows(made.edition)
    source, negative = rows[f"{SECRET}_a", "original"], rows[f"{SECRET}_b", "negative"]
    jpeg = made.jpeg(f"{SECRET}_a")
    assert source["sha256"] == source["photograph"] == hashlib.sha256(jpeg).hexdigest()
    pixels = decode(made.jpeg(f"{SECRET}_b"))
    assert negative["sha256"] == hashlib.sha256(encode_png(255 - pixels)).hexdigest()
    assert negative["parent"] == negative["source"] == rows[f"{SECRET}_b", "original"]["id"]
    for row, label in ((source, "b"), (negative, "a")):
        assert (row["status"], row["reason"], row["start"], row["ops"]) == ("withheld", "unsafe", -1, "[]")
        assert row["labels"] == [label]
        assert row["label"] == "ab".index(label)
        assert row["gate.harm"] == 0.9
        assert row["split"] == "test"
        assert all(row.get(name) is None for name in WITHHELD)
    assert source["detail"] == "the test says so"
    assert (f"{SECRET}_a", "negative") not in rows, "nothing is made of it"
    assert made.edition.counts == {
        "original": {"accepted": 8, "withheld:unsafe": 1},
        "negative": {"accepted": 7, "withheld:unsafe": 1},
    }
    assert verify(made.edition, made.store) == []


def test_nothing_of_what_the_build_withheld_lies_anywhere(made):
    """Store, cache, page, sheet, card and notebook are searched for bytes, pixels and versions of the picture."""
    where = " ".join(found(made.folder, decode(made.jpeg("8")), made.jpeg("8")))
    files = (
        "tar: encoded bytes",
        "npz: its values",
        "view.html: a picture",
        "sheet.png: a picture",
        "book.html: a pict",
    )
    assert all(file in where for file in files), f"the search finds a picture that is kept: {where}"
    secret = decode(made.jpeg(f"{SECRET}_a"))
    assert found(made.folder, secret, made.jpeg(f"{SECRET}_a")) == []
    negative = 255 - decode(made.jpeg(f"{SECRET}_b"))
    assert found(made.folder, negative, encode_png(negative)) == []
    assert secret[40].tobytes().hex() not in made.said
    assert str(secret[40].tolist()) not in made.said


def test_what_a_unit_kept_in_the_memo_goes_also_when_the_unit_fails(made, tmp_path, monkeypatch):
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path / "cache"))
    secret = f"{hashlib.sha256(made.jpeg(f'{SECRET}_a')).hexdigest()}.npz"
    kept = recipe_of(made.photos, generate=[{"name": "withholding"}], curate=[])
    build(Job(kept, str(tmp_path / "kept")))
    assert list((tmp_path / "cache").rglob(secret)), "as by a run that was killed"
    probe = {"name": "probe", "explode": "/7.jpg"}
    failing = recipe_of(made.photos, generate=[*made.recipe.dump()["generate"], probe], curate=[])
    with pytest.raises(ZeroDivisionError):
        build(Job(failing, str(tmp_path / "failing")))
    assert not list((tmp_path / "cache").rglob(secret))


def test_a_withheld_picture_costs_no_failure_and_the_digest_is_the_same(made, tmp_path, monkeypatch):
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path / "cache"))
    assert made.recipe.max_failure_rate == 0
    assert build(Job(made.recipe, str(tmp_path / "store")), Threads(1)).digest() == made.edition.digest()


def test_a_source_may_withhold_a_picture_too():
    sample = Sample("0" * 32, b"as it came", ("b",), "a/1.jpg", digital_source_type="digitalCapture")
    row = failure_row(without_pixels(sample.withheld("unsafe", "its labels say so")), {"a": 0, "b": 1})
    digest = hashlib.sha256(b"as it came").hexdigest()
    assert row["sha256"] == row["photograph"] == digest
    assert (row["label"], row["digital_source_type"], row["detail"]) == (1, "digitalCapture", "its labels say so")
    assert "as it came" not in repr(sample.withheld("unsafe"))
    assert not any(isinstance(one, bytes) for one in row.values())


def test_the_hash_is_that_of_what_would_have_been_written():
    pixels = pattern(1)
    given = Encoded(b"its file", "f" * 64, pixels, "jpg")
    sample = Sample("0" * 32, pixels, photograph="p", encoded=given)
    assert without_pixels(sample.withheld("unsafe")).sha256 == "f" * 64
    changed = replace(sample, image=255 - pixels)
    assert without_pixels(changed.withheld("unsafe")).sha256 == hashlib.sha256(encode_png(255 - pixels)).hexdigest()
    with pytest.raises(RecipeError, match="needs a reason"):
        sample.withheld("")
    with pytest.raises(RecipeError, match="no picture to withhold"):
        replace(sample, image=b"").withheld("unsafe")


# ── curation and release ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_release_keeps_no_more_than_a_row_of_what_curation_withholds(made):
    before, after = made.rows(made.edition), made.rows(made.release)
    gone = {name for name, row in after.items() if row["status"] == "withheld" and before[name]["status"] == "accepted"}
    assert gone == {(BRIGHT, "original"), (f"{BRIGHT}_too", "original")}, "the same bytes are the same picture"
    for name in gone:
        row, old = after[name], before[name]
        same = ("id", "sha256", "parent", "source", "photograph", "labels", "label", "origin", "licence", "split")
        assert all(row[column] == old[column] for column in same)
        assert (row["reason"], row["by"], row["why"], row["ops"]) == ("unsafe", "policy", "unsafe", "[]")
        assert all(row.get(column) is None for column in WITHHELD)
    assert made.release.counts["original"] == {"accepted": 6, "withheld:unsafe": 3}
    assert made.release.ledger.counts["withhold"] == {"unsafe": 2}
    assert verify(made.release, made.store) == []
    changes = diff(made.edition, made.release, made.store)
    assert {(one.kind, one.why.split()[-1]) for one in changes} == {("withheld", "unsafe")}
    assert len(changes) == 2


def test_no_file_of_the_release_shows_what_curation_withheld(made, tmp_path):
    for info, suffix in files_of(made.release):
        shutil.copy(made.store.path(info, suffix), tmp_path)
    shutil.copytree(folder_of(made.release, made.store), tmp_path / "folder", symlinks=True)
    shutil.copy(made.folder / "notebook.html", tmp_path)
    for name, is_there in (("8", True), (BRIGHT, False)):
        where = " ".join(found(tmp_path, decode(made.jpeg(name)), made.jpeg(name)))
        assert all((file in where) == is_there for file in ("tar: enc", "view.html", "sheet.png", "book.html")), where
    assert "diff.html" in [path.name for path in (tmp_path / "folder").iterdir()]
    assert "diff.html: a picture" not in " ".join(found(tmp_path, decode(made.jpeg(BRIGHT))))


def test_the_card_and_the_summary_count_them(made):
    card = (Path(folder_of(made.release, made.store)) / "README.md").read_text()
    assert "| variant | accepted | quarantined | ineligible | failed | withheld | reasons" in card
    assert "| original | 6 | 0 | 0 | 0 | 3 | unsafe 3 |" in card
    assert "| withhold | policy | unsafe | 2 |" in card
    assert "passed the checks" not in card
    assert "The ledger judged 15 pictures, and 13 of them" in card
    edition = variorum.open(folder_of(made.edition, made.store))
    assert edition.counts["original"] == {
        "accepted": 8, "quarantined": 0, "ineligible": 0, "failed": 0, "withheld": 1,
    }  # fmt: skip


def test_nobody_is_asked_about_them(made):
    said = read_verdicts(made.release.ledger.verdicts, made.store)
    held = {row["id"] for (name, variant), row in made.rows(made.edition).items()
            if name.startswith(BRIGHT) and variant == "original"}  # fmt: skip
    drawn = {one["id"] for one in said.to_pylist() if one["action"] == "audit"}
    assert len(drawn) == 13, "an audit draws from all others"
    assert not drawn & held
    queue = Path(folder_of(made.edition, made.store), "ledgers", "0001.review.csv").read_text()
    assert all(name in queue for name in drawn)
    assert not any(name in queue for name in held)
    pictures = Pictures.read(made.edition, made.release.ledger, made.store)
    assert {name for name, out in zip(pictures.ids.to_pylist(), pictures.dropped(), strict=True) if out} == held


def test_a_panel_serves_none_that_nobody_is_asked_about(made, tmp_path):
    store = Store(str(shutil.copytree(made.store.local, tmp_path / "store", symlinks=True)))
    publish(made.edition, store, Settings(kinds=("edit",), votes=1, gold=0.0), name="edits")
    pictures = Served.of(open_panel(made.edition, store, name="edits"), {}).pictures
    rows = made.rows(made.edition)
    assert pictures.row(rows[BRIGHT, "original"]["id"]) is None
    assert pictures.described(pictures.row(rows[BRIGHT, "negative"]["id"]))["original"] is None
    beside = pictures.described(pictures.row(rows["8", "negative"]["id"]))["original"]
    assert beside["id"] == rows["8", "original"]["id"]


def test_no_other_verdict_undoes_it(made):
    said = read_verdicts(made.release.ledger.verdicts, made.store)
    held = [one for one in said.to_pylist() if one["action"] == "withhold"]
    more = [
        {**held[0], "action": action, "by": "people"} for action in ("keep", "drop", "relabel", "unasked", "review")
    ]
    assert settle(said.from_pylist([*more, held[0], *more], said.schema))["action"].to_pylist() == ["withhold"]


def test_a_release_can_be_made_again_from_its_ledger(made, tmp_path):
    store = Store(str(shutil.copytree(made.store.local, tmp_path / "store", symlinks=True)))
    shutil.rmtree(Path(folder_of(made.release, store)))
    again = release(Job(made.recipe, store), made.edition, 1, made.release.ledger)
    assert again.digest() == made.release.digest()


def test_going_back_to_a_release_with_pictures_that_a_later_one_withholds_is_told(made, tmp_path, caplog):
    store = Store(str(shutil.copytree(made.store.local, tmp_path / "store", symlinks=True)))
    kept = [{"when": [{"column": "bright.rank", "at_least": 99}], "action": "withhold", "reason": "unsafe"}]
    job = Job(
        recipe_of(made.photos, curate=[{"name": "bright", "notes": True}, {"name": "policy", "rules": kept}]), store
    )
    other = release(job, made.edition, *curate(job, made.edition))
    assert other.version == "1.0.0-r2"
    assert rollback(made.edition, store).digest() == made.release.digest()
    assert "withholds" not in caplog.text
    again = Job(made.recipe.model_copy(update={"curate": made.recipe.curate[:2]}), store)
    number, ledger = curate(again, made.edition)
    release(again, made.edition, number, ledger)
    rollback(made.edition, store, 2)
    assert "d@1.0.0-r2 has 2 pictures that a later release withholds" in caplog.text


# ── damage ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("sha256", "", "column 'sha256' of a withheld picture has ''"),
        ("sha256", "not a hash", "column 'sha256' of a withheld picture has 'not a hash'"),
        ("reason", "", "column 'reason' of a withheld picture has ''"),
        ("start", 0, "column 'start' of a withheld picture has 0"),
        ("width", 80, "column 'width' of a withheld picture has 80"),
        ("sha256", "that of another", "has the bytes of one that is withheld"),
    ],
)
def test_verify_notices_a_row_that_is_no_withheld_one(made, tmp_path, column, value, says):
    store = Store(str(shutil.copytree(made.store.local, tmp_path / "store", symlinks=True)))
    rows = read_table(store, made.edition.rows[:1]).to_pylist()
    held = next(row for row in rows if row["status"] == "withheld")
    held[column] = next(row["sha256"] for row in rows if row["start"] == 0) if value == "that of another" else value
    table = store.keep_bytes(rows_to_parquet(rows), ".parquet", samples=len(rows))
    problems = verify(made.edition.model_copy(update={"rows": [table, *made.edition.rows[1:]]}), store)
    assert any(says in problem for problem in problems), problems


REPLACED = '''
from variorum.schemas.component import Generator

class Replaced(Generator):
    """The negative in place of each picture; every other picture is withheld."""

    def edit(self, sample, of):
        if int(sample.id, 16) % 2:
            yield of.withheld(255 - sample.image, "unsafe", variant="replaced", requested={})
        else:
            yield of.made(255 - sample.image, variant="replaced", requested={})
'''


def test_a_plan_of_pictures_that_a_further_generator_replaces_or_withholds_is_no_problem(tmp_path):
    (tmp_path / "asked.py").write_text(GENERATOR)
    (tmp_path / "replaced.py").write_text(REPLACED)
    source = {**ANNOTATED, "pictures": 6}
    steps = [{"name": str(tmp_path / "asked.py")}, {"name": str(tmp_path / "replaced.py")}]
    editions = {}
    for name, generate in (("asked", steps[:1]), ("replaced", steps)):
        recipe = Recipe.parse({"dataset": name, "version": "1.0.0", "source": source, "generate": generate})
        editions[name] = build(Job(recipe, store := Store(str(tmp_path / "store"))), Threads(1))
    assert {"accepted", "withheld:unsafe"} <= {*editions["replaced"].counts["replaced"]}
    assert verify(editions["replaced"], store) == []
    fewer = Recipe.parse(
        {"dataset": "fewer", "version": "1.0.0", "source": {**source, "pictures": 4}, "generate": steps}
    )
    other = build(Job(fewer, store), Threads(1))
    assert "plan asks for 2 pictures" in verify(other.model_copy(update={"plan": editions["asked"].plan}), store)[0]

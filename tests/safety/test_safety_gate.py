"""The gate lets pass what is surely harmless, and nothing else: with models whose answers are written into pictures."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pixel_search import found
from pydantic import ValidationError

from variorum.curation.safety.labelers.open_nsfw import OpenNsfw
from variorum.edition.samples import encode_sample
from variorum.edition.store import Store
from variorum.edition.tables import read_table
from variorum.evaluation.safety.truths import SAFE, UNSAFE, truth_of
from variorum.generators.safety.safety_gate import TOGETHER, SafetyGate
from variorum.kit.copies.pdq import pdq, pixel_digest
from variorum.machine.memo import DiskMemo
from variorum.models import ModelTable
from variorum.models.roles import Faces
from variorum.pipeline import Job, Threads, build
from variorum.pixels import decode
from variorum.schemas.component import Context
from variorum.schemas.errors import ModelUnavailable, RecipeError, SourceError
from variorum.schemas.lookup import build_component
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import Encoded, Failure, Sample, source_id
from variorum.stages.evaluate import check_judges, check_references, withheld_pictures

NAN = 255
"""In place of a number in a picture."""


class Written:
    """Models that read their answers from a picture's first row of pixels.

    The first pixel has the nudity in hundredths and the number of faces, each next one a face's score in hundredths and
    its age.
    """

    def __init__(self, *missing: str) -> None:
        self.missing = missing

    def why_unavailable(self, alias: str) -> str:
        return f"{alias} has no weights here" if alias in self.missing else ""

    def check(self, aliases: Any) -> None:
        assert not set(aliases) & set(self.missing)

    def pin(self, alias: str) -> str:
        return f"{alias.removesuffix('_gradients')}@1"  # the same weights

    def get(self, alias: str) -> Any:
        assert alias not in self.missing
        return {"nsfw": self.nudity, "face_detector": self.faces, "age_estimator": self.ages}[alias]

    @staticmethod
    def number(value: int, scale: float) -> float:
        return float("nan") if value == NAN else value / scale

    def nudity(self, images: Any) -> Any:
        return np.asarray([self.number(image[0, 0, 0], 100) for image in images], np.float32)

    def faces(self, images: Any) -> Any:
        scores = [image[0, 1 : 1 + image[0, 0, 1], 0] / np.float32(100) for image in images]
        return [Faces(np.zeros((len(one), 4)), one, np.zeros((len(one), 5, 2))) for one in scores]

    def ages(self, images: Any, faces: Any) -> Any:
        return [
            np.asarray([self.number(value, 1) for value in image[0, 1 : 1 + len(one.scores), 1]], np.float32)
            for image, one in zip(images, faces, strict=True)
        ]


CTX = Context(0, Written(), None)  # type: ignore[arg-type]


def picture(nudity: int, *faces: tuple[int, int], number: int = 0) -> Any:
    """A picture of random colours with answers written into it: nudity, and each face's score and age."""
    colours = Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8, 3)).astype(np.uint8))
    image = np.array(colours.resize((192, 192), Image.Resampling.BICUBIC))
    image[0, 0] = (nudity, len(faces), 0)
    for place, face in enumerate(faces, 1):
        image[0, place] = (*face, 0)
    return image


def sample(image: Any, name: str = "one") -> Sample:
    return Sample(source_id("test", name), image, ("c",), f"{name}.png")


def through(*samples: Sample, ctx: Context = CTX, **fields: Any) -> list[Sample | Failure]:
    gate = build_component("generate", {"name": "safety_gate", **fields}, "here")
    assert isinstance(gate, SafetyGate)
    return list(gate.generate(samples, ctx))


# ── what passes ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("nudity", "faces", "reason"),
    [
        (0, [], ""),
        (19, [(90, 3)], ""),  # a child, and no nudity
        (20, [(90, 3)], "minor_and_nudity"),
        (95, [(90, 24)], "minor_and_nudity"),
        (95, [(90, 25)], ""),
        (95, [(90, 40), (90, 60)], ""),
        (95, [(90, 40), (21, 12)], "minor_and_nudity"),  # also if the young face is uncertain
        (95, [(49, 40)], "age_unknown"),  # an uncertain face can't let it pass
        (95, [], "age_unknown"),
        (95, [(90, NAN)], "age_unknown"),
        (95, [(90, 40), (90, NAN)], "age_unknown"),
        (NAN, [], "age_unknown"),
        (NAN, [(90, 3)], "minor_and_nudity"),
        (NAN, [(90, 40)], ""),
    ],
)
def test_only_what_is_surely_harmless_passes(nudity, faces, reason):
    one = sample(picture(nudity, *faces))
    (made,) = through(one)
    if not reason:
        assert made is one
        return
    assert isinstance(made, Failure)
    assert (made.status, made.reason, made.id, made.labels) == ("withheld", reason, one.id, ("c",))
    assert any(not gate["passed"] for gate in made.gates.values()) or nudity == NAN


def test_limits_can_be_stricter_and_not_looser():
    forty = sample(picture(15, (90, 40)))
    assert through(forty) == [forty]
    (made,) = through(forty, nudity_from=0.1, adult_from=45)
    assert made.reason == "minor_and_nudity"
    assert made.gates["youngest"] == {"value": 40.0, "limit": ">= 45", "passed": False}
    (made,) = through(sample(picture(0)), nudity_from=0)  # then every picture must show an adult
    assert made.reason == "age_unknown"
    for wrong in ({"adult_from": 17}, {"nudity_from": 0.6}, {"adult_from": float("nan")}):
        with pytest.raises((RecipeError, ValidationError)):
            through(forty, **wrong)


@pytest.mark.parametrize("missing", ["face_detector", "age_estimator"])
def test_without_a_model_of_faces_or_ages_no_nudity_passes(missing):
    ctx = replace(CTX, models=Written(missing))
    adult, dressed = sample(picture(95, (90, 40))), sample(picture(3, (90, 40)))
    made, passed = through(adult, dressed, ctx=ctx)
    assert made.reason == "age_unknown"
    assert made.detail.endswith(f"{missing} has no weights here")
    assert passed is dressed


def test_without_a_model_of_nudity_no_work_begins(monkeypatch, tmp_path, photos):
    entry = 'name = "n"\nloader = "nsfw_score"\nlocal = { path = "nowhere" }\nlicence = "none"\nsource = "none"\n'
    (tmp_path / "models.toml").write_text(f"[nsfw]\n{entry}")
    monkeypatch.setenv("VARIORUM_MODELS", str(tmp_path / "models.toml"))
    store = Store(str(tmp_path / "store"))
    recipe = Recipe.parse(
        {
            "dataset": "d",
            "version": "1.0.0",
            "source": {"name": "image_folder", "path": str(photos)},
            "generate": [{"name": "safety_gate"}],
        }
    )
    with pytest.raises(ModelUnavailable, match="nowhere doesn't exist; put it there"):
        build(Job(recipe, store))
    assert not list(Path(store.root).glob("objects/*"))


def test_pictures_are_judged_alike_alone_and_in_company():
    kinds = [(3,), (95, (90, 40)), (95, (90, 12)), (95,), (40, (30, 70))]
    many = [sample(picture(*kinds[n % 5], number=n), f"{n}") for n in range(2 * TOGETHER + 3)]
    together = through(*many)
    assert [one.id for one in together] == [one.id for one in many]
    assert [getattr(one, "reason", "") for one in together] == [through(one)[0].reason for one in many]
    large = sample(np.zeros((3000, 3000, 3), np.uint8), "large")
    assert through(large, large, large) == [large] * 3


def test_a_picture_that_is_yet_to_be_made_is_an_error():
    with pytest.raises(RecipeError, match="put it behind the generator that makes the pictures"):
        through(Sample("0" * 32, b"", extras={"txt": b"a prompt"}))


# ── lists of hashes ──────────────────────────────────────────────────────────────────────────────────────────────────


def listed(path: Path, **columns: Any) -> Path:
    kinds = {"sha256": pa.string(), "pixels": pa.binary(16), "pdq": pa.binary(32)}
    pq.write_table(pa.table({name: pa.array(values, kinds[name]) for name, values in columns.items()}), path)
    return path


def test_pictures_on_a_list_are_withheld(tmp_path):
    one, other = picture(0, number=1), picture(0, number=2)
    encoded = replace(sample(one), encoded=Encoded(b"bytes", "ab" * 32, one, "png"))
    by_file = listed(tmp_path / "f.parquet", sha256=["ab" * 32, "cd" * 32])
    by_pixels = listed(tmp_path / "p.parquet", pixels=[pixel_digest(one).tobytes()])
    by_pdq = listed(tmp_path / "q.parquet", pdq=[pdq(one)[0][0].tobytes()])
    made = through(encoded, sample(one), sample(other), blocked=by_file)
    assert [item.reason for item in made] == ["blocked", "", ""]
    assert [item.reason for item in through(sample(one), sample(other), blocked=by_pixels)] == ["blocked", ""]
    turned, small = (
        sample(image) for image in (np.rot90(one).copy(), np.array(Image.fromarray(one).resize((144, 144))))
    )
    for copy in (turned, small):
        copy.image[0, 0] = 0  # no nudity
    flat = sample(np.zeros((64, 64, 3), np.uint8))
    made = through(turned, small, flat, sample(other), sample(one), blocked=by_pdq)
    assert [item.reason for item in made] == ["blocked", "blocked", "", "", "blocked"]
    assert made[0].status == "withheld"
    assert made[0].gates == {}


def test_a_list_is_known_by_its_content(tmp_path):
    def identity(path: Path | None) -> Any:
        return SafetyGate(blocked=path).identity()

    first = listed(tmp_path / "a.parquet", sha256=["ab" * 32])
    copy, second = tmp_path / "b.parquet", listed(tmp_path / "c.parquet", sha256=["cd" * 32])
    copy.write_bytes(first.read_bytes())
    assert identity(first) == identity(copy)
    assert len({str(identity(path)) for path in (None, first, second)}) == 3
    assert str(tmp_path) not in str(identity(first))
    SafetyGate(blocked=first).check(CTX)
    for wrong in (tmp_path / "none.parquet", listed(tmp_path / "empty.parquet")):
        with pytest.raises(SourceError, match="blocklist"):
            SafetyGate(blocked=wrong).check(CTX)


# ── a whole build ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_build_keeps_the_bytes_of_what_passes_and_no_pixel_of_the_rest(tmp_path):
    photos, folder = tmp_path / "photos" / "c", tmp_path / "made"
    photos.mkdir(parents=True)
    pictures = {"dressed": picture(2, (90, 30)), "adult": picture(95, (90, 50), number=1)}
    pictures |= {"young": picture(95, (90, 12), number=2), "nobody": picture(95, number=3)}
    files = {}
    for name, image in pictures.items():
        sink = io.BytesIO()
        Image.fromarray(image).save(sink, "png")
        files[name] = sink.getvalue()
        (photos / f"{name}.png").write_bytes(files[name])
    recipe = Recipe.parse(
        {
            "dataset": "d",
            "version": "1.0.0",
            "masters": "original",
            "max_failure_rate": 0,
            "source": {"name": "image_folder", "path": str(photos.parent)},
            "generate": [{"name": "safety_gate"}],
        }
    )
    ctx = Context(recipe.seed, Written(), DiskMemo(folder / "memo"), recipe.source)  # type: ignore[arg-type]
    store = Store(str(folder / "store"))
    manifest = build(Job(recipe, store, ctx=ctx), Threads(1))
    assert manifest.counts == {"original": {"accepted": 2, "withheld:minor_and_nudity": 1, "withheld:age_unknown": 1}}
    rows = {Path(row["origin"]).stem: row for row in read_table(store, manifest.rows).to_pylist()}
    for name in pictures:
        passed = rows[name]["status"] == "accepted"
        assert passed == (name in ("dressed", "adult"))
        assert bool(found(folder, pictures[name], files[name])) == passed
        assert any(files[name] in path.read_bytes() for path in folder.rglob("*.tar")) == passed
    assert rows["young"]["gate.youngest"] == 12.0
    assert len(rows["young"]["sha256"]) == 64


class Borrower(OpenNsfw):
    """A labeler that has the gate's model and no check of a gate."""

    gate: ClassVar[str] = ""


def test_who_judges_a_gate_counts_what_it_withheld(tmp_path):
    folder, rows = tmp_path / "judged", []
    folder.mkdir()
    for number, (nudity, label) in enumerate([(2, "Safe"), (95, "Unsafe"), (30, "Safe"), (2, "Unsafe")]):
        Image.fromarray(picture(nudity, number=number)).save(folder / f"{number}.png")
        rows.append({"file_name": f"{number}.png", "safety_label": label, "category": "Sexual"})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = Recipe.parse(
        {
            "dataset": "d",
            "version": "1.0.0",
            "warning": "Colours.",
            "source": {"name": "unsafebench", "path": str(folder)},
            "generate": [{"name": "safety_gate"}],
            "evaluate": [{"name": "safety"}, {"name": "safety_robustness"}],
        }
    )
    ctx = Context(recipe.seed, Written(), DiskMemo(tmp_path / "memo"), recipe.source)  # type: ignore[arg-type]
    job = Job(recipe, str(tmp_path / "store"), ctx=ctx)
    check_references(job)
    manifest = build(job, Threads(1))
    assert manifest.filters == ["age_estimator@1", "face_detector@1", "nsfw@1"]
    for evaluation in recipe.evaluate:
        check_judges(evaluation, manifest, job)
        found = withheld_pictures(evaluation, manifest, job)
        assert [one.checks for one in found] == [{"nudity": pytest.approx(0.95)}, {"nudity": pytest.approx(0.3)}]
        assert [truth_of(one.sample, "sexual") for one in found] == [UNSAFE, SAFE]
        with pytest.raises(RecipeError, match="a model that decided what was accepted can't judge the result: 'nsfw'"):
            check_judges(type(evaluation)(labelers=(OpenNsfw(), Borrower(label="other"))), manifest, job)
    none = Job(recipe.model_copy(update={"generate": ()}), job.store, ctx=ctx)  # it decided in a way that isn't known
    with pytest.raises(RecipeError, match="can't judge the result"):
        check_judges(recipe.evaluate[0], manifest, none)
    assert withheld_pictures(recipe.evaluate[0], manifest, none) == ()


def _file(form: str, *frames: Image.Image) -> bytes:
    sink = io.BytesIO()
    more = {"save_all": True, "append_images": frames[1:]} if len(frames) > 1 else {}
    frames[0].save(sink, form, **({"lossless": True} if form == "webp" else {}), **more)
    return sink.getvalue()


@pytest.mark.parametrize("form", ["png", "webp"])
def test_what_was_not_looked_at_is_not_stored(form):
    plain, other = (Image.fromarray(picture(2, number=number)) for number in (1, 2))
    clear, opaque = plain.convert("RGBA"), plain.convert("RGBA")
    clear.putpixel((0, 5), (0, 0, 0, 0))
    files = [_file(form, *one) for one in ((plain,), (opaque,), (clear,), (plain, other))]
    given = [
        replace(sample(pixels := decode(data), str(number)), encoded=Encoded(data, f"{number:064}", pixels, form))
        for number, data in enumerate(files)
    ]
    kept = [encode_sample(one, {}, original=True)[0] for one in through(*given)]
    assert [one.get(form) == data for one, data in zip(kept, files, strict=True)] == [True, True, False, False]
    assert all(np.array_equal(decode(one["png"]), was.image) for one, was in zip(kept[2:], given[2:], strict=True))


def test_ordinary_photographs_pass_the_real_models():
    import skimage.data

    table = ModelTable("embedded")
    if missing := [alias for alias in ("nsfw", "face_detector", "age_estimator") if table.why_unavailable(alias)]:
        pytest.skip(f"run `variorum doctor {' '.join(missing)} --fetch`")
    ctx = Context(0, table, None)  # type: ignore[arg-type]
    pictures = [sample(getattr(skimage.data, name)(), name) for name in ("astronaut", "chelsea", "coffee", "rocket")]
    assert through(*pictures, ctx=ctx) == pictures
    strict = through(*pictures, ctx=ctx, nudity_from=0)
    assert [one.reason for one in strict] == ["", "age_unknown", "age_unknown", "age_unknown"]

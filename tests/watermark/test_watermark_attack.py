"""The grid of attacks on marked and unmarked photographs: its cells, records, random numbers, and how it goes on."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import skimage.data

from variorum.annotations import encode_mask, region
from variorum.evaluation.watermark.watermark_detection import WatermarkDetection
from variorum.generators.watermark.marks.stdm import Stdm
from variorum.generators.watermark.watermark import Watermark
from variorum.generators.watermark.watermark_attack import WatermarkAttack
from variorum.generators.watermark.watermarking.keys import new_keys
from variorum.generators.watermark.watermarking.quality import Reference
from variorum.generators.watermark.watermarking.records import attempts, remade
from variorum.generators.watermark.watermarking.subjects import BATCH, Subject, batches, subject_of
from variorum.machine.memo import DiskMemo
from variorum.pipeline import Job, Threads, build
from variorum.pixels import encode_png
from variorum.reports.limits import unstored
from variorum.schemas.annotations import Annotations, Object, Text
from variorum.schemas.canonical import canonical_json
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError, SourceError
from variorum.schemas.lookup import build_component
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import CAPTURED, ENHANCED, GENERATED, Failure, Sample, source_id
from variorum.schemas.uses import optional_models
from variorum.stages.build import Build
from variorum.stages.job import models
from variorum.stages.measure import shard_samples

CTX = Context(3, models("embedded"), None)
PHOTOGRAPHS = [
    Sample(source_id("test", name), np.ascontiguousarray(getattr(skimage.data, name)()[:160, 100:260]))
    for name in ("chelsea", "coffee", "astronaut", "rocket")
]
STDM = {"name": "stdm", "decibels": 40}


def attack(**fields: Any) -> WatermarkAttack:
    found = build_component("generate", {"name": "watermark_attack", **fields}, "here")
    assert isinstance(found, WatermarkAttack)
    return found


def jpeg(**fields: Any) -> dict[str, Any]:
    return {"name": "distortion", "kind": "jpeg", **fields}


@pytest.fixture(scope="module")
def marked() -> list[Sample]:
    """Each photograph unmarked, and with two marks."""
    generator = build_component(
        "generate", {"name": "watermark", "frame": 128, "marks": [STDM, {"name": "dwt_dct_svd"}]}, "here"
    )
    assert isinstance(generator, Watermark)
    made = list(generator.generate(PHOTOGRAPHS, CTX))
    return list(samples(made))


def samples(items: list[Sample | Failure]) -> Iterator[Sample]:
    for item in items:
        assert isinstance(item, Sample), item
        yield item


def parent_of(item: Sample | Failure, among: list[Sample]) -> Sample:
    return next(one for one in among if one.id == item.parent)


# ── cells ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_picture_itself_and_in_every_cell(marked):
    generator = attack(attacks=[jpeg(), {"name": "denoising", "kind": "median"}], strengths=[0.4, 1])
    made = list(samples(list(generator.generate(marked, CTX))))
    assert len(made) == 12 + 12 * 4
    assert len({item.id for item in made}) == len(made)
    kept = [item for item in made if item.ops[-1]["name"] == "watermark"]
    assert all(any(item is one for one in marked) for item in kept)  # strength 0: the very sample
    variants = {f"{subject}_{kind}_{strength}" for subject in ("original", "stdm", "dwt_dct_svd")
                for kind in ("jpeg", "median") for strength in ("0.4", "1")}  # fmt: skip
    assert {item.variant for item in made} == {"original", "stdm", "dwt_dct_svd"} | variants


def test_a_record_says_what_was_done_and_how_much_is_left(marked):
    generator = attack(attacks=[{"name": "distortion", "kind": "rotation", "label": "turn"}], strengths=[0.5])
    (made,) = [item for item in generator.generate(marked[:3], CTX) if item.variant == "stdm_turn_0.5"]
    op, before = made.ops[-1], parent_of(made, marked)
    assert op["name"] == "watermark_attack"
    assert op["requested"] == {
        "attack": "turn",
        "settings": {"name": "distortion", "label": "turn", "kind": "rotation", "most": None},
        "strength": 0.5,
        "amount": {"degrees": 22.5},
        "family": "distortion",
        "goal": "removal",
        "access": "none",
        "about": None,
    }
    quality = Reference(before.image).quality(made.image)
    assert {name: op["achieved"][name] for name in quality} == quality
    assert abs(op["achieved"]["degrees"]) == 22.5
    assert build_component("attacks", op["requested"]["settings"], "attacks") == generator.attacks[0]
    assert made.digital_source_type == ENHANCED
    canonical_json(op)


def test_lpips_is_recorded_where_its_model_is_ready(marked):
    class Thumbnails:
        """A model of embeddings: a few pixels."""

        def why_unavailable(self, alias: str) -> str:
            return ""

        def pin(self, alias: str) -> str:
            return f"{alias}@1"

        def get(self, alias: str) -> Any:
            return lambda images: np.array([image[::16, ::16].ravel() / 255 for image in images])

    generator = attack(strengths=[0.4, 1])
    made = [item for item in generator.generate(marked[:3], Context(3, Thumbnails(), None)) if item not in marked]
    for item in made:
        before = parent_of(item, marked)
        wanted = (((item.image[::16, ::16] - before.image[::16, ::16].astype(float)) / 255) ** 2).sum()
        assert item.ops[-1]["achieved"]["lpips"] == pytest.approx(wanted, abs=1e-5)
        assert item.ops[-1]["models"] == {"perceptual": "perceptual@1"}
    assert all("lpips" not in item.ops[-1]["achieved"] for item in generator.generate(marked[:3], CTX))


def test_what_a_model_made_stays_a_models_and_an_attack_says_what_it_makes(tmp_path):
    photo = replace(PHOTOGRAPHS[0], digital_source_type=GENERATED)
    assert {item.digital_source_type for item in attack().generate([photo], CTX)} == {GENERATED}
    (tmp_path / "painter.py").write_text(ATTACK.replace("family", f'digital_source_type: ClassVar[str] = "{GENERATED}"'
                                                                  "\n    family"))  # fmt: skip
    generator = attack(attacks=[{"name": str(tmp_path / "painter.py")}], strengths=[1])
    photo = replace(photo, digital_source_type=CAPTURED)
    assert [item.digital_source_type for item in generator.generate([photo], CTX)] == [CAPTURED, GENERATED]


def test_spoofing_wants_unmarked_pictures_and_tampering_marked_ones(marked, tmp_path):
    for goal, subjects in (("spoofing", {"original"}), ("tampering", {"stdm", "dwt_dct_svd"})):
        path = tmp_path / f"{goal}_attack.py"
        path.write_text(ATTACK.replace("family", f'goal: ClassVar[str] = "{goal}"\n    family'))
        generator = attack(attacks=[{"name": str(path)}], strengths=[1])
        made = [item for item in generator.generate(marked, CTX) if item not in marked]
        assert {item.variant for item in made} == {f"{subject}_{goal}_attack_1" for subject in subjects}


def test_an_attack_on_a_mark_meets_its_own_mark_or_each_in_turn(marked, tmp_path):
    path = tmp_path / "about.py"
    path.write_text(ATTACK.replace("family", "about_mark: ClassVar[bool] = True\n    family"))
    generator = attack(attacks=[{"name": str(path)}], strengths=[1])
    made = [item for item in generator.generate(marked, CTX) if item not in marked]
    abouts = {(item.variant, item.ops[-1]["requested"]["about"]) for item in made}
    assert abouts == {
        ("original_about_1_stdm", "stdm"),
        ("original_about_1_dwt_dct_svd", "dwt_dct_svd"),
        ("stdm_about_1", "stdm"),
        ("dwt_dct_svd_about_1", "dwt_dct_svd"),
    }
    assert {item.ops[-1]["achieved"]["about"] for item in made} == {"Stdm", "DwtDctSvd"}
    bare = list(generator.generate(PHOTOGRAPHS[:1], CTX))
    assert [(item.status, item.reason) for item in bare if isinstance(item, Failure)] == [("ineligible", "no_mark")]


def test_attacks_can_follow_one_another(marked):
    once, twice = attack(strengths=[0.4]), attack(attacks=[{"name": "denoising"}], strengths=[1])
    made = list(twice.generate(samples(list(once.generate(marked[:3], CTX))), CTX))
    assert {item.variant for item in made} >= {"stdm", "stdm_jpeg_0.4", "stdm_median_1", "stdm_jpeg_0.4_median_1"}


def test_versions_of_a_photograph_stay_together_and_large_pictures_come_a_few_at_a_time():
    large = [replace(PHOTOGRAPHS[0], id=f"{n:032x}", image=np.zeros((1500, 1500, 3), np.uint8)) for n in range(5)]
    assert [len(batch) for batch in batches(map(subject_of, large))] == [2, 2, 1]
    versions = [Subject(PHOTOGRAPHS[0], f"{n // 5}") for n in range(47)]
    assert [len(batch) for batch in batches(versions)] == [20, 20, 7]
    just = replace(large[0], image=large[0].image[:1030, :1030])
    made = list(samples(list(attack(attacks=[jpeg()], strengths=[1]).generate([just], CTX))))
    assert made[1].ops[-1]["achieved"]["psnr"] == 99


# ── random numbers ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_bytes_depend_on_seed_and_picture_not_on_the_company_or_the_grid(marked):
    kinds = [{"name": "distortion", "kind": kind} for kind in ("noise", "resized_crop")]
    generator = attack(attacks=kinds, strengths=[0.4, 1])
    many = [*marked, *(replace(one, id=f"{n:032x}") for n, one in enumerate(marked))]
    assert len(many) > BATCH
    together = {item.id: item for item in samples(list(generator.generate(many, CTX)))}
    shuffled = attack(attacks=kinds[::-1], strengths=[1, 0.4])
    for one in marked[:2]:
        for same in (generator, shuffled):
            for item in samples(list(same.generate([one], CTX))):
                twin = next(
                    other for other in together.values() if (other.parent, other.variant) == (item.parent, item.variant)
                )
                np.testing.assert_array_equal(item.image, twin.image)
    other = list(samples(list(generator.generate(marked[:1], replace(CTX, seed=4)))))
    assert not np.array_equal(other[-1].image, list(generator.generate(marked[:1], CTX))[-1].image)


def test_strengths_share_their_random_numbers_and_attacks_do_not(marked):
    kinds = [{"name": "distortion", "kind": kind} for kind in ("resized_crop", "rotation")]
    generator = attack(attacks=kinds, strengths=[0.4, 1])
    made = [item for item in generator.generate(marked[:1], CTX) if item not in marked]
    seeds = [item.ops[-1]["seed"] for item in made]
    assert seeds[0] == seeds[1] != seeds[2] == seeds[3]
    share = [item.ops[-1]["achieved"]["left"] / (1 - item.ops[-1]["requested"]["amount"]["area"] ** 0.5)
             for item in made[:2]]  # fmt: skip
    assert share[0] == pytest.approx(share[1], rel=0.01)


# ── objects ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_objects_and_masks_move_with_the_pixels():
    y, x = np.indices((128, 160))
    mask = (x - 70) ** 2 + (y - 60) ** 2 < 30**2
    image = np.where(mask[..., None], np.array([0, 220, 0]), 90).astype(np.uint8)
    objects = (Object((40.0, 30.0, 60.0, 60.0), "box"), Object((40.0, 30.0, 60.0, 60.0), "m", mask=encode_mask(mask)))
    extras = {"mask.png": mask.astype(np.uint8) * 255, "note.txt": b"as it is"}
    sample = replace(PHOTOGRAPHS[0], image=image, extras=extras, annotations=Annotations(objects, (Text("a disk"),)))
    kinds = ("rotation", "resized_crop", "stretch", "flip", "shift", "centre_crop", "jpeg")
    moving = [{"name": "distortion", "kind": kind} for kind in kinds]
    generator = attack(attacks=[*moving, {"name": "combined_distortion", "group": "photometric"}], strengths=[0.5])
    made = list(samples(list(generator.generate([sample], CTX))))
    for item in made[1:]:
        green = item.image[..., 1].astype(int) - item.image[..., 0]
        seen = green > green.max() / 2
        for said in (item.extras["mask.png"] > 127, region(item.annotations.objects[1], 128, 160)):
            assert (said & seen).sum() / (said | seen).sum() > 0.9, item.variant
        left, top, wide, high = item.annotations.objects[0].box
        inside = seen[round(top) : round(top + high), round(left) : round(left + wide)]
        assert inside.sum() / seen.sum() > 0.98
        assert item.annotations.texts == sample.annotations.texts
        assert item.extras["note.txt"] == b"as it is"
    assert made[-1].annotations == sample.annotations


# ── what is missing or wrong ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_model_that_is_missing_leaves_its_cells_with_the_reason(marked, tmp_path):
    path = tmp_path / "needy.py"
    path.write_text(ATTACK + '\n    def uses(self):\n        return [Use("no_such_model")]\n')
    generator = attack(attacks=[{"name": str(path)}, jpeg()], strengths=[0.5, 1])

    class Without:
        def why_unavailable(self, alias: str) -> str:
            return "it isn't in the profile" if alias == "no_such_model" else "no weights"

    made = list(generator.generate(marked[:3], Context(3, Without(), None)))
    missing = [item for item in made if isinstance(item, Failure)]
    assert len(missing) == 6
    assert {item.reason for item in missing} == {"unavailable"}
    assert {item.detail for item in missing} == {"unavailable: it isn't in the profile"}
    assert {item.variant for item in missing} == {
        f"{one.variant}_needy_{r}" for one in marked[:3] for r in ("0.5", "1")
    }
    assert sum(isinstance(item, Sample) for item in made) == 3 + 6
    assert set(optional_models(generator)) == {"no_such_model", "perceptual"}


def test_pictures_that_cannot_be_attacked_are_rows(tmp_path):
    small = replace(PHOTOGRAPHS[0], image=PHOTOGRAPHS[0].image[:12, :40])
    prompt = replace(PHOTOGRAPHS[1], image=b"", extras={"prompt.txt": b"x"})
    path = tmp_path / "picky.py"
    path.write_text(ATTACK.replace("return [", 'return [Refused("dull", "nothing to see") if image.max() < 128 else '))
    dull = replace(PHOTOGRAPHS[2], image=PHOTOGRAPHS[2].image // 2)
    generator = attack(attacks=[{"name": str(path)}], strengths=[1])
    made = list(generator.generate([small, prompt, dull, replace(PHOTOGRAPHS[2], id="f" * 32)], CTX))
    reasons = {item.parent: item.reason for item in made if isinstance(item, Failure)}
    assert reasons == {small.id: "too_small", prompt.id: "no_picture", dull.id: "dull"}
    assert [item.variant for item in made if isinstance(item, Sample)] == ["original"] * 4 + ["original_picky_1"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return images[:-1]", "bad: apply got 1 pictures and gave 0"),
        ("return [image[1:] for image in images]", r"bad: apply gave uint8 \[159, 160, 3\]; it must be uint8 \[160"),
        ("return [image / 255 for image in images]", r"bad: apply gave float64 \[160, 160, 3\]; it must be uint8"),
        ("return [None for image in images]", "bad: apply gave NoneType; it must be uint8"),
        ("return None", "bad: apply gave NoneType in place of a list of pictures"),
        (
            "return [Refused('bad', 5) for image in images]",
            r"bad: apply gave Refused\(reason='bad', detail=5\); it must",
        ),
        (
            "return [Attacked(image, {}, np.zeros((3, 3, 2))) for image in images]",
            r"bad: apply gave origins of float64 \[3, 3, 2\]; it must be float \[160, 160, 2\]",
        ),
    ],
)
def test_an_attack_of_ones_own_that_gives_something_else_is_named(tmp_path, body, said):
    path = tmp_path / "bad.py"
    path.write_text(ATTACK[: ATTACK.index("return [")] + body + "\n")
    with pytest.raises(RecipeError, match=said):
        list(attack(attacks=[{"name": str(path)}], strengths=[1]).generate(PHOTOGRAPHS[:1], CTX))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"strengths": [0]}, "strength 0 must be above 0 and at most 1"),
        ({"strengths": [0.5, 1.2]}, "strength 1.2 must be above 0 and at most 1"),
        ({"strengths": []}, "must be one or more strengths, each once"),
        ({"strengths": [0.5, 0.5]}, "must be one or more strengths, each once"),
        ({"strengths": [0.5, 0.50000001]}, "must be one or more strengths, each once"),
        ({"attacks": []}, "attacks: .*at least 1"),
        ({"attacks": [jpeg(), jpeg(most=30)]}, "two attacks are called 'jpeg'; give one of them a label"),
        ({"attacks": [{"name": "no_such"}]}, "no attack named 'no_such'; there are: .*distortion"),
        ({"marks": [STDM, STDM]}, "two marks are called 'stdm'"),
    ],
)
def test_a_mistake_in_the_recipe_is_one_line_before_any_work(fields, said):
    with pytest.raises(RecipeError, match=said):
        attack(**fields)


def test_keys_matter_to_attacks_on_a_mark_alone(tmp_path):
    path, file = tmp_path / "about.py", tmp_path / "own.keys"
    path.write_text(ATTACK.replace("family", "about_mark: ClassVar[bool] = True\n    family"))
    kept = new_keys(file)
    about, plain = ([{"name": str(path)}], [jpeg()])
    assert attack(attacks=about, keys=str(file)).identity()["keys"] == kept.id
    assert attack(attacks=about, keys=str(file)).fingerprint() != attack(attacks=about).fingerprint()
    assert attack(attacks=plain, keys=str(file)).fingerprint() == attack(attacks=plain).fingerprint()
    file.unlink()
    lost = attack(attacks=about, keys=str(file))
    assert lost.identity()["keys"] is None
    with pytest.raises(SourceError, match=r"own.keys: no such file of watermark keys"):
        lost.check(CTX)
    attack(attacks=plain, keys=str(file)).check(CTX)


# ── a whole grid ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_cell_that_takes_long_is_made_once(marked, tmp_path):
    """An attack with a model is kept in the memo: a broken unit goes on behind it, and another grid uses it too."""
    path, log = tmp_path / "slow.py", tmp_path / "calls"
    noted = f'with open({str(log)!r}, "a") as calls:\n            print(len(images), strength, file=calls)\n        '
    path.write_text(
        ATTACK.replace("return [", noted + "return [") + '\n    def uses(self):\n        return [Use("slow_model")]\n'
    )

    class With:
        def why_unavailable(self, alias: str) -> str:
            return "" if alias == "slow_model" else "no weights"

        def pin(self, alias: str) -> str:
            return f"{alias}@1"

        def get(self, alias: str) -> object:
            return object()

    ctx = Context(3, With(), DiskMemo(tmp_path / "memo"))
    broken = attack(attacks=[{"name": str(path)}], strengths=[0.5, 1]).generate(marked[:3], ctx)
    first = [next(broken) for _ in range(4)][-1]  # three samples, then the first cell
    broken.close()
    assert log.read_text() == "3 0.5\n"
    made = list(attack(attacks=[jpeg(), {"name": str(path)}], strengths=[0.5, 1]).generate(marked[:3], ctx))
    assert log.read_text() == "3 0.5\n3 1.0\n"
    again = next(item for item in made if item.variant == first.variant)
    np.testing.assert_array_equal(again.image, first.image)
    assert again.ops[-1]["achieved"] == first.ops[-1]["achieved"]
    list(attack(attacks=[{"name": str(path)}], strengths=[0.5]).generate(marked[:3], replace(ctx, seed=9)))
    assert log.read_text().count("\n") == 3  # other random numbers, another cell


def test_an_interrupted_grid_goes_on_and_is_the_same(tmp_path, photos, monkeypatch):
    def job(store: str) -> Job:
        recipe = {
            "dataset": "grid",
            "version": "1.0.0",
            "samples_per_shard": 1,
            "limit": 3,
            "source": {"name": "image_folder", "path": str(photos)},
            "generate": [
                {"name": "watermark", "frame": 128},
                {"name": "watermark_attack", "attacks": [jpeg(), {"name": "denoising"}], "strengths": [0.5, 1]},
            ],
        }
        return Job(Recipe.parse(recipe), str(tmp_path / store))

    whole = build(job("whole"), Threads(1))
    made = Counter()
    generate = WatermarkAttack.generate

    def counted(self: WatermarkAttack, stream: Any, ctx: Context) -> Iterator[Sample | Failure]:
        for item in generate(self, stream, ctx):
            made[item.origin] += 1
            if sum(made.values()) == 15:
                raise KeyboardInterrupt
            yield item

    monkeypatch.setattr(WatermarkAttack, "generate", counted)
    with pytest.raises(KeyboardInterrupt):
        build(job("broken"), Threads(1))
    finished = build(job("broken"), Threads(1))
    assert finished.fingerprint == whole.fingerprint
    assert finished.shards == whole.shards
    assert sorted(made.values()) == [10, 10, 15]  # only the picture that was being worked on is done again


ATTACK = '''"""An attack of one's own."""

from typing import ClassVar

import numpy as np

from variorum.schemas.component import Use
from variorum.schemas.watermark import Attack, Attacked, Refused


class Own(Attack):
    """Darker pictures."""

    family: ClassVar[str] = "own"

    def apply(self, images, strength, rngs, target):
        """Half as bright at strength 1."""
        about = type(target.mark).__name__ if target.mark else ""
        return [Attacked((image * (1 - strength / 2)).astype("uint8"), {"about": about}) for image in images]
'''


def test_progress_counts_photographs_whose_pictures_are_all_made(photos, tmp_path):
    steps = []
    for number, attacks in enumerate(([], [{"name": "watermark_attack", "attacks": [jpeg()], "strengths": [1]}])):
        recipe = {
            "dataset": "counted",
            "version": "1.0.0",
            "limit": 3,
            "source": {"name": "image_folder", "path": str(photos)},
            "generate": [{"name": "watermark", "frame": 64}, *attacks],
        }
        stage = Build(Job(Recipe.parse(recipe), str(tmp_path / str(number))))
        steps.append([])
        stage.make(stage.parts()[0], steps[-1].append)
    assert steps == [[1, 1, 1], [3]]  # an attack takes all photographs together


# ── records in place of pictures ─────────────────────────────────────────────────────────────────────────────────────

FEW = {
    "attacks": [
        jpeg(),
        {"name": "overwrite", "times": 2, "strengths": [1]},
        {"name": "distortion", "kind": "rotation"},
    ],
    "strengths": [0.05, 1],
}


def test_records_say_of_pictures_that_are_not_stored_what_those_would_say(marked):
    stored = list(samples(list(attack(**FEW).generate(marked, CTX))))
    kept = list(samples(list(attack(**FEW, keep="records").generate(marked, CTX))))
    assert [(one.id, one.image is base.image) for one, base in zip(kept, marked, strict=True)] == [
        (base.id, True) for base in marked
    ]
    alone = list(samples(list(attack(**FEW, keep="records").generate(marked[3:6], CTX))))
    assert [one.extras for one in alone] == [one.extras for one in kept[3:6]]
    pictures = {one.id: one for one in stored if one.ops[-1]["name"] == "watermark_attack"}
    records = {one.id: (base, one) for base in kept for one in attempts(base)}
    assert records.keys() == pictures.keys()
    for key, (base, one) in records.items():
        picture = pictures[key]
        assert (one.variant, one.op, base.id) == (picture.variant, picture.ops[-1], picture.parent)
        assert one.sha256 == hashlib.sha256(encode_png(picture.image)).hexdigest()
    looks = [list(WatermarkDetection().measure(some, CTX)) for some in (stored, kept)]
    for some in looks:
        some.sort(key=lambda row: (row["id"], row["mark"], row["wrong_key"]))
    rounded = ("score", "p_value")
    for stored_row, kept_row in zip(*looks, strict=True):
        assert [kept_row[name] for name in rounded] == pytest.approx(
            [stored_row[name] for name in rounded], rel=1e-5, nan_ok=True
        )
        assert repr({**stored_row, **dict.fromkeys(rounded)}) == repr({**kept_row, **dict.fromkeys(rounded)})


def test_a_picture_that_is_not_stored_is_made_again_or_not_shown(photos, tmp_path):
    recipe = {
        "dataset": "records",
        "version": "1.0.0",
        "limit": 2,
        "source": {"name": "image_folder", "path": str(photos)},
        "generate": [{"name": "watermark", "frame": 96}, {"name": "watermark_attack", "keep": "records", **FEW}],
    }
    job = Job(Recipe.parse(recipe), str(tmp_path / "store"))
    manifest = build(job, Threads(1))
    assert "aren't stored" in unstored(manifest)
    assert manifest.counts == {"original": {"accepted": 2}, "stdm": {"accepted": 2}}
    shard = next(iter(manifest.shards.values()))[0]
    base = next(one for one, _ in shard_samples(shard, job.store) if one.variant == "stdm")
    records = {one.variant: one for one in attempts(base)}
    assert remade(manifest, base, records.pop("stdm_overwrite_1")) is None  # it would take the keys
    for one in records.values():
        image = remade(manifest, base, one)
        assert image is not None
        assert hashlib.sha256(encode_png(image)).hexdigest() == one.sha256
    assert remade(manifest, base, one._replace(sha256="0" * 64)) is None
    trace, file = tmp_path / "ran", tmp_path / "own.py"
    file.write_text(ATTACK + f"open({str(trace)!r}, 'w').close()\n")
    for name in (str(file), "own.py", "module:own"):  # an edition may be a stranger's
        settings = {"name": name}
        hostile = {**one.op, "requested": {**one.op["requested"], "settings": settings}}
        assert remade(manifest, base, one._replace(op=hostile)) is None
    assert not trace.exists()
    for asked in ({"strength": 10**400}, {"strength": None}, {"settings": {"name": "stdm"}}):
        hostile = {**one.op, "requested": {**one.op["requested"], **asked}}
        assert remade(manifest, base, one._replace(op=hostile)) is None


HOSTILE = (
    "{}",
    "[" * 100_000,
    '{"mark": "stdm"}',
    '["stdm", 1, 2, 3, null]',
    '["stdm", 1, "8", 3, null]',
    '["own", 1, 8, 3, null]',
)


@pytest.mark.parametrize("look", [*HOSTILE, '["stdm", "much", 8, 3, null]', f'["stdm", 1{"0" * 400}, 8, 3, null]', "7"])
def test_a_damaged_record_says_whose_it_is(marked, look):
    (base,) = samples(list(attack(attacks=[jpeg()], strengths=[1], keep="records").generate(marked[:1], CTX)))
    said = json.loads(base.extras["attacked.json"])
    record = json.loads(said["pictures"]["record"][0])
    said["pictures"]["record"][0] = f'{{"found": [{look}], "op": {json.dumps(record["op"])}}}'
    with pytest.raises(RecipeError, match=rf"sample {base.id}: its attacked\.json can't be read"):
        attempts(replace(base, extras={"attacked.json": json.dumps(said).encode()}))


@pytest.mark.parametrize("asked", [{"strength": "1"}, {"strength": 10**400}, {"strength": -1}, {"settings": "jpeg"}])
def test_a_damaged_attack_in_a_record_says_whose_it_is(marked, asked):
    (base,) = samples(list(attack(attacks=[jpeg()], strengths=[1], keep="records").generate(marked[:1], CTX)))
    said = json.loads(base.extras["attacked.json"])
    record = json.loads(said["pictures"]["record"][0])
    record["op"]["requested"] |= asked
    said["pictures"]["record"][0] = json.dumps(record)
    with pytest.raises(RecipeError, match=rf"sample {base.id}: its attacked\.json can't be read"):
        attempts(replace(base, extras={"attacked.json": json.dumps(said).encode()}))


def test_a_detector_that_has_changed_cannot_speak_for_pictures_that_are_gone(marked, monkeypatch):
    kept = list(attack(attacks=[jpeg()], strengths=[1], keep="records").generate(marked[:3], CTX))
    monkeypatch.setattr(Stdm, "revision", Stdm.revision + 1)
    with pytest.raises(RecipeError, match="stdm: its detector has changed since"):
        list(WatermarkDetection().measure(kept, CTX))


def test_only_the_last_attacks_can_be_records(marked):
    first = list(attack(attacks=[jpeg()], strengths=[1], keep="records").generate(marked[:1], CTX))
    with pytest.raises(RecipeError, match="only the last one"):
        list(attack(attacks=[jpeg()], strengths=[1], keep="records").generate(first, CTX))

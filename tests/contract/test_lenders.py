"""What becomes of a picture that others are made of happens to them: it is withheld, restricted, licensed, opted out.

Of every generator that uses other pictures of the source than the one at hand, and of one in a file of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import variorum.generators
import variorum.kit
from variorum.edition.columns import WITHHELD
from variorum.edition.samples import read_sample
from variorum.edition.shards import read_shard
from variorum.edition.store import Store
from variorum.edition.tables import rows_to_parquet
from variorum.edition.verify import verify, verify_files
from variorum.pipeline import Job, build, curate, release
from variorum.pixels import decode
from variorum.schemas.errors import RecipeError
from variorum.schemas.licences import all_of
from variorum.schemas.manifest import QUARANTINE, Manifest
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import Lender, Sample, checked_op

SOURCE = '''
from functools import cache

import cv2
import numpy as np
import skimage.data

from variorum.pixels import encode_png
from variorum.schemas.annotations import Annotations, Text
from variorum.schemas.component import ClassInfo, Source
from variorum.schemas.sample import Sample, source_id

SIDE = 96
THINGS = ("brick", "gravel", "grass")


@cache
def loaded(name):
    return getattr(skimage.data, name)()


class Pictures(Source):
    """Discs with a texture on a wall, those with odd numbers reddish, each with mask, plate and caption.

    The walls of wide pictures are larger, and they have no plate.
    """

    wide: bool = False
    restricted: bool = False
    licence: str = "CC0-1.0"

    def pin(self, ctx):
        return "1"

    def size(self, ctx):
        return 14

    def classes(self, ctx):
        return tuple(ClassInfo(name, name) for name in THINGS)

    def captioned(self, ctx):
        return True

    def read(self, start, stop, ctx):
        for n in range(start, stop):
            odd, thing = n % 2, THINGS[n % 3]
            photograph = loaded(("coffee", "chelsea", "astronaut")[n % 3]).mean(axis=2)
            wall = np.repeat(photograph[12 * n :, 24 * n :][:SIDE, :SIDE, None] * 0.4, 3, axis=2)
            wall[..., 0 if odd else 2] += 120
            wall[..., 1] += 18 * (n // 2)
            plate = wall.clip(0, 255).astype(np.uint8)
            plate = np.concatenate([plate, plate[:, ::-1]], axis=1) if self.wide else plate
            mask = cv2.circle(np.zeros(plate.shape[:2], np.uint8), (48, 48), 32, 255, -1)
            inside = loaded(thing)[40 * n // 2 :][:SIDE, 30 * n // 2 :][:, :SIDE, None] // 2 + 60
            inside = inside * np.array([1, 0.2, 0.2] if odd else [0.2, 0.2, 1])
            inside = np.pad(inside, ((0, 0), (0, plate.shape[1] - SIDE), (0, 0)))
            words = f"A {'scarlet' if odd else 'navy'} disc, the picture number {n}."
            yield Sample(
                source_id("pictures", str(n)),
                encode_png(np.where(mask[..., None] > 0, inside.astype(np.uint8), plate)),
                (thing,),
                origin=f"{n}.png",
                licence=self.licence if odd else "CC0-1.0",
                extras={"mask.png": encode_png(mask)} | ({} if self.wide else {"plate.png": encode_png(plate)}),
                annotations=Annotations(texts=(Text(words, "caption"),)),
                metadata={"restricted": True} if odd and self.restricted else {},
            )
'''
GATE = '''
from variorum.schemas.component import Generator


class Gate(Generator):
    """Withholds what the metadata call restricted."""

    keeps_objects = True

    def edit(self, sample, of):
        yield sample.withheld("restricted") if sample.restricted else sample
'''
GUEST = '''
import numpy as np

from variorum.pixels import decode
from variorum.schemas.component import Generator


class Blend(Generator):
    """The mean of a picture and the first other one of the source."""

    keeps_objects = True

    def edit(self, sample, of):
        yield sample
        for other in of.ctx.source.read(0, of.ctx.source.size(of.ctx), of.ctx):
            if other.root != sample.root:
                theirs = decode(other.image) if isinstance(other.image, bytes) else other.image
                mean = ((sample.image.astype(float) + theirs) / 2).astype(np.uint8)
                yield of.made(mean, variant="blend", requested={}, extras=sample.extras, made_of=other.lent())
                return
'''
SEEING = '''
import runpy
from pathlib import Path

import numpy as np
import torch

from variorum.pixels import decode


def load():
    """A network that is right about all pictures: a linear map that was solved for."""
    source = runpy.run_path(str(Path(__file__).with_name("pictures.py")))
    samples = list(source["Pictures"]().read(0, 14, None))
    pixels = np.stack([decode(one.image).transpose(2, 0, 1).ravel() / 255 for one in samples])
    wanted = np.array([[one.labels[0] == name for name in sorted(source["THINGS"])] for one in samples])
    first, last = torch.nn.Conv2d(3, 3, 1, bias=False), torch.nn.Linear(pixels.shape[1], 3, bias=False)
    with torch.no_grad():
        first.weight.copy_(torch.eye(3)[..., None, None])
        last.weight.copy_(torch.from_numpy((np.linalg.pinv(pixels) @ (9 * wanted)).T))
    return torch.nn.Sequential(first, torch.nn.Flatten(), last).eval(), "none"
'''
PROVED = '''
from typing import ClassVar

import numpy as np

from variorum.schemas.component import Detector


class Proved(Detector):
    """Says that of two photographs in different splits, which lend their plates, one is a copy of the other."""

    copies: ClassVar[str] = "copy_of"

    def score(self, table, ctx):
        lenders = {key for keys in table["made_of"] for key in keys or ()}
        rows = [n for n, name in enumerate(table["source"]) if name in lenders and table["variant"][n] == "original"]
        other = next(n for n in rows if table["split"][n] != table["split"][rows[0]])
        copy_of = [""] * len(table)
        copy_of[other] = table["id"][rows[0]]
        return {"copy_of": copy_of}
'''
EDITS = {"frame": 96, "attributes": ["background"], "backgrounds": ["random"], "classifier": None, "lenders": 14}
CUES = {"frame": 96, "segmenter": None, "stimuli": ["texture_fill"], "gates": {"most_uneven": 3}}
ATTACKS = [
    {"name": "paste", "photographs": 3},
    {"name": "copied_residual", "photographs": 3},
    {"name": "averaging", "photographs": 3},
]
LENDING: dict[str, list[dict[str, Any]]] = {
    "attribute_edit": [{"name": "attribute_edit", **EDITS}],
    "cue_conflict": [{"name": "cue_conflict", **CUES}],
    "content_dilution": [{"name": "content_dilution", "sources": ["nearest_caption"]}],
    "feature_distillation": [
        {"name": "feature_distillation", "adversaries": ["module:{files}/seeing.py:load"], "frame": 96, "steps": 2},
    ],
    "watermark_attack": [
        {"name": "watermark", "frame": 96, "marks": [{"name": "stdm", "keyed": "shared"}]},
        {"name": "watermark_attack", "attacks": ATTACKS, "strengths": [1.0]},
    ],
    "guest": [{"name": "blend.py"}],
}
"""Generators by the one that is tested; files of guests lie beside the recipe."""
USES = re.compile(r"\.source\.(read|outline)\(|source\.read\(|Lenders\(|Pool\(")
"""How a generator's code gets other pictures of the source."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lending")
    for name, text in (("pictures", SOURCE), ("gate", GATE), ("blend", GUEST), ("proved", PROVED), ("seeing", SEEING)):
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return folder


def job(
    files: Path, store: Path, lending: str, *, gate: bool = False, curate: Any = (), splits: Any = None, **source: Any
) -> Job:
    steps = [dict(step) for step in LENDING[lending]]
    for step in steps:
        step["name"] = str(files / step["name"]) if step["name"].endswith(".py") else step["name"]
        if networks := step.get("adversaries"):
            step["adversaries"] = [one.format(files=files) for one in networks]
    gates = [{"name": str(files / "gate.py")}] if gate else []
    recipe = {
        "dataset": "lent",
        "version": "1.0.0",
        "seed": 5,
        "samples_per_shard": 7,
        "source": {"name": str(files / "pictures.py"), **source},
        "generate": [*gates, *steps],
        "curate": list(curate),
        "splits": splits or {},
    }
    return Job(Recipe.parse(recipe), str(store))


@pytest.fixture(scope="module", params=LENDING)
def lent(request: pytest.FixtureRequest, files: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Job]:
    """Jobs of one generator with one store, half of whose photographs are restricted and not free."""
    store = tmp_path_factory.mktemp("lent")
    return partial(job, files, store, request.param, restricted=True, licence="All rights reserved")


def accepted(manifest: Manifest, store: Store) -> list[Sample]:
    found = []
    for group, shards in manifest.shards.items():
        for info in shards if group != QUARANTINE else ():
            found += [read_sample("", members)[0] for _, members in read_shard(store.path(info))]
    return found


def borrowed(samples: list[Sample]) -> list[Sample]:
    return [sample for sample in samples if sample.made_of()]


def reddish(sample: Sample) -> bool:
    red, _, blue = decode(sample.image).reshape(-1, 3).astype(int).T
    return bool((red > blue + 60).mean() > 0.01)


def restricted_ids(files: Path) -> set[str]:
    source = job(files, files / "none", "guest").recipe.source
    return {sample.id for sample in source.outline(0, 14, None) if int(sample.origin.partition(".")[0]) % 2}


@pytest.mark.parametrize("lending", LENDING)
def test_nothing_of_a_withheld_picture_is_in_others(lending: str, files: Path, tmp_path: Path) -> None:
    work = job(files, tmp_path / "store", lending, gate=True, restricted=True)
    manifest = build(work)
    samples, gone = accepted(manifest, work.store), restricted_ids(files)
    assert len(gone) == 7
    assert manifest.counts["original"]["withheld:restricted"] == 7
    assert borrowed(samples)
    assert not any(reddish(sample) for sample in samples)
    assert not any(sample.restricted for sample in samples)
    assert not {key for sample in samples for one in sample.made_of() for key in (one["id"], one["source"])} & gone
    tables = [pq.read_table(work.store.path(info, ".parquet")) for info in manifest.rows]
    texts = [str(table.to_pylist()) for table in tables] + [str(sample) for sample in samples]
    assert not [text for text in texts if "scarlet" in text]
    assert verify(manifest, work.store) == []


@pytest.mark.slow
def test_a_window_of_a_withheld_picture_is_in_no_other(files: Path, tmp_path: Path) -> None:
    work = job(files, tmp_path / "store", "attribute_edit", gate=True, restricted=True, wide=True)
    samples = borrowed(accepted(build(work), work.store))
    assert len(samples) > 2
    for sample in samples:
        left, _, width, height = sample.ops[-1]["achieved"]["plate_box"]
        assert (sample.ops[-1]["achieved"]["plate"], width, left >= 80) == ("window", height, True)
        assert not reddish(sample)
    assert not {one["source"] for sample in samples for one in sample.made_of()} & restricted_ids(files)


def test_licences_and_restrictions_follow_the_lender(lent: Callable[..., Job], files: Path) -> None:
    work = lent()
    manifest = build(work)
    samples, gone = accepted(manifest, work.store), restricted_ids(files)
    for sample in borrowed(samples):
        lenders = sample.made_of()
        assert {one["licence"] for one in lenders} == {
            "All rights reserved" if one["source"] in gone else "CC0-1.0" for one in lenders
        }
        of_restricted = bool({one["source"] for one in lenders} & gone)
        assert all(all_of(sample.licence, one["licence"]) == sample.licence for one in lenders)
        assert sample.restricted >= of_restricted
        assert sample.restricted == (of_restricted or sample.origin[:-4] in ["1", "3", "5", "7", "9", "11", "13"])
    assert {one["source"] in gone for sample in borrowed(samples) for one in sample.made_of()} == {True, False}
    assert verify(manifest, work.store) == []


def test_who_opts_out_is_in_no_picture(lent: Callable[..., Job], tmp_path: Path) -> None:
    made = accepted(build(lent()), lent().store)
    lenders = [one for sample in borrowed(made) for one in sample.made_of()]
    photograph = max(lenders, key=lambda one: [other["photograph"] for other in lenders].count(one["photograph"]))
    for number, entry in enumerate((photograph["photograph"], photograph["origin"])):
        (tmp_path / "out.txt").write_text(entry, encoding="utf-8")
        work = lent(curate=[{"name": "opt_out", "list": str(tmp_path / "out.txt")}])
        manifest = build(work)
        released = release(work, manifest, *curate(work, manifest))
        left = accepted(released, work.store)
        assert not [sample for sample in left if sample.photograph == photograph["photograph"]]
        assert not [one for sample in left for one in sample.made_of() if one["photograph"] == photograph["photograph"]]
        others = [sample for sample in made if sample.photograph != photograph["photograph"]]
        keys = {sample.id for sample in others if photograph["id"] not in {one["id"] for one in sample.made_of()}}
        assert {sample.id for sample in left} == keys, number
        assert verify(released, work.store) == []


def test_where_a_lender_moves_to_another_split_it_is_in_no_picture_of_this_one(files: Path, tmp_path: Path) -> None:
    proved = [{"name": str(files / "proved.py")}]
    work = job(files, tmp_path / "store", "attribute_edit", curate=proved, splits={"test": 0.5})
    manifest = build(work)
    released = release(work, manifest, *curate(work, manifest))
    left = accepted(released, work.store)
    split = {sample.photograph: sample.split for sample in left}
    moved = {one.photograph for one in accepted(manifest, work.store) if split[one.photograph] != one.split}
    assert len(moved) == 1
    assert all(split[one["photograph"]] == sample.split for sample in left for one in sample.made_of())
    assert released.counts["background_random"]["dropped:made_of_another_split"]
    assert verify(released, work.store) == []


def test_pictures_with_a_content_warning_lend_nothing_without_one_in_the_recipe(files: Path, tmp_path: Path) -> None:
    warned = SOURCE.replace(
        "    def captioned", '    def warning(self, ctx):\n        return "Blood."\n\n    def captioned'
    )
    (tmp_path / "warned.py").write_text(warned, encoding="utf-8")
    recipe = job(files, tmp_path / "store", "watermark_attack").recipe.dump()
    recipe["generate"][-1]["material"] = {"name": str(tmp_path / "warned.py")}
    with pytest.raises(RecipeError, match="pictures of the source warned have one, so the recipe needs one too: Blood"):
        build(Job(Recipe.parse(recipe), str(tmp_path / "store")))
    assert not list((tmp_path / "store").rglob("*.tar"))


@pytest.mark.parametrize(
    "odd", ["a.png", [{"id": "a"}], [{**dict.fromkeys(Lender.__annotations__, ""), "handling": ""}]]
)
def test_a_record_of_lenders_that_is_none_is_refused(odd: Any) -> None:
    op = {
        "name": "mine",
        "revision": 1,
        "requested": {},
        "achieved": {"made_of": odd},
        "gates": {},
        "models": {},
        "seed": 0,
    }
    with pytest.raises(RecipeError, match="mine: `made_of` in its op isn't what"):
        checked_op(op)


def test_every_generator_that_uses_other_pictures_is_tested() -> None:
    folders = [Path(package.__file__).parent for package in (variorum.generators, variorum.kit)]
    files = [file for folder in folders for file in folder.rglob("*.py")]
    using = {f"{file.parent.name}/{file.name}" for file in files if USES.search(file.read_text(encoding="utf-8"))}
    assert using == {
        "few_shot/few_shot_episodes.py",  # by the same pool as attribute_edit
        "imagenet_e/attribute_edit.py",
        "adversarial/feature_distillation.py",
        "pictures/pool.py",
        "cue_conflict/partners.py",
        "content_dilution/neighbours.py",
        "watermarking/target.py",
    }


def test_a_picture_made_of_a_withheld_one_is_found(files: Path, tmp_path: Path) -> None:
    work = job(files, tmp_path / "store", "guest")
    manifest = build(work)
    made = borrowed(accepted(manifest, work.store))[0]
    lender = made.made_of()[0]["id"]
    rows = pq.read_table(work.store.path(manifest.rows[0], ".parquet")).to_pylist()
    for row in rows:
        if row["id"] == lender:
            row |= dict.fromkeys(WITHHELD) | {"status": "withheld", "reason": "unsafe", "start": -1, "ops": "[]"}
    table = work.store.keep_bytes(rows_to_parquet(rows), ".parquet", samples=len(rows))
    problems = verify_files(manifest.model_copy(update={"rows": [table, *manifest.rows[1:]]}), work.store)
    assert any(f"picture {made.id} is made of {lender}, which is withheld" in one for one in problems)

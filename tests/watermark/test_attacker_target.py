"""The attacker's photographs are never attacked, the service's keys are no picture's, and nothing secret shows."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import skimage.data
from PIL import Image

from variorum.edition.samples import decoded
from variorum.generators.watermark.watermarking.keys import read_keys
from variorum.generators.watermark.watermarking.target import Service, attackers, check_material
from variorum.machine.memo import DiskMemo
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError, SourceError
from variorum.schemas.lookup import build_component
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import Sample
from variorum.sources.image_folder import ImageFolder
from variorum.stages.job import models
from variorum.stages.lending import let_through
from variorum.stages.plan import plan

STDM = {"name": "stdm", "decibels": 38, "keyed": "shared"}
FRAME = 96


def save_crops(folder, names, side=100):
    """Crops of scikit-image's photographs, side by side, as JPEGs."""
    folder.mkdir()
    for name in names:
        image = getattr(skimage.data, name)()[..., :3]
        for row in range(0, min(image.shape[0] - side, 300), side):
            for column in range(0, min(image.shape[1] - side, 400), side):
                crop = Image.fromarray(image[row : row + side, column : column + side])
                crop.save(folder / f"{name}_{row}_{column}.jpg", quality=95)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_crops(tmp_path_factory.mktemp("attacked") / "photos", ["chelsea", "coffee", "astronaut"])


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    return save_crops(tmp_path_factory.mktemp("attackers") / "photos", ["rocket"])


def source(path):
    return build_component("source", {"name": "image_folder", "path": str(path)}, "here")


def service(folder, memo, *, mark=STDM, material=None, attack=None, seed=1, frame=FRAME):
    ctx = Context(seed, models("embedded"), DiskMemo(memo), let_through(source(folder), ()))
    mark = mark and build_component("marks", mark, "here")
    attack = build_component("attacks", attack or {"name": "averaging", "photographs": 6}, "here")
    return Service(mark, attack, read_keys(None), ctx, frame, material and source(material))


def samples(folder, target):
    found = source(folder)
    return list(decoded(found.read(0, found.size(target.ctx), target.ctx)))


def test_half_of_the_source_is_the_attackers_and_is_never_attacked(folder, tmp_path):
    target = service(folder, tmp_path)
    every = samples(folder, target)
    refused = [target.refusal(sample, sample.id) for sample in every]
    assert 0.25 < np.mean([why is not None for why in refused]) < 0.75
    assert {why[0] for why in refused if why} == {"attackers_own"}
    own = {sample.photograph for sample, why in zip(every, refused, strict=True) if why}
    there = sum(why is not None for why in refused)
    assert {one.photograph for one, _ in _drawn(target, there)} == own
    assert {image.shape for image in target.photographs(there)} == {(FRAME, FRAME, 3)}


def test_an_attack_without_photographs_refuses_nothing(folder, tmp_path):
    target = service(folder, tmp_path, attack={"name": "random_signs"})
    assert not any(target.refusal(sample, sample.id) for sample in samples(folder, target))


def test_a_copy_of_the_attackers_photograph_is_not_attacked(folder, tmp_path):
    copies = shutil.copytree(folder, tmp_path / "copies")
    for file in sorted(copies.iterdir()):
        shutil.copy(file, file.with_name(f"again_{file.name}"))
    target = service(copies, tmp_path / "memo")
    every = samples(copies, target)
    drawn = {one.photograph for one, _ in _drawn(target, 6)}
    attacked = [sample for sample in every if target.refusal(sample, sample.id) is None]
    assert attacked
    assert not drawn & {sample.photograph for sample in attacked}
    by_copy = [sample for sample in every if sample.photograph in drawn and not attackers(sample.id, 1)]
    assert by_copy  # of which the hash of the id alone would have let some be attacked


def test_a_source_of_its_own_leaves_all_to_be_attacked(folder, others, tmp_path):
    target = service(folder, tmp_path, material=others)
    assert not any(target.refusal(sample, sample.id) for sample in samples(folder, target))
    theirs = samples(others, target)
    pictures = {one.photograph for one, _ in _drawn(target, 6)}
    assert pictures <= {sample.photograph for sample in theirs}
    taken = next(sample for sample in theirs if sample.photograph in pictures)
    assert target.refusal(replace(taken, id="0" * 32), "0" * 32)[0] == "attackers_own"


def test_fewer_photographs_are_the_first_of_more(folder, tmp_path):
    few, more = (service(folder, tmp_path).photographs(number) for number in (3, 6))
    assert all(np.array_equal(a, b) for a, b in zip(few, more[:3], strict=True))


def test_a_small_picture_is_no_material(folder, tmp_path):
    small = save_crops(tmp_path / "small", ["rocket"], side=30)
    with pytest.raises(RecipeError, match=r"averaging: wants 6 photographs and `material` has 0"):
        service(folder, tmp_path / "memo", material=small).photographs(6)


def test_too_few_photographs_are_refused_before_work(folder, others, tmp_path):
    target = service(folder, tmp_path)
    attack = build_component("attacks", {"name": "averaging", "photographs": 40, "label": "mean"}, "here")
    with pytest.raises(RecipeError, match=r"mean: wants 40 photographs and the half .* another source as `material`"):
        check_material([target.attack, attack], None, target.ctx)
    with pytest.raises(RecipeError, match=r"mean: wants 40 photographs and `material` has 1\d; name a source with"):
        check_material([attack], source(others), target.ctx)
    check_material([target.attack], None, target.ctx)
    check_material([build_component("attacks", {"name": "random_signs"}, "here")], None, target.ctx)


def test_no_more_is_listed_than_is_wanted(folder, tmp_path, monkeypatch):
    target, listed = service(folder, tmp_path), []
    ctx, outline = replace(target.ctx, source=source(folder)), ImageFolder.outline

    def noted(*given):
        for sample in outline(*given):
            listed.append(attackers(sample.id, 1))
            yield sample

    monkeypatch.setattr(ImageFolder, "outline", noted)
    check_material([target.attack], None, ctx)
    assert sum(listed) == target.attack.photographs
    assert len(listed) < ctx.source.size(ctx)


def test_a_mark_that_is_made_with_the_picture_has_no_service(folder, tmp_path):
    target = service(folder, tmp_path, mark={"name": "tree_ring"})
    assert target.refusal(samples(folder, target)[0], "0" * 32)[0] == "no_service"


def test_a_picture_that_cannot_have_the_mark_is_not_attacked_for_it(folder, others, tmp_path):
    """The attacker's photographs have the same frame, so none of them can be marked either."""
    target = service(folder, tmp_path, frame=64, material=others)
    small = replace(samples(folder, target)[0], image=skimage.data.astronaut()[:64, :64])
    reason, detail = target.refusal(small, small.id)
    assert reason == "too_small"
    assert detail == "stdm: 64 x 64 pixels have 16 tiles of 16 for 32 bits"
    plain = service(folder, tmp_path, frame=64, material=others, mark=None, attack={"name": "paste", "photographs": 2})
    assert plain.refusal(small, small.id) is None


@pytest.mark.parametrize("keyed", ["picture", "shared"])
def test_the_services_keys(folder, tmp_path, keyed):
    """Shared keys are the edition's; others are no edition picture's, and differ from picture to picture."""
    target = service(folder, tmp_path, mark={**STDM, "keyed": keyed})
    mark, keys, ctx = target.mark, target.keys, target.ctx
    images = target.photographs(6)
    marked = target.marked(images)
    again = [target.marked([image])[0] for image in reversed(images)][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(marked, again, strict=True))
    assert not np.array_equal(marked[0], images[0])
    own = [keys.shared("stdm")] * 6
    editions = [keys.of("stdm", sample.id) for sample in samples(folder, target)]
    if keyed == "shared":
        assert np.array_equal(mark.detect(marked, own, ctx).bits, mark.payloads(own))
    else:
        assert mark.detect(marked, own, ctx).p_values.min() > 1e-4
        for image in marked:
            assert mark.detect([image] * len(editions), editions, ctx).p_values.min() > 1e-4


def test_pictures_of_several_sizes_are_marked(folder, tmp_path):
    target = service(folder, tmp_path, frame=None)
    images = [skimage.data.chelsea()[:96, :120], skimage.data.coffee()[:128, :96], skimage.data.chelsea()[:96, :120]]
    marked = target.marked(images)
    assert [one.shape for one in marked] == [one.shape for one in images]
    assert np.array_equal(marked[0], marked[2])


def test_what_is_prepared_is_computed_once(folder, others, tmp_path):
    """For everything that it depends on: another value of each computes it again."""
    calls = []

    def compute():
        calls.append(1)
        return {"x": np.arange(3)}

    def prepare(purpose="p", **other):
        before = len(calls)
        found = service(folder, tmp_path / "memo", **other).prepared(purpose, compute)
        assert np.array_equal(found["x"], np.arange(3))
        return len(calls) > before

    assert prepare()
    assert not prepare()
    assert not prepare(attack={"name": "averaging_forgery", "photographs": 6, "decibels": 30})  # shares the pattern
    assert prepare("q")
    assert prepare(seed=2)
    assert prepare(frame=64)
    assert prepare(material=others)
    assert prepare(mark={**STDM, "decibels": 40})
    assert prepare(mark={**STDM, "keyed": "picture"})
    assert prepare(attack={"name": "averaging", "photographs": 7})


def test_no_secret_in_what_is_shown(folder, tmp_path):
    assert "5e5e" not in repr(service(folder, tmp_path))


def test_the_attackers_data_is_part_of_the_keys_of_units(folder, others, tmp_path):
    def key(material):
        recipe = Recipe.parse({
            "dataset": "x", "version": "1.0.0", "seed": 1,
            "source": {"name": "image_folder", "path": str(folder)},
            "generate": [{"name": "watermark", "frame": 96, "marks": [STDM]},
                         {"name": "watermark_attack", "attacks": [{"name": "averaging", "photographs": 6}],
                          "material": {"name": "image_folder", "path": str(material)}}],
        })  # fmt: skip
        ctx = Context(1, models("embedded"), DiskMemo(tmp_path / "memo"), let_through(recipe.source, ()))
        return plan(recipe, ctx).units[0].key

    more = shutil.copytree(others, tmp_path / "more")
    before = key(more)
    assert key(more) == before
    (more / "new.jpg").write_bytes(next(folder.iterdir()).read_bytes())
    assert key(more) != before
    with pytest.raises(SourceError):
        key(tmp_path / "nowhere")


def _drawn(target, number):
    """What the attacker has: photograph and pixels."""
    target.photographs(number)
    return target._drawn[:number]


def test_a_sample_that_is_drawn_is_a_sample(folder, tmp_path):
    target = service(folder, tmp_path, mark=None)
    every = {sample.photograph: sample for sample in samples(folder, target) if isinstance(sample, Sample)}
    for one, image in _drawn(target, 6):
        assert image.mean() == pytest.approx(every[one.photograph].image.mean(), abs=12)


def test_an_edition_with_attackers(folder, tmp_path):
    """Half of the photographs are the attacker's: rows with that reason, and none of them is attacked."""
    recipe = Recipe.parse({
        "dataset": "x", "version": "1.0.0", "seed": 1, "max_failure_rate": 1,
        "source": {"name": "image_folder", "path": str(folder)},
        "generate": [{"name": "watermark", "frame": 64, "marks": [{"name": "spread_spectrum", "keyed": "shared"}]},
                     {"name": "watermark_attack", "strengths": [0.5],
                      "attacks": [{"name": "averaging", "photographs": 4}, {"name": "paste", "photographs": 4},
                                  {"name": "copied_residual", "photographs": 4}]}],
    })  # fmt: skip
    ctx = Context(1, models("embedded"), DiskMemo(tmp_path / "memo"), let_through(recipe.source, ()))
    items = decoded(recipe.source.read(0, 8, ctx))
    for generator in recipe.generate:
        items = generator.generate([item for item in items if isinstance(item, Sample)], ctx)
        items = list(items)
    cells = {}
    for item in items:
        kind = "picture" if isinstance(item, Sample) else item.reason
        cells.setdefault(item.variant, []).append(kind)
    assert set(cells) == {
        "original", "spread_spectrum", "spread_spectrum_averaging_0.5", "original_averaging_0.5_spread_spectrum",
        "spread_spectrum_paste_0.5", "original_copied_residual_0.5_spread_spectrum",
    }  # fmt: skip
    ids = [sample.id for sample in decoded(recipe.source.read(0, 8, ctx))]
    free = sum(not attackers(identity, 1) for identity in ids)
    assert 0 < free < 8
    for variant, kinds in cells.items():
        attacked = "_0.5" in variant
        assert sorted(kinds) == ["attackers_own"] * (8 - free if attacked else 0) + ["picture"] * (
            free if attacked else 8
        )

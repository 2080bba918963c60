import hashlib
from dataclasses import replace

import numpy as np
import pytest
from annotated_set import ANNOTATED

from variorum.kit.corrupt.kinds import KINDS, corrupt, scale_of
from variorum.models import ModelTable
from variorum.pixels import decode
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError, SourceError
from variorum.schemas.lookup import build_component
from variorum.schemas.sample import CAPTURED, ENHANCED, GENERATED, Failure
from variorum.sources.corrupted import Corrupted
from variorum.sources.image_folder import ImageFolder

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def ctx():
    return Context(3, ModelTable("embedded"), lambda key, compute: compute())


@pytest.fixture
def folder(photos):
    return {"name": "image_folder", "path": str(photos)}


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_gives_the_picture_of_the_generator_s_function(kind, folder, ctx):
    source = Corrupted(of=folder, kind=kind, severity=4)
    plain, sample = next(source.of.read(0, 1, ctx)), next(source.read(0, 1, ctx))
    image = decode(plain.image)
    rng = ctx.rng("corrupted", plain.id, kind)
    expected = corrupt(image, kind, 4, rng, scale=scale_of(kind, min(image.shape[:2])))
    np.testing.assert_array_equal(sample.image, expected.image)
    assert not np.array_equal(sample.image, image)
    assert sample.origin.endswith(f" {kind} 4")


def test_lengths_grow_with_the_picture_unless_they_are_absolute(folder, ctx):
    scaled, absolute = (
        next(Corrupted(of=folder, kind="gaussian_blur", severity=5, scale=scale).read(0, 1, ctx)).image
        for scale in ("frame", "absolute")
    )
    plain = decode(next(Corrupted(of=folder).of.read(0, 1, ctx)).image)
    np.testing.assert_array_equal(absolute, corrupt(plain, "gaussian_blur", 5, np.random.default_rng(0)).image)
    assert scaled.std() > absolute.std()  # 64 pixels: a blur of 6 x 64 / 224


def test_what_is_not_there_is_named(folder):
    with pytest.raises(RecipeError, match=r"no corruption is called 'jpeg'; there are: .*jpeg_compression"):
        build_component("source", {"name": "corrupted", "of": folder, "kind": "jpeg"}, "source")
    with pytest.raises(RecipeError, match="severity"):
        build_component("source", {"name": "corrupted", "of": folder, "severity": 6}, "source")


def test_as_many_pictures_with_the_sources_labels_and_ids_of_their_own(folder, ctx):
    source = build_component("source", {"name": "corrupted", "of": folder, "kind": "gaussian_blur"}, "source")
    plain = list(source.of.read(0, 12, ctx))
    samples = list(source.read(0, 12, ctx))
    assert source.size(ctx) == len(samples) == 12
    assert source.classes(ctx) == source.of.classes(ctx)
    assert not source.captioned(ctx)
    assert not source.annotated(ctx)
    assert [sample.labels for sample in samples] == [sample.labels for sample in plain]
    assert not {sample.id for sample in samples} & {sample.id for sample in plain}
    assert samples[0].image.shape == (64, 96, 3)
    assert all((a.image == b.image).all() for a, b in zip(source.read(3, 5, ctx), samples[3:5], strict=True))
    harder = build_component("source", {**source.config(), "severity": 5}, "source")
    assert next(harder.read(0, 1, ctx)).id != samples[0].id


def test_annotations_hold_and_the_file_is_another(ctx):
    source = build_component("source", {"name": "corrupted", "of": ANNOTATED}, "source")
    plain, samples = list(source.of.read(0, 6, ctx)), list(source.read(0, 6, ctx))
    assert any(sample.annotations.objects for sample in samples)
    assert source.captioned(ctx)
    assert source.annotated(ctx)
    for before, after in zip(plain, samples, strict=True):
        assert after.annotations == before.annotations
        assert (after.split, after.metadata) == (before.split, before.metadata)
        assert after.photograph == (before.photograph or hashlib.sha256(before.image).hexdigest())
        assert after.encoded is None


def test_objects_move_along_where_pixels_do(ctx):
    source = build_component("source", {"name": "corrupted", "of": ANNOTATED, "kind": "elastic_transform"}, "source")
    plain, samples = list(source.of.read(0, 6, ctx)), list(source.read(0, 6, ctx))
    pairs = [(a.annotations, b.annotations) for a, b in zip(plain, samples, strict=True)]
    assert any(before.objects != after.objects for before, after in pairs)
    assert all(before.texts == after.texts for before, after in pairs)


@pytest.mark.parametrize(("before", "after"), [(CAPTURED, ENHANCED), ("", ENHANCED), (GENERATED, GENERATED)])
def test_what_a_model_made_stays_a_model_s(before, after, folder, ctx):
    class Said(ImageFolder):
        def read(self, start, stop, ctx):
            yield from (replace(item, digital_source_type=before) for item in super().read(start, stop, ctx))

    source = Corrupted(of=Said(path=folder["path"]))
    assert {sample.digital_source_type for sample in source.read(0, 3, ctx)} == {after}


def test_noise_follows_from_the_seed_and_the_picture(folder, ctx):
    source = build_component("source", {"name": "corrupted", "of": folder}, "source")
    first, again, other = (next(source.read(0, 1, c)).image for c in (ctx, ctx, Context(4, ctx.models, ctx.memo)))
    assert (first == again).all()
    assert not (first == other).all()


def test_where_the_source_lies_does_not_enter_its_identity(folder, ctx):
    here = build_component("source", {"name": "corrupted", "of": folder}, "source")
    there = build_component("source", {"name": "corrupted", "of": {**folder, "path": "elsewhere"}}, "source")
    assert here.fingerprint() == there.fingerprint()
    assert here.config() != there.config()
    assert here.pin(ctx) != here.of.pin(ctx)
    harder = build_component("source", {"name": "corrupted", "of": folder, "severity": 4}, "source")
    assert harder.fingerprint() != here.fingerprint()


def test_an_unreadable_picture_is_a_failure(tmp_path, ctx):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    source = Corrupted(of={"name": "image_folder", "path": str(tmp_path)})
    (item,) = source.read(0, 1, ctx)
    assert isinstance(item, Failure)
    assert item.labels == ("a",)


def test_mistakes_in_the_inner_source_are_named(ctx):
    with pytest.raises(RecipeError, match=r"of\.parth: no such field; there are: path"):
        Corrupted(of={"name": "image_folder", "path": "x", "parth": "y"})
    with pytest.raises(RecipeError, match="of: needs a name"):
        Corrupted(of={"path": "x"})
    with pytest.raises(SourceError, match="doesn't exist"):
        Corrupted(of={"name": "image_folder", "path": "not/there"}).size(ctx)

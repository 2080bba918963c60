import shutil
from pathlib import Path

import pytest

from variorum.edition.editions import resolve
from variorum.edition.store import Store
from variorum.pipeline import build
from variorum.schemas.errors import CorruptShard, SourceError, StoreError
from variorum.schemas.recipe import Recipe
from variorum.sources.edition import Edition
from variorum.stages.job import Job, open_context

pytestmark = pytest.mark.usefixtures("own_cache")


def made(store: Store, source: dict, name: str, **probe):
    recipe = Recipe.parse(
        {
            "dataset": name,
            "version": "1.0.0",
            "samples_per_shard": 5,
            "source": source,
            "generate": [{"name": "probe", **probe}],
        }
    )
    return build(Job(recipe, store))


@pytest.fixture
def store(tmp_path, photos) -> Store:
    """A store with `first@1.0.0`: twelve photographs and their negatives, with masks except for quarantined ones."""
    store = Store(str(tmp_path / "store"))
    made(store, {"name": "image_folder", "path": str(photos)}, "first", quarantine="coffee/0")
    return store


def context(source: Edition):
    recipe = Recipe.parse({"dataset": "x", "version": "1.0.0", "source": source.config()})
    return open_context(recipe, "embedded")


def test_samples_keep_their_ids_and_their_story(store):
    source = Edition(edition="first@1.0.0", store=store.url)
    ctx = context(source)
    samples = list(source.read(0, source.size(ctx), ctx))
    assert len(samples) == source.size(ctx) == 23
    assert [info.id for info in source.classes(ctx)] == ["astronaut", "chelsea", "coffee"]
    by_id = {sample.id: sample for sample in samples}
    negatives = [sample for sample in samples if sample.variant == "negative_0"]
    assert len(negatives) == 11
    for sample in negatives:
        assert by_id.get(sample.parent) is None or by_id[sample.parent].labels == sample.labels
        assert sample.ops[0]["name"] == "probe"
    assert {sample.licence for sample in samples} == {"unknown"}


def test_any_stretch_is_the_same_samples(store):
    source = Edition(edition="first", store=store.url)
    ctx = context(source)
    samples = list(source.read(0, 99, ctx))
    for start, stop in ((0, 1), (3, 17), (9, 11), (22, 23), (23, 40), (5, 5)):
        assert list(source.read(start, stop, ctx)) == samples[start:stop]


def test_identity_is_the_manifest_wherever_it_lies(store, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(store.url, moved)
    here = Edition(edition="first@1.0.0", store=store.url)
    there = Edition(edition=str(moved / "editions" / "first" / "1.0.0"))
    assert here.fingerprint() == there.fingerprint()
    assert here.pin(context(here)) == there.pin(context(there))
    assert list(here.read(0, 99, context(here))) == list(there.read(0, 99, context(there)))
    (quarantined,) = Edition(edition="first", store=store.url, split="quarantine").read(0, 9, context(here))
    assert quarantined.reason == "asked_for"


def test_an_edition_feeds_the_next_recipe(store):
    source = {"name": "edition", "edition": "first@1.0.0", "store": store.url}
    manifest = made(store, source, "second", originals=False)
    assert manifest.counts == {"negative_0": {"accepted": 23}}
    second = Edition(edition="second", store=store.url)
    chains = [[op["name"] for op in sample.ops] for sample in second.read(0, 99, context(second))]
    assert sorted(map(len, chains)) == [1] * 12 + [2] * 11


def test_what_is_wrong_is_named(store, tmp_path):
    with pytest.raises(StoreError, match=r"no edition 'third'.* there are: first@1\.0\.0"):
        Edition(edition="third", store=store.url).size(None)
    with pytest.raises(SourceError, match="no edition's folder"):
        Edition(edition=str(tmp_path)).size(None)


def test_a_damaged_shard_is_refused(store):
    source = Edition(edition="first@1.0.0", store=store.url)
    manifest = resolve("first@1.0.0", store)
    shard = Path(store.path(manifest.shards["test"][0]))
    data = bytearray(shard.read_bytes())
    data[data.index(b"IDAT") + 40] ^= 1  # one bit of a picture; the header and the file's size stay
    shard.write_bytes(bytes(data))
    with pytest.raises(CorruptShard, match="its content doesn't match its name"):
        list(source.read(0, 99, context(source)))

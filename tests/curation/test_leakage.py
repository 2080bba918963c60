import io
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import CONTEXT, copy, edition, render, scored
from PIL import Image
from pydantic import ValidationError

from curation.duplicates import Duplicates
from curation.fingerprints.blocklists import Blocklist, blocklist
from curation.fingerprints.grouping import grouped_folds, leak_rate
from curation.leakage import Leakage, list_hashes, split_of
from schemas.component import Context
from schemas.errors import RecipeError, SourceError

SPLITS = {"train": "train/*", "val": "val/*", "test": "test/*"}

pytestmark = pytest.mark.usefixtures("own_cache")


def columns(table, *names):
    return [table.column(f"leakage.{name}").to_pylist() for name in names]


def origins(*splits):
    return [f"{split}/{k}.png" for k, split in enumerate(splits)]


@pytest.fixture
def listed(tmp_path):
    """A blocklist of renders 0 to 4, in a file."""
    path = tmp_path / "benchmark.parquet"
    path.write_bytes(blocklist(edition([render(k) for k in range(5)])))
    return path


# ── splits ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_training_pictures_that_a_test_has_are_flagged():
    pictures = [render(1), render(2), render(3), render(1), copy(render(2), "flip"), render(4), render(5), render(5)]
    table = edition(pictures, origin=origins("train", "train", "train", "test", "val", "test", "extra", "test"))
    step = Leakage(splits=SPLITS, embedding=False)
    found = scored(step, table)
    flag, against, layer, neighbour, split, known = columns(
        found, "flag", "against", "layer", "neighbour", "split", "known_by"
    )
    assert flag == [True, True, *[False] * 6]
    assert against == ["test", "val", *[""] * 6]
    assert layer[:2] == ["file", "hash"]
    assert neighbour[:3] == [table.column("id")[3].as_py(), table.column("id")[4].as_py(), ""]
    assert split == ["train", "train", "train", "test", "val", "test", "", "test"]
    assert known == ["", "", "", "file", "hash", "", "", ""]
    figures = step.summarise(found)
    assert figures["leaking"] == 2
    assert figures["compared_with"] == "test, val"
    assert Leakage().summarise(scored(Leakage(embedding=False), table))["compared_with"] == "nothing"
    assert figures["into"] == {"test": 1, "val": 1}
    assert figures["leak_rate"]["test"] == pytest.approx(
        {"file": 1 / 3, "pixels": 1 / 3, "hash": 1 / 3, "embedding": 1 / 3}
    )
    assert figures["leak_rate"]["val"] == {"file": 0, "pixels": 0, "hash": 1, "embedding": 1}


def test_the_strongest_leak_of_a_picture_counts():
    pictures = [render(1), copy(render(1), "jpeg"), render(1)]
    found = scored(Leakage(splits=SPLITS, embedding=False), edition(pictures, origin=origins("train", "val", "test")))
    assert columns(found, "against", "layer", "score")[0][0] == "test"
    assert columns(found, "layer", "score") == [["file", "", ""], [1, 0, 0]]


def test_embeddings_find_a_crop_in_training():
    pictures = [render(k) for k in range(60)] + [copy(render(0), "crop_70")]
    vectors = np.random.default_rng(0).normal(size=(61, 64)).astype(np.float16)
    vectors[60] = vectors[0]
    origin = origins(*["train"] * 60, "test")
    table = edition(pictures, vectors, origin=origin)
    found = scored(Leakage(splits=SPLITS), table)
    assert columns(found, "layer")[0][0] == "embedding"
    assert Leakage(splits=SPLITS).summarise(found)["leak_rate"] == {
        "test": {"file": 0, "pixels": 0, "hash": 0, "embedding": 1}
    }


def test_a_split_by_group_leaks_nothing_and_a_random_one_does():
    pictures = [render(k, 96) for k in range(60)]
    pictures += [copy(pictures[k], name) for k in range(40) for name in ("jpeg", "flip")]
    labels = np.arange(60) % 3
    labels = np.concatenate([labels, np.repeat(labels[:40], 2)])
    table = scored(Duplicates(embedding=False), edition(pictures, label=labels))
    group = table.column("duplicates.group").to_numpy()
    rates = {}
    for name, fold in (
        ("grouped", grouped_folds(labels, group, 5, 0)),
        ("random", np.random.default_rng(0).integers(0, 5, len(group))),
    ):
        origin = origins(*("test" if held_out else "train" for held_out in fold == 0))
        places = table.set_column(table.column_names.index("origin"), "origin", pa.array(origin))
        step = Leakage(splits=SPLITS, embedding=False)
        rates[name] = step.summarise(scored(step, places))["leak_rate"]["test"]["hash"]
        i, j = np.nonzero(np.triu(group[:, None] == group, 1))
        assert rates[name] == pytest.approx(leak_rate(fold == 0, fold != 0, i, j))
    assert rates["grouped"] == 0
    assert rates["random"] > 0.4


def test_origins_of_two_splits_are_refused():
    assert split_of(np.array(["a/1", "b/c/2", "3"], object), {"x": "a/*", "y": "b/*"}).tolist() == ["x", "y", ""]
    with pytest.raises(RecipeError, match=r"train/1 fits the patterns of the splits train and test"):
        split_of(np.array(["train/1"], object), {"train": "train/*", "test": "*/1"})


@pytest.mark.parametrize("splits", [{"train": "a/*"}, {"a": "a/*", "b": "b/*"}])
def test_splits_need_a_training_side_and_another(splits):
    with pytest.raises(ValidationError, match="splits need 'train' and at least one other"):
        Leakage(splits=splits)


# ── generated pictures ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_generated_picture_may_look_like_its_source_and_like_no_other():
    pictures = [render(1), render(2), copy(render(1), "jpeg"), copy(render(1), "blur"), render(3)]
    table = edition(
        pictures, source=["s", "t", "s", "t", "t"], variant=["original", "original", "control", "size", "size"]
    )
    found = scored(Leakage(embedding=False), table)
    assert columns(found, "flag", "against", "neighbour") == [
        [False, False, False, True, False],
        ["", "", "", "originals", ""],
        ["", "", "", table.column("id")[0].as_py(), ""],
    ]
    assert columns(scored(Leakage(embedding=False, originals=False), table), "flag") == [[False] * 5]


def test_the_own_source_does_not_hide_another_one():
    pictures = [render(1), render(1), render(1)]
    table = edition(pictures, source=["s", "t", "s"], variant=["original", "original", "size"])
    found = scored(Leakage(embedding=False), table)
    assert columns(found, "flag", "neighbour") == [[False, False, True], ["", "", table.column("id")[1].as_py()]]


# ── blocklists ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_pictures_on_a_list_are_flagged(listed):
    pictures = [render(0), copy(render(1), "jpeg"), copy(render(2), "turn_90"), render(7), copy(render(3), "crop_70")]
    step = Leakage(against=[str(listed)], embedding=False)
    found = scored(step, edition(pictures, sha256=["0", "1", "2", "3", "4"]))
    assert columns(found, "flag", "against", "layer") == [
        [True, True, True, False, False],
        ["benchmark"] * 3 + [""] * 2,
        ["pixels", "hash", "hash", "", ""],
    ]
    assert columns(found, "neighbour") == [[""] * 5]
    assert step.summarise(found)["into"] == {"benchmark": 3}
    assert step.summarise(found)["compared_with"] == "benchmark"
    same_files = scored(step, edition(pictures))
    assert columns(same_files, "layer")[0][0] == "file"


def test_copies_of_what_a_generator_was_trained_on_are_flagged(tmp_path):
    for number in range(4):
        (tmp_path / "seen" / "thing").mkdir(parents=True, exist_ok=True)
        Image.fromarray(render(number)).save(tmp_path / "seen" / "thing" / f"{number}.png")
    (tmp_path / "seen" / "thing" / "broken.png").write_bytes(b"no picture")
    kept: dict[str, object] = {}
    ctx = Context(0, None, lambda key, compute: kept.setdefault(key, compute()))
    step = Leakage(trained_on={"name": "image_folder", "path": str(tmp_path / "seen")}, embedding=False)
    table = edition([render(0), copy(render(1), "flip"), render(9)])
    found = scored(step, table, ctx)
    assert columns(found, "flag", "against", "layer") == [
        [True, True, False],
        ["trained_on", "trained_on", ""],
        ["pixels", "hash", ""],
    ]
    assert step.summarise(found)["compared_with"] == "trained_on"
    (list_of,) = kept.values()
    assert len(list_of["pixels"]) == 4
    shutil.copytree(tmp_path / "seen", tmp_path / "more")
    Image.fromarray(render(9)).save(tmp_path / "more" / "thing" / "9.png")
    more = Leakage(trained_on={"name": "image_folder", "path": str(tmp_path / "more")}, embedding=False)
    assert columns(scored(more, table, ctx), "flag") == [[True] * 3]  # other data, another list


def test_what_a_generator_was_trained_on_is_embedded_as_the_edition_is(tmp_path):
    class Corners:
        """Corner pixels as an embedding, under any alias."""

        def __init__(self):
            self.asked = set()

        def get(self, alias):
            self.asked.add(alias)
            return lambda images: np.stack([image[:2, :2].ravel() for image in images]).astype(np.float32)

        def pin(self, alias):
            return alias

    (tmp_path / "thing").mkdir()
    Image.fromarray(render(0)).save(tmp_path / "thing" / "0.png")
    like = render(5).copy()
    like[:2, :2] = render(0)[:2, :2]
    pictures, models = [render(9), like], Corners()
    table = edition(pictures, models.get("own")(pictures).astype(np.float16))
    table = table.append_column("features.encoder", pa.array(["own"] * 2))
    step = Leakage(trained_on={"name": "image_folder", "path": str(tmp_path)}, cosine=0.999)
    found = scored(step, table, Context(0, models, lambda key, compute: compute()))
    assert columns(found, "layer") == [["", "embedding"]]
    assert models.asked == {"own"}


def test_a_list_of_some_fingerprints_is_checked_by_those(tmp_path):
    full = pq.read_table(io.BytesIO(blocklist(edition([render(1)]))))
    for name, layer in (("sha256", "file"), ("pixels", "pixels"), ("pdq", "hash")):
        pq.write_table(full.select([name]), tmp_path / f"{name}.parquet")
        step = Leakage(against=[str(tmp_path / f"{name}.parquet")], embedding=False)
        assert columns(scored(step, edition([render(1), render(2)])), "layer") == [[layer, ""]]


def test_embeddings_on_a_list(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(60, 32)).astype(np.float16)
    path = tmp_path / "list.parquet"
    path.write_bytes(blocklist(edition([render(100)], vectors[:1]), embedding=True))
    table = edition([render(k) for k in range(60)], vectors)
    assert columns(scored(Leakage(against=[str(path)]), table), "layer") == [["embedding", *[""] * 59]]
    shorter = table.drop_columns(["features.embedding"])
    shorter = shorter.append_column(
        "features.embedding", pa.FixedSizeListArray.from_arrays(vectors[:, :16].ravel(), 16)
    )
    with pytest.raises(SourceError, match="32 numbers, the edition's have 16"):
        Leakage(against=[str(path)]).score(shorter, CONTEXT)


def test_a_list_holds_hashes_and_does_not_depend_on_the_order():
    grey = np.full((64, 64, 3), 99, np.uint8)
    table = edition([render(1), render(2), grey], np.ones((3, 4), np.float16))
    data = blocklist(table)
    assert blocklist(table.take([2, 0, 1]).combine_chunks()) == data
    written = pq.read_table(io.BytesIO(data))
    assert written.schema.names == ["sha256", "pixels", "pdq"]
    assert written.column("pdq").null_count == 1  # a flat picture's hash would match others
    assert "embedding" in pq.read_schema(io.BytesIO(blocklist(table, embedding=True))).names


def test_what_decides_the_columns_is_the_lists_content_and_not_its_place(listed, tmp_path):
    moved = tmp_path / "elsewhere" / "benchmark.parquet"
    moved.parent.mkdir()
    moved.write_bytes(listed.read_bytes())
    one, other = Leakage(against=[str(listed)]), Leakage(against=[str(moved)])
    assert one.fingerprint() == other.fingerprint() != Leakage().fingerprint()
    assert str(tmp_path) not in str(one.identity())
    moved.write_bytes(blocklist(edition([render(9)])))
    assert one.fingerprint() != other.fingerprint()
    assert "against" in Leakage.scored_by


def test_lists_that_are_none_are_refused(tmp_path, listed):
    with pytest.raises(SourceError, match="can't be read; make it with `blocklist`"):
        list_hashes([str(tmp_path / "missing.parquet")])
    (tmp_path / "text.parquet").write_text("no parquet")
    with pytest.raises(SourceError, match="can't be read as parquet"):
        Blocklist.read(tmp_path / "text.parquet")
    pq.write_table(pa.table({"hash": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(SourceError, match="none of the columns sha256, pixels, pdq, embedding; it has hash"):
        Blocklist.read(tmp_path / "other.parquet")
    pq.write_table(pa.table({"pdq": [b"short"]}), tmp_path / "short.parquet")
    with pytest.raises(SourceError, match="hashes have 32 bytes, one has 5"):
        Blocklist.read(tmp_path / "short.parquet")
    with pytest.raises(ValidationError, match="two lists or splits are named benchmark"):
        Leakage(against=[str(listed), str(tmp_path / "x" / "benchmark.parquet")])


def test_an_empty_edition_has_no_columns():
    empty = pa.table({"id": pa.array([], pa.string())})
    assert Leakage().score(empty, CONTEXT) == {}
    assert Leakage().summarise(empty) == {"pictures": 0}


def test_a_step_with_nothing_to_compare_flags_nothing():
    found = scored(Leakage(embedding=False), edition([render(1), render(1)]))
    assert columns(found, "flag", "split", "against") == [[False] * 2, [""] * 2, [""] * 2]

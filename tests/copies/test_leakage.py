import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from copied_pictures import CONTEXT, copy, edition, figures, measured, render, scored
from PIL import Image
from pydantic import ValidationError
from sklearn.model_selection import StratifiedGroupKFold

from variorum.curation.copies.duplicates import Duplicates
from variorum.curation.copies.leakage import Leakage, list_hashes, side_of
from variorum.curation.quality.features import Features
from variorum.kit.copies.blocklists import Blocklist, blocklist
from variorum.pipeline import Job, build, curate
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError, SourceError
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table
from variorum.stages.score import curated_table

SPLITS = {"train": "train/*", "val": "val/*", "test": "test/*"}

pytestmark = pytest.mark.usefixtures("own_cache")


def columns(table, *names):
    return [table.column(f"leakage.{name}").to_pylist() for name in names]


def origins(*splits):
    return [f"{split}/{k}.png" for k, split in enumerate(splits)]


def listing(pictures, vectors=None):
    return blocklist(Table(edition(pictures, vectors)), embedding=vectors is not None)


@pytest.fixture
def listed(tmp_path):
    """A file with the blocklist of renders 0 to 4."""
    path = tmp_path / "benchmark.parquet"
    path.write_bytes(listing([render(k) for k in range(5)]))
    return path


# ── splits ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_training_pictures_that_a_test_has_are_flagged():
    pictures = [render(1), render(2), render(3), render(1), copy(render(2), "flip"), render(4), render(5), render(5)]
    table = edition(pictures, origin=origins("train", "train", "train", "test", "val", "test", "extra", "test"))
    step = Leakage(splits=SPLITS, embedding=False)
    found = scored(step, table)
    flag, against, layer, neighbour, side, known = columns(
        found, "flag", "against", "layer", "neighbour", "side", "known_by"
    )
    assert flag == [True, True, *[False] * 6]
    assert against == ["test", "val", *[""] * 6]
    assert layer[:2] == ["file", "hash"]
    assert neighbour[:3] == [table.column("id")[3].as_py(), table.column("id")[4].as_py(), ""]
    assert side == ["train", "train", "train", "test", "val", "test", "", "test"]
    assert known == ["", "", "", "file", "hash", "", "", ""]
    told = figures(step, found)
    assert told["leaking"] == 2
    assert told["compared_with"] == "test, val"
    assert figures(Leakage(), scored(Leakage(embedding=False), table))["compared_with"] == "nothing"
    assert told["into"] == {"test": 1, "val": 1}
    assert told["leak_rate"]["test"] == pytest.approx(
        {"file": 1 / 3, "pixels": 1 / 3, "hash": 1 / 3, "embedding": 1 / 3}
    )
    assert told["leak_rate"]["val"] == {"file": 0, "pixels": 0, "hash": 1, "embedding": 1}


def test_without_patterns_the_sides_are_the_editions_own_splits():
    pictures = [render(1), render(2), render(3), render(1), copy(render(2), "flip"), render(9)]
    split = ["train", "train", "train", "test", "validation", "validation"]
    table = edition(pictures, split=split, origin=origins(*["photos"] * 6))
    step = Leakage(embedding=False)
    found = scored(step, table)
    assert columns(found, "flag", "against", "side") == [
        [True, True, *[False] * 4],
        ["test", "validation", *[""] * 4],
        split,
    ]
    told = figures(step, found)
    assert told["compared_with"] == "test, validation"
    assert {name: rate["hash"] for name, rate in told["leak_rate"].items()} == {"test": 1, "validation": 0.5}
    other = Leakage(train="test", embedding=False)
    assert columns(scored(other, table), "flag") == [[False, False, False, True, False, False]]
    assert figures(other, scored(other, table))["compared_with"] == "train, validation"


def test_patterns_win_over_the_editions_own_splits():
    pictures = [render(1), render(2), render(1), render(2)]
    table = edition(
        pictures, split=["train", "train", "test", "train"], origin=origins("train", "train", "extra", "val")
    )
    step = Leakage(splits={"train": "train/*", "val": "val/*"}, embedding=False)
    found = scored(step, table)
    assert columns(found, "flag", "against", "side") == [
        [False, True, False, False],
        ["", "val", "", ""],
        ["train", "train", "", "val"],
    ]
    assert set(figures(step, found)["leak_rate"]) == {"val"}


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
    assert figures(Leakage(splits=SPLITS), found)["leak_rate"] == {
        "test": {"file": 0, "pixels": 0, "hash": 0, "embedding": 1}
    }


def test_a_split_by_group_leaks_nothing_and_a_random_one_does():
    pictures = [render(k, 96) for k in range(60)]
    pictures += [copy(pictures[k], name) for k in range(40) for name in ("jpeg", "flip")]
    labels = np.arange(60) % 3
    labels = np.concatenate([labels, np.repeat(labels[:40], 2)])
    table = scored(Duplicates(embedding=False), edition(pictures, label=labels))
    group = table.column("duplicates.group").to_numpy()
    grouped, rates = np.ones(len(labels)), {}
    grouped[next(StratifiedGroupKFold(5).split(labels, labels, group))[1]] = 0
    for name, fold in (
        ("grouped", grouped),
        ("random", np.random.default_rng(0).integers(0, 5, len(group))),
    ):
        origin = origins(*("test" if held_out else "train" for held_out in fold == 0))
        places = table.set_column(table.column_names.index("origin"), "origin", pa.array(origin))
        step = Leakage(splits=SPLITS, embedding=False)
        rates[name] = figures(step, scored(step, places))["leak_rate"]["test"]["hash"]
        i, j = np.nonzero(np.triu(group[:, None] == group, 1))
        leaked = np.concatenate([i[(fold[i] == 0) & (fold[j] != 0)], j[(fold[j] == 0) & (fold[i] != 0)]])
        assert rates[name] == pytest.approx(len(set(leaked.tolist())) / (fold == 0).sum())
    assert rates["grouped"] == 0
    assert rates["random"] > 0.4


def test_origins_of_two_splits_are_refused():
    assert side_of(np.array(["a/1", "b/c/2", "3"], object), {"x": "a/*", "y": "b/*"}).tolist() == ["x", "y", ""]
    with pytest.raises(RecipeError, match=r"train/1 matches the patterns of both splits train and test"):
        side_of(np.array(["train/1"], object), {"train": "train/*", "test": "*/1"})


@pytest.mark.parametrize("splits", [{"train": "a/*"}, {"a": "a/*", "b": "b/*"}])
def test_splits_need_a_training_side_and_another(splits):
    with pytest.raises(ValidationError, match="splits must hold 'train' and at least one other"):
        Leakage(splits=splits)


def test_an_editions_own_splits_are_compared_in_a_run(photos, tmp_path):
    folder = tmp_path / "photos"
    for path in sorted(photos.glob("*/*.jpg")):
        (folder / path.parent.name).mkdir(parents=True, exist_ok=True)
        image = Image.open(path)
        for name, quality in (("a", 90), ("b", 60)):  # not the same bytes, so drawn apart
            image.save(folder / path.parent.name / f"{path.stem}{name}.jpg", quality=quality)
    recipe = Recipe.parse(
        {
            "dataset": "d",
            "version": "1.0.0",
            "splits": {"test": 0.5},
            "source": {"name": "image_folder", "path": str(folder)},
            "curate": [{"name": "duplicates", "embedding": False}, {"name": "leakage", "embedding": False}],
        }
    )
    job = Job(recipe, str(tmp_path / "store"))
    manifest = build(job)
    _, ledger = curate(job, manifest)
    found = curated_table(manifest, ledger, ["leakage"], job.store)
    split = dict(zip(found["origin"], found["split"], strict=True))
    twin = {
        name: name.replace("a.jpg", "b.jpg") if name.endswith("a.jpg") else name.replace("b.jpg", "a.jpg")
        for name in split
    }
    apart = {name for name in split if split[name] == "train" and split[twin[name]] == "test"}
    assert 0 < len(apart) < 12
    assert set(found["origin"][found["leakage.flag"]]) == apart
    assert (found["leakage.side"] == found["split"]).all()
    assert ledger.figures["leakage"]["into"] == {"test": len(apart)}
    assert ledger.figures["leakage"]["leak_rate"]["test"]["hash"] == pytest.approx(
        len(apart) / manifest.splits()["test"]
    )


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


def of_others(table, *made_of):
    """The table with what its pictures are made of."""
    return table.append_column("made_of", pa.array(made_of, pa.list_(pa.string())))


def test_a_copy_of_a_picture_that_it_is_made_of_is_no_leak():
    pictures = [render(1), render(2), copy(render(1), "blur"), copy(render(2), "blur")]
    table = edition(pictures, source=["s", "t", "t", "s"], variant=["original", "original", "control", "control"])
    flags = columns(scored(Leakage(embedding=False), of_others(table, None, None, ["s", "an.png"], ["u"])), "flag")
    assert flags == [[False, False, False, True]]


def test_a_training_picture_made_of_a_test_picture_leaks():
    names, split = ["s", "t", "u"], ["train", "train", "test"]
    table = edition([render(k) for k in range(3)], source=names, photograph=names, split=split)
    found = scored(Leakage(embedding=False), of_others(table, ["u"], ["t"], ["s"]))
    assert columns(found, "flag", "against", "layer") == [[True, False, False], ["test", "", ""], ["pixels", "", ""]]
    assert columns(found, "neighbour") == [[table.column("id")[2].as_py(), "", ""]]


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
    assert figures(step, found)["into"] == {"benchmark": 3}
    assert figures(step, found)["compared_with"] == "benchmark"
    same_files = scored(step, edition(pictures))
    assert columns(same_files, "layer")[0][0] == "file"


SEEN = {"name": "image_folder", "path": "seen"}


class Corners:
    """Corner pixels as an embedding, under any alias."""

    def get(self, alias):
        return lambda images: np.stack([image[:2, :2].ravel() for image in images]).astype(np.float32)


def trained_on(pictures, *, embedding=False):
    """The reference that `score` gets: the needed detectors' measurements of a generator's training pictures."""
    steps = [Duplicates(embedding=embedding), *([Features()] if embedding else [])]
    samples = [Sample(f"seen{k}", picture) for k, picture in enumerate(pictures)]
    return {"trained_on": Table(measured(steps, samples, Context(0, Corners(), None)), "leakage")}


def test_copies_of_what_a_generator_was_trained_on_are_flagged():
    flat = np.full((64, 64, 3), 99, np.uint8)  # too flat for a meaningful PDQ
    step = Leakage(trained_on=SEEN, embedding=False)
    table = edition([render(0), copy(render(1), "flip"), render(9), flat + 1])
    found = scored(step, table, trained_on([*(render(k) for k in range(4)), flat]))
    assert columns(found, "flag", "against", "layer", "neighbour") == [
        [True, True, False, False],
        ["trained_on", "trained_on", "", ""],
        ["pixels", "hash", "", ""],
        [""] * 4,
    ]
    assert figures(step, found)["compared_with"] == "trained_on"
    assert figures(step, found)["into"] == {"trained_on": 2}
    more = scored(step, table, trained_on([render(0), render(1), render(9), flat + 1]))
    assert columns(more, "flag", "layer") == [[True] * 4, ["pixels", "hash", "pixels", "pixels"]]


def test_what_a_generator_was_trained_on_is_compared_by_embedding_too():
    like = render(5).copy()
    like[:2, :2] = render(0)[:2, :2]
    pictures = [render(9), like]
    table = edition(pictures, Corners().get("encoder")(pictures).astype(np.float16))
    references = trained_on([render(0)], embedding=True)
    assert columns(scored(Leakage(trained_on=SEEN, cosine=0.999), table, references), "layer") == [["", "embedding"]]
    hashes = Leakage(trained_on=SEEN, embedding=False)
    assert columns(scored(hashes, table, references), "layer") == [["", ""]]


def test_what_it_asks_the_machinery_to_measure():
    step = Leakage(trained_on=SEEN)
    assert list(step.references()) == ["trained_on"]
    assert step.needs() == ("duplicates", "features")
    assert Leakage(embedding=False).needs() == ("duplicates",)
    assert Leakage().references() == {}
    assert step.fingerprint() != Leakage().fingerprint()


def test_a_list_with_some_of_the_columns_is_checked_by_those(tmp_path):
    full = pq.read_table(io.BytesIO(listing([render(1)])))
    for name, layer in (("sha256", "file"), ("pixels", "pixels"), ("pdq", "hash")):
        pq.write_table(full.select([name]), tmp_path / f"{name}.parquet")
        step = Leakage(against=[str(tmp_path / f"{name}.parquet")], embedding=False)
        assert columns(scored(step, edition([render(1), render(2)])), "layer") == [[layer, ""]]


def test_embeddings_on_a_list(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(60, 32)).astype(np.float16)
    path = tmp_path / "list.parquet"
    path.write_bytes(listing([render(100)], vectors[:1]))
    table = edition([render(k) for k in range(60)], vectors)
    assert columns(scored(Leakage(against=[str(path)]), table), "layer") == [["embedding", *[""] * 59]]
    shorter = table.drop_columns(["features.embedding"])
    shorter = shorter.append_column(
        "features.embedding", pa.FixedSizeListArray.from_arrays(vectors[:, :16].ravel(), 16)
    )
    with pytest.raises(SourceError, match="32 numbers, the edition of 16"):
        scored(Leakage(against=[str(path)]), shorter)


def test_a_list_holds_hashes_and_does_not_depend_on_the_order():
    grey = np.full((64, 64, 3), 99, np.uint8)
    table = edition([render(1), render(2), grey], np.ones((3, 4), np.float16))
    data = blocklist(Table(table))
    assert blocklist(Table(table.take([2, 0, 1]).combine_chunks())) == data
    written = pq.read_table(io.BytesIO(data))
    assert written.schema.names == ["sha256", "pixels", "pdq"]
    assert written.column("pdq").null_count == 1  # a flat picture's hash would match others
    assert "embedding" in pq.read_schema(io.BytesIO(blocklist(Table(table), embedding=True))).names


def test_what_decides_the_columns_is_the_lists_content_and_not_its_place(listed, tmp_path):
    moved = tmp_path / "elsewhere" / "benchmark.parquet"
    moved.parent.mkdir()
    moved.write_bytes(listed.read_bytes())
    one, other = Leakage(against=[str(listed)]), Leakage(against=[str(moved)])
    assert one.fingerprint() == other.fingerprint() != Leakage().fingerprint()
    assert str(tmp_path) not in str(one.identity())
    moved.write_bytes(listing([render(9)]))
    assert one.fingerprint() != other.fingerprint()


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
    with pytest.raises(SourceError, match="hashes must have 32 bytes, one has 5"):
        Blocklist.read(tmp_path / "short.parquet")
    with pytest.raises(ValidationError, match="two lists or splits have the name benchmark"):
        Leakage(against=[str(listed), str(tmp_path / "x" / "benchmark.parquet")])
    with pytest.raises(ValidationError, match="two lists or splits have the name validation"):
        Leakage(against=["validation.parquet"])
    assert Leakage(against=["validation.parquet"], splits={"train": "a/*", "b": "b/*"}).against


def test_an_empty_edition_has_no_columns():
    empty = pa.table({"id": pa.array([], pa.string())})
    assert Leakage().score(Table(empty), CONTEXT) == {}
    assert figures(Leakage(), empty) == {"pictures": 0}


def test_a_step_with_nothing_to_compare_flags_nothing():
    found = scored(Leakage(embedding=False), edition([render(1), render(1)]))
    assert columns(found, "flag", "side", "against") == [[False] * 2, ["test"] * 2, [""] * 2]
    assert figures(Leakage(embedding=False), found)["leak_rate"] == {}

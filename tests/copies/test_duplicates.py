import cv2
import numpy as np
import pyarrow as pa
import pytest
from copied_pictures import CONTEXT, copy, crops, edition, figures, render, scored

from variorum.curation.copies.duplicates import Duplicates, conflicts, cut_from
from variorum.kit.copies import join
from variorum.kit.copies.pdq import LEAST_QUALITY, pdq
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

STEP = Duplicates(embedding=False)


def columns(table, *names):
    return [table.column(f"duplicates.{name}").to_pylist() for name in names]


def test_copies_are_found_by_the_strongest_evidence_there_is():
    one, other = render(1), render(2)
    found = scored(STEP, edition([one, one, copy(one, "blur"), copy(one, "flip"), other, copy(one, "crop_70")]))
    group, size, layer, distance, keep, copies = columns(
        found, "group", "group_size", "layer", "distance", "keep", "copies"
    )
    assert group == [0, 0, 0, 0, 4, 5]  # a hash misses a crop
    assert size == [4, 4, 4, 4, 1, 1]
    assert keep == [True, False, False, False, True, True]
    assert layer == ["", "file", "hash", "hash", "", ""]
    assert distance[1] == 0
    assert all(0 <= bits <= 31 for bits, kept in zip(distance, keep, strict=True) if not kept)
    assert np.isnan([bits for bits, kept in zip(distance, keep, strict=True) if kept]).all()
    assert copies == [4, 0, 0, 0, 1, 1]
    flag, score = columns(found, "flag", "score")
    assert flag == [not kept for kept in keep]
    assert [value > 0 for value in score] == flag


def test_the_same_pixels_in_two_files_are_told_from_the_same_file():
    found = scored(STEP, edition([render(1)] * 3, sha256=["a", "a", "b"]))
    assert columns(found, "layer", "score") == [["", "file", "pixels"], [0, 1, 1]]


def test_embeddings_find_what_hashes_miss_and_never_what_the_cut_leaves_out():
    pictures = [render(k) for k in range(60)] + [copy(render(0), "crop_70"), copy(render(1), "padding")]
    vectors = np.random.default_rng(0).normal(size=(62, 64))
    vectors[60], vectors[61] = vectors[0] * 3, vectors[1] + 0.9 * vectors[61]
    table = edition(pictures, vectors.astype(np.float16))
    found = scored(Duplicates(), table)
    group, layer, distance, cut, rate = columns(found, "group", "layer", "distance", "cosine_cut", "cosine_false_rate")
    assert group[60] == group[0] == 0
    assert {layer[0], layer[60]} == {"", "embedding"}
    assert np.nanmin([distance[0], distance[60]]) == pytest.approx(0, abs=1e-5)
    cosine = vectors[1] @ vectors[61] / np.linalg.norm(vectors[1]) / np.linalg.norm(vectors[61])
    assert cut[0] == 0.7 < cosine < 0.8  # the floor
    assert group[61] == group[1]
    assert rate[0] * 62 < 0.01
    strict = scored(Duplicates(cosine=0.9), table)
    assert columns(strict, "group")[0][60:] == [0, 61]
    assert columns(strict, "cosine_cut")[0][0] == 0.9
    assert figures(Duplicates(cosine=0.9), strict)["cosine_cut_from"] == "recipe"
    assert figures(Duplicates(), found)["cosine_cut_from"] == "own pairs"


def test_with_few_pictures_the_cut_is_the_stated_default():
    vectors = np.eye(4, 8)
    vectors[3] = vectors[0]
    found = scored(Duplicates(), edition([render(k) for k in range(4)], vectors.astype(np.float16)))
    told = figures(Duplicates(), found)
    assert told["cosine_cut"] == 0.95
    assert told["cosine_cut_from"] == "default"
    assert told["false_pairs_a_picture"] is None
    assert told["by_layer"] == {"file": 0, "pixels": 0, "hash": 0, "embedding": 1}


def test_what_the_cut_rests_on_is_said():
    assert cut_from(0.83, 1e-9) == "own pairs"
    assert cut_from(0.95, float("nan")) == "default"
    assert cut_from(0.97, float("nan")) == "own pairs of one kind"


def test_an_embedding_that_is_no_number_joins_nothing():
    vectors = np.ones((4, 8), np.float16)
    vectors[1], vectors[2] = np.nan, 0
    found = scored(Duplicates(), edition([render(k) for k in range(4)], vectors))
    assert columns(found, "group_size") == [[2, 1, 1, 2]]


def test_variants_of_one_photograph_are_meant_to_be_alike():
    pictures = [render(1), copy(render(1), "jpeg"), render(2)]
    table = edition(pictures, source=["s", "s", "t"])
    assert columns(scored(STEP, table), "flag", "group_size") == [[False] * 3, [1, 1, 1]]
    within = scored(Duplicates(embedding=False, within_source=True), table)
    assert columns(within, "group_size") == [[2, 2, 1]]
    assert sum(columns(within, "flag")[0]) == 1


def test_pictures_on_one_plate_are_no_copies_unless_their_pixels_are():
    pictures = [render(1), copy(render(1), "jpeg"), copy(render(1), "blur"), render(2), render(2)]
    table = edition(pictures, source=["s", "t", "plate", "u", "v"])
    assert sum(columns(scored(STEP, table), "flag")[0]) == 3
    lent = pa.array([["plate", "id"], ["plate", "id"], None, ["plate"], ["plate"]], pa.list_(pa.string()))
    found = scored(STEP, table.append_column("made_of", lent))
    assert columns(found, "flag", "layer") == [[False] * 4 + [True], [""] * 4 + ["file"]]


def test_of_two_editions_of_one_photograph_one_stays_whole():
    one = render(1)
    mine = [one, copy(one, "jpeg"), copy(one, "blur")]
    theirs = [copy(one, "resize"), copy(copy(one, "resize"), "jpeg")]
    found = scored(STEP, edition(mine + theirs, source=["s", "s", "s", "t", "t"]))
    assert columns(found, "group", "flag") == [[0] * 5, [False, False, False, True, True]]


def test_detail_then_size_then_licence_then_id_decides_what_stays():
    one = render(1)
    assert columns(scored(STEP, edition([copy(one, "resize"), one])), "keep") == [[False, True]]
    assert columns(scored(STEP, edition([copy(one, "blur"), one])), "keep") == [[False, True]]
    table = edition([one, copy(one, "resize")])
    as_much = table.set_column(table.column_names.index("duplicates.detail"), "duplicates.detail", pa.array([9.0, 9.0]))
    assert columns(scored(STEP, as_much), "keep") == [[True, False]]
    unknown = scored(STEP, edition([one, one, one], licence=["unknown", "", "CC0-1.0"]))
    assert columns(unknown, "keep") == [[False, False, True]]
    by_id = scored(STEP, edition([one, one], id=["b", "a"]))
    assert columns(by_id, "keep", "group", "keeper") == [[False, True], [0, 0], ["a", "a"]]


@pytest.mark.parametrize(
    ("kept", "gone"),
    [
        ("b/horse.jpg", "a/copy_of_horse.jpg"),
        ("horse.jpg", "horse - Copy.jpg"),
        ("horse.jpg", "horse (1).jpg"),
        ("horse_at_dusk.jpg", "copy 2.jpg"),
        ("z/horse.jpg", "a/horse_2.jpg"),
        ("photocopy.jpg", "photocopier.jpg"),  # a word that only contains it
    ],
)
def test_of_equal_copies_the_one_with_the_plainest_name_stays(kept, gone):
    table = edition([render(1), render(1)], id=["b", "a"], origin=[kept, gone])
    assert columns(scored(STEP, table), "keeper") == [["b", "b"]]
    better = edition([copy(render(1), "blur"), render(1)], id=["b", "a"], origin=[kept, gone])
    assert columns(scored(STEP, better), "keeper") == [["a", "a"]]


@pytest.mark.parametrize("share", [1.5, 2, 5.5])
def test_an_enlargement_never_stays_for_the_sharp_picture(share):
    pictures = [picture for picture in crops()[::6] if pdq(picture)[1] >= LEAST_QUALITY]
    enlarged = [cv2.resize(picture, None, fx=share, fy=share, interpolation=cv2.INTER_CUBIC) for picture in pictures]
    keep, group = columns(scored(STEP, edition([*enlarged, *pictures])), "keep", "group")
    n = len(pictures)
    assert n >= 10
    assert group[:n] == group[n:]
    assert keep == [False] * n + [True] * n


def test_copies_with_two_labels_contradict_each_other():
    one = render(1)
    pictures = [one, copy(one, "jpeg"), one, render(2), render(2)]
    found = scored(STEP, edition(pictures, label=[3, 5, -1, 4, -1]))
    assert columns(found, "conflict") == [[True, True, True, False, False]]
    told = figures(STEP, found)
    assert told["conflicting_groups"] == 1
    assert told["group_sizes"] == {"2": 1, "3": 1}
    assert told["copies"] == 3
    assert told["share"] == pytest.approx(0.6)


def test_nobody_contradicts_an_unlabelled_edition():
    assert not conflicts(np.array([0, 0, 2]), np.array([-1, -1, -1])).any()


def test_flat_pictures_are_no_copies_unless_their_pixels_are():
    grey = [np.full((64, 64, 3), value, np.uint8) for value in (100, 100, 101, 200)]
    assert columns(scored(STEP, edition(grey)), "group_size", "layer") == [[2, 2, 1, 1], ["", "file", "", ""]]


def test_of_near_clusters_the_card_says_how_many_pairs_were_found(monkeypatch):
    monkeypatch.setattr(join, "EXACT_VECTORS", 10)
    vectors = np.random.default_rng(0).normal(size=(30, 64))
    vectors[28:] = vectors[:2]
    table = edition([render(k, 48) for k in range(30)], vectors.astype(np.float16))
    found = scored(Duplicates(cosine=0.9), table)
    assert columns(found, "cosine_pairs", "cosine_pairs_found") == [[4] * 30, [4] * 30]
    (said,) = figures(Duplicates(), found)["findings"]
    assert "of 4 pairs beyond the cut that up to 1,000 pictures have, at most 64 each, 4 were found" in said


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_rows_does_not_matter(seed, monkeypatch):
    if seed == 3:
        monkeypatch.setattr(join, "EXACT_VECTORS", 10)
    rng = np.random.default_rng(seed)
    pictures = [render(k, 96) for k in range(40)]
    pictures += [copy(pictures[k], name) for k, name in enumerate(("jpeg", "flip", "blur", "resize"))] + pictures[2:6]
    vectors = rng.normal(size=(48, 16)).astype(np.float16)
    vectors[40:44] = vectors[:4]
    labels = rng.integers(-1, 3, 48)
    sources = [f"s{k}" for k in rng.integers(0, 40, 48)]
    table = edition(pictures, vectors, label=labels, source=sources)
    order = rng.permutation(48)
    found, shuffled = scored(Duplicates(), table), scored(Duplicates(), table.take(order).combine_chunks())
    assert sum(columns(found, "flag")[0]) >= 4
    names = [name for name in found.column_names if name.startswith("duplicates.")]
    for name in names:
        left, right = found.column(name).take(order).to_pylist(), shuffled.column(name).to_pylist()
        assert np.array_equal(left, right, equal_nan=isinstance(left[0], float)), name


def test_what_is_measured():
    picture = render(1)[:100, :150]
    (row,) = Duplicates().measure([Sample("a", picture)], CONTEXT)
    assert {name: np.shape(value) for name, value in row.items()} == {
        "pixels": (16,),
        "pdq": (32,),
        "pdq_turns": (224,),
        "pdq_quality": (),
        "height": (),
        "width": (),
        "detail": (),
    }
    assert (row["height"], row["width"]) == (100, 150)
    assert list(Duplicates().measure([], CONTEXT)) == []


def test_an_empty_edition_has_no_columns():
    empty = pa.table({"id": pa.array([], pa.string())})
    assert Duplicates().score(Table(empty), CONTEXT) == {}
    assert figures(Duplicates(), empty) == {"pictures": 0}


def test_one_picture_is_its_own_group():
    found = scored(Duplicates(), edition([render(1)], np.ones((1, 4), np.float16)))
    assert columns(found, "group", "group_size", "keep") == [[0], [1], [True]]


def test_embeddings_are_asked_for_only_when_compared():
    assert Duplicates().needs() == ("features",)
    assert STEP.needs() == ()
    with pytest.raises(RecipeError, match="'features'"):
        scored(Duplicates(), edition([render(1), render(2)]))

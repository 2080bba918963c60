import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from variorum.kit.labels.matching import columns, in_imagenets_order, numbered, plain
from variorum.models.imagenet_classes import class_infos, table
from variorum.schemas.component import ClassInfo
from variorum.schemas.errors import RecipeError

NAMES = ("cat", "dog", "wild boar", "killer whale", "T-shirt")

words = st.text("abcdefgh", min_size=1, max_size=8)
class_lists = st.lists(words, min_size=1, max_size=12, unique=True)


def infos(*names):
    return tuple(ClassInfo(f"id{number}", name) for number, name in enumerate(names))


@given(class_lists, st.randoms(use_true_random=False), st.data())
def test_permuted_classes_give_the_permutation_back(names, random, data):
    order = list(range(len(names)))
    random.shuffle(order)
    write = data.draw(
        st.sampled_from([str, str.upper, lambda name: f"{name}, something else {name}", lambda name: f"_{name}_"])
    )
    outputs = [""] * len(names)
    for number, output in enumerate(order):
        outputs[output] = write(names[number])
    assert columns(infos(*names), outputs).tolist() == order
    assert columns([(name, "") for name in names], outputs, len(names)).tolist() == order


@given(st.integers(0, 2**32), st.sampled_from([2, 20, 60, 1000]), st.booleans())
def test_imagenets_classes_are_found_in_any_order_by_wnid_and_by_name(seed, moved, by_wnid):
    """Also where only a few stand elsewhere than in ImageNet's order."""
    rng = np.random.default_rng(seed)
    order, places = np.arange(1000), rng.choice(1000, moved, replace=False)
    order[places] = order[rng.permutation(places)]
    outputs = [table()[index].wnid if by_wnid else table()[index].name for index in order]
    assert columns(class_infos(), outputs).tolist() == np.argsort(order).tolist()


@pytest.mark.parametrize(
    "outputs",
    [
        (),
        tuple(one.wnid for one in table()),
        tuple(str(index) for index in range(1000)),
        tuple(f"LABEL_{index}" for index in range(1000)),
        tuple(one.name.upper().replace(" ", "_") for one in table()),
        tuple(f"{one.name}, some species" for one in table()),
        # as in lists that name two classes alike, and some otherwise than the table does
        tuple({"crane (bird)": "crane", "crane (machine)": "crane"}.get(one.name, one.name) for one in table()),
    ],
    ids=["none", "wnids", "indices", "labels", "upper", "synonyms", "cranes"],
)
def test_a_thousand_outputs_in_imagenets_order_are_imagenet(outputs):
    assert columns(class_infos(), outputs).tolist() == list(range(1000))
    few = [class_infos()[index] for index in (517, 3, 134)]
    assert columns(few, outputs, 1000).tolist() == [517, 3, 134]


def test_a_folder_of_names_fits_a_model_of_imagenet():
    assert columns(infos("goldfish", "Tench"), ()).tolist() == [1, 0]


def test_closer_texts_come_first():
    assert columns([("0", "1"), ("1", "0")], ["0", "1"]).tolist() == [0, 1]  # by id, whatever the names are
    assert columns(infos("crane", "crane, machine"), ["crane, machine", "crane"]).tolist() == [1, 0]
    # `dog` is taken by its own name, so that the synonym means the other output
    assert columns(infos("dog", "dog, hound"), ["dog", "hound"]).tolist() == [0, 1]


def test_indices_fit_ids_that_are_these_indices_and_nothing_else():
    digits = [(str(number), f"digit {number}") for number in range(10)]
    assert columns(digits, [str(number) for number in range(10)]).tolist() == list(range(10))
    with pytest.raises(RecipeError, match="10 classes"):
        columns(digits, ())  # ImageNet's thousand
    with pytest.raises(RecipeError, match="3 classes"):
        columns(infos("a", "b", "c"), ["0", "1", "2"])


def test_a_class_that_the_model_lacks_is_named_with_the_way_out():
    names = [f"thing {number}" for number in range(8)]
    with pytest.raises(RecipeError) as error:
        columns(infos("cat", *names), ("dog", "cat", "fish", "bird"))
    said = str(error.value)
    assert said.startswith("8 classes ('id1 thing 0', 'id2 thing 1', 'id3 thing 2', 'id4 thing 3', 'id5 thing 4' and 3")
    assert "9 can't be found among the model's 4 outputs, which are 'dog', 'cat', 'fish', …; give the model's" in said
    assert "\n" not in said
    with pytest.raises(RecipeError) as error:
        columns(infos("x" * 5000 + "\n"), ("dog\n" * 3000,))
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("classes", "outputs", "message"),
    [
        (("Cat", "cat"), ("cat", "dog"), "2 classes .* would be the same output of the model, 0 "),
        (("cat",), ("cat", "CAT"), "1 class .* could be any of several outputs .*'cat', 'CAT' \\(0, 1\\)"),
        (("cat, dog",), ("dog", "cat"), "could be any of several outputs"),
        (("cat", "dog"), ("cat",), "1 class \\('id1 dog'\\) of the edition's 2"),
    ],
)
def test_what_fits_twice_is_refused(classes, outputs, message):
    with pytest.raises(RecipeError, match=message):
        columns(infos(*classes), outputs)


def outcome(*given, **more):
    """The outputs, or what is said instead."""
    try:
        return columns(*given, **more).tolist()
    except RecipeError as error:
        return str(error)


alike = st.lists(st.text("abB_,", min_size=1, max_size=4), min_size=1, max_size=5, unique=True)


@given(alike, alike, st.data())
def test_only_a_class_that_is_not_needed_may_be_absent(names, outputs, data):
    """What fits twice is refused as before, and no class gets another output."""
    classes = [(f"id{number}", name) for number, name in enumerate(names)]
    ids = [identity for identity, _ in classes]
    needed = data.draw(st.sets(st.sampled_from(ids)))
    whole, part = outcome(classes, outputs), outcome(classes, outputs, needed=needed)
    assert outcome(classes, outputs, needed=ids) == whole
    if "can't be found" not in whole:
        assert part == whole
    elif isinstance(part, str):
        assert "can't be found" in part
        assert any(f"'{identity} " in part for identity in needed)
    else:
        assert {identity for identity, output in zip(ids, part, strict=True) if output < 0}.isdisjoint(needed)
        found = [output for output in part if output >= 0]
        assert len(set(found)) == len(found) < len(names)


@given(st.integers(0, 2**32), st.integers(1, 10))
def test_a_model_of_some_of_imagenets_classes_fits_those(seed, number):
    chosen = np.random.default_rng(seed).permutation(1000)[:number]
    wnids = [table()[one].wnid for one in chosen]
    found = columns(class_infos(), wnids, needed=set(wnids))
    assert found[chosen].tolist() == list(range(number))
    assert (found >= 0).sum() == number
    absent = next(one.wnid for one in table() if one.wnid not in wnids)
    with pytest.raises(RecipeError, match=f"1 class \\('{absent} .* of the edition's 1000 can't be found"):
        columns(class_infos(), wnids, needed={*wnids, absent})


def test_the_number_of_outputs_must_be_that_of_the_texts():
    with pytest.raises(RecipeError, match="3 outputs and 2 classes"):
        columns(infos("cat"), ("cat", "dog"), 3)
    with pytest.raises(RecipeError, match=r"10 scores a picture .* the edition has 1000: n01440764 tench, .*, …; give"):
        columns(class_infos(), (), 10)


def test_as_many_unnamed_outputs_as_classes_are_those_in_the_order_of_their_ids():
    assert columns([("c", "A"), ("a", "B"), ("b", "C")], (), 3).tolist() == [2, 0, 1]
    assert columns(class_infos(), (), 1000).tolist() == list(range(1000))
    with pytest.raises(
        RecipeError, match="2 scores a picture and doesn't say of which classes; the edition has 3: c A, a"
    ):
        columns([("c", "A"), ("a", "B"), ("b", "C")], (), 2)


def test_a_list_is_imagenets_only_in_its_order():
    names = [one.name for one in table()]
    assert in_imagenets_order(names)
    assert not in_imagenets_order(names[::-1])
    assert not in_imagenets_order(names[:999])
    assert not in_imagenets_order([f"thing {number}" for number in range(1000)])
    assert numbered(("0", "1"))
    assert not numbered(("1", "0"))


@given(st.text(max_size=30))
def test_plain_names_stay_as_they_are(text):
    assert plain(plain(text)) == plain(text)
    assert plain(f" {text}_") == plain(text)


def test_no_classes_need_no_outputs():
    assert columns((), ("cat",)).shape == (0,)

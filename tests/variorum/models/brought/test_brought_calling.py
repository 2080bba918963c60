"""How a brought model is called, and what is said of a wrong answer."""

from __future__ import annotations

import logging
import textwrap

import numpy as np
import pytest

from variorum.models.brought import BroughtModel, from_function
from variorum.models.brought.copies import Copies
from variorum.schemas.errors import ModelFailed, ModelUnavailable, RecipeError, TemporaryError

LOGITS = np.asarray([[2.0, 0.5, -1.0], [0.0, 3.0, 0.25]])


def softmax(logits):
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def mine(function, **more):
    return from_function(function, name="mine", **more)


def constant(answer, **more):
    return mine(lambda images: answer, **more)


def tensor(values, dtype):
    import torch

    return torch.tensor(values, dtype=getattr(torch, dtype), requires_grad=dtype.startswith("float"))


@pytest.mark.parametrize(
    "given",
    [
        LOGITS,
        LOGITS.astype(np.float16),
        LOGITS.tolist(),
        list(LOGITS),
        tensor(LOGITS, "float32"),
        tensor(LOGITS, "bfloat16"),
        list(tensor(LOGITS, "float16")),
        [list(row.astype(np.float32)) for row in LOGITS],
    ],
    ids=["float64", "float16", "lists", "arrays", "tensor", "bfloat16", "tensors", "scalars"],
)
def test_logits_of_any_kind_become_probabilities(pictures, given):
    found = constant(given)(pictures[:2])
    assert found.dtype == np.float32
    assert found == pytest.approx(softmax(LOGITS), abs=1e-6)


def test_probabilities_are_kept_to_the_bit(pictures):
    given = softmax(LOGITS).astype(np.float16)
    assert np.array_equal(constant(given)(pictures[:2]), given.astype(np.float32))
    sure = np.eye(2, 4)
    assert np.array_equal(constant(sure)(pictures[:2]), sure)


def test_large_logits_overflow_nothing(pictures):
    assert constant([[1e4, 0, -1e4]])(pictures[:1]).tolist() == [[1, 0, 0]]


def test_a_model_that_turns_from_probabilities_to_something_else_is_refused(pictures):
    answers = [softmax(LOGITS), LOGITS]
    model = mine(lambda images: answers.pop(0))
    model(pictures[:2])
    with pytest.raises(
        ModelFailed, match=r"'mine' gives probabilities, but those of picture 0 of 2.* sum to 1\.5 with"
    ):
        model(pictures[:2])
    wrong = np.full((5, 4), 0.25)
    wrong[3] = 0.5, 0.5, 0.5, 0
    with pytest.raises(ModelFailed, match=r"picture 3 of 5, counted from 0, sum to 1\.5 .* in float32"):
        constant(wrong)(pictures[:5])


def test_logits_that_happen_to_be_probabilities_stay_logits(pictures):
    answers = [LOGITS, softmax(LOGITS)]
    model = mine(lambda images: answers.pop(0))
    model(pictures[:2])
    assert model(pictures[:2]) == pytest.approx(softmax(softmax(LOGITS)), abs=1e-6)


def test_pictures_come_in_batches_of_32_at_most_and_in_order():
    sizes = []

    def first_pixel(images):
        sizes.append(len(images))
        return [[float(image[0, 0, 0]), 0.0] for image in images]

    images = [np.full((4, 4, 3), value, np.uint8) for value in range(70)]
    found = mine(first_pixel)(images)
    assert sizes == [32, 32, 6]
    assert found[:, 0] == pytest.approx(softmax(np.stack([np.arange(70.0), np.zeros(70)], axis=1))[:, 0], abs=1e-6)
    sizes.clear()
    mine(first_pixel, batch=50)(images)
    assert sizes == [50, 20]


def test_without_pictures_the_model_is_not_called():
    def never(images):
        raise AssertionError

    assert mine(never, classes=["a", "b"])([]).shape == (0, 2)
    assert mine(never)([]).shape == (0, 0)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, r"gave None; it must give scores \[2, K\], .*; is a `return` missing\?"),
        (
            np.zeros(2, int),
            r"gave ndarray \[2\] of int64 for 2 pictures; it must give scores \[2, K\].*labels alone aren't enough",
        ),
        (np.zeros((3, 4)), r"gave ndarray \[3, 4\] of float64 for 2 pictures; it must give scores \[2, K\]"),
        (np.zeros((2, 4, 1, 1), np.float32), r"gave ndarray \[2, 4, 1, 1\] of float32 for 2 pictures"),
        (np.zeros((2, 1)), r"gave ndarray \[2, 1\] .* at least two classes"),
        (np.zeros((2, 0)), r"gave ndarray \[2, 0\] .* at least two classes"),
        (np.asarray([["a", "b"]] * 2), r"gave ndarray \[2, 2\] of <U1; it must give"),
        (np.zeros((2, 3), complex), r"gave ndarray \[2, 3\] of complex128"),
        ({"logits": 1}, r"gave an object of type dict; it must give"),
        ("cat", r"gave the text 'cat'; it must give"),
        ([["cat", 0.5]] * 2, r"gave a list of 2 of rows of 2; it must give"),
        ([[0.1, 0.2], [0.3]], r"gave a list of 2 of rows of 1 or 2; it must give"),
        ([[0.1, 0.2], [np.nan, 0.3]], r"gave nan for class 0 of picture 1 of its batch of 2, counted from 0 \(a list"),
        ([[0.1, np.inf], [np.nan, 0.3]], r"gave inf for class 1 of picture 0 of its batch of 2.*, and for 1 more pict"),
        (np.asarray([[0, 1], [1e300, 0]]), r"gave 1e\+300 for class 0 of picture 1"),
    ],
)
def test_a_wrong_answer_is_named_with_what_is_expected(pictures, answer, message):
    with pytest.raises(ModelFailed, match=rf"^model 'mine' {message}"):
        constant(answer)(pictures[:2])


def test_an_output_object_of_transformers_is_pointed_to_its_logits(pictures):
    class Output:
        logits = LOGITS

    with pytest.raises(ModelFailed, match=r"gave an object of type Output; .*; give its `\.logits`"):
        constant(Output())(pictures[:2])


def test_the_number_of_classes_must_stay_what_it_is(pictures):
    with pytest.raises(ModelFailed, match=r"gave ndarray \[2, 3\] of float64, but it has 2 classes; .* \[2, 2\]"):
        constant(LOGITS, classes=["a", "b"])(pictures[:2])
    widths = [4, 5]
    model = mine(lambda images: np.zeros((len(images), widths.pop(0))), batch=2)
    with pytest.raises(ModelFailed, match=r"gave ndarray \[2, 5\] of float64, but it gave 4 columns before"):
        model(pictures[:4])


def test_what_a_model_raises_is_named_with_its_own_line(pictures, tmp_path):
    path = tmp_path / "their_model.py"
    path.write_text(
        textwrap.dedent("""
            import json

            def classify(images):
                return json.loads("{")
        """)
    )
    namespace = {}
    exec(compile(path.read_text(), str(path), "exec"), namespace)
    with pytest.raises(ModelFailed) as raised:
        mine(namespace["classify"])(pictures[:3])
    assert str(raised.value).startswith("model 'mine' raised JSONDecodeError: Expecting property name")
    assert str(raised.value).endswith(f"on a batch of 3 pictures ({path}:5)")

    def leave(images):
        raise SystemExit(3)

    with pytest.raises(
        ModelFailed, match=r"raised SystemExit: 3 on a batch of a picture \(.*test_brought_calling\.py:"
    ):
        mine(leave)(pictures[:1])


def test_what_raised_is_answered_with_the_way_out(pictures):
    import torch

    with pytest.raises(ModelFailed, match=r"taken for a PyTorch module and got its pictures prepared so: Shorter side"):
        mine(torch.nn.Linear(2, 3))(pictures[:2])
    network = torch.nn.Conv2d(3, 4, 3)
    with pytest.raises(ModelFailed, match=r"bring a network itself, or say with preprocess="):
        mine(lambda images: network(images))(pictures[:2])


@pytest.mark.parametrize("error", [KeyboardInterrupt, TemporaryError])
def test_an_interruption_and_errors_of_the_project_pass(pictures, error):
    def interrupted(images):
        raise error

    with pytest.raises(error):
        mine(interrupted)(pictures[:1])


def test_the_batch_is_halved_where_memory_runs_out(pictures, caplog):
    import torch

    sizes = []

    def small(images):
        sizes.append(len(images))
        if len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. Of the allocated memory …")
        return [[float(image.mean()), 0.0] for image in images]

    model = mine(small)
    with caplog.at_level(logging.WARNING):
        found = model(pictures)
    assert sizes == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    assert found == pytest.approx(softmax(np.asarray([[image.mean(), 0] for image in pictures])), abs=1e-5)
    assert "mine: out of memory with 7 pictures, going on with 3" in caplog.text
    sizes.clear()
    model(pictures[:2])
    assert sizes == [1, 1]

    def never(images):
        raise MemoryError

    with pytest.raises(
        ModelUnavailable, match=r"'mine': memory ran out on a single picture \(MemoryError\); end other"
    ):
        mine(never)(pictures[:2])


def test_a_function_that_writes_into_its_pictures_spoils_nothing(pictures):
    def spoil(images):
        for image in images:
            image[:] = 0
        return LOGITS[: len(images)]

    before = [image.copy() for image in pictures[:2]]
    mine(spoil)(pictures[:2])
    assert all(np.array_equal(one, other) for one, other in zip(before, pictures, strict=False))


def test_a_function_that_keeps_its_pictures_keeps_them(pictures):
    import torch

    kept = []

    def keep(images):
        kept.append((images[0], torch.from_numpy(images[-1])))
        return np.zeros((len(images), 2))

    model = mine(keep, batch=2)
    model(pictures)
    assert len(kept) == 4
    assert all(
        np.array_equal(first, pictures[2 * n]) and np.array_equal(second.numpy(), pictures[2 * n + 1])
        for n, (first, second) in enumerate(kept[:3])
    )


def test_memory_of_copies_is_used_again(pictures):
    copies = Copies()
    made, buffers = copies.make(pictures[:2])
    del made
    copies.take_back(buffers)
    places = {buffer.ctypes.data for buffer in buffers}
    del buffers
    _, again = copies.make([pictures[2]])
    assert {buffer.ctypes.data for buffer in again} <= places


def test_the_last_spare_copy_may_be_gone(pictures, monkeypatch):
    """Several threads share the spares: what one of them sees may be taken before it takes it."""

    class Gone(list):
        def __bool__(self):
            return True

    copies = Copies()
    monkeypatch.setattr(copies, "_spare", Gone())
    made, _ = copies.make(pictures[:1])
    assert np.array_equal(made[0], pictures[0])


def test_a_function_says_what_it_is():
    def classify(images):
        return None

    model = from_function(classify)
    assert model.name.endswith("classify")
    assert (model.classes, model.revision) == ((), "")
    assert "Not described" in model.preprocessing
    classify.classes, classify.preprocessing, classify.revision = [3, "cat"], "Resized to 32 px.", "v2"
    model = from_function(classify)
    assert isinstance(model, BroughtModel)
    assert (model.classes, model.outputs) == (("3", "cat"), 2)
    assert (model.preprocessing, model.revision) == ("Resized to 32 px.", "v2")
    assert from_function(classify, classes=["a", "b"], revision="v3").classes == ("a", "b")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"classes": "cat"}, r"its classes must be a list of names, not 'cat'"),
        ({"classes": ["cat", None]}, "its classes must be names or indices, not None"),
        ({"classes": ["cat", "dog", "cat"]}, "two of its classes are named 'cat'"),
        ({"revision": 3}, "its revision must be one line of text, not 3"),
        ({"preprocessing": "a\nb"}, "its preprocessing must be one line of text"),
        ({"batch": 0}, "batch must be 1 or more"),
    ],
)
def test_wrong_facts_of_a_function_are_refused(more, message):
    with pytest.raises(RecipeError, match=f"model 'mine': {message}"):
        mine(lambda images: images, **more)
    with pytest.raises(RecipeError, match=r"is of type str; a model is a PyTorch[^\n]*\n    import numpy as np"):
        from_function("resnet50")

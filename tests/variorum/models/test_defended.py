"""Defended models: their names, pins, answers and gradients."""

import numpy as np
import pytest

from variorum.evaluation.classifiers.accuracy_drop import AccuracyDrop
from variorum.kit.attacks.opponents import opponent
from variorum.kit.predicted.answers import answers
from variorum.models import ModelTable
from variorum.models.brought import from_function, is_brought
from variorum.models.defended import called
from variorum.models.filters import refuse_filters
from variorum.models.gradients import adversary
from variorum.models.loaders import DEFENCES, split, with_bare
from variorum.models.loaders.crossmax import cross_max
from variorum.schemas.component import ClassInfo, Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import Sample

CROSSED = "judge + crossmax with=judge_gate k=2"


@pytest.fixture
def table():
    return ModelTable("embedded")


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (28, 28, 3), np.uint8) for _ in range(3)]


def tensors(pictures):
    import torch

    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def test_a_name_is_taken_apart_at_its_last_defence():
    assert split(CROSSED) == ("judge", "crossmax with=judge_gate k=2")
    assert split("module:a + b.py:load") == ("module:a + b.py:load", "")
    assert split(f"{CROSSED} + mixed with=x") == (CROSSED, "mixed with=x")
    assert not is_brought(f"timm:resnet18 + {DEFENCES[0]}")
    assert is_brought("timm:resnet18")
    assert with_bare([f"{CROSSED} + mixed with=x", "judge"]) == ("judge", CROSSED, f"{CROSSED} + mixed with=x")


def test_the_bare_model_is_always_measured():
    assert AccuracyDrop(classifiers=(CROSSED,)).classifiers == ("judge", CROSSED)


def test_a_defence_in_words_and_one_in_a_table_have_one_pin(table, tmp_path, monkeypatch):
    (tmp_path / "own.toml").write_text(
        '[crossed]\nname = "crossmax"\nloader = "crossmax"\nuses = ["judge", "judge_gate"]\n'
        'options = { with = ["judge_gate"] }\nlicence = "MIT"\nsource = "test"\n'
    )
    monkeypatch.setenv("VARIORUM_MODELS", str(tmp_path / "own.toml"))
    assert ModelTable("embedded").pin("crossed") == table.pin(CROSSED)
    assert CROSSED not in table.aliases()


def test_a_filter_inside_a_wrapper_is_refused(table):
    for name in (CROSSED, f"judge + mixed with={'judge_distilled'} + crossmax with=judge_gate"):
        with pytest.raises(RecipeError, match="can't judge the result"):
            refuse_filters({name: table.pin(name)}, [table.pin("judge_gate")])
    other = "judge_noise + mixed with=judge_adversarial"  # the same wrapper around other weights
    refuse_filters({other: table.pin(other)}, [table.pin("judge + mixed with=judge_distilled")])
    refuse_filters(
        {"judge + mixed with=judge_distilled": table.pin("judge + mixed with=judge_distilled")},
        [table.pin("judge_gate")],
    )


def test_of_a_brought_model_the_pin_has_no_path(table):
    mine = table.with_models({"mine": from_function(lambda images: [[1, 0]] * len(images), name="mine", revision="1")})
    other = table.with_models({"mine": from_function(lambda images: [[0, 1]] * len(images), name="mine", revision="2")})
    name = "judge + crossmax with=mine"
    assert mine.pin(name) != other.pin(name)
    assert mine.pin("mine + mixed with=judge").count("function:mine@1") == 1


def test_no_name_or_pin_has_a_folder(table, tmp_path):
    nets = [from_function(lambda images: [[1, 0]] * len(images), name=f"net{n}", revision="1") for n in range(2)]
    pins = set()
    for folder in (tmp_path / "a b", tmp_path / "c"):
        first, second = names = [f"module:{folder}/{one}.py:load" for one in "xy"]
        own = table.with_models(dict(zip(names, nets, strict=True)))
        name = f"{first} + tempered t=2 + mixed with='{second}' alpha=.5"
        assert called(name) == "module:x.py:load + tempered t=2 + mixed with='module:y.py:load' alpha=.5"
        told = own.get(f"{second} + mixed with='{first}'").preprocessing
        assert str(tmp_path) not in own.pin(name) + own.pin(first) + told
        pins.add(own.pin(name))
    assert len(pins) == 1
    assert called("judge + tempered from='/home/a b/fit'") == "judge + tempered from='fit'"


def test_what_has_no_gradients_is_no_adversary(table, pictures):
    ctx = Context(0, table, lambda key, compute: compute())
    asked = opponent(CROSSED, ctx, "attack.adversaries", gradients=False)
    assert asked.network is None
    np.testing.assert_array_equal(asked.answers(pictures), table.get(CROSSED)(pictures))
    with pytest.raises(RecipeError, match="gives no gradients"):
        opponent(CROSSED, ctx, "attack.adversaries", gradients=True)


@pytest.mark.parametrize("outer", ["tempered t=1", "mixed with=judge_noise", "smoothed votes=10"])
def test_a_wrapper_around_a_defence_hides_none_of_its_routes(table, pictures, outer):
    inner, whole = (adversary(one, table.get(table.steering(one))).routes for one in (CROSSED, f"{CROSSED} + {outer}"))
    shown, route = tensors(pictures), "the mean of the logits"
    np.testing.assert_array_equal(whole[f"{route} inside"](shown).detach(), inner[route](shown).detach())


@pytest.mark.parametrize("name", [CROSSED, "judge + mixed with=judge_gate alpha=.6 scale=2"])
def test_a_defence_answers_and_has_gradients_as_what_it_uses(table, pictures, name):
    import torch

    said = table.get(name)(pictures)
    np.testing.assert_allclose(said.sum(1), 1, atol=1e-5)
    network = adversary(name, table.get(table.steering(name)))
    np.testing.assert_array_equal(network.answers(pictures), said)
    shown = tensors(pictures).requires_grad_()
    np.testing.assert_allclose(network(shown).exp().detach(), said, atol=0.02)
    (slope,) = torch.autograd.grad(network(shown)[:, 0].sum(), shown)
    assert slope.abs().sum() > 0
    assert network.seen(28, 28).all()


def test_mixed_at_either_end_is_one_of_its_parts(table, pictures):
    for alpha, part in ((0, "judge"), (1, "judge_gate")):
        said = table.get(f"judge + mixed with=judge_gate alpha={alpha}")(pictures)
        np.testing.assert_allclose(said, table.get(part)(pictures), atol=1e-6)


def test_cross_max_is_as_defined():
    import torch

    logits = [torch.tensor([row], dtype=torch.float64) for row in ([5, 1, 0], [0, 4, 1], [9, 2, 1])]
    assert cross_max(logits, 2).tolist() == [[0, -4, -2]]


def test_the_outputs_of_a_defended_model_of_ones_own_are_its_own(table, pictures):
    nets = {one: from_function(lambda images: [[1, 0]] * len(images), name=one, revision=one) for one in "ab"}
    classes = (ClassInfo("cat", "cat"), ClassInfo("dog", "dog"))
    ctx = Context(0, table.with_models(nets), lambda key, compute: compute(), classes=classes)
    (said,) = answers([Sample(id="x", image=pictures[0], labels=("dog",))], ["a + mixed with=b"], ctx)
    assert said.labels == (1,)  # and not none, as of ImageNet's classes


def test_a_network_of_ones_own_is_defended_and_gives_gradients(table, pictures):
    import torch

    torch.manual_seed(0)
    nets = {
        one: from_function(
            torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 28 * 28, 2)).eval(),
            name=one,
            preprocess="resize=28x28",
        )
        for one in ("mine", "theirs")
    }
    own = table.with_models(nets)
    name = "mine + mixed with=theirs alpha=.5"
    said = own.get(name)(pictures)
    np.testing.assert_allclose(said, (nets["mine"](pictures) + nets["theirs"](pictures)) / 2, atol=1e-5)
    np.testing.assert_allclose(
        adversary(name, own.get(own.steering(name)))(tensors(pictures)).exp().detach(), said, atol=1e-5
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("judge + crossmax k=2", r"'crossmax k=2'\.with: missing"),
        ("judge + crossmax with=judge_gate k=5", "k=5 needs as many models, and there are 2"),
        ("judge + mixed with=nope", "no model alias 'nope'"),
        ("judge + mixed with=judge", "each model can be used once"),
        ("judge + mixed with=judge_gate alpha=2", "less than or equal to 1"),
        ("judge + mixed with=judge_gate beta=2", "'beta=2' isn't understood; it takes alpha"),
        ("judge + mixed with=judge_gate gradients=true", "isn't understood"),
        ("judge + mixed with=classifier", "has other classes than 'judge'"),
        ("judge + mixed with=detector", "'detector' isn't one"),
        ("judge + mixed 'with=judge_gate", "No closing quotation"),
        ("nope + mixed with=judge", "no model alias 'nope'"),
        ("judge + mixt with=judge_gate", r"no model alias 'judge \+ mixt .* \(defences are .*mixed"),
    ],
)
def test_what_is_wrong_with_a_defence_is_told(table, name, said):
    with pytest.raises(RecipeError, match=said):
        table.get(name)


def test_a_model_without_gradients_is_told(table):
    with pytest.raises(RecipeError, match="gives no gradients"):
        table.steering("judge_encoder" if table.role("judge_encoder") == "" else "detector")

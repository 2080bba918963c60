"""The wrappers `patched`, `two_headed` and `frequency_prompt`: what they compute, what they refuse, where they lead."""

import numpy as np
import pytest

from variorum.models import ModelTable
from variorum.models.brought import from_function
from variorum.models.gradients import adversary
from variorum.models.loaders.frequency_prompt import prompted
from variorum.models.loaders.patched import signature
from variorum.models.loaders.two_headed import chosen
from variorum.schemas.errors import ModelUnavailable, RecipeError


@pytest.fixture(scope="module")
def table():
    return ModelTable("embedded")


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    return [np.repeat(rng.integers(0, 256, (28, 28, 1), np.uint8), 3, 2) for _ in range(4)]


def tensors(pictures):
    import torch

    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def agrees(table, name, pictures, atol):
    """Answers to stored pictures and those that gradients are taken of are about the same."""
    import torch

    said, network = table.get(name)(pictures), adversary(name, table.get(table.steering(name)))
    np.testing.assert_array_equal(network.answers(pictures), said)
    shown = tensors(pictures).requires_grad_()
    np.testing.assert_allclose(network(shown).exp().detach(), said, atol=atol)
    for way in getattr(network, "routes", {"": network}).values():
        (slope,) = torch.autograd.grad(way(shown)[:, 0].sum(), shown)
        assert (slope.abs().flatten(1).sum(1) > 0).all()


def test_weights_move_by_the_strength(table, pictures):
    plain = table.get("judge")(pictures)
    np.testing.assert_array_equal(table.get("judge + patched with=judge_gate strength=0")(pictures), plain)
    whole = table.get("judge + patched with=judge_gate batch_norm=patched")(pictures)
    np.testing.assert_allclose(whole, table.get("judge_gate")(pictures), atol=1e-5)
    first = table.get("judge + patched with=judge_gate stages=1")(pictures)
    assert np.abs(first - plain).max() > 1e-3
    np.testing.assert_array_equal(table.get("judge")(pictures), plain)  # a copy was moved
    agrees(table, "judge + patched with=judge_gate,judge_distilled strength=.2", pictures, 0.02)


def test_a_signature_has_no_part_along_the_clean_way():
    import torch

    start, corrupted, clean = torch.randn(3, 8, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = signature(start, corrupted, clean)
    assert abs(float((found * (clean - start)).sum())) < 1e-12
    assert torch.equal(signature(start, corrupted), corrupted - start)
    assert torch.equal(signature(start, corrupted, start), corrupted - start)


def test_a_network_of_ones_own_is_patched(table, pictures):
    import torch

    torch.manual_seed(0)
    own = table.with_models(
        {
            name: from_function(
                torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 784, 2)).eval(),
                name=name,
                preprocess="resize=28x28",
            )
            for name in ("mine", "theirs")
        }
    )
    np.testing.assert_allclose(own.get("mine + patched with=theirs")(pictures), own.get("theirs")(pictures), atol=1e-6)
    agrees(own, "mine + patched with=theirs strength=.5", pictures, 1e-5)


def test_the_robust_head_answers_where_both_disagree_and_it_is_surer():
    import torch

    flat, left, right = ([0.5, 0.5], [0.9, 0.1], [0.01, 0.99])
    clean, robust = (torch.tensor(one).log() for one in ([flat, left, left, left], [left, left, right, flat]))
    found = chosen(clean, robust, 0.1).exp()
    torch.testing.assert_close(found, torch.tensor([left, left, right, left]))  # unsure; alike; surer; less sure
    assert torch.equal(chosen(clean, robust, 100), clean)


def test_the_head_that_answers_stored_pictures_is_attacked(table, pictures):
    agrees(table, "judge + two_headed with=judge_gate tau=0", pictures, 0.02)


@pytest.mark.parametrize("side", [27, 28])
def test_empty_prompts_change_nothing(side):
    import torch

    shown = torch.rand(2, 3, side, side - 1, generator=torch.Generator().manual_seed(1))
    empty = torch.zeros(2, 1, side, (side - 1) // 2 + 1, dtype=torch.complex64)
    torch.testing.assert_close(prompted(shown, empty), shown, atol=1e-6, rtol=0)


def file_of(folder, width=128, side=28):
    import torch
    from safetensors.torch import save_file

    draw = torch.Generator().manual_seed(2)
    spectra = torch.randn(3, 1, side, side // 2 + 1, 2, generator=draw)
    save_file({"prompts": spectra, "centres": torch.rand(3, width, generator=draw)}, folder / "prompts.safetensors")
    return f"judge + frequency_prompt from={folder}/prompts.safetensors"


def test_a_picture_gets_the_prompt_of_its_nearest_centre(table, pictures, tmp_path):
    import torch
    from safetensors.torch import load_file

    name = file_of(tmp_path)
    kept = load_file(tmp_path / "prompts.safetensors")
    far = ((table.get("judge").features(pictures)[:, None] - kept["centres"].numpy()) ** 2).sum(2)
    spectra = torch.view_as_complex(kept["prompts"])[far.argmin(1)]
    levels = (prompted(tensors(pictures), spectra) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(table.get(name)(pictures), table.get("judge")(list(levels)), atol=1e-6)
    agrees(table, name, pictures, 0.05)
    assert str(tmp_path) not in table.pin(name)


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"width": 7}, "centres have 7 values and the embedding of 'judge' has 128"), ({"side": 14}, "28 × 28 pixels")],
)
def test_prompts_of_another_model_or_size_are_refused(table, pictures, tmp_path, fields, said):
    with pytest.raises(RecipeError, match=said):
        table.get(file_of(tmp_path, **fields))(pictures)


def test_prompts_are_chosen_by_an_embedding(table, pictures, tmp_path):
    bare, _, words = file_of(tmp_path).partition(" + ")
    with pytest.raises(RecipeError, match=r"'judge \+ tempered t=2' gives no embedding"):
        table.get(f"{bare} + tempered t=2 + {words}")(pictures)


def test_a_file_without_prompts_is_told(table, tmp_path):
    import torch
    from safetensors.torch import save_file

    save_file({"other": torch.zeros(1)}, tmp_path / "prompts.safetensors")
    with pytest.raises(ModelUnavailable, match="isn't a file with prompts and centres"):
        table.get(f"judge + frequency_prompt from={tmp_path}/prompts.safetensors")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("judge + patched with=judge_gate batch_norm=patched strength=-2", "variances of .* turn negative"),
        ("judge + patched with=judge_gate batch_norm=mean", "keep"),
        ("judge + patched with=judge_gate strength=3", "less than or equal to 2"),
        ("classifier + patched with=classifier_small", "'classifier' has no weights in PyTorch to move"),
        ("judge + two_headed with=judge_gate tau=-1", "greater than or equal to 0"),
    ],
)
def test_what_is_wrong_with_a_defence_is_told(table, name, said):
    with pytest.raises(RecipeError, match=said):
        table.get(name)


def test_weights_of_other_shapes_are_refused(table):
    import torch

    layers = {"small": [torch.nn.Linear(3 * 784, 2)], "deep": [torch.nn.Linear(3 * 784, 4), torch.nn.Linear(4, 2)]}
    own = table.with_models(
        {
            name: from_function(
                torch.nn.Sequential(torch.nn.Flatten(), *one).eval(), name=name, preprocess="resize=28x28"
            )
            for name, one in layers.items()
        }
    )
    with pytest.raises(RecipeError, match="'deep' has weights of other names or shapes than 'small'"):
        own.get("small + patched with=deep")

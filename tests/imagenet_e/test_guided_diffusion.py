"""Guided diffusion with tiny networks of random weights, in pixels and in latents, against diffusers' schedulers."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from diffusers import DDPMScheduler
from pydantic import ValidationError

from variorum.generators.imagenet_e.guided_diffusion import Guidance, Wish, clamped, diffused, guided
from variorum.generators.imagenet_e.objectives import objective
from variorum.generators.imagenet_e.timesteps import timesteps
from variorum.models.diffusion.images import to_tensor
from variorum.models.diffusion.schedule import Schedule
from variorum.models.loaders.denoisers import LATENT_DENOISER, PIXEL_DENOISER, TINY_AUTOENCODER, PixelDenoiser
from variorum.models.roles import Denoised
from variorum.models.table_entries import Entry
from variorum.schemas.errors import ModelUnavailable, RecipeError

SIDE = 64
DENOISER = ("signal", "known", "shrink", "multiple", "size", "tf32", "device", "predict", "preview", "decode")


def network(channels=3, outputs=None):
    from diffusers import UNet2DModel

    with torch.random.fork_rng():
        torch.manual_seed(3)
        return (
            UNet2DModel(
                sample_size=16,
                in_channels=channels,
                out_channels=outputs or channels,
                layers_per_block=1,
                block_out_channels=(8, 16),
                down_block_types=("DownBlock2D",) * 2,
                up_block_types=("UpBlock2D",) * 2,
                norm_num_groups=4,
                add_attention=False,
            )
            .eval()
            .requires_grad_(False)
        )


def config(kind="v_prediction"):
    from diffusers import DDPMScheduler

    return DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear", prediction_type=kind).config


@pytest.fixture(scope="module")
def denoisers(tiny):
    place = {"path": str(tiny / "text_to_image")}
    entry = Entry(name="tiny", loader="latent_denoiser", local=place, licence="none", source="random weights")
    return {
        "pixels": PixelDenoiser(network(), config()),
        "folded": PixelDenoiser(network(12), config()),
        "latents": LATENT_DENOISER.load(entry, tiny / "text_to_image", {}),
    }


def wish(seed=5, weight=0.0, side=SIDE, shift=0, **more):
    coffee, grass = skimage.data.coffee(), np.repeat(skimage.data.grass()[..., None], 3, axis=2)
    plate = cv2.resize(coffee[:400, shift : 400 + shift], (side, side), interpolation=cv2.INTER_AREA)
    keep = cv2.circle(np.zeros((side, side), np.uint8), (side // 2, side // 2), side // 5, 1, -1) > 0
    return Wish(plate, np.where(keep[..., None], grass[:side, :side], plate), keep, ~keep, seed, weight, **more)


CASES = [("masked_hf", 0.1, 30000), ("adm_compat", 0.1, 100), ("adm_compat", None, 100)]


@pytest.mark.parametrize(
    ("space", "name", "clamp", "strongest"),
    [*((space, *case) for space in ("pixels", "latents") for case in CASES), ("folded", *CASES[0])],
)
def test_complexity_rises_and_falls_with_lambda(denoisers, space, name, clamp, strongest):
    denoiser = denoisers[space]
    if space == "latents" and name == "masked_hf":
        strongest /= 100  # a cell of a latent stands for 64 pixels
    weights = [share * strongest for share in (-1, -0.1, 0, 1)]
    wishes = [wish(weight=weight) for weight in weights]
    settings = Guidance(objective=name, clamp=clamp, steps=20, start=6)
    measure = objective(name, [item.background for item in wishes], "cpu")
    found = measure(denoiser.preview(diffused(wishes, denoiser, settings))).tolist()
    assert found == sorted(found)
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("space", ["pixels", "latents"])
def test_unsteered_it_is_plain_sdedit(denoisers, space):
    """Against diffusers' own scheduler, with the same noise."""
    from diffusers import DDPMScheduler

    denoiser, item = denoisers[space], wish()
    nothing = np.zeros((SIDE, SIDE), bool)
    item = Wish(item.plate, item.picture, nothing, item.background, 5, 0.0)
    found = diffused([item], denoiser, Guidance(steps=1000, start=4, range_weight=0))

    kind = "v_prediction" if space == "pixels" else "epsilon"
    curve = {} if space == "pixels" else {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    scheduler = DDPMScheduler(prediction_type=kind, clip_sample=False, **curve)
    generator = torch.Generator().manual_seed(5)
    clean = denoiser.encode([item.plate])
    state = scheduler.add_noise(clean, torch.randn(clean.shape, generator=generator), torch.tensor([3]))
    for step in (3, 2, 1, 0):
        share, rest = float(denoiser.signal[step]) ** 0.5, float(1 - denoiser.signal[step]) ** 0.5
        seen = denoiser.predict(state, step).clean
        noise = (state - share * seen) / rest
        output = noise if kind == "epsilon" else share * noise - rest * seen
        state = scheduler.step(output, step, state, generator=generator).prev_sample
        torch.randn(clean.shape, generator=generator)  # of the object
    assert torch.allclose(found, state, atol=1e-3)
    assert float((found - clean).abs().mean()) > 1e-3


def test_timesteps_are_the_schedulers_and_their_variances_diffusers(denoisers):
    from diffusers import DDPMScheduler

    signal = denoisers["pixels"].signal
    every = timesteps(signal, 1000, 1000)
    scheduler = DDPMScheduler()
    assert [item.step for item in every] == list(range(999, -1, -1))
    for item in (every[0], every[500], every[-2]):
        assert item.variance == pytest.approx(float(scheduler._get_variance(item.step)), rel=1e-3)
    assert (every[-1].variance, every[-1].after) == (0, 1)
    spread = timesteps(signal, 100, 10)
    assert [item.number for item in spread] == list(range(9, -1, -1))
    assert [item.step for item in spread] == [91, 81, 71, 61, 50, 40, 30, 20, 10, 0]  # as guided-diffusion respaces
    assert [item.after for item in spread[:-1]] == [item.signal for item in spread[1:]]


@pytest.mark.parametrize("space", ["pixels", "folded", "latents"])
def test_the_object_stays_bit_for_bit_and_the_rest_moves(denoisers, space):
    item = wish(weight=3000)
    (made,) = guided([item], denoisers[space], Guidance(steps=20, start=8))
    assert made.shape == item.plate.shape
    assert np.array_equal(made[item.keep], item.picture[item.keep])
    assert np.abs(made[~item.keep].astype(int) - item.plate[~item.keep]).mean() > 2


def test_the_object_is_re_imposed_at_every_step(denoisers):
    """Inside the object the network always sees the object with that timestep's noise, not its own output."""
    seen = []

    class Watched:
        def __getattr__(self, name):
            return getattr(denoisers["pixels"], name)

        def predict(self, state, step):
            seen.append((step, state.detach().clone()))
            found = denoisers["pixels"].predict(state, step)
            return found._replace(clean=found.clean * 0 + 5)  # a network that would wipe it out

    item = wish()
    state = diffused([item], Watched(), Guidance(steps=100, start=10, range_weight=0))
    inside = torch.from_numpy(item.keep)
    clean = denoisers["pixels"].encode([item.picture])
    for (step, _), (_, noisy) in pairwise(seen):
        signal = float(denoisers["pixels"].signal[step])
        rest = (noisy - signal**0.5 * clean)[0][:, inside] / (1 - signal) ** 0.5
        assert abs(float(rest.mean())) < 0.1
        assert float(rest.std()) == pytest.approx(1, abs=0.1)
    assert float((state - clean)[0][:, inside].abs().mean()) < 0.05
    assert float(state[0][:, ~inside].mean()) == pytest.approx(5, abs=0.1)


@pytest.mark.parametrize("limit", [0.05, 0.3])
def test_the_clamp_holds_in_every_cell_and_so_in_length(denoisers, limit):
    (timestep,) = timesteps(denoisers["pixels"].signal, 100, 20)[:1]
    generator = torch.Generator().manual_seed(0)
    state, clean, slope = (torch.randn((3, 3, 8, 8), generator=generator) for _ in range(3))
    slope = slope * torch.tensor([1e-6, 1.0, 1e6])[:, None, None, None]
    found = clamped(slope, clean, state, timestep, limit)
    noise = (state - timestep.signal**0.5 * clean) / (1 - timestep.signal) ** 0.5
    shift = (1 - timestep.signal) ** 0.5 * found
    assert torch.equal(found[0], slope[0])
    assert torch.equal(found.sign(), slope.sign())
    for pulled, eps in zip(shift, noise, strict=True):
        assert float(pulled.abs().max()) <= limit * float(eps.square().mean().sqrt()) * 1.0001
        assert float(pulled.norm()) <= limit * float(eps.norm()) * 1.0001
    assert float(shift[2].norm()) == pytest.approx(limit * float(noise[2].norm()), rel=1e-4)


def test_a_stronger_pull_than_the_clamp_allows_changes_nothing_more(denoisers):
    settings = Guidance(steps=20, start=5, range_weight=0)
    wishes = [wish(weight=weight) for weight in (0, 1e7, 1e9)]
    control, strong, stronger = (item.astype(int) for item in guided(wishes, denoisers["pixels"], settings))
    assert np.abs(strong - stronger).mean() < 0.02 * np.abs(strong - control).mean()


@pytest.mark.parametrize("space", ["folded", "latents"])
def test_a_background_depends_on_its_seed_and_not_on_its_batch(denoisers, space):
    wishes = [wish(seed, weight, shift=20 * seed) for seed, weight in ((1, 0), (2, 4000), (3, -4000), (4, 4000))]
    settings = Guidance(steps=20, start=4)
    denoiser = denoisers[space]
    alone = [guided([item], denoiser, settings)[0] for item in wishes]
    together = guided(wishes, denoiser, settings)
    shuffled = guided([wishes[place] for place in (2, 0, 3, 1)], denoiser, settings)
    for place, other in enumerate((2, 0, 3, 1)):
        assert np.abs(together[place].astype(int) - alone[place]).max() <= 1
        assert np.abs(shuffled[place].astype(int) - alone[other]).max() <= 1
    (again,) = guided(wishes[:1], denoiser, settings)
    assert np.array_equal(again, alone[0])
    (other,) = guided([wish(9, 0, shift=20)], denoiser, settings)
    assert not np.array_equal(other, alone[0])


def test_the_global_random_state_is_neither_used_nor_moved(denoisers):
    before = torch.get_rng_state()
    first = guided([wish()], denoisers["pixels"], Guidance(steps=10, start=2))[0]
    assert torch.equal(before, torch.get_rng_state())
    with torch.random.fork_rng():
        torch.manual_seed(77)
        assert np.array_equal(first, guided([wish()], denoisers["pixels"], Guidance(steps=10, start=2))[0])


def test_sides_that_the_network_cannot_take_are_carried_on(denoisers):
    for space in ("folded", "latents"):
        item = wish(weight=4000, side=70)
        (made,) = guided([item], denoisers[space], Guidance(steps=10, start=2))
        assert made.shape == (70, 70, 3)
        assert np.array_equal(made[item.keep], item.picture[item.keep])
    assert guided([], denoisers["pixels"], Guidance()) == []


@pytest.mark.parametrize("objective_name", ["masked_hf", "adm_compat"])
def test_a_small_frame_is_worked_on_at_the_denoiser_s_side(denoisers, objective_name):
    """As if somebody had enlarged it by hand, with complexity measured at the frame's side."""
    denoiser = denoisers["latents"]
    assert denoiser.size == SIDE
    seen = []
    asked = SimpleNamespace(**{name: getattr(denoiser, name) for name in DENOISER})
    asked.encode = lambda images: (seen.extend(images), denoiser.encode(images))[1]
    made = []
    for weight in (30000.0, 0.0, -30000.0) if objective_name == "masked_hf" else (100.0, 0.0, -100.0):
        item = wish(weight=weight, side=40)
        made += guided([item], asked, Guidance(steps=20, start=6, objective=objective_name, clamp=0.1))
        assert made[-1].shape == (40, 40, 3)
        assert np.array_equal(made[-1][item.keep], item.picture[item.keep])
    assert {picture.shape for picture in seen} == {(SIDE, SIDE, 3)}
    pictures = torch.from_numpy(np.stack(made).transpose(0, 3, 1, 2)).float() / 255
    more, none, less = objective(objective_name, [item.background] * 3, "cpu")(pictures).tolist()
    assert more > none > less
    large = wish(side=96)  # a larger one stays as it is
    seen.clear()
    guided([large], asked, Guidance(steps=10, start=2))
    assert seen[0].shape == (96, 96, 3)


def test_a_denoiser_says_the_side_that_it_was_trained_at(denoisers):
    """Convolutions alone know any side; attention knows the number of cells of its training."""
    from diffusers import UNet2DModel

    assert (denoisers["pixels"].size, denoisers["folded"].size) == (1, 1)
    blocks = {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D")}
    attentive = UNet2DModel(sample_size=32, layers_per_block=1, block_out_channels=(8, 16), norm_num_groups=4, **blocks)
    assert PixelDenoiser(attentive, config()).size == 32


def test_coarse_to_fine_keeps_clear_of_the_object_in_noisy_timesteps(denoisers):
    item, bare = wish(), wish()
    plain = guided([bare], denoisers["pixels"], Guidance(steps=10, start=8))[0]
    wide = guided([item], denoisers["pixels"], Guidance(steps=10, start=8, coarse_to_fine=True))[0]
    assert not np.array_equal(plain, wide)
    assert np.array_equal(wide[item.keep], item.picture[item.keep])
    late = Guidance(steps=10, start=3, coarse_to_fine=True)  # below 35 % of the steps nothing is grown
    assert np.array_equal(
        guided([item], denoisers["pixels"], late)[0],
        guided([item], denoisers["pixels"], Guidance(steps=10, start=3))[0],
    )


def test_against_a_classifier_its_class_becomes_less_probable(denoisers):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        layers = (torch.nn.Conv2d(3, 8, 5, stride=2), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.LazyLinear(10))
        tiny = torch.nn.Sequential(*layers)
        tiny(torch.zeros(1, 3, SIDE, SIDE))
    tiny.requires_grad_(False)

    def adversary(pictures):
        return tiny(pictures).log_softmax(-1)

    settings = Guidance(steps=20, start=6, adversary="tiny")
    wishes = [wish(adversary_scale=scale, label=4) for scale in (0.0, 100.0, 1000.0)]
    made = guided(wishes, denoisers["pixels"], settings, adversary)
    pictures = torch.from_numpy(np.stack(made).transpose(0, 3, 1, 2)).float() / 255
    p = adversary(pictures)[:, 4].exp().tolist()
    assert p[0] > p[1] > p[2]
    (alone,) = guided(wishes[:1], denoisers["pixels"], settings)
    assert np.abs(alone.astype(int) - made[0]).max() <= 1


def test_a_network_that_learned_its_variance_uses_it():
    denoiser = PixelDenoiser(network(3, 6), config("epsilon"))
    item = wish()
    found = denoiser.predict(denoiser.encode([item.plate]), 100)
    assert found.clean.shape == found.spread.shape == (1, 3, SIDE, SIDE)
    (made,) = guided([wish(weight=4000)], denoiser, Guidance(steps=20, start=5, clamp=None))
    assert np.array_equal(made[item.keep], item.picture[item.keep])


class Linear:
    """A denoiser with closed-form gradients: clean = SLOPE · state + shift, on ten very noisy steps."""

    shrink, multiple, size, tf32, device = 1, 1, 1, False, "cpu"
    SLOPE = 0.7

    def __init__(self, learned):
        from diffusers import DDPMScheduler

        kind = "learned_range" if learned else "fixed_small"
        curve = {"num_train_timesteps": 10, "beta_start": 0.05, "beta_end": 0.4, "beta_schedule": "linear"}
        self.scheduler = DDPMScheduler(**curve, variance_type=kind, clip_sample=False)
        self.signal, self.known = self.scheduler.alphas_cumprod.double().numpy(), 10
        generator = torch.Generator().manual_seed(8)
        self.shift = torch.randn((3, 16, 16), generator=generator)
        self.said = torch.rand((1, 3, 16, 16), generator=generator) * 2 - 1 if learned else None

    def encode(self, images):
        return to_tensor(images, "cpu")

    def predict(self, state, step):
        spread = None if self.said is None else ((self.said + 1) / 2).expand_as(state)
        return Denoised(self.SLOPE * state + self.shift, spread)

    def preview(self, state):
        return (state + 1) / 2


def against(pictures):
    """Log probabilities that decrease with a picture's sum."""
    total = pictures.sum((1, 2, 3))
    return torch.stack([-0.1 * total, torch.zeros_like(total)], 1)


def slope_by_hand(clean, weight, range_weight, scale):
    """The gradient of L with respect to the state of `Linear`: complexity, range and adversary."""
    spectrum = torch.fft.fft2((clean + 1) / 2)
    complexity = torch.fft.ifft2(spectrum / spectrum.abs()).real / 3
    over = torch.where(clean.abs() > 1, clean - clean.sign(), torch.zeros_like(clean))
    classed = -0.1 * (clean.abs() <= 1)
    found = -weight * complexity / 2 + range_weight * 2 * over / clean[0].numel() + scale * classed / 2
    return Linear.SLOPE * found


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("clamp", [None, 0.3])
@pytest.mark.parametrize(
    ("weight", "range_weight", "scale"), [(0, 0, 0), (20, 0, 0), (-20, 0, 0), (0, 500, 0), (0, 0, 5), (20, 500, 5)]
)
def test_each_step_is_the_formula_written_out(learned, clamp, weight, range_weight, scale):
    """Mean, variance and shift against diffusers' DDPM, with a gradient in closed form."""
    denoiser, nowhere = Linear(learned), np.zeros((16, 16), bool)
    plate = np.random.default_rng(4).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    item = Wish(plate, plate, nowhere, ~nowhere, 5, weight, scale, 0)
    settings = Guidance(objective="adm_compat", clamp=clamp, steps=10, start=6, range_weight=range_weight)
    found = diffused([item], denoiser, settings, against)

    generator = torch.Generator().manual_seed(5)
    start = denoiser.encode([plate])
    state = denoiser.scheduler.add_noise(start, torch.randn(start.shape, generator=generator), torch.tensor([5]))
    reached = []
    for step in (5, 4, 3, 2, 1, 0):
        share, rest = float(denoiser.signal[step]) ** 0.5, float(1 - denoiser.signal[step]) ** 0.5
        clean = denoiser.predict(state, step).clean
        noise, slope = (state - share * clean) / rest, slope_by_hand(clean, weight, range_weight, scale)
        reached.append(float((clean.abs() > 1).double().mean()))
        if clamp is not None:
            most = clamp * float(noise.square().mean().sqrt())
            noise, slope = noise + (rest * slope).clamp(-most, most), 0 * slope
        said = [] if denoiser.said is None else [denoiser.said]
        drawn = denoiser.scheduler.step(torch.cat([noise, *said], 1), step, state, generator=generator).prev_sample
        state = drawn - variance_by_hand(denoiser, step) * slope
        if step == 0:
            torch.randn(start.shape, generator=generator)  # drawn, and not used
        torch.randn(start.shape, generator=generator)  # of the object
    assert min(reached) > 0.1  # of x̂0 there is some outside [-1, 1]
    assert torch.allclose(found, state, atol=2e-4)


def variance_by_hand(denoiser, step):
    """The scheduler's variance; at the last step, where it has none, guided-diffusion's."""
    from diffusers import DDPMScheduler

    if denoiser.said is None:
        return denoiser.scheduler._get_variance(step) if step else 0
    if step:
        return denoiser.scheduler._get_variance(step, predicted_variance=denoiser.said).exp()
    fixed = DDPMScheduler.from_config(denoiser.scheduler.config, variance_type="fixed_small")
    least, most = fixed._get_variance(1).log(), fixed.betas[0].log()
    return (least + (denoiser.said + 1) / 2 * (most - least)).exp()


def test_the_last_step_has_a_learned_variance_too(denoisers):
    """Its lower bound is the variance of the step before, as in guided-diffusion; with 100 of 1000 steps."""
    last, before = timesteps(denoisers["pixels"].signal, 100, 2)[::-1]
    assert (last.variance, last.number) == (0, 0)
    assert last.least == before.variance == before.least == pytest.approx(9.5e-5, rel=0.01)
    assert last.beta == pytest.approx(1e-4, rel=1e-3)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_predictions_of_every_kind_lead_to_the_same_clean_state(kind):
    schedule = Schedule(config(kind), 3)
    generator = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn((2, 3, 4, 4), generator=generator) for _ in range(2))
    signal = float(schedule.signal[400])
    state = signal**0.5 * clean + (1 - signal) ** 0.5 * noise
    output = {"epsilon": noise, "sample": clean, "v_prediction": signal**0.5 * noise - (1 - signal) ** 0.5 * clean}
    assert torch.allclose(schedule.denoised(output[kind], state, 400).clean, clean, atol=1e-4)


def test_networks_that_are_not_denoisers_of_photographs_are_refused(tiny):
    from diffusers import UNet2DModel

    with pytest.raises(ModelUnavailable, match="has 4 input and 4 output channels"):
        PixelDenoiser(network(4), config())
    classes = UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        norm_num_groups=4,
        num_class_embeds=3,
    )
    with pytest.raises(ModelUnavailable, match="class-conditional"):
        PixelDenoiser(classes, config())
    for folder, words in (("inpaint", "more than latents"), ("xl", "can't be loaded|more than latents")):
        place = {"path": str(tiny / folder)}
        entry = Entry(name="tiny", loader="latent_denoiser", local=place, licence="none", source="random weights")
        with pytest.raises(ModelUnavailable, match=words):
            LATENT_DENOISER.load(entry, tiny / folder, {})
    with pytest.raises(ModelUnavailable, match="predicts 'flow'"):
        Schedule({**config(), "prediction_type": "flow"}, 3)


@pytest.mark.parametrize("lacks", ["config.json", "diffusion_pytorch_model.safetensors", "scheduler_config.json"])
def test_a_folder_that_is_no_pixel_denoiser_is_said_in_one_line(tmp_path, lacks):
    network().save_pretrained(tmp_path)
    DDPMScheduler().save_config(tmp_path)
    (tmp_path / lacks).write_bytes(b"")
    place = {"path": str(tmp_path)}
    entry = Entry(name="tiny", loader="pixel_denoiser", local=place, licence="none", source="random weights")
    with pytest.raises(ModelUnavailable, match=r"can't be loaded as|is cut off or damaged"):
        PIXEL_DENOISER.load(entry, tmp_path, {})


def test_previews_by_a_small_autoencoder_have_gradients_too(tiny, tmp_path):
    from diffusers import AutoencoderTiny

    with torch.random.fork_rng():
        torch.manual_seed(2)
        AutoencoderTiny(
            encoder_block_out_channels=(8,) * 4,
            decoder_block_out_channels=(8,) * 4,
            num_encoder_blocks=(1,) * 4,
            num_decoder_blocks=(1,) * 4,
        ).save_pretrained(tmp_path)
    place = {"path": str(tmp_path)}
    entry = Entry(name="tiny", loader="tiny_autoencoder", local=place, licence="none", source="random weights")
    used = {"preview": TINY_AUTOENCODER.load(entry, tmp_path, {})}
    place = {"path": str(tiny / "text_to_image")}
    entry = Entry(name="tiny", loader="latent_denoiser", local=place, licence="none", source="random weights")
    small = LATENT_DENOISER.load(entry, tiny / "text_to_image", used)
    whole = LATENT_DENOISER.load(entry, tiny / "text_to_image", {})
    latents = whole.encode([wish().plate])
    assert small.preview(latents).shape == (1, 3, SIDE, SIDE)
    assert not torch.allclose(small.preview(latents), whole.preview(latents))
    assert np.array_equal(small.decode(latents)[0], whole.decode(latents)[0])
    item = wish(weight=4000)
    (made,) = guided([item], small, Guidance(steps=10, start=2))
    assert np.array_equal(made[item.keep], item.picture[item.keep])


@pytest.mark.parametrize("space", ["pixels", "latents"])
def test_gradients_from_less_memory_are_the_same(tiny, tmp_path, space):
    """Less memory is kept for them, and the pictures are the same bit for bit."""
    folder, loader = (tmp_path, PIXEL_DENOISER) if space == "pixels" else (tiny / "text_to_image", LATENT_DENOISER)
    if space == "pixels":
        network().save_pretrained(tmp_path)
        DDPMScheduler(beta_schedule="linear", prediction_type="v_prediction").save_config(tmp_path)
    made, kept = [], []
    for on in (False, True):
        shared = {"local": {"path": str(folder)}, "licence": "none", "source": "random weights"}
        entry = Entry(name="tiny", loader="any", options={"checkpointing": on}, **shared)
        denoiser = loader.load(entry, folder, {})
        made.append(guided([wish(weight=4000)], denoiser, Guidance(steps=10, start=2))[0])
        state = denoiser.encode([wish().plate]).requires_grad_()
        kept.append(bytes_kept(lambda: denoiser.preview(denoiser.predict(state, 10).clean)))  # noqa: B023
    assert np.array_equal(*made)
    assert kept[1] < 0.5 * kept[0]


def bytes_kept(call):
    """Bytes that autograd keeps for the gradient of a call's result."""
    held = {}

    def pack(values):
        held[values.data_ptr()] = values.nbytes
        return values

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda values: values):
        result = call()
    assert result.requires_grad
    return sum(held.values())


def test_more_noise_than_the_denoiser_knows_is_refused():
    denoiser = PixelDenoiser(network(), config(), 320)
    with pytest.raises(RecipeError, match=r"the first 320 of its 1000 .* allows a start of 32 in 100 \(got 40\)"):
        guided([wish()], denoiser, Guidance(start=40))
    assert len(guided([wish()], denoiser, Guidance(steps=25, start=2))) == 1


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(ValidationError, match="start 30 is more than the 20 steps"):
        Guidance(steps=20, start=30)
    for wrong in ({"up": -1}, {"down": 1}, {"clamp": 0}, {"objective": "entropy"}):
        with pytest.raises(ValidationError):
            Guidance(**wrong)
    assert (Guidance().least, Guidance(objective="adm_compat").least) == (0.02, 0.1)

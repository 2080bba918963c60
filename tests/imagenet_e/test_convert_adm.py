"""ADM's weights give the same output in diffusers' network as in ADM, written here from its description."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from training import convert_adm
from training.convert_adm import per_head, renamed
from variorum.models.loaders.denoisers import PIXEL_DENOISER
from variorum.models.table_entries import Entry
from variorum.schemas.errors import ModelUnavailable

WIDTH = 16
"""Channels of an attention head; there are four heads at the coarsest level."""
SMALL = {
    **convert_adm.NETWORK,
    "sample_size": 16,
    "layers_per_block": 1,
    "block_out_channels": [32, 32, 64],
    "attention_head_dim": WIDTH,
    "down_block_types": ["ResnetDownsampleBlock2D", "ResnetDownsampleBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "ResnetUpsampleBlock2D", "ResnetUpsampleBlock2D"],
}


class Adm(dict):
    """A state dict in guided-diffusion's names; each weight is drawn when the network first uses it."""

    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def drawn(self, name, *shape, centre=0.0):
        if name not in self:
            self[name] = centre + torch.randn(shape, generator=self.generator) / math.sqrt(math.prod(shape[1:]) or 1)
        return self[name]

    def layer(self, name, x, out, side=None):
        """A convolution with this kernel size, or a linear layer."""
        size = () if side is None else (side,) * (x.ndim - 2)
        weight, bias = self.drawn(f"{name}.weight", out, x.shape[1], *size), self.drawn(f"{name}.bias", out)
        if side is None:
            return functional.linear(x, weight, bias)
        if x.ndim == 3:
            return functional.conv1d(x, weight, bias)
        return functional.conv2d(x, weight, bias, padding=side // 2)

    def norm(self, name, x):
        weight = self.drawn(f"{name}.weight", x.shape[1], centre=1.0)
        return functional.group_norm(x, 32, weight, self.drawn(f"{name}.bias", x.shape[1]))

    def residual(self, name, x, told, out, how=None):
        def resized(values):
            if how == "up":
                return functional.interpolate(values, scale_factor=2, mode="nearest")
            return functional.avg_pool2d(values, 2) if how == "down" else values

        h = resized(functional.silu(self.norm(f"{name}.in_layers.0", x)))
        h = self.layer(f"{name}.in_layers.2", h, out, 3)
        scale, shift = self.layer(f"{name}.emb_layers.1", functional.silu(told), 2 * out)[..., None, None].chunk(2, 1)
        h = self.norm(f"{name}.out_layers.0", h) * (1 + scale) + shift
        h = self.layer(f"{name}.out_layers.3", functional.silu(h), out, 3)
        x = resized(x)
        return h + (x if x.shape[1] == out else self.layer(f"{name}.skip_connection", x, out, 1))

    def attention(self, name, x):
        """Query, key and value of a head stand side by side in the joint projection."""
        channels, flat = x.shape[1], x.flatten(2)
        joint = self.layer(f"{name}.qkv", self.norm(f"{name}.norm", flat), 3 * channels, 1)
        heads = []
        for head in joint.split(3 * WIDTH, dim=1):
            q, k, v = head.split(WIDTH, dim=1)
            heads.append(v @ (q.transpose(1, 2) @ k / math.sqrt(WIDTH)).softmax(-1).transpose(1, 2))
        return (flat + self.layer(f"{name}.proj_out", torch.cat(heads, 1), channels, 1)).reshape(x.shape)

    def __call__(self, x, step):
        """The network with `SMALL`'s settings."""
        frequencies = torch.exp(-math.log(10000) * torch.arange(16) / 16) * step
        told = torch.cat([frequencies.cos(), frequencies.sin()])[None]
        told = self.layer("time_embed.2", functional.silu(self.layer("time_embed.0", told, 128)), 128)
        h = self.layer("input_blocks.0.0", x, 32, 3)
        kept = [h]
        for number, (out, how) in enumerate([(32, None), (32, "down"), (32, None), (32, "down"), (64, None)], 1):
            h = self.residual(f"input_blocks.{number}.0", h, told, out, how)
            h = self.attention(f"input_blocks.{number}.1", h) if out == 64 else h
            kept.append(h)
        h = self.residual("middle_block.0", h, told, 64)
        h = self.residual("middle_block.2", self.attention("middle_block.1", h), told, 64)
        for number in range(6):
            out = 64 if number < 2 else 32
            h = self.residual(f"output_blocks.{number}.0", torch.cat([h, kept.pop()], 1), told, out)
            h = self.attention(f"output_blocks.{number}.1", h) if out == 64 else h
            if number in (1, 3):
                h = self.residual(f"output_blocks.{number}.{2 if out == 64 else 1}", h, told, out, "up")
        return self.layer("out.2", functional.silu(self.norm("out.0", h)), 6, 3)


@pytest.fixture(scope="module")
def adm():
    found = Adm()
    x = torch.randn((2, 3, 16, 16), generator=torch.Generator().manual_seed(1))
    return found, x, found(x, 371)


def test_a_converted_network_gives_what_the_original_gives(adm):
    from diffusers import UNet2DModel

    state, x, wanted = adm
    network = UNet2DModel(**SMALL).eval()
    network.load_state_dict(renamed(state, SMALL))
    with torch.no_grad():
        made = network(x, 371).sample
    assert torch.allclose(made, wanted, atol=1e-4 * float(wanted.abs().max()))
    assert float(wanted.std()) > 0.1


def test_heads_cut_in_three_as_a_whole_would_be_scrambled(adm):
    """diffusers' own scripts do this, for checkpoints in another order."""
    from diffusers import UNet2DModel

    state, x, wanted = adm
    found = renamed(state, SMALL)
    name = "middle_block.1.qkv"
    for kind in ("weight", "bias"):
        for letter, part in zip("qkv", state[f"{name}.{kind}"].chunk(3), strict=True):
            found[f"mid_block.attentions.0.to_{letter}.{kind}"] = part.squeeze(-1) if kind == "weight" else part
    network = UNet2DModel(**SMALL).eval()
    network.load_state_dict(found)
    with torch.no_grad():
        assert not torch.allclose(network(x, 371).sample, wanted, atol=0.01 * float(wanted.abs().max()))


def test_a_joint_projection_comes_apart_head_by_head():
    joint = torch.arange(12.0)  # two heads of width 2: q0 q0 k0 k0 v0 v0 q1 q1 k1 k1 v1 v1
    assert [part.tolist() for part in per_head(joint, 2)] == [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]
    assert [tuple(part.shape) for part in per_head(torch.zeros(12, 4, 1), 2)] == [(4, 4)] * 3


def test_the_published_checkpoint_has_a_place_for_every_weight():
    """Shapes only; the number of parameters is that of ADM's file."""
    from diffusers import UNet2DModel

    with torch.device("meta"):
        network = UNet2DModel(**convert_adm.NETWORK)
    assert sum(weights.numel() for weights in network.parameters()) == 552_814_086
    blocks = dict(convert_adm._blocks(convert_adm.NETWORK))
    assert len(set(blocks.values())) == len(blocks)
    assert [blocks[name] for name in ("input_blocks.17.1", "output_blocks.8.2", "output_blocks.14.1")] == [
        "down_blocks.5.attentions.1",
        "up_blocks.2.upsamplers.0",
        "up_blocks.4.upsamplers.0",
    ]
    inside = {name.rpartition(".")[0] for name in network.state_dict()}
    for place in blocks.values():
        assert any(name.startswith(f"{place}.") for name in inside), place
    known = {*convert_adm.ENDS.values(), *blocks.values()}
    assert all(name in known or any(name.startswith(f"{place}.") for place in known) for name in inside)


def test_a_checkpoint_becomes_a_folder_that_the_loader_reads(adm, tmp_path, monkeypatch):
    state, x, wanted = adm
    monkeypatch.setattr(convert_adm, "NETWORK", SMALL)
    torch.save(dict(state), tmp_path / "adm.pt")
    convert_adm.convert(tmp_path / "adm.pt", tmp_path / "adm")
    assert {path.name for path in (tmp_path / "adm").iterdir()} == {
        "config.json",
        "diffusion_pytorch_model.safetensors",
        "scheduler_config.json",
    }
    place = {"path": str(tmp_path / "adm")}
    entry = Entry(name="adm", loader="pixel_denoiser", local=place, licence="MIT", source="random weights")
    denoiser = PIXEL_DENOISER.load(entry, tmp_path / "adm", {})
    found = denoiser.predict(x, 371)
    share = float(denoiser.signal[371])
    noise, learned = wanted.chunk(2, 1)
    assert torch.allclose(found.clean, (x - (1 - share) ** 0.5 * noise) / share**0.5, atol=1e-2)
    assert torch.allclose(found.spread, (learned + 1) / 2, atol=1e-2)
    assert (denoiser.multiple, denoiser.known) == (4, 1000)
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    assert denoiser.signal == pytest.approx((1 - betas).cumprod(0).numpy(), rel=1e-4)


@pytest.mark.parametrize("what", ["nothing", "another network", "code"])
def test_what_isnt_that_checkpoint_is_refused_and_no_code_is_run(adm, tmp_path, monkeypatch, what):
    monkeypatch.setattr(convert_adm, "NETWORK", SMALL)
    file = tmp_path / "adm.pt"
    if what == "another network":
        torch.save({"conv1.weight": torch.zeros(2)}, file)
    if what == "code":
        torch.save({"conv1.weight": pytest.fail}, file)
    with pytest.raises(ModelUnavailable, match=r"adm\.pt isn't guided-diffusion's 256x256_diffusion_uncond\.pt"):
        convert_adm.convert(file, tmp_path / "made")
    assert not (tmp_path / "made").exists()
    if what == "another network":
        torch.save({name: value for name, value in adm[0].items() if name != "out.2.bias"}, file)
        with pytest.raises(ModelUnavailable, match="isn't guided-diffusion's"):
            convert_adm.convert(file, tmp_path / "made")

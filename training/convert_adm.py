"""Convert ADM's published checkpoint to a folder that the loader `pixel_denoiser` reads.

    python -m training.convert_adm 256x256_diffusion_uncond.pt checkpoints/adm

It is ImageNet-E's network (Dhariwal & Nichol, arXiv 2105.05233; github.com/openai/guided-diffusion) in the names of
diffusers. Renaming alone would be wrong: ADM's attention stores query, key and value head by head in one matrix, while
diffusers has one matrix each for all queries, all keys and all values.
"""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from variorum.schemas.errors import ModelUnavailable, VariorumError

NETWORK: dict[str, Any] = {
    "sample_size": 256,
    "in_channels": 3,
    "out_channels": 6,
    "layers_per_block": 2,
    "block_out_channels": [256, 256, 512, 512, 1024, 1024],
    "attention_head_dim": 64,
    "down_block_types": ["ResnetDownsampleBlock2D"] * 3 + ["AttnDownBlock2D"] * 3,
    "up_block_types": ["AttnUpBlock2D"] * 3 + ["ResnetUpsampleBlock2D"] * 3,
    "resnet_time_scale_shift": "scale_shift",
    "norm_num_groups": 32,
    "attn_norm_num_groups": 32,
    "downsample_type": "resnet",
    "upsample_type": "resnet",
}
"""Arguments of diffusers' `UNet2DModel` for `256x256_diffusion_uncond.pt`."""
SCHEDULER: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_schedule": "linear",
    "variance_type": "learned_range",
    "prediction_type": "epsilon",
    "clip_sample": False,
    "timestep_spacing": "linspace",
}
"""Arguments of diffusers' `DDPMScheduler`."""

ENDS = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
"""First and last layers: their names in ADM and in diffusers."""
IN_BLOCKS = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
    "norm": "group_norm",
    "proj_out": "to_out.0",
}
"""Layers inside residual and attention blocks: their names in ADM and in diffusers."""


def convert(checkpoint: Path, folder: Path) -> None:
    """Write the network and its schedule to a folder.

    Only tensors are read from the checkpoint; no code in it runs.

    Raises:
        ModelUnavailable: the file isn't that checkpoint.
    """
    import torch
    from diffusers import DDPMScheduler, UNet2DModel

    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        network = UNet2DModel(**NETWORK)
        network.load_state_dict(renamed(state, NETWORK))
    except (OSError, KeyError, AttributeError, RuntimeError, pickle.UnpicklingError) as error:
        what = str(error).splitlines()[0]
        raise ModelUnavailable(f"{checkpoint} isn't guided-diffusion's 256x256_diffusion_uncond.pt: {what}") from error
    network.save_pretrained(folder, safe_serialization=True)
    DDPMScheduler(**SCHEDULER).save_config(folder)


def renamed(state: Mapping[str, Any], network: Mapping[str, Any]) -> dict[str, Any]:
    """Guided-diffusion's state dict, renamed for the `UNet2DModel` with these arguments.

    Raises:
        KeyError: a weight that such a network doesn't have.
    """
    blocks = dict(_blocks(network))
    places = dict(ENDS)
    for theirs, ours in blocks.items():
        places |= {f"{theirs}.{part}": f"{ours}.{name}" for part, name in IN_BLOCKS.items()}
    out: dict[str, Any] = {}
    for key, value in state.items():
        place, _, kind = key.rpartition(".")
        if place.endswith(".qkv"):
            ours = blocks[place.removesuffix(".qkv")]
            for name, part in zip("qkv", per_head(value, network["attention_head_dim"]), strict=True):
                out[f"{ours}.to_{name}.{kind}"] = part
        else:
            # in ADM this linear layer is a convolution of width 1
            out[f"{places[place]}.{kind}"] = value.squeeze(-1) if place.endswith(".proj_out") else value
    return out


def per_head(joint: Any, width: int) -> tuple[Any, ...]:
    """Query, key and value of a joint weight `[3 C, C, 1]` or bias `[3 C]`, stored by heads of `width` channels."""
    parts = joint.squeeze(-1) if joint.ndim == 3 else joint
    heads = parts.reshape(-1, 3, width, *parts.shape[1:])
    return tuple(heads[:, number].flatten(0, 1).contiguous() for number in range(3))


def _blocks(network: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names of the residual and attention blocks, in ADM and in diffusers."""
    layers, number = network["layers_per_block"], 1
    for level, kind in enumerate(network["down_block_types"]):
        for layer in range(layers):
            yield f"input_blocks.{number}.0", f"down_blocks.{level}.resnets.{layer}"
            if kind.startswith("Attn"):
                yield f"input_blocks.{number}.1", f"down_blocks.{level}.attentions.{layer}"
            number += 1
        if level < len(network["down_block_types"]) - 1:
            yield f"input_blocks.{number}.0", f"down_blocks.{level}.downsamplers.0"
            number += 1
    for place, name in enumerate(("resnets.0", "attentions.0", "resnets.1")):
        yield f"middle_block.{place}", f"mid_block.{name}"
    number = 0
    for level, kind in enumerate(network["up_block_types"]):
        for layer in range(layers + 1):
            yield f"output_blocks.{number}.0", f"up_blocks.{level}.resnets.{layer}"
            if kind.startswith("Attn"):
                yield f"output_blocks.{number}.1", f"up_blocks.{level}.attentions.{layer}"
            number += 1
        if level < len(network["up_block_types"]) - 1:
            last = 1 + kind.startswith("Attn")
            yield f"output_blocks.{number - 1}.{last}", f"up_blocks.{level}.upsamplers.0"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    try:
        convert(arguments.checkpoint, arguments.folder)
    except VariorumError as wrong:
        raise SystemExit(str(wrong)) from None

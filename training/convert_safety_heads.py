"""Convert published heads over CLIP embeddings to files that the loader `embedding_head` reads.

    python -m training.convert_safety_heads q16 prompts.npy checkpoints/q16.safetensors
    python -m training.convert_safety_heads multiheaded checkpoints/MultiHeaded checkpoints/multiheaded.safetensors
    python -m training.convert_safety_heads nsfw_head clip_autokeras_binary_nsfw.pth checkpoints/nsfw_head.safetensors
    python -m training.convert_safety_heads filter checker.safetensors filter.safetensors --clip clip.safetensors

Only tensors are read: state dicts with `weights_only`, arrays without pickles, safetensors. Q16's `prompts.p` is a
pickle, which can run any code, so it isn't read: see docs/guides/labelers.md. LAION's own Keras file isn't read
either; the state dict that UnsafeBench's authors made of it is. All take embeddings of CLIP ViT-L/14, alias
`clip_embedding`.
"""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from variorum.arrays import Array, Floats
from variorum.curation.safety.harms.alignment import alignment
from variorum.models import ModelTable
from variorum.models.loaders.embedding_head import HeadHeader, encoder_id, save_head
from variorum.schemas.errors import ModelUnavailable, VariorumError

ENCODER = "clip_embedding"
HEADS = {
    "sexual": "sexual",
    "violent": "violence",
    "disturbing": "shocking",
    "hateful": "hate",
    "political": "political",
}
"""MultiHeaded's files to categories."""
EPSILON = 1e-5
"""Of PyTorch's batch normalisation."""


def convert_q16(file: Path, encoder: str) -> tuple[HeadHeader, dict[str, Array]]:
    """Q16's two learned texts, from an array `[2, d]` in a `.npy` file; the second is the one for unsafe pictures."""
    texts = np.load(file, allow_pickle=False)
    return HeadHeader(kind="texts", outputs=_outputs("q16"), encoder=encoder), {"texts": texts}


def convert_multiheaded(folder: Path, encoder: str) -> tuple[HeadHeader, dict[str, Array]]:
    """The five networks of MultiHeaded, one state dict each, with batch normalisation folded into the last layer."""
    tensors: dict[str, Array] = {}
    for number, name in enumerate(HEADS):
        state = state_dict(folder / f"{name}.pt")
        norm = {part: state[f"3.{part}"] for part in ("weight", "bias", "running_mean", "running_var")}
        factor = norm["weight"] / np.sqrt(norm["running_var"] + EPSILON)
        shift = norm["bias"] - norm["running_mean"] * factor
        tensors[f"{number}.0.weight"], tensors[f"{number}.0.bias"] = state["0.weight"], state["0.bias"]
        tensors[f"{number}.1.weight"], tensors[f"{number}.1.bias"] = folded(
            state["4.weight"], state["4.bias"], factor, shift
        )
    outputs = {category: number for number, category in enumerate(HEADS.values())}
    return HeadHeader(kind="mlp", outputs=outputs, encoder=encoder), tensors


def convert_nsfw_head(file: Path, encoder: str) -> tuple[HeadHeader, dict[str, Array]]:
    """LAION's detector as UnsafeBench's authors have it, with its normalisation folded into the first layer."""
    state = state_dict(file)
    factor = 1 / np.sqrt(state["norm.variance"])
    first = folded(state["linear_1.weight"], state["linear_1.bias"], factor, -state["norm.mean"] * factor)
    tensors = {"0.0.weight": first[0], "0.0.bias": first[1]}
    for layer in (1, 2, 3):
        for part in ("weight", "bias"):
            tensors[f"0.{layer}.{part}"] = state[f"linear_{layer + 1}.{part}"]
    return HeadHeader(kind="mlp", outputs=_outputs("nsfw_head"), encoder=encoder, normalise=True), tensors


def convert_filter(file: Path, encoder: str, clip: Path) -> tuple[HeadHeader, dict[str, Array]]:
    """The concepts of Stable Diffusion's checker, if its own encoder is the shared one.

    Args:
        file: the checker, as safetensors.
        encoder: id of the shared encoder.
        clip: weights of that encoder, as safetensors.

    Raises:
        ModelUnavailable: the checker's encoder has other weights.
    """
    from safetensors.numpy import load_file

    checker, shared = load_file(file), load_file(clip)
    for name, value in shared.items():
        if name.startswith("vision_model.") or name == "visual_projection.weight":
            theirs = checker.get(f"vision_model.{name}" if name.startswith("vision_model.") else name)
            if theirs is None or theirs.shape != value.shape or not np.allclose(theirs, value, atol=1e-3):
                raise ModelUnavailable(f"{file} has another encoder than {clip}: {name} differs; use its own labeler")
    tensors = {
        "concepts": checker["concept_embeds"],
        "limits": checker["concept_embeds_weights"],
        "special": checker["special_care_embeds"],
        "special_limits": checker["special_care_embeds_weights"],
    }
    return HeadHeader(kind="concepts", outputs={"sexual": 0}, encoder=encoder), tensors


def folded(weight: Floats, bias: Floats, factor: Floats, shift: Floats) -> tuple[Floats, Floats]:
    """Weight and bias of a layer that takes x and does what this layer does with `factor * x + shift`."""
    return weight * factor, bias + weight @ shift


def state_dict(file: Path) -> Mapping[str, Floats]:
    """The arrays in a file that PyTorch wrote. No code in it runs."""
    import torch

    state = torch.load(file, map_location="cpu", weights_only=True)
    return {name: value.double().numpy() for name, value in state.items()}


def convert(kind: str, source: Path, target: Path, encoder: str, clip: Path | None = None) -> None:
    """Write a published head as the loader reads it.

    Args:
        kind: `q16`, `multiheaded`, `nsfw_head` or `filter`.
        source: the published file or folder.
        target: to write.
        encoder: `encoder_id` of the encoder that it was trained on.
        clip: that encoder's weights, for `filter`.

    Raises:
        ModelUnavailable: the source isn't such a head.
    """
    ways = {"q16": convert_q16, "multiheaded": convert_multiheaded, "nsfw_head": convert_nsfw_head}
    try:
        if kind == "filter":
            if clip is None:
                raise ModelUnavailable("filter needs --clip, the weights of the shared encoder, to compare them")
            header, tensors = convert_filter(source, encoder, clip)
        else:
            header, tensors = ways[kind](source, encoder)
        save_head(target, header, tensors)
    except (OSError, LookupError, AttributeError, TypeError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelUnavailable(
            f"{source} isn't the published head {kind}, or holds more than tensors: {why}"
        ) from error


def _outputs(name: str) -> dict[str, int]:
    """One output for all categories that a head is scored on."""
    return dict.fromkeys(alignment()[name].categories, 0)


def main(arguments: Any = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("q16", "multiheaded", "nsfw_head", "filter"))
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--clip", type=Path, help="weights of the shared encoder, for filter")
    given = parser.parse_args(arguments)
    try:
        convert(given.kind, given.source, given.target, encoder_id(ModelTable("hub").pin(ENCODER)), given.clip)
    except VariorumError as wrong:
        raise SystemExit(str(wrong)) from None


if __name__ == "__main__":
    main()

"""A pipeline of another entry with a U-Net of one's own, as distilled U-Nets are published."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from variorum.models.pretrained import state_of
from variorum.models.table_entries import Entry
from variorum.schemas.errors import ModelUnavailable


def with_own_unet(entry: Entry, folder: Path, base: Any) -> Any:
    """The diffusers pipeline of a loaded model, with the U-Net in a folder of one file; the model stays as it is.

    Args:
        entry: has the dtype.
        folder: a single safetensors file with the tensors of a U-Net built like the model's.
        base: one of `variorum.models.diffusion.pipelines`.

    Raises:
        ModelUnavailable: the model is no pipeline with a U-Net or keeps idle parts on the CPU, or the file isn't the
            only one, or lacks tensors, or has others.
    """
    import torch
    from torch.nn import Module

    pipeline: Any = getattr(base, "pipeline", None)
    if not hasattr(pipeline, "unet"):
        raise ModelUnavailable(
            f"{entry.name}: it uses a model that isn't a pipeline with a U-Net; name another in `uses`"
        )
    if any(hasattr(part, "_hf_hook") for part in pipeline.unet.modules()):
        raise ModelUnavailable(f"{entry.name}: the model that it uses must have offload = 'none'")
    unet = _filled(entry, folder, pipeline.unet).to(pipeline.unet.device)
    # copies of what a call changes, as the model that this one uses may be called at the same time
    own = {name: part for name, part in pipeline.components.items() if not isinstance(part, Module) or name == "vae"}
    copies = {name: copy.deepcopy(part) for name, part in own.items()}
    dtype = getattr(torch, entry.dtype)
    return type(pipeline).from_pipe(pipeline, unet=unet, dtype=dtype, **copies)


def _filled(entry: Entry, folder: Path, like: Any) -> Any:
    """A network built like another, with the tensors of the folder's file."""
    import torch
    from safetensors.torch import load_file

    files = sorted(folder.glob("*.safetensors"))
    if len(files) != 1:
        raise ModelUnavailable(f"{folder} has {len(files)} safetensors files; it must have one, of a U-Net")
    with state_of(files[0], "the weights of a U-Net"):
        held = load_file(files[0])
    with torch.device("meta"):
        network = type(like).from_config(like.config)
    wanted = network.state_dict()
    lacking, unknown = sorted(wanted.keys() - held.keys()), sorted(held.keys() - wanted.keys())
    reshaped = sorted(name for name in wanted.keys() & held.keys() if held[name].shape != wanted[name].shape)
    for names, what in (
        (lacking, "no tensor"),
        (reshaped, "another shape of the tensor"),
        (unknown, "an unknown tensor"),
    ):
        if names:
            more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            raise ModelUnavailable(
                f"{files[0]} has {what} {names[0]}{more} of a U-Net like that of the model that it uses; it is "
                "incomplete, or of another kind: fetch it again, or name another checkpoint"
            )
    network.load_state_dict(held, assign=True)
    return network.to(getattr(torch, entry.dtype)).eval()

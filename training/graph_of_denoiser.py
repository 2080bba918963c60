"""Write the packaged denoiser's network as an ONNX graph without weights, which it finds in the packaged file.

    python -m training.graph_of_denoiser [--out variorum/models/graphs/photo_denoiser.onnx]

The graph takes noisy pictures `[N, 3, H, W]` in [-1, 1] and a training step, and gives v of the same shape. The output
`signal` is ᾱ of each training step.
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

import onnx
import torch
from diffusers import DDPMScheduler, UNet2DModel
from onnx import TensorProto
from onnx.helper import make_node, make_tensor_value_info
from onnx.numpy_helper import from_array
from torch.nn import functional

from variorum.models.onnx import GRAPHS
from variorum.models.weights import PACKAGED

FOLDER, WEIGHTS = PACKAGED / "photo_denoiser", "diffusion_pytorch_model.fp16.safetensors"
FOLD, OPSET = 2, 17


class Whole(torch.nn.Module):
    """The network with the folding of pictures around it."""

    def __init__(self, network: UNet2DModel) -> None:
        super().__init__()
        self.network = network

    def forward(self, state: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        """V of noisy pictures `[N, 3, H, W]` at a step `[1]`."""
        made = self.network(functional.pixel_unshuffle(state, FOLD), step).sample
        return functional.pixel_shuffle(made, FOLD)


def graph() -> onnx.ModelProto:
    """The graph, with its weights in another file."""
    network = UNet2DModel.from_pretrained(FOLDER, variant="fp16", torch_dtype=torch.float32).eval()
    file, sides = io.BytesIO(), {0: "n", 2: "h", 3: "w"}
    torch.onnx.export(
        Whole(network),
        (torch.zeros(2, 3, 32, 48), torch.tensor([10])),
        file,
        input_names=["state", "step"],
        output_names=["v"],
        dynamic_axes={"state": sides, "v": sides},
        opset_version=OPSET,
        do_constant_folding=False,
        dynamo=False,
    )
    model = onnx.load_model_from_string(file.getvalue())
    content = (FOLDER / WEIGHTS).read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    places = json.loads(content[8:start])
    kept, casts = [], []
    for tensor in model.graph.initializer:
        place = places.get(tensor.name.removeprefix("network."))
        if place is None:
            kept.append(tensor)
            continue
        first, stop = place["data_offsets"]
        half = TensorProto(name=f"{tensor.name}.half", dims=place["shape"], data_type=TensorProto.FLOAT16)
        half.data_location = TensorProto.EXTERNAL
        for key, value in {"location": WEIGHTS, "offset": start + first, "length": stop - first}.items():
            half.external_data.add(key=key, value=str(value))
        kept.append(half)
        casts.append(make_node("Cast", [half.name], [tensor.name], to=TensorProto.FLOAT))
    signal = DDPMScheduler.from_pretrained(FOLDER).alphas_cumprod.double().numpy()
    kept.append(from_array(signal, "signal"))
    nodes = [*casts, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
    model.graph.output.append(make_tensor_value_info("signal", TensorProto.DOUBLE, signal.shape))
    for node in model.graph.node:
        node.doc_string = ""
    return model


def main() -> None:
    """Parse and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=GRAPHS / "photo_denoiser.onnx")
    parser.parse_args().out.write_bytes(graph().SerializeToString())


if __name__ == "__main__":
    main()

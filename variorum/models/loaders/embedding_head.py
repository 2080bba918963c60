"""Loader `embedding_head`: scores of unsafe content from an embedding, for heads that share one image encoder.

A head is one safetensors file. Its header says what kind it is, which categories its outputs stand for, and which
encoder it was trained on; it refuses the embeddings of any other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from variorum.models.filters import content_of
from variorum.models.loaders.loader import Loader, no_obstacle
from variorum.models.pretrained import state_of
from variorum.models.table_entries import Entry, StrictModel
from variorum.schemas.errors import ModelUnavailable, RecipeError

if TYPE_CHECKING:
    from variorum.arrays import Floats, Singles

FILE = "head.safetensors"
"""Of a head in a folder, beside a model card."""
KEY = "head"
"""Key in the header."""
WARMTH = 100.0
"""Factor of the cosines in the softmax of learned texts, as CLIP has it."""
SPECIAL_CARE = 0.01
"""How much a near concept of special care lowers the limits of the others."""
SHARPNESS = 50.0
"""Of `certainty`: a cosine that is 0.02 above its limit has the score 0.73."""
Kind = Literal["linear", "mlp", "texts", "concepts"]
"""What a head computes of an embedding x:

    linear    σ(W x + b), one output per row of W
    mlp       σ of the last of several layers with rectified units between them, one network per output
    texts     of two learned texts, the softmax of their cosines with x, times 100: how much nearer the second is
    concepts  how far the nearest concept's cosine with x is above that concept's limit
"""


class HeadHeader(StrictModel):
    """The header of a head's file."""

    kind: Kind
    outputs: Mapping[str, int]
    """Categories, each with the index of the output that it has; one output may stand for several."""
    encoder: str
    """`encoder_id` of the encoder whose embeddings it was trained on."""
    normalise: bool = False
    """Whether embeddings are brought to length 1 first."""


def encoder_id(pin: str) -> str:
    """Identify an encoder for a head: by the content of its weights, and its loader, which decides what is taken."""
    return f"{content_of(pin)}+{pin.partition('+')[2].partition(';')[0]}"


def certainty(distance: Any) -> Any:
    """A score in [0, 1] of a cosine's distance above a limit: 0.5 at 0, growing with the distance; no probability."""
    return 1 / (1 + np.exp(-SHARPNESS * np.asarray(distance, np.float64)))


class EmbeddingHead:
    """A `roles.EmbeddingHead`.

    Raises:
        ValueError: missing or misshapen tensors, or an output that no category has.
    """

    def __init__(self, header: HeadHeader, tensors: Mapping[str, Any]) -> None:
        self.header = header
        self.categories = tuple(header.outputs)
        self._tensors = {name: np.asarray(value, np.float64) for name, value in tensors.items()}
        self._networks = networks(self._tensors) if header.kind == "mlp" else []
        first = {"linear": "weight", "mlp": "0.0.weight", "texts": "texts", "concepts": "concepts"}[header.kind]
        if first not in self._tensors or self._tensors[first].ndim != 2:
            raise ValueError(f"a head of the kind {header.kind} needs the matrix {first}")
        self.dimension = int(self._tensors[first].shape[1])
        found = self._scores(np.zeros(self.dimension))  # raises for what doesn't fit together
        if not self.categories or any(not 0 <= index < len(found) for index in header.outputs.values()):
            raise ValueError(f"its categories must have outputs from 0 to {len(found) - 1}")
        self._order = [header.outputs[name] for name in self.categories]

    def fits(self, pin: str) -> None:
        """Raise RecipeError unless an encoder with this pin is the one that the head was trained on."""
        if encoder_id(pin) != self.header.encoder:
            raise RecipeError(
                f"the head was trained on embeddings of {self.header.encoder}, and these are of {encoder_id(pin)}; "
                f"name the encoder that it was trained on"
            )

    def __call__(self, embeddings: Singles) -> Singles:
        """Scores `[N, K]` in [0, 1] by category, of embeddings `[N, d]`; each row depends on its embedding alone."""
        if embeddings.ndim != 2 or embeddings.shape[1] != self.dimension:
            raise RecipeError(f"the head takes embeddings of length {self.dimension}, not of {embeddings.shape[1:]}")
        rows = [self._scores(row)[self._order] for row in np.asarray(embeddings, np.float64)]
        return np.array(rows, np.float32).reshape(len(rows), len(self._order))

    def _scores(self, x: Floats) -> Floats:
        """Scores by output of one embedding. One by one, as products of matrices round with the batch."""
        if self.header.normalise or self.header.kind in ("texts", "concepts"):
            x = unit(x)
        t = self._tensors
        if self.header.kind == "linear":
            return sigmoid(t["weight"] @ x + t["bias"])
        if self.header.kind == "mlp":
            return np.concatenate([sigmoid(_forward(layers, x)) for layers in self._networks])
        if self.header.kind == "texts":
            safe, unsafe = WARMTH * (unit(t["texts"]) @ x)
            return sigmoid(np.array([unsafe - safe]))
        near = unit(t["special"]) @ x - t["special_limits"]
        above = unit(t["concepts"]) @ x - t["limits"]
        return np.array([certainty(above.max() + SPECIAL_CARE * bool((near > 0).any()))])


def networks(tensors: Mapping[str, Floats]) -> list[list[tuple[Floats, Floats]]]:
    """Weights and biases of the layers of each network, from `0.0.weight`, `0.0.bias`, `0.1.weight` and so on."""
    names = [match.groups() for name in tensors if (match := re.fullmatch(r"(\d+)\.(\d+)\.weight", name))]
    found: list[list[tuple[Floats, Floats]]] = []
    for number in range(len({network for network, _ in names})):
        depth = sum(network == str(number) for network, _ in names)
        layers = [f"{number}.{layer}" for layer in range(depth)]
        found.append([(tensors[f"{layer}.weight"], tensors[f"{layer}.bias"]) for layer in layers])
    return found


def _forward(layers: list[tuple[Floats, Floats]], x: Floats) -> Floats:
    for number, (weight, bias) in enumerate(layers):
        x = weight @ (np.maximum(x, 0) if number else x) + bias
    return x


def unit(vectors: Floats) -> Floats:
    """Vectors of length 1 along the last axis; a vector of zeros stays."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12), np.float64)


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + e^-x) without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)), np.float64)


def save_head(file: Path, header: HeadHeader, tensors: Mapping[str, Any]) -> None:
    """Write a head.

    Args:
        file: to write, `.safetensors`.
        header: what it says of itself.
        tensors: arrays, kept in float32. `linear`: `weight` [K, d], `bias` [K]. `mlp`: `i.j.weight`, `i.j.bias` of
            layer j of network i. `texts`: `texts` [2, d], the second unsafe. `concepts`: `concepts` [n, d], `limits`
            [n], `special` [m, d], `special_limits` [m].

    Raises:
        ValueError: the tensors aren't those of the kind.
    """
    from safetensors.numpy import save_file

    EmbeddingHead(header, tensors)
    file.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()}
    save_file(arrays, file, {KEY: json.dumps(header.model_dump(mode="json"))})


def load_embedding_head(entry: Entry, path: Path, _options: StrictModel, _used: Mapping[str, Any]) -> EmbeddingHead:
    """The head in a file, or in a folder with `head.safetensors`.

    Raises:
        ModelUnavailable: there is none.
    """
    from safetensors import safe_open

    file = path / FILE if path.is_dir() else path
    with state_of(file, "a head over embeddings"), safe_open(file, framework="numpy") as opened:
        said = (opened.metadata() or {}).get(KEY)
        if said is None:
            kinds = ", ".join(get_args(Kind))
            raise ModelUnavailable(f"{entry.name}: {file} says nothing of a head in its header; kinds are {kinds}")
        names = list(opened.keys())
        return EmbeddingHead(
            HeadHeader.model_validate(json.loads(said)), {name: opened.get_tensor(name) for name in names}
        )


EMBEDDING_HEAD = Loader(revision=1, make=load_embedding_head, packages=("safetensors",), obstacle=no_obstacle)

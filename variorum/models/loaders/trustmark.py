"""Loader `trustmark`: Adobe's TrustMark (Bui et al., arXiv 2311.18297) by its own package, from files of the user's.

The package `trustmark` has no weights and fetches them from Adobe when it is first used. Here they come from a folder
whose content is the pin, and nothing is fetched: put `trustmark_Q.yaml`, `encoder_Q.ckpt` and `decoder_Q.ckpt` there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from variorum.models.device import best_device
from variorum.models.loaders.loader import Loader, no_obstacle
from variorum.models.table_entries import Entry, StrictModel
from variorum.schemas.errors import ModelUnavailable

if TYPE_CHECKING:
    from variorum.arrays import Bools, Pixels, Singles

BITS = 100


class TrustMarkOptions(StrictModel):
    """Options of `trustmark`."""

    variant: Literal["B", "C", "P", "Q"] = "Q"
    """Of the published models: Q for general use, P for the best looks, B as in the paper, C compact."""


def load_trustmark(entry: Entry, folder: Path, options: TrustMarkOptions, _used: Mapping[str, Any]) -> TrustMark:
    """The networks in a folder. Raises ModelUnavailable if it lacks a file or the package can't read one."""
    from trustmark import TrustMark as Published

    names = [f"trustmark_{options.variant}.yaml", f"encoder_{options.variant}.ckpt", f"decoder_{options.variant}.ckpt"]
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise ModelUnavailable(f"{folder}: {missing[0]} is missing; the folder must have {', '.join(names)}")

    class Local(Published):  # type: ignore[misc]  # the package has no types
        """The published class, which reads from the folder and fetches nothing."""

        def check_and_download(self, filename: str) -> None:
            """Their hash is the pin, so there is nothing to check or to fetch."""

        def load_model(self, config_path: str, weight_path: str, *rest: Any, **named: Any) -> Any:
            """A network of the folder."""
            here = (str(folder / Path(path).name) for path in (config_path, weight_path))
            return super().load_model(*here, *rest, **named)

    model = Local(
        use_ECC=False, verbose=False, device=str(best_device()), model_type=options.variant, loadRemover=False
    )
    if model.encoder is None or model.decoder is None:
        raise ModelUnavailable(f"{entry.name}: the package trustmark can't read the files in {folder}")
    return TrustMark(model)


class TrustMark:
    """A `roles.PayloadNetwork` of 100 bits without an error-correcting code."""

    bits = BITS

    def __init__(self, model: Any) -> None:
        self._model = model

    def embed(self, images: Sequence[Pixels], payloads: Bools) -> list[Pixels]:
        """Each picture with its payload, `[N, 100]`."""
        digits = ["".join("1" if bit else "0" for bit in payload) for payload in payloads]
        pairs = zip(images, digits, strict=True)
        marked = [self._model.encode(Image.fromarray(image), row, MODE="binary") for image, row in pairs]
        return [np.ascontiguousarray(np.asarray(one, np.uint8)) for one in marked]

    def read(self, images: Sequence[Pixels]) -> Singles:
        """`[N, 100]`: 1 or -1, as the package doesn't say how sure it is."""
        texts = [self._model.decode(Image.fromarray(image), MODE="binary")[0] for image in images]
        rows = [[1.0 if digit == "1" else -1.0 for digit in text] for text in texts]
        return np.array(rows, np.float32).reshape(len(rows), BITS)


TRUSTMARK = Loader(
    revision=1, make=load_trustmark, options=TrustMarkOptions, packages=("trustmark",), obstacle=no_obstacle
)

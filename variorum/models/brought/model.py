"""What a model that a user brings is to the rest of the project."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles


@dataclass(frozen=True, slots=True)
class BroughtModel:
    """A classifier under test.

    Attributes:
        name: as the user gave it: `timm:resnet50.a1_in1k`.
        revision: what exactly was run: `sha256:…` of its file, `git:…` of its repository; `""` if nobody can tell.
        classes: of its outputs, in their order, as its author names them: wnids, names, or indices as text. Empty if
            unknown; a model with 1000 outputs is then taken to be in ImageNet's order.
        preprocessing: what it does to a picture before the network sees it, in a sentence for the card.
        scores: from RGB uint8 pictures `[H, W, 3]` of any sizes to logits or probabilities `[N, K]`.
    """

    name: str
    revision: str
    classes: tuple[str, ...]
    preprocessing: str
    scores: Callable[[Sequence[Pixels]], Any]

    def __call__(self, images: Sequence[Pixels]) -> Singles:
        """Probabilities `[N, K]`; raises ModelFailed for anything else."""
        raise NotImplementedError

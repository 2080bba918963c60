"""What a model must do to stand behind an alias: segment, classify, embed, make, judge, or fill a hole.

Pictures are RGB uint8 `[H, W, 3]` everywhere; a model does its own resizing and normalisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


class Segmentation(NamedTuple):
    """The salient object of a picture.

    Attributes:
        mask: `[H, W]` float32 in [0, 1], soft at the edge, at the picture's own size.
        score: the model's own estimate of the mask's IoU; NaN when it gives none.
        stability: IoU of the mask cut at a low and at a high threshold (segment-anything's stability score).
    """

    mask: NDArray[np.float32]
    score: float
    stability: float


class Filled(NamedTuple):
    """A picture whose hole was filled, and the method that did it (`shift_map`, or the fall-back's name)."""

    image: Pixels
    method: str


class Segmenter(Protocol):
    """Alias `segmenter`."""

    def __call__(self, images: Sequence[Pixels]) -> list[Segmentation]:
        """One segmentation a picture, in order."""


class Classifier(Protocol):
    """Aliases `classifier_*`: ImageNet-1k classifiers."""

    def __call__(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """Probabilities `[N, 1000]` in ImageNet index order."""


class Judge(Protocol):
    """Alias `judge`: a classifier of a small dataset's own classes."""

    classes: tuple[str, ...]
    """Class ids in the order of its outputs."""

    def __call__(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """Probabilities `[N, K]` in the order of `classes`."""


Sampler = Literal["ddim", "dpm++"]


class ClassConditional(Protocol):
    """Alias `class_conditional`: makes pictures of classes out of noise."""

    classes: tuple[str, ...]
    """Class ids in the order of the labels that it takes; none means ImageNet's thousand in their own order."""
    size: int
    """Side of its square pictures in pixels."""

    def __call__(
        self, labels: Sequence[int], seeds: Sequence[int], *, guidance: float, steps: int, sampler: Sampler
    ) -> NDArray[np.uint8]:
        """RGB pictures `[N, size, size, 3]`, one a label, each from noise that its own seed alone decides.

        `guidance` is the weight of classifier-free guidance, 1 for none. Out of memory, it raises PyTorch's
        `OutOfMemoryError` and can be called again with less.
        """


class Encoder(Protocol):
    """Alias `encoder`: what a picture shows, as a vector; pictures of like things have like directions."""

    def __call__(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """Embeddings `[N, d]` as the network gives them, of any length; `[0, d]` of no pictures."""


class Perceptual(Protocol):
    """Alias `perceptual`: how different two pictures look, as the squared distance of their embeddings."""

    def __call__(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """Embeddings `[N, d]`; `[0, d]` of no pictures."""


class TextToImage(Protocol):
    """Alias `text_to_image`: makes pictures of descriptions."""

    def __call__(
        self,
        prompts: Sequence[str],
        negatives: Sequence[str],
        seeds: Sequence[int],
        *,
        steps: int,
        guidance: float,
        size: int | None,
    ) -> list[Pixels]:
        """One square picture a prompt, from noise that its own seed alone decides.

        `negatives` says what each picture is to keep away from, `""` for nothing; it has no effect at guidance 1.
        `size` is the side in pixels, None for the side that the model was trained at. Out of memory, it raises
        PyTorch's `OutOfMemoryError` and can be called again with less. So do the other two.
        """

    def cut(self, prompts: Sequence[str]) -> list[bool]:
        """Whether each prompt is longer than the model reads; the rest of it has no effect."""


class ImageToImage(Protocol):
    """Alias `image_to_image`: remakes pictures after descriptions."""

    def __call__(
        self,
        images: Sequence[Pixels],
        prompts: Sequence[str],
        negatives: Sequence[str],
        seeds: Sequence[int],
        *,
        strength: float,
        steps: int,
        guidance: float,
    ) -> list[Pixels]:
        """Each picture noised to `strength` in (0, 1] and denoised again, at its own size, which is one for all.

        Sides must be multiples of `multiple`. At strength 1 next to nothing of the picture is left.
        """

    multiple: int
    """What the sides of pictures must be multiples of, pixels."""
    size: int
    """Side of the square pictures that it was trained at, pixels."""

    def cut(self, prompts: Sequence[str]) -> list[bool]:
        """Whether each prompt is longer than the model reads; the rest of it has no effect."""


class ImageVariation(Protocol):
    """Alias `image_variation`: other pictures of what a picture shows."""

    def __call__(
        self, images: Sequence[Pixels], seeds: Sequence[int], *, steps: int, guidance: float, size: int | None
    ) -> list[Pixels]:
        """One square picture a picture, as `TextToImage` makes them, with the picture in the prompt's place."""


class InstructionEdit(Protocol):
    """Alias `instruction_edit`: edits pictures as it is told to ("make it snow")."""

    multiple: int
    """What the sides of pictures must be multiples of, pixels."""
    size: int
    """Side of the square pictures that it was trained at, pixels."""

    def __call__(
        self,
        images: Sequence[Pixels],
        instructions: Sequence[str],
        seeds: Sequence[int],
        *,
        steps: int,
        guidance: float,
        image_guidance: float,
    ) -> list[Pixels]:
        """Each picture edited, at its own size, which is one for all.

        `guidance` is the weight of the instruction, `image_guidance`, 1 or more, that of the picture; at guidance 1
        neither is weighted. Noise, and what is raised out of memory, are as of `TextToImage`.
        """

    def cut(self, prompts: Sequence[str]) -> list[bool]:
        """Whether each instruction is longer than the model reads; the rest of it has no effect."""


class EdgeToImage(Protocol):
    """Alias `edge_to_image`: makes other pictures with a picture's edges."""

    multiple: int
    """What the sides of pictures must be multiples of, pixels."""
    size: int
    """Side of the square pictures that it was trained at, pixels."""

    def __call__(
        self,
        images: Sequence[Pixels],
        prompts: Sequence[str],
        negatives: Sequence[str],
        seeds: Sequence[int],
        *,
        scale: float,
        steps: int,
        guidance: float,
    ) -> list[Pixels]:
        """One picture a picture, at its own size, which is one for all; it finds the edges itself.

        `scale` is the weight of the edges, 1 as in training, 0 for none. The rest is as of `TextToImage`.
        """

    def cut(self, prompts: Sequence[str]) -> list[bool]:
        """Whether each prompt is longer than the model reads; the rest of it has no effect."""


class LayoutToImage(Protocol):
    """Alias `layout_to_image`: makes pictures with named things in given places."""

    most: int
    """How many boxes a picture may have."""
    multiple: int
    """What the sides of pictures must be multiples of, pixels."""

    def __call__(
        self,
        prompts: Sequence[str],
        negatives: Sequence[str],
        boxes: Sequence[NDArray[Any]],
        phrases: Sequence[Sequence[str]],
        seeds: Sequence[int],
        *,
        grounded: float,
        steps: int,
        guidance: float,
        size: int | None,
    ) -> list[Pixels]:
        """One square picture a prompt.

        `boxes` are `[n, 4]` a picture, n from 1 to `most`: left, top, right, bottom as parts of the sides, 0 to 1;
        `phrases` say what is in each. `grounded`, 0 to 1, is the part of the steps, from the first, that know of the
        boxes. The rest is as of `TextToImage`.
        """

    def cut(self, prompts: Sequence[str]) -> list[bool]:
        """Whether each prompt is longer than the model reads; the rest of it has no effect."""


class Detected(NamedTuple):
    """What a detector found in a picture, the surest first.

    Attributes:
        boxes: `[n, 4]` float32: left, top, right, bottom in pixels, inside the picture.
        scores: `[n]` float32 in [0, 1], falling.
        texts: `[n]` int64: which of the texts each box was found for.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    texts: NDArray[np.int64]


class Detector(Protocol):
    """Aliases `detector`, `detector_grounded`: where pictures show what texts name."""

    def __call__(self, images: Sequence[Pixels], texts: Sequence[str]) -> list[Detected]:
        """What of the texts is found in each picture, in order.

        Raises ValueError for an empty text, or more texts than the model reads at once.
        """


class VisionLanguage(Protocol):
    """Alias `vlm`: answers questions about pictures."""

    def __call__(self, images: Sequence[Pixels], questions: Sequence[str]) -> list[str]:
        """One answer a picture and its question: the likeliest word each time, nothing drawn."""


class SafetyChecker(Protocol):
    """Alias `safety_checker`: what not everybody wants to see."""

    def __call__(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """How far each picture is over the nearest of the checker's limits `[N]`; above 0 it is flagged."""


class ZeroShot(Protocol):
    """Alias `zero_shot`: how well texts fit pictures."""

    temperature: float
    """Softmax of cosines times this gives probabilities of the texts."""

    def __call__(self, images: Sequence[Pixels], texts: Sequence[str]) -> NDArray[np.float32]:
        """Cosine of every picture with every text, `[N, M]`."""


class Denoised(NamedTuple):
    """What a denoiser makes of a noisy state.

    Attributes:
        clean: its guess of the state without noise, a PyTorch tensor `[N, c, h, w]`.
        spread: for a denoiser that learned its variance, where log σ² lies from the smallest there can be (0) to the
            largest (1), a tensor of the same shape; else None.
    """

    clean: Any
    spread: Any


class Denoiser(Protocol):
    """Alias `denoiser`: one moment at a time of a diffusion model, for those who steer it between the moments.

    A state is a PyTorch tensor `[N, c, h, w]` of whatever the model works on, pixels or latents, on `device`.
    """

    signal: NDArray[np.float64]
    """ᾱ of each of its training steps `[T]`, falling: a state is √ᾱ · clean + √(1 - ᾱ) · noise."""
    known: int
    """How many of these steps, the first and least noisy ones, it was trained for; T for all."""
    shrink: int
    """Pixels to a side of one cell of a state: 1 for pixels themselves, 8 for Stable Diffusion's latents."""
    multiple: int
    """What the sides of pictures must be multiples of, pixels."""
    device: Any

    def encode(self, images: Sequence[Pixels]) -> Any:
        """The state without noise of pictures of one size."""

    def predict(self, state: Any, step: int) -> Denoised:
        """The state's clean part as seen at a training step; differentiable."""

    def preview(self, state: Any) -> Any:
        """RGB `[N, 3, H, W]` about [0, 1] of a clean state; differentiable, perhaps only nearly what `decode` gives."""

    def decode(self, state: Any) -> list[Pixels]:
        """The pictures of a clean state; values that aren't finite come as black."""


class Adversary(Protocol):
    """Alias `adversary`: an ImageNet-1k classifier that pictures can be steered against by its gradients."""

    def __call__(self, pictures: Any) -> Any:
        """Log probabilities `[N, 1000]` of RGB tensors `[N, 3, H, W]` in [0, 1]; differentiable."""


class Inpainter(Protocol):
    """Alias `inpainter`."""

    def __call__(
        self,
        images: Sequence[Pixels],
        holes: Sequence[NDArray[Any]],
        seeds: Sequence[int],
        negatives: Sequence[str] = (),
    ) -> list[Filled]:
        """Each picture with its hole (`[H, W]` bool, true where to fill) filled; pixels outside it are untouched.

        `negatives` says what each hole is not to be filled with, such as the object that was there, `""` or no
        `negatives` for nothing; a model that reads no texts ignores it. Out of memory, it raises PyTorch's
        `OutOfMemoryError` and can be called again with less.
        """

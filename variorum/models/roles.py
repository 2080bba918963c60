"""Define the roles of models: one protocol for each, with what a model behind an alias must do.

Pictures are RGB uint8 `[H, W, 3]`; models resize and normalise them themselves. A model that generates pictures draws
the noise of each one from that picture's seed alone. Out of memory, it raises PyTorch's `OutOfMemoryError` and can be
called again with a smaller batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints, Pixels, Singles

Sampler = Literal["ddim", "dpm++"]


# ── judging pictures ─────────────────────────────────────────────────────────────────────────────────────────────────


class Classifier(Protocol):
    """Aliases `classifier_*`: ImageNet-1k classifiers."""

    def __call__(self, images: Sequence[Pixels]) -> Singles:
        """Probabilities `[N, 1000]` in ImageNet index order."""


class Judge(Protocol):
    """Alias `judge`: a classifier for the classes of a small dataset."""

    classes: tuple[str, ...]
    """Class ids in the order of its outputs."""

    def __call__(self, images: Sequence[Pixels]) -> Singles:
        """Probabilities `[N, K]` in the order of `classes`."""


class Adversary(Protocol):
    """Aliases `adversary`, `adversary_small` and `…_adversary`, such as `judge_adversary`, and networks of users.

    A classifier whose gradients steer pictures; what it does to a picture is part of what is differentiated.
    """

    classes: tuple[str, ...]
    """Class ids in the order of its outputs; empty means ImageNet's order."""
    layers: tuple[str, ...]
    """Names of its layers with weights."""

    def __call__(self, pictures: Any) -> Any:
        """Log probabilities `[N, K]` of RGB tensors `[N, 3, H, W]` in [0, 1]; differentiable."""

    def features(self, pictures: Any, layer: str) -> Any:
        """What a layer gives for such tensors; differentiable."""

    def hidden(self, height: int, width: int) -> tuple[str, ...]:
        """Names of the layers that `features` takes for pictures of this size, without the one that gives answers."""

    def seen(self, height: int, width: int) -> Any:
        """Which pixels of a picture of this size it looks at: a tensor `[H, W]` of truth values."""

    def answers(self, images: Sequence[Pixels]) -> Singles:
        """Probabilities `[N, K]` of stored pictures, which it prepares as the classifier of the same weights does."""


class Embedding(Protocol):
    """Aliases `adversary`, `zero_shot`, `autoencoder`: a network whose embedding can be differentiated."""

    def features(self, pictures: Any) -> Any:
        """Embeddings `[N, d]` of RGB tensors `[N, 3, H, W]` in [0, 1], seen as a whole; differentiable."""


class Encoder(Protocol):
    """Alias `encoder`: embeds what a picture shows; similar content gives similar directions."""

    def __call__(self, images: Sequence[Pixels]) -> Singles:
        """Embeddings `[N, d]` of any length, not normalised; `[0, d]` without pictures."""

    def features(self, images: Sequence[Pixels]) -> Singles:
        """The same, under the name that classifiers have for it too."""
        return self(images)


class Prepares(Protocol):
    """An encoder that says what it does to a picture, so that noise can be added where its network sees it."""

    side: int
    """Of a square picture that it takes without resizing it, in pixels."""
    std: tuple[float, float, float]
    """What it divides red, green and blue in [0, 1] by."""


class Embeds(Protocol):
    """A classifier that also gives its embedding, as the aliases `classifier_*` and `judge` and most networks do."""

    def features(self, images: Sequence[Pixels]) -> Singles | None:
        """Embeddings `[N, d]` of any length: what the last layer gets; None from a model that gives none."""


class Perceptual(Protocol):
    """Alias `perceptual`: how different two pictures look is the squared distance of their embeddings."""

    def __call__(self, images: Sequence[Pixels]) -> Singles:
        """Embeddings `[N, d]`; `[0, d]` without pictures."""


class ZeroShot(Protocol):
    """Alias `zero_shot`: how well texts fit pictures."""

    temperature: float
    """The softmax of the cosines times this gives probabilities of the texts, given that exactly one fits."""

    def __call__(self, images: Sequence[Pixels], texts: Sequence[str]) -> Singles:
        """Cosine of every picture with every text, `[N, M]`."""

    def embed_pictures(self, images: Sequence[Pixels]) -> Singles:
        """Embeddings `[N, d]` of length 1 of at least one picture."""

    def embed_texts(self, texts: Sequence[str]) -> Singles:
        """Embeddings `[M, d]` of length 1 of at least one text."""


class VisionLanguage(Protocol):
    """Alias `vlm`: answers questions about pictures."""

    def __call__(
        self, images: Sequence[Pixels], questions: Sequence[str], *, most_tokens: int | None = None
    ) -> list[str]:
        """One answer per picture and question, decoded greedily, of this many tokens at most."""


class SafetyChecker(Protocol):
    """Alias `safety_checker`: flags pictures that not everybody wants to see."""

    def __call__(self, images: Sequence[Pixels]) -> Singles:
        """Distance of each picture to the nearest of the checker's limits `[N]`; flagged above 0."""


class PictureScore(Protocol):
    """Alias `nsfw`: how likely a picture is of one kind, for `nsfw` nudity and sexual content."""

    def __call__(self, images: Sequence[Pixels]) -> Singles:
        """A probability `[N]` for each picture, which depends on that picture alone."""


class TileabilityScorer(Protocol):
    """Alias `tileability_scorer`: how well textures can be repeated side by side."""

    def __call__(self, images: Sequence[Pixels]) -> Singles:
        """A score `[N]` in (0, 1) for each picture, higher for more tileable ones; NaN for one that isn't square."""


class EmbeddingHead(Protocol):
    """Aliases `q16`, `multiheaded`, `nsfw_head`: scores of unsafe content from the embedding of one encoder."""

    categories: tuple[str, ...]
    """Ids in the order of its scores."""

    def fits(self, pin: str) -> None:
        """Raise RecipeError unless the encoder with this pin is the one that the head was trained on."""

    def __call__(self, embeddings: Singles) -> Singles:
        """Scores `[N, K]` in [0, 1] of embeddings `[N, d]`."""


class SafetyGradients(Protocol):
    """Alias `nsfw_gradients`: a `PictureScore` whose gradients steer pictures."""

    def __call__(self, pictures: Any) -> Any:
        """Log probabilities `[N, 2]`, safe and unsafe, of RGB tensors `[N, 3, H, W]` in [0, 1]; differentiable."""


# ── finding things in pictures ───────────────────────────────────────────────────────────────────────────────────────


class Segmentation(NamedTuple):
    """The salient object of a picture.

    Attributes:
        mask: `[H, W]` float32 in [0, 1], soft at the edge, at the picture's own size.
        score: the model's own estimate of the mask's IoU; NaN if it gives none.
        stability: IoU of the mask cut at a low and at a high threshold (segment-anything's stability score).
    """

    mask: Singles
    score: float
    stability: float


class Segmenter(Protocol):
    """Alias `segmenter`."""

    def __call__(self, images: Sequence[Pixels]) -> list[Segmentation]:
        """One segmentation per picture, in order."""


class Detected(NamedTuple):
    """A detector's findings in a picture, by falling score.

    Attributes:
        boxes: `[n, 4]` float32: left, top, right, bottom in pixels, inside the picture.
        scores: `[n]` float32 in [0, 1], falling.
        texts: `[n]` int64: index of the text that each box was found for.
    """

    boxes: Singles
    scores: Singles
    texts: Ints


class Detector(Protocol):
    """Aliases `detector`, `detector_gate`: finds what texts name."""

    def knows(self, texts: Sequence[str]) -> list[bool]:
        """Return whether the model can find what each text names; nothing is ever found of the others.

        A detector of open vocabulary takes any text. One of fixed categories knows their names, in any case.
        """

    def __call__(self, images: Sequence[Pixels], texts: Sequence[str]) -> list[Detected]:
        """Find the texts in each picture, in order.

        Raises:
            ValueError: an empty text, or more texts than the model reads at once.
        """


class Faces(NamedTuple):
    """The faces found in a picture, by falling score.

    Attributes:
        boxes: `[n, 4]` float32: left, top, right, bottom in pixels, inside the picture.
        scores: `[n]` float32 in [0, 1], falling.
        points: `[n, 5, 2]` float32, across and down in pixels: the eyes, the tip of the nose, the corners of the mouth,
            of each pair first the one on the left of the picture. They may lie outside it.
    """

    boxes: Singles
    scores: Singles
    points: Singles


class FaceDetector(Protocol):
    """Alias `face_detector`: finds faces, whoever they belong to. It recognises nobody."""

    def __call__(self, images: Sequence[Pixels]) -> list[Faces]:
        """The faces of each picture, in order."""


class AgeEstimator(Protocol):
    """Alias `age_estimator`: how old people look. It may be wrong by many years."""

    def __call__(self, images: Sequence[Pixels], faces: Sequence[Faces]) -> list[Singles]:
        """Ages in years `[n]` of the faces of each picture, in order; NaN where it can't say."""


class Parts(NamedTuple):
    """Parts of bodies found in a picture, by falling score.

    Attributes:
        boxes: `[n, 4]` float32: left, top, right, bottom in pixels, inside the picture.
        scores: `[n]` float32 in [0, 1], falling.
        names: what each box shows.
    """

    boxes: Singles
    scores: Singles
    names: tuple[str, ...]


class PartFinder(Protocol):
    """Alias `nude_parts`: finds parts of bodies, covered and exposed ones."""

    names: tuple[str, ...]
    """Of all parts that it knows."""

    def __call__(self, images: Sequence[Pixels]) -> list[Parts]:
        """The parts found in each picture, in order."""


class TextDetector(Protocol):
    """Alias `text_detector`: finds text in pictures, whatever it says."""

    def __call__(self, images: Sequence[Pixels]) -> list[Singles]:
        """The probability of text at each pixel, `[H, W]` float32 per picture, at its own size."""


class Line(NamedTuple):
    """A line of text in a picture.

    Attributes:
        text: what it says, one character or more.
        score: mean probability of its characters, in [0, 1].
        box: `[4, 2]` float32, across and down in pixels: the corners of a rectangle, clockwise from the upper left.
            They may lie outside the picture.
    """

    text: str
    score: float
    box: Singles


class TextReader(Protocol):
    """Alias `text_reader`: reads the text in pictures, line by line."""

    def __call__(self, images: Sequence[Pixels]) -> list[list[Line]]:
        """The lines of each picture, from top to bottom."""


# ── marking pictures ─────────────────────────────────────────────────────────────────────────────────────────────────


class PayloadReader(Protocol):
    """Reads the payload of a watermark."""

    bits: int
    """Of a payload."""

    def read(self, images: Sequence[Pixels]) -> Singles:
        """`[N, bits]`: positive where a 1 is read, negative for a 0; the larger, the surer."""


class PayloadNetwork(PayloadReader, Protocol):
    """Alias `rivagan`: hides payloads in pictures and reads them."""

    def embed(self, images: Sequence[Pixels], payloads: Bools) -> list[Pixels]:
        """Each picture with its payload, `[N, bits]`, at the same size."""


class LearnedWatermark(PayloadReader, Protocol):
    """Alias `learned_watermark`: the same, at a wanted PSNR."""

    def embed(self, images: Sequence[Pixels], payloads: Bools, decibels: float) -> list[Pixels]:
        """Each picture with its payload, `[N, 32]`, at the same size; `decibels` is the PSNR that is aimed at."""


# ── making pictures ──────────────────────────────────────────────────────────────────────────────────────────────────


class ReadsPrompts(Protocol):
    """A model with a text encoder."""

    def cut(self, prompts: Sequence[str]) -> list[bool]:
        """Return whether each prompt is longer than the text encoder reads; the rest has no effect."""


class TakesPictures(Protocol):
    """A model that works on pictures at their own size, the same for all pictures of a call."""

    multiple: int
    """The sides of the pictures must be multiples of this, in pixels."""
    size: int
    """Side in pixels of the square pictures that it was trained on."""


class ClassConditional(Protocol):
    """Alias `class_conditional`: makes pictures of classes."""

    classes: tuple[str, ...]
    """Class ids in the order of its labels; empty means the thousand of ImageNet in their own order."""
    size: int
    """Side of its square pictures in pixels."""

    def __call__(
        self, labels: Sequence[int], seeds: Sequence[int], *, guidance: float, steps: int, sampler: Sampler
    ) -> Pixels:
        """RGB pictures `[N, size, size, 3]`, one per label.

        `guidance` is the weight of classifier-free guidance, 1 for none.
        """


class FromNoise(Protocol):
    """Aliases `class_conditional`, `text_to_image`: pictures follow from noise, which can be estimated from them."""

    def noise(self, seeds: Sequence[int], size: int | None = None) -> Singles:
        """Standard normal noise `[N, c, h, w]`, each from its seed; `size` is the picture's side, None the model's."""

    def from_noise(self, noise: Singles, wanted: Sequence[Any], *, guidance: float, steps: int) -> list[Pixels]:
        """A picture from each noise, by DDIM. `wanted` are the labels or the prompts, as in the model's own call."""

    def to_noise(self, images: Sequence[Pixels], *, steps: int) -> Singles:
        """The noise that pictures of one size came from, by inverse DDIM without class, prompt or guidance.

        Pictures of a size that the model doesn't make are resized.
        """


class TextToImage(ReadsPrompts, Protocol):
    """Alias `text_to_image`: makes pictures from descriptions."""

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
        """One square picture per prompt.

        `negatives` says what each picture should not show, `""` for nothing; it has no effect at guidance 1. `size` is
        the side in pixels, None for the side that the model was trained at.
        """


class ImageToImage(ReadsPrompts, TakesPictures, Protocol):
    """Alias `image_to_image`: changes pictures towards descriptions."""

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
        """Each picture noised to `strength` in (0, 1] and denoised again; at 1 hardly anything of it is left."""


class ImageVariation(Protocol):
    """Alias `image_variation`: makes other pictures of what a picture shows."""

    def __call__(
        self, images: Sequence[Pixels], seeds: Sequence[int], *, steps: int, guidance: float, size: int | None
    ) -> list[Pixels]:
        """One square picture per picture; arguments as in `TextToImage`."""


class InstructionEdit(ReadsPrompts, TakesPictures, Protocol):
    """Alias `instruction_edit`: edits pictures by instructions such as "make it snow"."""

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
        """Each picture edited.

        `guidance` is the weight of the instruction, `image_guidance`, at least 1, that of the picture; at guidance 1
        neither has an effect.
        """


class EdgeToImage(ReadsPrompts, TakesPictures, Protocol):
    """Alias `edge_to_image`: makes other pictures with the same edges."""

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
        """One picture per picture, whose edges it detects itself. `scale` is their weight: 1 as in training, 0 none."""


class LayoutToImage(ReadsPrompts, Protocol):
    """Alias `layout_to_image`: makes pictures with named things in given places."""

    most: int
    """Highest number of boxes per picture."""
    multiple: int
    """`size` must be a multiple of this, in pixels."""

    def __call__(
        self,
        prompts: Sequence[str],
        negatives: Sequence[str],
        boxes: Sequence[Array],
        phrases: Sequence[Sequence[str]],
        seeds: Sequence[int],
        *,
        grounded: float,
        steps: int,
        guidance: float,
        size: int | None,
    ) -> list[Pixels]:
        """One square picture per prompt.

        Each picture has boxes `[n, 4]`, n from 1 to `most`: left, top, right, bottom as fractions of the sides. Its
        `phrases` say what is in them. `grounded` in [0, 1] is the fraction of the steps, from the first, that use the
        boxes. The other arguments are as in `TextToImage`.
        """


class StyleNetwork(Protocol):
    """Alias `style_network`: repaints pictures in styles that it was trained on. What they show stays where it is."""

    styles: int
    """Number of styles."""

    def __call__(self, images: Sequence[Pixels], weights: Singles, *, longest: int = ...) -> list[Pixels]:
        """Each picture in a mixture of the styles, at its own size.

        `weights` are `[N, styles]`, not negative, of any positive sum. `longest` is the long side in pixels at which
        the network sees a larger picture: strokes are the finer, the larger it is.
        """


class StyleVector(Protocol):
    """Alias `style_vector`: describes the style of pictures."""

    def __call__(self, images: Sequence[Pixels]) -> Singles:
        """Vectors `[N, d]`. Between two vectors lie mixtures of the styles."""


class StyleTransfer(Protocol):
    """Alias `style_transfer`: repaints pictures in the style of any picture."""

    def vectors(self, images: Sequence[Pixels]) -> Singles:
        """Vectors of the styles of pictures, `[N, d]`, as of `StyleVector`."""

    def __call__(self, images: Sequence[Pixels], vectors: Singles, *, longest: int = ...) -> list[Pixels]:
        """Each picture in the style of its vector, at its own size; `longest` as in `StyleNetwork`."""


class LowLightEnhancer(Protocol):
    """Alias `low_light_enhancer`: makes dark pictures brighter. What they show stays where it is."""

    def __call__(self, images: Sequence[Pixels]) -> list[Pixels]:
        """Each picture at its own size. It depends on that picture alone."""


class Enlarger(Protocol):
    """Alias `enlarger`: enlarges pictures by a whole factor and makes up their fine detail."""

    factor: int

    def __call__(self, images: Sequence[Pixels]) -> list[Pixels]:
        """Each picture at `factor` times its height and width. It depends on that picture alone."""


BLANK = "blank"
"""The method of a picture that its inpainter couldn't fill, as it made it black."""


class Filled(NamedTuple):
    """A picture with its hole filled, and the method that filled it (`patches`, a fallback's name, or `BLANK`)."""

    image: Pixels
    method: str


class Inpainter(Protocol):
    """Alias `inpainter`."""

    def __call__(
        self,
        images: Sequence[Pixels],
        holes: Sequence[Array],
        seeds: Sequence[int],
        negatives: Sequence[str] = (),
    ) -> list[Filled]:
        """Each picture with its hole filled (`[H, W]` bool, true where to fill); pixels outside it don't change.

        `negatives` says what not to fill each hole with, such as the object that was there; empty means nothing. A
        model without a text encoder ignores it.
        """


class Autoencoder(Protocol):
    """Alias `autoencoder`: describes pictures by fewer numbers, latents, and makes pictures of them."""

    multiple: int
    """The sides of the pictures must be multiples of this, in pixels."""

    def encode(self, images: Sequence[Pixels]) -> Any:
        """Latents of pictures of one size: a PyTorch tensor `[N, c, h, w]` of about unit variance."""

    def decode(self, latents: Any) -> list[Pixels]:
        """The pictures of latents; one with non-finite values is black."""


class Denoised(NamedTuple):
    """A denoiser's prediction from a noisy state.

    Attributes:
        clean: estimate of the state without noise, a PyTorch tensor `[N, c, h, w]`.
        spread: for a denoiser with learned variance, log σ² between its lower (0) and upper (1) bound, a tensor of the
            same shape; else None.
    """

    clean: Any
    spread: Any


class Denoiser(Protocol):
    """Alias `denoiser`: single steps of a diffusion model, to be steered in between.

    A state is a PyTorch tensor `[N, c, h, w]` on `device`: pixels or latents.
    """

    signal: Floats
    """ᾱ of each of its training steps `[T]`, falling: a state is √ᾱ · clean + √(1 - ᾱ) · noise."""
    known: int
    """Number of these steps, from the least noisy one, that it was trained for; T for all."""
    shrink: int
    """Pixels per side of one cell of a state: 1 for pixels, 8 for Stable Diffusion's latents."""
    multiple: int
    """The sides of the pictures must be multiples of this, in pixels."""
    size: int
    """Side in pixels of the square pictures that it was trained at; smaller ones are enlarged for it. 1 for a network
    that knows any side, or refuses others itself."""
    tf32: bool
    """Whether float32 may be computed as TF32; whoever calls it uses `device.float32`, gradients included."""
    device: Any
    fixed: Denoiser | None
    """The same model without gradients, whose states are NumPy arrays: faster on a CPU, and without PyTorch. None if it
    has no such form here."""

    def encode(self, images: Sequence[Pixels]) -> Any:
        """The noiseless state of pictures, all of one size.

        Raises:
            ValueError: the model can't work on such pictures.
        """

    def predict(self, state: Any, step: int) -> Denoised:
        """The clean part of a state at a training step; differentiable."""

    def preview(self, state: Any) -> Any:
        """RGB `[N, 3, H, W]` about [0, 1] of a clean state; differentiable. May differ a little from `decode`."""

    def decode(self, state: Any) -> list[Pixels]:
        """The pictures of a clean state; one with non-finite values is black."""


class LatentPictures(Protocol):
    """Alias `gan`: makes pictures of codes, as StyleGAN does of w. No profile has one; bring it by `module:`."""

    size: int
    """Side of its square pictures in pixels."""
    device: Any
    """The PyTorch device that its tensors are on."""
    style: Singles
    """Weight `[out, d]` of the first layer that turns a code into a style; its singular vectors are directions."""

    def codes(self, seeds: Sequence[int]) -> Singles:
        """Codes `[N, d]` of random pictures, each from its seed."""

    def __call__(self, codes: Any) -> Any:
        """RGB tensors `[N, 3, size, size]` in about [0, 1] of codes `[N, d]`; differentiable."""


class Inverter(Protocol):
    """Alias `inverter`: guesses the code of a picture; a search starts there. Bring it with the `gan`."""

    def __call__(self, pictures: Any) -> Any:
        """Codes `[N, d]` of RGB tensors `[N, 3, size, size]` in [0, 1]."""

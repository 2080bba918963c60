"""A model that a user brings, as the rest of the project sees and calls it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.models.brought.answers import Answers, as_array, described
from variorum.models.brought.failures import failed, out_of_memory
from variorum.schemas.errors import ModelFailed, ModelUnavailable, VariorumError

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

log = logging.getLogger(__name__)

BATCH = 32
"""Pictures per call at most."""


@dataclass(frozen=True, slots=True)
class BroughtModel:
    """A classifier under test.

    Attributes:
        name: as the user gave it: `timm:resnet50.a1_in1k`.
        revision: what exactly was run: `sha256:…` of its file or folder, or `git:…` of its repository, and after a `;`
            what else decides its output; `""` if unknown.
        classes: of its outputs, in their order, as its author names them: wnids, names, or indices as text. Empty if
            unknown; a model with 1000 outputs is then taken to be in ImageNet's order.
        preprocessing: what it does to a picture before the network sees it, in a sentence for the card.
        scores: from RGB uint8 pictures `[H, W, 3]` of any sizes to logits or probabilities `[N, K]`: a NumPy array, a
            tensor, or lists. It may raise PyTorch's `OutOfMemoryError`, and is then called with fewer pictures.
        outputs: K, or 0 if unknown before the first call.
        batch: pictures per call at most.
        file: the user's own Python file, whose line an error names; `""` if there is none.
        kind: what it was taken for, such as `PyTorch module`; `""` for a function of pictures and for a name.
        embed: from pictures, as `scores` gets them, to embeddings `[N, d]`, or to None; None if there is no such way.
    """

    name: str
    revision: str
    classes: tuple[str, ...]
    preprocessing: str
    scores: Callable[[Sequence[Pixels]], Any]
    outputs: int = 0
    batch: int = BATCH
    file: str = ""
    kind: str = ""
    embed: Callable[[Sequence[Pixels]], Any] | None = None
    _answers: Answers = field(default_factory=Answers, init=False, repr=False, compare=False)

    @property
    def version(self) -> str:
        """The revision; without one, a text unique to this object, so that nothing is reused for it."""
        return self.revision or f"unknown:{self._answers.nonce}"

    @property
    def width(self) -> int:
        """Number of its outputs as far as it is known: K, or what a call has shown; 0 before the first."""
        return len(self.classes) or self.outputs or self._answers.width

    def ask(self, image: Any) -> None:
        """Ask about one picture if nothing says how many outputs the model has. Raises what a call raises."""
        if not self.width:
            self._scores([image], 0)

    def __call__(self, images: Sequence[Pixels]) -> Singles:
        """Probabilities `[N, K]` of RGB uint8 pictures `[H, W, 3]`.

        Scores are probabilities if none is negative and every row sums to 1 within 1e-3; they are kept as they are.
        Anything else is taken for logits, whose softmax is computed in float32. A model can't change from one to the
        other. Where memory runs out, the pictures per call are halved, here and in later calls.

        Raises:
            ModelFailed: the model raised, or gave anything but a finite score per picture and class.
            ModelUnavailable: memory doesn't suffice for one picture.
        """
        expected = len(self.classes) or self.outputs
        parts = self._in_parts(images, lambda part: self._scores(part, expected))
        if not parts:
            return np.zeros((0, expected or self._answers.width), np.float32)
        return self._answers.probabilities(np.concatenate(parts), self.name)

    def features(self, images: Sequence[Pixels]) -> Singles | None:
        """Embeddings `[N, d]` of RGB uint8 pictures `[H, W, 3]`, not normalised; None if it gives none.

        That of a PyTorch network is what its last linear layer gets; that of a function is what its attribute `embed`
        gives.

        Raises:
            ModelFailed: the model raised, or gave anything but a vector per picture.
            ModelUnavailable: memory doesn't suffice for one picture.
        """
        embed = self.embed
        if embed is None:
            return None
        found = self._in_parts(images, lambda part: self._asked(embed, part, lambda it: self._vectors(it, len(part))))
        if not found or any(part.shape[1] == 0 for part in found):
            return None
        return np.concatenate(found)

    def _in_parts(self, images: Sequence[Pixels], ask: Callable[[Sequence[Pixels]], Singles | None]) -> list[Singles]:
        """What `ask` gives for all pictures, with as many at a time as memory suffices for."""
        parts: list[Singles] = []
        done = 0
        while done < len(images):
            part = images[done : done + min(self.batch, self._answers.most or self.batch)]
            found = ask(part)
            if found is None:
                self._halve(len(part))
                continue
            parts.append(found)
            done += len(part)
        return parts

    def _scores(self, part: Sequence[Pixels], expected: int) -> Singles | None:
        """The checked scores of a batch, or None if memory ran out."""
        return self._asked(
            self.scores, part, lambda answer: self._answers.checked(answer, len(part), expected, self.name)
        )

    def _vectors(self, answer: Any, pictures: int) -> Singles:
        """The checked embeddings of a batch; `[N, 0]` for None."""
        if answer is None:
            return np.zeros((pictures, 0), np.float32)
        found = as_array(answer)
        if found is None or found.dtype.kind not in "fiu" or found.ndim < 2 or len(found) != pictures:
            raise ModelFailed(
                f"the embed of model {self.name!r} gave {described(answer)} for {pictures} pictures; it must give "
                f"embeddings [{pictures}, d], one row per picture"
            )
        return np.asarray(found.reshape(pictures, -1), np.float32)

    def _asked(
        self, call: Callable[[Sequence[Pixels]], Any], part: Sequence[Pixels], checked: Callable[[Any], Singles]
    ) -> Singles | None:
        """The checked answer to a batch, or None if memory ran out."""
        try:
            return checked(call(part))
        except VariorumError:
            raise
        except (Exception, SystemExit) as error:  # a model that exits must not end the command
            if not out_of_memory(error):
                raise failed(self.name, error, len(part), self.file, self._hint(error)) from error
            if len(part) == 1:
                said = str(error).partition(" Of the allocated memory")[0].rstrip(".")
                raise ModelUnavailable(
                    f"model {self.name!r}: memory ran out on a single picture ({said or type(error).__name__}); end "
                    "other programs on the device, or take a smaller model"
                ) from error
        return None  # outside of `except`, as the error refers to the tensors of the failed call

    def _hint(self, error: BaseException) -> str:
        """What a user can change if the model raised."""
        if self.kind:
            return (
                f"; it was taken for a {self.kind} and got its pictures prepared so: {self.preprocessing} If it takes "
                'another size, range or number of channels, say so with preprocess="resize=32x32 mean=0.5 std=0.5" or '
                "--preprocess, where grey gives one channel; if it prepares pictures itself, give its method that does"
            )
        if isinstance(error, TypeError | AttributeError):
            return (
                "; a function gets a list of RGB uint8 pictures [H, W, 3]; bring a network itself, or say with "
                "preprocess= how the pictures become the one array that it takes"
            )
        return ""

    def _halve(self, size: int) -> None:
        if (torch := sys.modules.get("torch")) is not None:
            torch.cuda.empty_cache()
        self._answers.most = size // 2
        log.warning("%s: out of memory with %d pictures, going on with %d", self.name, size, size // 2)

"""Calls a model of any role with the same few questions, and compares the answers of two calls.

A model's call says by the names of its parameters what it wants: `images`, `prompts`, `seeds`, … So a new loader is
tried without a line here, as long as it plays a role of `variorum.models.roles`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.schemas.canonical import derive_seed

if TYPE_CHECKING:
    from variorum.arrays import Array, Pixels

STEPS = 4
"""Sampler steps of a call: rounding errors show without being amplified by a whole run."""
GUIDANCE = 7.5
ANY_SIDE = 256
"""Of pictures for a model that takes those of any size, but of one size in a call."""
MOST = 8
"""Levels that a pixel may differ by."""
SHARE = 0.02
"""Share of the pixels that may differ by more."""
EXACT, ROUGH = 1e-3, 0.05
"""Largest difference of numbers, as a share of the largest number, in float32 and in half precision."""
TEXTS = 0.25
"""Share of the texts that may differ: a word chosen by a hair's breadth changes all that follow it."""
BEST = 10
"""Findings of a detector that are compared."""
THINGS = ("a tabby cat", "a golden retriever", "an espresso", "a sports car", "a daisy", "a pizza", "a castle", "a bus")
TEXTS_ASKED = ("a cat", "a dog", "a remote control", "a cup")
QUESTION = "What does this picture show?"


class NoCall(Exception):
    """A model that can't be asked by itself; says why."""


@dataclass(frozen=True, slots=True)
class Question:
    """What each model is asked, by the place of the picture.

    Attributes:
        images: photographs, all of one size for models that want it.
        steps: of a sampler.
        guidance: of classifier-free guidance; 1 for none.
        asked: of each picture.
    """

    images: Sequence[Pixels]
    steps: int = STEPS
    guidance: float = GUIDANCE
    asked: str = QUESTION

    def each(self, name: str, at: int) -> Any:
        """The value of a parameter that has one for each picture."""
        height, width = self.images[at].shape[:2]
        hole = np.zeros((height, width), bool)
        hole[height // 4 : height // 2, width // 4 : width // 2] = True
        return {
            "images": self.images[at],
            "prompts": f"a photo of {THINGS[at % len(THINGS)]}",
            "negatives": "",
            "seeds": derive_seed("trial", at) % 2**31,
            "questions": self.asked,
            "instructions": "make it snow",
            "holes": hole,
            "labels": at,
            "boxes": np.asarray([[0.1, 0.2, 0.5, 0.9], [0.5, 0.1, 0.95, 0.8]]),
            "phrases": [THINGS[at % len(THINGS)], "a lamp"],
        }[name]

    def all(self, name: str) -> Any:
        """The value of a parameter that a call has once."""
        return {
            "steps": self.steps,
            "guidance": self.guidance,
            "image_guidance": 1.5,
            "strength": 0.6,
            "scale": 1.0,
            "grounded": 1.0,
            "size": None,
            "sampler": "ddim",
            "texts": TEXTS_ASKED,
        }[name]


EACH = frozenset(
    "images prompts negatives seeds questions instructions holes labels boxes phrases".split()  # noqa: SIM905
)
ALL = frozenset("steps guidance image_guidance strength scale grounded size sampler texts".split())  # noqa: SIM905


def caller(model: Any, question: Question) -> Callable[[Sequence[int]], list[Any]]:
    """A function that asks a model about the pictures at some places; answers in their order.

    An answer is a picture `[H, W, 3]` uint8, numbers, or a text.

    Raises:
        NoCall: the model plays no role by itself, or wants something unknown.
    """
    if "torch" in sys.modules and isinstance(model, sys.modules["torch"].nn.Module):
        raise NoCall("it is a network that other models use")
    if hasattr(model, "predict") and hasattr(model, "encode"):
        return lambda places: _denoised(model, _encoded(model, question, places), places)
    if hasattr(model, "decode") and hasattr(model, "encode"):
        return lambda places: list(model.decode(_encoded(model, question, places)))
    names = parameters(model)
    wanted = [name for name, needed in names.items() if needed or name in EACH | ALL - {"sampler"}]
    if unknown := [name for name in wanted if name not in EACH | ALL]:
        raise NoCall(f"its call wants {', '.join(unknown)}, which this trial doesn't have")

    def ask(places: Sequence[int]) -> list[Any]:
        values = {
            name: [question.each(name, at) for at in places] if name in EACH else question.all(name) for name in wanted
        }
        return [_plain(one) for one in model(**values)]

    return ask


def parameters(model: Any) -> dict[str, bool]:
    """The parameters of a model's call, and whether they are needed.

    Raises:
        NoCall: it has no call with named parameters, as a network that other models use.
    """
    found = list(inspect.signature(model).parameters.values()) if callable(model) else []
    if not found or any(one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD) for one in found):
        raise NoCall("it has no call of its own")
    return {one.name: one.default is one.empty for one in found}


def question_for(model: Any, images: Sequence[Pixels], steps: int = STEPS) -> Question:
    """The questions to a model, with steps, guidance and words that suit it."""
    bounds = getattr(model, "bounds", None)
    most_steps, most_guidance = getattr(bounds, "most_steps", None), getattr(bounds, "most_guidance", None)
    asked = getattr(model, "question", QUESTION)
    return Question(images, min(steps, most_steps or steps), min(GUIDANCE, most_guidance or GUIDANCE), asked)


def side_of(model: Any) -> int | None:
    """Side of the square pictures that a model wants; None for one that takes any."""
    if not hasattr(model, "multiple") and not hasattr(model, "encode"):
        return None
    size = int(getattr(model, "size", 1))
    return size if size > 1 else ANY_SIDE


def square(images: Sequence[Pixels], side: int) -> list[Pixels]:
    """The central squares of pictures, resized to a side in pixels."""
    import cv2

    found = []
    for image in images:
        height, width = image.shape[:2]
        least = min(height, width)
        top, left = (height - least) // 2, (width - least) // 2
        how = cv2.INTER_AREA if least > side else cv2.INTER_CUBIC
        crop = np.ascontiguousarray(image[top : top + least, left : left + least])
        found.append(np.asarray(cv2.resize(crop, (side, side), interpolation=how), np.uint8))
    return found


def _encoded(model: Any, question: Question, places: Sequence[int]) -> Any:
    """States of the pictures. Raises NoCall for a model that doesn't know such pictures."""
    try:
        return model.encode([question.each("images", at) for at in places])
    except ValueError as error:
        raise NoCall(str(error)) from None


def _denoised(model: Any, state: Any, places: Sequence[int]) -> list[Any]:
    """Pictures after noise, by each picture's own seed, and one step of a denoiser."""
    import torch

    signal = np.asarray(model.signal)
    step = int(np.argmin(np.abs(signal - 0.5)))
    noises = []
    for at in places:
        generator = torch.Generator("cpu").manual_seed(derive_seed("trial", at) % 2**31)
        noises.append(torch.randn(state.shape[1:], generator=generator))
    kept = float(signal[step])
    noisy = kept**0.5 * state + (1 - kept) ** 0.5 * torch.stack(noises).to(state)
    with torch.no_grad():
        return list(model.decode(model.predict(noisy, step).clean))


def _plain(one: Any) -> Any:
    """A model's answer to one picture as a picture, numbers or a text."""
    if isinstance(one, str):
        return one
    if hasattr(one, "image"):  # Filled
        return one.image
    if hasattr(one, "mask"):  # Segmentation
        return (np.clip(one.mask, 0, 1) * 255).round().astype(np.uint8)
    if hasattr(one, "scores"):  # findings: the best scores
        scores = np.zeros(BEST, np.float32)
        scores[: min(BEST, len(one.scores))] = one.scores[:BEST]
        return scores
    if isinstance(one, Sequence):  # lines of text, captions, tags
        return "\n".join(str(getattr(part, "text", part)) for part in one)
    return np.asarray(one)


def differences(
    ours: Sequence[Any], theirs: Sequence[Any], *, half: bool, means: bool = False
) -> tuple[bool, str, dict[str, Any]]:
    """Compare two lists of answers.

    Args:
        ours: of `caller`.
        theirs: to the same questions.
        half: whether half precision took part.
        means: whether pictures need only be alike on average, and texts needn't be.

    Returns:
        Whether they agree, a sentence, and figures.
    """
    if not all(_finite(one) for one in (*ours, *theirs)):
        return False, "an answer isn't finite", {"finite": False}
    if isinstance(ours[0], str):
        share = float(np.mean([one != other for one, other in zip(ours, theirs, strict=True)]))
        return means or share <= TEXTS, f"{share:.0%} of the texts differ", {"texts_differ": share}
    if ours[0].dtype == np.uint8:
        if any(one.shape != other.shape for one, other in zip(ours, theirs, strict=True)):
            return False, "the pictures' sizes differ", {}
        levels = np.concatenate(
            [np.abs(one.astype(int) - other.astype(int)).ravel() for one, other in zip(ours, theirs, strict=True)]
        )
        found = {
            "levels_mean": round(float(levels.mean()), 4),
            "levels_999": float(np.percentile(levels, 99.9)),
            "levels_most": int(levels.max()),
            "share_above": round(float((levels > MOST).mean()), 6),
        }
        good = found["levels_mean"] <= MOST if means else found["share_above"] <= SHARE
        said = f"{found['share_above']:.2%} of the values differ by more than {MOST} levels, 99.9 % by at most "
        return good, f"{said}{found['levels_999']:.3g}, on average {found['levels_mean']:.2g}", found
    one, other = np.stack(ours).astype(float), np.stack(theirs).astype(float)
    largest = float(max(np.abs(one).max(), np.abs(other).max(), 1e-12))
    apart, limit = float(np.abs(one - other).max()), ROUGH if half else EXACT
    found = {"most": apart, "largest": largest, "limit": limit * largest}
    return apart <= limit * largest, f"outputs differ by at most {apart:.2g} of {largest:.3g}", found


def _finite(one: Any) -> bool:
    return isinstance(one, str) or bool(np.isfinite(np.asarray(one, float)).all())


def first_numbers(one: Any, number: int = 3) -> Array | str:
    """The beginning of an answer, for people to keep: numbers, the middle of a picture, or a text."""
    if isinstance(one, str):
        return one[:200]
    values = np.asarray(one)
    if values.dtype == np.uint8:
        values = values[values.shape[0] // 2, values.shape[1] // 2 : values.shape[1] // 2 + number]
    return np.asarray(values.ravel()[: 3 * number], float).round(5)

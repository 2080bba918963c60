"""Checks a model's scores for a batch of pictures, and makes them probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from variorum.schemas.errors import ModelFailed

if TYPE_CHECKING:
    from variorum.arrays import Array, Singles

CLOSE = 1e-3
"""Allowed distance of a row's sum from 1; half precision on a thousand classes stays below it."""


@dataclass(slots=True)
class Answers:
    """Facts about a model that its calls have shown so far.

    Attributes:
        width: number of its outputs, 0 before it was called.
        kind: `logits` or `probabilities`, `""` before it was called.
        most: pictures per call that memory suffices for; 0 if it never ran out.
        nonce: text that no other model's answers have.
    """

    width: int = 0
    kind: str = ""
    most: int = 0
    nonce: str = field(default_factory=lambda: uuid4().hex)

    def checked(self, answer: object, pictures: int, classes: int, name: str) -> Singles:
        """The scores `[N, K]` of a batch as float32.

        Args:
            answer: what the model returned: an array, a tensor, or lists.
            pictures: N.
            classes: K, or 0 if nothing says how many there are.
            name: of the model, for errors.

        Raises:
            ModelFailed: it returned something else; the message describes it and names the first bad picture.
        """
        scores, given = as_array(answer), described(answer)
        wanted = classes or self.width
        shape = f"[{pictures}, {wanted or 'K'}]"
        expected = f"it must give scores {shape}, one row per picture and one column per class"
        if scores is None or scores.dtype.kind not in "fiub":
            raise ModelFailed(f"model {name!r} gave {given}; {expected}{_hint(answer)}")
        if scores.ndim != 2 or scores.shape[0] != pictures:
            hint = "; labels alone aren't enough" if scores.ndim == 1 and scores.shape[0] == pictures else ""
            raise ModelFailed(f"model {name!r} gave {given} for {pictures} pictures; {expected}{hint}")
        if scores.shape[1] < 2:
            raise ModelFailed(f"model {name!r} gave {given}; {expected}, for at least two classes")
        if wanted and scores.shape[1] != wanted:
            why = f"it has {classes} classes" if classes else f"it gave {wanted} columns before"
            raise ModelFailed(f"model {name!r} gave {given}, but {why}; {expected}")
        with np.errstate(over="ignore"):  # what float32 can't hold is infinite, and an error below
            found: Singles = scores.astype(np.float32)
        if (wrong := np.argwhere(~np.isfinite(found))).size:
            row, column = wrong[0]
            rows = len(np.unique(wrong[:, 0]))
            raise ModelFailed(
                f"model {name!r} gave {scores[row, column]} for class {column} of picture {row} of its batch of "
                f"{pictures}, counted from 0{f', and for {rows - 1} more pictures' if rows > 1 else ''} ({given}); "
                "every score must be a finite number"
            )
        self.width = found.shape[1]
        return found

    def probabilities(self, scores: Singles, name: str) -> Singles:
        """The scores of a call as probabilities, by the rule of `BroughtModel.__call__`.

        Raises:
            ModelFailed: it gave probabilities before or for most pictures, and now something else.
        """
        sums = scores.sum(axis=1, dtype=np.float64)
        are = (np.abs(sums - 1) <= CLOSE) & (scores.min(axis=1) >= 0)
        if are.all() and self.kind != "logits":
            self.kind = "probabilities"
            return scores
        # Hardly any row of logits looks like probabilities, so these are probabilities with wrong rows.
        if not are.all() and (self.kind == "probabilities" or are.sum() * 2 > len(are)):
            row = int(np.argmin(are))
            raise ModelFailed(
                f"model {name!r} gives probabilities, but those of picture {row} of {len(are)}, counted from 0, sum to "
                f"{sums[row]:.6g} with a smallest one of {scores[row].min():.3g}; give logits, or compute the softmax "
                "in float32"
            )
        self.kind = "logits"
        raised = np.exp(scores - scores.max(axis=1, keepdims=True))
        scaled: Singles = raised / raised.sum(axis=1, keepdims=True)
        return scaled


def as_array(answer: object) -> Array | None:
    """A tensor, an array, or lists of either or of numbers as an array; None for anything else."""
    if isinstance(answer, np.ndarray):
        return answer
    if callable(getattr(answer, "detach", None)):
        tensor: Any = answer.detach()  # type: ignore[attr-defined]
        tensor = tensor.float() if tensor.is_floating_point() else tensor  # NumPy knows no bfloat16
        found: Array = tensor.cpu().numpy()
        return found
    if hasattr(answer, "__array__"):  # NumPy's scalars, and arrays of other libraries
        return np.asarray(answer)
    if not isinstance(answer, Sequence) or isinstance(answer, str | bytes):
        return None
    rows = [row if isinstance(row, int | float) else as_array(row) for row in answer]
    if any(row is None for row in rows):
        return None
    try:
        return np.asarray(rows)
    except ValueError:  # rows of different lengths
        return None


def described(answer: object) -> str:
    """Type, shape and dtype of what a model returned."""
    if answer is None:
        return "None"
    shape, dtype = getattr(answer, "shape", None), getattr(answer, "dtype", None)
    kind = type(answer).__name__
    if shape is not None and dtype is not None:
        return f"{kind} {list(shape)} of {str(dtype).removeprefix('torch.')}"
    if isinstance(answer, Sequence) and not isinstance(answer, str | bytes) and answer:
        within = {len(row) for row in answer if hasattr(row, "__len__") and getattr(row, "shape", None) != ()}
        rows = (
            f" of rows of {' or '.join(map(str, sorted(within)[:3]))}" if within else f" of {type(answer[0]).__name__}"
        )
        return f"a {kind} of {len(answer)}{rows}"
    return f"an object of type {kind}" if not isinstance(answer, str) else f"the text {answer[:40]!r}"


def _hint(answer: object) -> str:
    if answer is None:
        return "; is a `return` missing?"
    if getattr(answer, "logits", None) is not None:
        return "; give its `.logits`"
    return ""

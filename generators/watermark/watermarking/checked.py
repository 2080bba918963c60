"""Check what marks and attacks return, as they may be a user's own files.

Pictures are handed out read-only, so that a mark that writes into them is noticed where it does so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.schemas.errors import RecipeError
from variorum.schemas.watermark import Attack, Attacked, Detected, Mark, Refused

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Pixels
    from variorum.schemas.component import Context


def embedded(mark: Mark, images: Sequence[Pixels], keys: Sequence[bytes], ctx: Context) -> list[Pixels]:
    """The marked pictures. Raises RecipeError unless there is one for each, uint8 and of the same size."""
    given: Any = mark.embed([_read_only(image) for image in images], keys, ctx)
    try:
        made = list(given)
    except TypeError:
        raise RecipeError(f"{mark.called}: embed gave {_said(given)} in place of a list of pictures") from None
    if len(made) != len(images):
        raise RecipeError(f"{mark.called}: embed got {len(images)} pictures and gave {len(made)}")
    for image, one in zip(images, made, strict=True):
        if not isinstance(one, np.ndarray) or one.shape != image.shape or one.dtype != np.uint8:
            raise RecipeError(f"{mark.called}: embed gave {_said(one)}; it must be uint8 {list(image.shape)}")
    return made


def detected(mark: Mark, images: Sequence[Pixels], keys: Sequence[bytes], ctx: Context) -> Detected:
    """Run the mark's detector. Raises RecipeError for something else than `Detected` describes."""
    found: Any = mark.detect([_read_only(image) for image in images], keys, ctx)
    if not isinstance(found, Detected):
        raise RecipeError(f"{mark.called}: detect gave {_said(found)}; it must be a Detected")
    scores = _numbers(mark, "scores", found.scores, len(images))
    p_values = None if found.p_values is None else _numbers(mark, "p_values", found.p_values, len(images))
    if p_values is not None and not ((p_values >= 0) & (p_values <= 1)).all():
        raise RecipeError(f"{mark.called}: detect gave a p-value of {float(p_values.max()):g}; they go from 0 to 1")
    return Detected(scores, _bits(mark, found.bits, len(images)), p_values)


def attacked(attack: Attack, images: Sequence[Pixels], given: Any) -> list[Attacked | Refused]:
    """Check an attack's result. Raises RecipeError unless it is a picture of the same size for each, or a reason."""
    try:
        made = list(given)
    except TypeError:
        raise RecipeError(f"{attack.called}: apply gave {_said(given)} in place of a list of pictures") from None
    if len(made) != len(images):
        raise RecipeError(f"{attack.called}: apply got {len(images)} pictures and gave {len(made)}")
    found: list[Attacked | Refused] = []
    for image, result in zip(images, made, strict=True):
        one = result if isinstance(result, Attacked | Refused) else Attacked(result)
        if isinstance(one, Refused):
            if not all(isinstance(text, str) and text for text in one):
                raise RecipeError(f"{attack.called}: apply gave {one!r}; it must have a reason and a sentence")
        else:
            if not _is(one.image, image.shape, np.uint8):
                raise RecipeError(f"{attack.called}: apply gave {_said(one.image)}; it must be uint8 {[*image.shape]}")
            if one.origins is not None and not _is(one.origins, (*image.shape[:2], 2), np.floating):
                size = [*image.shape[:2], 2]
                raise RecipeError(
                    f"{attack.called}: apply gave origins of {_said(one.origins)}; it must be float {size}"
                )
        found.append(one)
    return found


def _numbers(mark: Mark, name: str, given: Any, count: int) -> Floats:
    try:
        found = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        raise RecipeError(f"{mark.called}: detect gave {name} that aren't numbers, but {_said(given)}") from None
    if found.shape != (count,):
        raise RecipeError(f"{mark.called}: detect gave {name} of shape {list(found.shape)}; it must be [{count}]")
    if np.isnan(found).any():
        raise RecipeError(f"{mark.called}: detect gave {name} that are NaN; give the lowest score in their place")
    return found


def _bits(mark: Mark, given: Any, count: int) -> Bools | None:
    if given is None:
        return None
    wanted = (count, mark.payloads([]).shape[1])
    try:
        found = np.asarray(given)
    except ValueError:  # rows of different lengths
        raise RecipeError(f"{mark.called}: detect gave bits that aren't an array of shape {list(wanted)}") from None
    if found.shape != wanted:
        raise RecipeError(f"{mark.called}: detect gave bits of shape {list(found.shape)}; it must be {list(wanted)}")
    if not np.isin(found, (0, 1)).all():
        raise RecipeError(f"{mark.called}: detect gave bits that are neither true nor false")
    return found.astype(bool)


def _is(given: Any, shape: tuple[int, ...], kind: type[np.generic]) -> bool:
    return isinstance(given, np.ndarray) and given.shape == shape and np.issubdtype(given.dtype, kind)


def _read_only(image: Pixels) -> Pixels:
    seen = image.view()
    seen.setflags(write=False)
    return seen


def _said(given: Any) -> str:
    """Describe a value in a few words."""
    return f"{given.dtype} {list(given.shape)}" if isinstance(given, np.ndarray) else type(given).__name__

"""Count the objects of a picture and write them as a sentence, where all objects are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from variorum.kit.prompts.subjects import counted, listed
from variorum.schemas.annotations import Object


def sentence(found: Sequence[Object], *, drawn: bool = False, where: Sequence[str] = ()) -> str:
    """Such as `A bear and two birds.`, the largest things first; `A drawing of a bear.` if it is drawn.

    Args:
        found: the objects of the picture, with the names of COCO's categories as labels.
        drawn: whether the picture is a drawing.
        where: the things are, in words: `on grass`.
    """
    sizes: Counter[str] = Counter()
    for item in found:
        sizes[item.label] += round(item.area or item.box[2] * item.box[3])
    counts = Counter(item.label for item in found)
    there = listed([counted(label, counts[label]) for label, _ in sizes.most_common()])
    text = f"a drawing of {there or 'a landscape'}" if drawn else there or "a background without objects"
    text = " ".join(filter(None, [text, ", ".join(where)]))
    return f"{text[0].upper()}{text[1:]}."

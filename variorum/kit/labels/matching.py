"""Match a classifier's outputs to the classes of an edition.

A model says what its outputs are: wnids, names, indices, or nothing. Nothing means ImageNet's order if it has a
thousand of them, or the order of the edition's ids if it has as many outputs as the edition has classes: most training
scripts number classes by the sorted names of their folders. An edition has ids and names of classes. Texts are compared
in four ways, closest first:

1. `id`: the class's id is the output's text. Indices (`"0"`, `"1"`) match only here, where the ids are the same.
2. `wnid`: both are the same class of ImageNet, by wnid or by its name in `sources/imagenet.py`.
3. `name`: id or name is the text; case, underscores, brackets and other punctuation don't count.
4. `synonym`: they share a name; synonyms are separated by commas: `tench, Tinca tinca`.

A class takes the only output that fits it in the closest way. An output that is taken is no candidate in later ways, so
`crane` with the outputs `crane` and `crane, machine` takes the first. A list of a thousand names that stand where
ImageNet has them is ImageNet's, although some of its names are there twice (`crane`, `maillot`). So are a thousand
indices, unless the edition's ids are the same indices.

An edition may list more classes than occur in its pictures: only those that are needed must have an output.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from variorum.models.imagenet_classes import index_of, is_wnid, name_of
from variorum.models.imagenet_classes import table as imagenet
from variorum.schemas.component import ClassInfo
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut

if TYPE_CHECKING:
    from variorum.arrays import Ints

Texts: TypeAlias = tuple[str, ...]

IMAGENET = 1000
KNOWN, IN_PLACE = 0.9, 0.95
"""A list is ImageNet's if it has this share of ImageNet's names, and this share of those stand in ImageNet's place."""
FIRST = 5
"""Classes that a message names."""
LONGEST = 40
"""Characters of a name in a message."""


def columns(
    classes: Sequence[ClassInfo] | Sequence[tuple[str, str]],
    model_classes: Sequence[str],
    outputs: int | None = None,
    *,
    needed: Container[str] | None = None,
) -> Ints:
    """The model's output for each class of an edition.

    Args:
        classes: of the edition, in its order: `Context.classes`, or the pairs (id, name) of a manifest.
        model_classes: text of each output; empty for ImageNet's thousand in their own order.
        outputs: number of outputs, if known; checked against the texts.
        needed: ids of the classes that must have an output; by default all.

    Returns:
        Index of an output for each class, `[K]`, all different; -1 for a class that isn't needed and has none.

    Raises:
        RecipeError: a needed class has no output; a class has two that fit equally well; two classes have the same one;
            or a model with other than 1000 outputs doesn't say what they are.
    """
    wanted = tuple((one.id, one.name) if isinstance(one, ClassInfo) else (one[0], one[1]) for one in classes)
    found = _columns(wanted, tuple(model_classes), outputs)
    absent = [number for number, output in enumerate(found) if output < 0]
    if left := [number for number in absent if needed is None or wanted[number][0] in needed]:
        texts = _texts(wanted, tuple(model_classes), outputs)
        raise RecipeError(
            f"{_named(wanted, left)} of the edition's {len(wanted)} can't be found among the model's {len(texts)} "
            f"outputs, which are {_quoted(known[0] for known in texts[:3])}{', …' if len(texts) > 3 else ''}; give the "
            "model's classes in the order of its outputs, by the edition's ids or names, or take another model"
        )
    return np.array(found, np.int64)


@lru_cache(maxsize=64)
def _columns(classes: tuple[Texts, ...], model_classes: Texts, outputs: int | None) -> tuple[int, ...]:
    texts = _texts(classes, model_classes, outputs)
    found: dict[int, int] = {}
    candidates: dict[int, set[int]] = {}
    for keys in (_ids, _wnids, _names, _synonyms):
        owners: defaultdict[str, set[int]] = defaultdict(set)
        for output, known in enumerate(texts):
            for key in keys(known, known):
                owners[key].add(output)
        taken = set(found.values())
        for number, (identity, name) in enumerate(classes):
            if number not in found:
                fitting = {output for key in keys((identity,), (identity, name)) for output in owners.get(key, ())}
                candidates[number] = fitting - taken
        sure = {number: min(fits) for number, fits in candidates.items() if number not in found and len(fits) == 1}
        _refuse_shared(sure, classes, texts)
        found |= sure
    if unclear := [number for number in range(len(classes)) if number not in found and candidates[number]]:
        several = sorted(candidates[unclear[0]])
        raise RecipeError(
            f"{_named(classes, unclear)} of the edition could be any of several outputs of the model, such as "
            f"{_quoted(texts[output][0] for output in several[:2])} ({', '.join(map(str, several[:2]))}); give the "
            "model's classes in the order of its outputs, each with a name of its own, or wnids"
        )
    return tuple(found.get(number, -1) for number in range(len(classes)))


def in_order(ids: Sequence[str], outputs: int | None) -> Texts:
    """The edition's ids in their order, if a model that doesn't name its outputs has as many; else none."""
    return tuple(sorted(ids)) if 1 < len(ids) == outputs != IMAGENET else ()


def shortened(texts: Sequence[str]) -> list[str]:
    """The first texts for a message, and … for more."""
    return [*map(_short, texts[:FIRST]), *(["…"] if len(texts) > FIRST else [])]


def _texts(classes: Sequence[Texts], model_classes: Texts, outputs: int | None) -> tuple[Texts, ...]:
    """The texts of each output: the model's own, and the wnid where the outputs are ImageNet's.

    Without texts the outputs are the edition's classes by `in_order`, or ImageNet's thousand.

    Raises:
        RecipeError: there are more or fewer texts than outputs, or none and nothing says which classes they are.
    """
    if model_classes and outputs not in (None, len(model_classes)):
        raise RecipeError(
            f"the model has {outputs} outputs and {len(model_classes)} classes are given for them; give one text for "
            "each output, in their order"
        )
    if not model_classes and (ordered := in_order([one[0] for one in classes], outputs)):
        return tuple((text,) for text in ordered)
    if not model_classes and outputs not in (None, IMAGENET):
        shown = ", ".join(shortened([" ".join(dict.fromkeys(one)) for one in classes]))
        raise RecipeError(
            f"it gives {outputs} scores a picture and doesn't say of which classes; the edition has {len(classes)}: "
            f"{shown}; give the classes of all {outputs} in the order of its outputs, with classes=[…] or --classes "
            f"FILE (unnamed, {IMAGENET} outputs are ImageNet's, and as many as the edition's classes are those)"
        )
    if not model_classes:
        return tuple((one.wnid,) for one in imagenet())
    if numbered(model_classes):
        model_classes = tuple(map(str, range(len(model_classes))))
        if len(model_classes) != IMAGENET:
            return tuple((text,) for text in model_classes)
        return tuple((text, one.wnid) for text, one in zip(model_classes, imagenet(), strict=True))
    if in_imagenets_order(model_classes):
        places = zip(model_classes, _believed(model_classes), strict=True)
        return tuple((text,) if index < 0 else (text, imagenet()[index].wnid) for text, index in places)
    return tuple((text,) for text in model_classes)


def _believed(texts: Sequence[str]) -> list[int]:
    """For a list in ImageNet's order, the class of each output: as its name says, else that of its place.

    A name of ImageNet in another place counts, unless the output in its own place has it as well.
    """
    named = [_index(text) for text in texts]
    in_place = {index for place, index in enumerate(named) if index == place}
    said = {index for index in named if index is not None} - in_place
    return [
        index if index is not None and (index == place or index not in in_place) else -1 if place in said else place
        for place, index in enumerate(named)
    ]


def numbered(texts: Sequence[str]) -> bool:
    """Return whether the texts are nothing but their indices, `"0"`, `"1"` and so on, or `"LABEL_0"` and so on."""
    return all(plain(text).removeprefix("label ") == str(index) for index, text in enumerate(texts))


def in_imagenets_order(texts: Sequence[str]) -> bool:
    """Return whether these are names of ImageNet's thousand classes in ImageNet's order, by whatever list of names."""
    if len(texts) != IMAGENET:
        return False
    known = [(place, index) for place, text in enumerate(texts) if (index := _index(text)) is not None]
    in_place = sum(place == index for place, index in known)
    return len(known) >= KNOWN * IMAGENET and in_place >= IN_PLACE * len(known)


def plain(text: str) -> str:
    """A name in lower case, as words separated by single spaces: `Crane_(bird)` is `crane bird`."""
    return " ".join(re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).casefold()))


# Keys of a class or an output, given its ids and all its texts: those with a key in common fit.


def _ids(ids: Texts, _texts: Texts) -> set[str]:
    return {text.strip() for text in ids}


def _wnids(_ids: Texts, texts: Texts) -> set[str]:
    wnids = [text.strip() for text in texts if is_wnid(text.strip())]
    if wnids:
        return set(wnids)  # it says itself what it is, whatever else its name could mean
    return {imagenet()[index].wnid for text in texts if (index := _index(text)) is not None}


def _names(_ids: Texts, texts: Texts) -> set[str]:
    named = [*texts, *(name_of(text.strip()) for text in texts if is_wnid(text.strip()))]
    return {plain(text) for text in named} - {""}


def _synonyms(ids: Texts, texts: Texts) -> set[str]:
    parts = [part for text in texts for part in text.split(",")]
    return _names(ids, (*texts, *parts))


def _index(text: str) -> int | None:
    """ImageNet's index of a wnid, a name, or the first known of several synonyms."""
    spaced = text.replace("_", " ")
    whole = index_of(spaced)
    if whole is not None or "," not in spaced:
        return whole
    return next((index for part in spaced.split(",") if (index := index_of(part)) is not None), None)


def _refuse_shared(found: dict[int, int], classes: Sequence[Texts], texts: Sequence[Texts]) -> None:
    """Raise RecipeError if two classes take the same output."""
    times = Counter(found.values())
    shared = [number for number, output in found.items() if times[output] > 1]
    if shared:
        output = found[shared[0]]
        rivals = [number for number in shared if found[number] == output]
        raise RecipeError(
            f"{_named(classes, rivals)} of the edition would be the same output of the model, {output} "
            f"({_quoted(texts[output][:1])}); give them names that differ in more than case and punctuation, or give "
            "the model's classes by the edition's ids"
        )


def _named(classes: Sequence[Texts], numbers: Sequence[int]) -> str:
    """The first classes by name, and how many they are."""
    shown = _quoted(" ".join(dict.fromkeys(classes[number])) for number in numbers[:FIRST])
    more = f" and {len(numbers) - FIRST} more" if len(numbers) > FIRST else ""
    return f"{len(numbers)} class{'' if len(numbers) == 1 else 'es'} ({shown}{more})"


def _quoted(texts: Iterable[str]) -> str:
    return ", ".join(map(repr, map(_short, texts)))


def _short(text: str) -> str:
    text = cut(text)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"

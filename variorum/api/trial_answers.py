"""Looks whether a model's answer to the public picture makes sense, where nobody has published numbers.

The thresholds are coarse: they tell weights that are read as their authors meant from those that aren't.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.api.trial_calls import ANY_SIDE, NoCall, Question, caller, parameters, question_for, side_of, square
from variorum.schemas.errors import ModelUnavailable

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles
    from variorum.models import ModelTable
    from variorum.models.known_answers import Box, PublicPicture

Look = tuple[bool, str, dict[str, Any]]
JUDGE = "classifier"
"""Alias of the classifier that looks at made pictures."""
TEN = {
    "tabby cat": 281,
    "golden retriever": 207,
    "African elephant": 386,
    "zebra": 340,
    "school bus": 779,
    "pizza": 963,
    "daisy": 985,
    "lighthouse": 437,
    "grand piano": 579,
    "strawberry": 949,
}
"""Classes of ImageNet that text to image must make recognisably, with their indices."""
RECOGNISED = 8
"""Of them."""
CATS, REMOTE = range(281, 286), 761
"""ImageNet's cats, and its remote control."""
TOP = 5
CLOSER = 0.02
"""Cosine by which what fits the picture must be nearer than what doesn't."""
OVERLAP = 0.5
"""IoU of a box that counts as found."""
INSIDE = 0.75
"""Share of the salient object that must lie in the boxes of the cats."""
RIM = 1.5
"""Most gradient across the rim of a filled hole, as a multiple of the gradient outside."""
DECIBELS = 15.0
"""Least PSNR of a picture that was encoded and decoded."""
STEPS = 30
TEXTS = ("two cats", "a dog", "a sports car", "a plate of food", "an airplane in the sky", "a page of text")
UNKNOWN = "nobody has said what a right answer to the public picture is"
LARGE = 512
"""Side of a square picture for models that take any."""


def look(model: Any, alias: str, table: ModelTable, picture: Pixels, public: PublicPicture) -> Look:
    """Whether the answer of the model behind an alias makes sense, a sentence, and figures.

    Raises:
        NoCall: the model can't be asked by itself.
        ModelUnavailable: the classifier that looks at made pictures isn't ready.
    """
    if hasattr(model, "encode") and (hasattr(model, "decode") or hasattr(model, "predict")):
        return _reconstructed(model, picture)
    names = parameters(model)
    if not {"images", "prompts", "labels"} & set(names):
        raise NoCall(f"its call wants {', '.join(names)}, which this trial doesn't have")
    if "texts" in names:
        return _objects(model, picture, public) if hasattr(model, "knows") else _fits(model, picture)
    if "questions" in names:
        (said,) = model([picture], ["What animals are in this picture? Answer with one word."])
        return "cat" in said.lower(), f"it says “{said[:80]}”; there are cats", {"said": said[:200]}
    if "holes" in names:
        return _seam(model, picture)
    if "labels" in names or ("prompts" in names and "images" not in names and "boxes" not in names):
        return _recognised(model, table, labels="labels" in names)
    if len(names) > 1:
        return _still_a_cat(model, table, picture)
    return _of_pictures(model, alias, table, picture, public)


def _of_pictures(model: Any, alias: str, table: ModelTable, picture: Pixels, public: PublicPicture) -> Look:
    """A model that wants nothing but pictures: a classifier, an encoder, a score, or a segmenter."""
    (found,) = model([picture])[:1]
    if hasattr(found, "mask"):
        return _salient(found.mask, public.cats)
    if hasattr(found, "scores") or isinstance(found, list | str) or np.ndim(found) > 1:
        raise NoCall(UNKNOWN)
    values = np.asarray(found, float)
    if values.ndim == 0:  # that two cats are harmless proves nothing
        raise NoCall(UNKNOWN)
    if len(values) == 1000 and np.isclose(values.sum(), 1, atol=1e-2):
        return _top(values, [*CATS, REMOTE], "a cat or a remote")
    if table.role(alias) == "encoder" or hasattr(model, "features"):
        return _mirrored(model, picture)
    raise NoCall(UNKNOWN)


def _mirrored(model: Any, picture: Pixels) -> Look:
    """An encoder sees that a mirrored picture shows the same, and one with its parts in disorder doesn't."""
    tiles = [part for row in np.array_split(square([picture], 448)[0], 7) for part in np.array_split(row, 7, axis=1)]
    order = np.random.default_rng(0).permutation(len(tiles))
    rows = [np.concatenate([tiles[at] for at in order[start : start + 7]], axis=1) for start in range(0, 49, 7)]
    asked = [picture, np.ascontiguousarray(picture[:, ::-1]), np.ascontiguousarray(np.concatenate(rows))]
    one, mirrored, mixed = (vector / max(1e-12, np.linalg.norm(vector)) for vector in np.asarray(model(asked), float))
    near, far = float(one @ mirrored), float(one @ mixed)
    said = (
        f"cosine {near:.3f} with the mirrored picture, {far:.3f} with its parts in disorder; {CLOSER:g} less is wanted"
    )
    return near - far >= CLOSER, said, {"mirrored": near, "disorder": far}


def _top(probabilities: Any, wanted: Sequence[int], what: str) -> Look:
    best = [int(at) for at in np.argsort(probabilities)[::-1][:TOP]]
    return bool(set(best) & set(wanted)), f"among its five first classes {best} there must be {what}", {"top": best}


def _fits(model: Any, picture: Pixels) -> Look:
    fit = dict(zip(TEXTS, map(float, np.asarray(model([picture], TEXTS))[0]), strict=True))
    cats, next_best = fit[TEXTS[0]], max(value for text, value in fit.items() if text != TEXTS[0])
    said = f"cosine {cats:.3f} with “{TEXTS[0]}”, {next_best:.3f} with the next best text; {CLOSER:g} more is wanted"
    return cats - next_best >= CLOSER, said, fit


def _objects(model: Any, picture: Pixels, public: PublicPicture) -> Look:
    wanted = {"a cat": public.cats, "a remote control": public.remotes}
    texts = [text if all(model.knows([text])) else text.split(" ")[1] for text in wanted]
    (found,) = model([picture], texts)
    hits = {
        text: sum(
            max((_iou(box, one) for one in found.boxes[found.texts == at]), default=0) >= OVERLAP for box in boxes
        )
        for at, (text, boxes) in enumerate(wanted.items())
    }
    said = ", ".join(f"{hits[text]} of {len(boxes)} × {text}" for text, boxes in wanted.items())
    return all(hits[text] == len(boxes) for text, boxes in wanted.items()), f"found {said}", hits


def _salient(mask: Singles, cats: Sequence[Box]) -> Look:
    inside = np.zeros(mask.shape, bool)
    for left, top, right, bottom in cats:
        inside[int(top) : int(bottom), int(left) : int(right)] = True
    share = float(mask[inside].sum() / max(1e-12, mask.sum()))
    said = f"{share:.0%} of the mask lies on the cats; {INSIDE:.0%} is wanted"
    return share >= INSIDE and float(mask.mean()) > 0.01, said, {"share": share, "area": float(mask.mean())}


def _seam(model: Any, picture: Pixels) -> Look:
    """The rim of a filled hole has hardly more gradient than the picture around it."""
    hole = np.zeros(picture.shape[:2], bool)
    hole[180:300, 480:620] = True
    image = model([picture], [hole], [0])[0].image.astype(float).mean(axis=2)
    steps = np.abs(np.diff(image, axis=1))
    across = hole[:, 1:] != hole[:, :-1]
    rim = float(steps[across].mean())
    outside = float(steps[160:320, 440:][~(hole[:, 1:] | hole[:, :-1])[160:320, 440:]].mean())
    said = f"gradient {rim:.3g} across the rim, {outside:.3g} outside; at most {RIM:g} times as much is wanted"
    return rim <= RIM * outside, said, {"rim": rim, "outside": outside}


def _reconstructed(model: Any, picture: Pixels) -> Look:
    image = square([picture], side_of(model) or ANY_SIDE)
    (made,) = caller(model, Question(image))([0])
    error = float(np.mean((made.astype(float) - image[0].astype(float)) ** 2))
    decibels = float(10 * np.log10(255**2 / max(error, 1e-9)))
    return decibels >= DECIBELS, f"PSNR {decibels:.1f} dB; {DECIBELS:g} are wanted", {"psnr": decibels}


def _recognised(model: Any, table: ModelTable, *, labels: bool) -> Look:
    """Ten classes of ImageNet are made, and the profile's classifier recognises eight of them."""
    judge = _judge(table)
    if own := getattr(model, "classes", None):
        raise NoCall(f"it makes {len(own)} classes of its own, which the classifier doesn't know")
    asked = question_for(model, (), STEPS)
    right = 0
    for seed, (name, index) in enumerate(TEN.items()):
        if labels:
            made = model([index], [seed], guidance=asked.guidance, steps=asked.steps, sampler="ddim")
        else:
            made = model([f"a photo of a {name}"], [""], [seed], steps=asked.steps, guidance=asked.guidance, size=None)
        right += int(np.argmax(judge([np.asarray(made[0])])[0])) == index
    return (
        right >= RECOGNISED,
        f"{right} of {len(TEN)} classes are recognised; {RECOGNISED} are wanted",
        {"right": right},
    )


def _still_a_cat(model: Any, table: ModelTable, picture: Pixels) -> Look:
    """A picture made of the picture, or of its layout, still shows a cat."""
    judge = _judge(table)
    asked = question_for(model, square([picture], side_of(model) or LARGE), STEPS)
    (made,) = caller(model, asked)([0])
    return _top(np.asarray(judge([np.asarray(made)])[0]), list(CATS), "a cat")


def _judge(table: ModelTable) -> Any:
    if why_not := table.why_unavailable(JUDGE):
        raise ModelUnavailable(f"the classifier that looks at made pictures can't be had: {why_not}")
    return table.get(JUDGE)


def _iou(one: Sequence[float], other: Sequence[float]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, float(width)) * max(0.0, float(height))
    areas = sum(float((box[2] - box[0]) * (box[3] - box[1])) for box in (one, other))
    return shared / max(1e-9, areas - shared)

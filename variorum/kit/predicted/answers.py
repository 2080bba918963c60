"""Ask classifiers about pictures, and match their outputs to the classes of an edition."""

from __future__ import annotations

import json
import math
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from variorum.kit.labels.matching import IMAGENET, columns, in_order, shortened
from variorum.kit.predicted.pairing import UNSCORED
from variorum.kit.predicted.two_cues import NO_CUES, by_category, cues_of, decision
from variorum.models.defended import is_own
from variorum.models.filters import contents_of
from variorum.models.imagenet_classes import index_of, is_wnid, name_of
from variorum.models.imagenet_classes import table as imagenet
from variorum.schemas.canonical import Json, digest
from variorum.schemas.component import Context, Evaluation, Row, Use
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut
from variorum.schemas.sample import Sample

if TYPE_CHECKING:
    from variorum.arrays import Singles
    from variorum.schemas.table import Table

PREDICTED = (
    *("id", "parent", "variant", "reference", "classifier", "label", "labels", "top1", "correct", "confidence"),
    *("p_label", "outputs", "preprocessing", "lender"),
)
"""Columns of `predictions`."""
LIKELIEST = 20
WHOLE = 100
"""Of a model with more outputs than `WHOLE`, the log probabilities of the `LIKELIEST` are kept one by one."""
DISTRIBUTION = ("logp", "logp_of", "log_rest")
"""Columns with a model's log probabilities, which take most of the room."""
REVIEWED = "labels.json"
"""Member of a sample with the labels that people reviewed."""
MOST_KEYS = 50
"""Keys of a picture's metadata that are kept."""
LONGEST = 100
"""Characters of a value of the metadata."""


class SharedAnswers(Evaluation):
    """Ask classifiers once for all evaluations that are functions of their answers.

    Those have `measured_as = "answers"`, and read this table in their `rows`. No recipe names it: it has no figures.
    """

    revision = 2
    classifiers: tuple[str, ...]
    """Aliases of classifiers, or names of models that a user brings."""

    def uses(self) -> list[Use]:
        """Return the classifiers."""
        return [Use(alias, "classifier") for alias in self.classifiers]

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per picture and classifier: the columns of `predictions`, and what other evaluations read.

        Of the picture: `photograph`, `class`, its first label; `step` and `requested`, name and JSON of its last
        operation; `height` and `width`; `metadata`, a JSON object of texts; `reviewed`, the JSON of `labels.json`. Of
        the answer: `prediction`, the class's id, `""` if the edition has no such class; `said`, its name for people;
        what it decides between two cues, see `decision`. `logp [K]` has the log probabilities, float16, of the outputs
        `logp_of [K]`: all for up to 100 outputs, else the 20 likeliest ones. `log_rest` is that of all others together.

        Raises:
            RecipeError: as `answers`.
        """
        facts = {sample.id: _facts(sample) for sample in samples}
        for alias in self.classifiers:
            found = list(answers(samples, [alias], ctx))
            if not found:
                continue
            model, probabilities = found[0].model, np.stack([one.probabilities for one in found])
            means, kept = by_category(model, probabilities), distributions(probabilities)
            outputs = probabilities.shape[1]
            output_of, classes = outputs_of(alias, model, ctx, (), outputs), classes_of_outputs(model, ctx, outputs)
            for place, one in enumerate(found):
                row = predicted(one, ctx)
                cues = cues_of(one.sample) or NO_CUES
                prediction, name = classes[int(row["top1"])]
                yield {
                    **row,
                    **facts[one.sample.id],
                    "prediction": prediction,
                    "said": name,
                    **decision(cues, one.probabilities, means[place], output_of),
                    **{name: values[place] for name, values in kept.items()},
                }

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """Return none: those of the evaluations that read the table count."""
        return {}


def _facts(sample: Sample) -> dict[str, Any]:
    """Columns of the shared table about a picture."""
    height, width = sample.image.shape[:2]  # type: ignore[union-attr]
    last, reviewed = sample.ops[-1] if sample.ops else None, sample.extras.get(REVIEWED)
    known = {key: text for key in sorted(sample.metadata) if (text := said(sample.metadata, key))}
    return {
        "photograph": sample.photograph,
        "class": sample.labels[0] if sample.labels else "",
        "step": last["name"] if last else "",
        "requested": _json(last["requested"]) if last else "{}",
        "height": int(height),
        "width": int(width),
        "metadata": _json(dict(list(known.items())[:MOST_KEYS])),
        "reviewed": reviewed.decode(errors="replace") if isinstance(reviewed, bytes) else "",
    }


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)


def distributions(probabilities: Singles) -> dict[str, Any]:
    """The columns `DISTRIBUTION` of probabilities `[N, outputs]`, see `SharedAnswers.measure`."""
    number, outputs = probabilities.shape
    with np.errstate(divide="ignore"):
        if outputs <= WHOLE:
            places = np.broadcast_to(np.arange(outputs, dtype=np.int32), (number, outputs))
            return {
                "logp": np.log(probabilities).astype(np.float16),
                "logp_of": places,
                "log_rest": np.full(number, -np.inf),
            }
        places = np.argsort(-probabilities, axis=1, kind="stable")[:, :LIKELIEST].astype(np.int32)
        largest = np.take_along_axis(probabilities, places, axis=1)
        rest = probabilities.copy()
        np.put_along_axis(rest, places, 0, axis=1)
        return {
            "logp": np.log(largest).astype(np.float16),
            "logp_of": places,
            "log_rest": np.log(rest.sum(axis=1, dtype=np.float64)),
        }


def classes_of_outputs(model: Any, ctx: Context, outputs: int) -> list[tuple[str, str]]:
    """Of each output, the id of the edition's class, `""` for none, and a name for people."""
    texts = tuple(getattr(model, "classes", ()))
    if len(texts) == outputs:
        names = [name_of(text) if is_wnid(text) else text for text in texts]
    else:
        names = [one.name for one in imagenet()] if outputs == IMAGENET else [f"output {n}" for n in range(outputs)]
    try:
        found: Iterable[int] = columns(ctx.classes, texts, outputs, needed=()).tolist()
    except RecipeError:  # a classifier of this project that doesn't name its outputs
        found = [label_index((one.id,)) for one in ctx.classes]
    classes = [("", name) for name in names]
    for one, output in zip(ctx.classes, found, strict=True):
        if 0 <= output < outputs:
            classes[output] = one.id, one.name
    return classes


def said(metadata: Mapping[str, Json], key: str) -> str:
    """Return metadata under a key as a short text; `""` for nothing, not a number, a list or a mapping.

    The end of a long text is replaced by a digest, so that different texts stay different.
    """
    value = metadata.get(key)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}" if value == value else ""
    text = str(value).strip() if isinstance(value, str | int) else ""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 13]} … {digest(text)[:10]}"


def predictions(samples: Sequence[Sample], classifiers: Sequence[str], ctx: Context) -> Iterator[Row]:
    """Rows of what each classifier predicts for each picture of a batch, as `AccuracyDrop.measure` describes them."""
    for answer in answers(samples, classifiers, ctx):
        yield predicted(answer, ctx)


def predicted(answer: Answer, ctx: Context) -> Row:
    """The row of `predictions` about an answer."""
    sample, alias, model, labels, row = answer
    top1 = int(row.argmax())
    return {
        "id": sample.id,
        "parent": sample.parent,
        "variant": sample.variant,
        "reference": reference(sample),
        "classifier": alias,
        "label": labels[0] if labels else UNSCORED,
        "labels": len(labels),
        "top1": top1,
        "correct": top1 in labels,
        "confidence": float(row[top1]),
        "p_label": float(row[list(labels)].sum()) if labels else None,
        "outputs": len(row),
        "preprocessing": f"{getattr(model, 'preprocessing', '')}{_note(model, ctx)}",
        "lender": lender(sample),
    }


class Answer(NamedTuple):
    """A classifier's answer on a picture.

    Attributes:
        sample: the picture.
        alias: of the classifier.
        model: the classifier.
        labels: the outputs that are right; empty if the classifier knows none of the picture's labels.
        probabilities: `[outputs]`.
    """

    sample: Sample
    alias: str
    model: Any
    labels: tuple[int, ...]
    probabilities: Singles


def answers(samples: Sequence[Sample], classifiers: Sequence[str], ctx: Context) -> Iterator[Answer]:
    """Ask each classifier about each picture of a batch, classifier by classifier.

    Raises:
        RecipeError: a model is a detector, or a picture's class is no output of a classifier that says what its outputs
            are.
    """
    images = [sample.image for sample in samples]
    occurring = {label for sample in samples for label in sample.labels}
    for alias in classifiers:
        model = ctx.models.get(alias)
        if hasattr(model, "knows"):
            raise RecipeError(f"{cut(repr(alias))} is a detector; name a classifier, such as classifier_small")
        if images and is_own(model):
            model.ask(images[0])
        outputs_of(alias, model, ctx, occurring)  # refused before it sees all pictures
        probabilities = model(images)
        output_of = outputs_of(alias, model, ctx, occurring, probabilities.shape[1])
        for sample, row in zip(samples, probabilities, strict=True):
            labels = label_indices(sample.labels) if output_of is None else known(sample.labels, output_of)
            yield Answer(sample, alias, model, labels, row)


def outputs_of(
    alias: str, model: Any, ctx: Context, occurring: Container[str], outputs: int | None = None
) -> dict[str, int] | None:
    """Output of each class id of the edition, as far as the model has one.

    None for this project's ImageNet classifiers, which take any label.

    Args:
        alias: of the model, for messages.
        model: a classifier.
        ctx: has the edition's classes.
        occurring: ids of those that pictures have.
        outputs: number of the model's outputs; by default as it says itself, if it does.

    Raises:
        RecipeError: a class that occurs is none of the model's outputs.
    """
    classes = getattr(model, "classes", ())
    if not classes and not is_own(model):
        return None
    outputs = outputs or getattr(model, "width", 0) or None
    try:
        found = columns(ctx.classes, classes, outputs, needed=occurring)
    except RecipeError as error:
        raise RecipeError(f"model {cut(alias)!r}: {error}") from None
    return {one.id: int(output) for one, output in zip(ctx.classes, found, strict=True) if output >= 0}


def in_order_of(model: Any, ctx: Context) -> str:
    """Say that a model's outputs are taken for the edition's classes in the order of their ids; `""` if they aren't."""
    if not is_own(model) or model.classes:
        return ""
    ids = in_order([one.id for one in ctx.classes], model.width)
    return (
        f"its {len(ids)} outputs are taken for the edition's classes in order, {', '.join(shortened(ids))}"
        if ids
        else ""
    )


def _note(model: Any, ctx: Context) -> str:
    ordered = in_order_of(model, ctx)
    return f" {ordered[:1].upper()}{ordered[1:]}." if ordered else ""


def known(labels: Sequence[str], output_of: Mapping[str, int]) -> tuple[int, ...]:
    """Outputs of the labels that are classes of the edition."""
    return tuple(dict.fromkeys(output_of[label] for label in labels if label in output_of))


def label_indices(labels: Sequence[str]) -> tuple[int, ...]:
    """ImageNet's indices of the labels that are ImageNet wnids or names."""
    return tuple(dict.fromkeys(index for label in labels if (index := index_of(label)) is not None))


def label_index(labels: Sequence[str]) -> int:
    """ImageNet index of the first label that is an ImageNet wnid or name; UNSCORED if there is none."""
    return next(iter(label_indices(labels)), UNSCORED)


def reference(sample: Sample) -> str:
    """The variant that the sample's last edit started from; empty if it started from the original.

    What was achieved comes before what was requested, and an edit doesn't start from itself.
    """
    last = last_of(sample)
    value = last.achieved.get("reference", last.requested.get("reference"))
    return value if isinstance(value, str) and value != sample.variant else ""


class Last(NamedTuple):
    """What a picture's last operation was asked for, what it achieved, and the pins of its models by alias."""

    requested: Mapping[str, Any]
    achieved: Mapping[str, Any]
    models: Mapping[str, Any]


def last_of(sample: Sample) -> Last:
    """A picture's last operation; an empty one of a picture without."""
    last: Mapping[str, Any] = sample.ops[-1] if sample.ops else {}
    return Last(*(last.get(name, {}) for name in Last._fields))


def number_in(value: Any) -> float:
    """A number of a record below 2³¹; NaN for anything else."""
    fits = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**31
    return float(value) if fits else math.nan


def contents_named(sample: Sample, key: str) -> frozenset[str]:
    """Hashes and commits of the models that a picture's last request names under a key, by one alias or a list."""
    last = last_of(sample)
    named = last.requested.get(key)
    aliases = named if isinstance(named, list) else [named]
    pins = [pin for alias, pin in last.models.items() if alias in aliases and isinstance(pin, str)]
    return frozenset().union(*map(contents_of, pins))


def lender(sample: Sample) -> str:
    """Id of the picture that lent a sample its plate or texture; empty if none did."""
    return next((one["id"] for one in sample.made_of()), "")

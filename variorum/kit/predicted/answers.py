"""Ask classifiers about pictures, and match their outputs to the classes of an edition."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from variorum.kit.labels.imagenet_classes import index_of
from variorum.kit.labels.matching import columns, in_order, shortened
from variorum.kit.predicted.pairing import UNSCORED
from variorum.models.brought import BroughtModel
from variorum.schemas.component import Context, Row
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut
from variorum.schemas.sample import Sample

if TYPE_CHECKING:
    from variorum.arrays import Singles


def predictions(samples: Sequence[Sample], classifiers: Sequence[str], ctx: Context) -> Iterator[Row]:
    """Rows of what each classifier predicts for each picture of a batch, as `AccuracyDrop.measure` describes them."""
    for sample, alias, model, labels, row in answers(samples, classifiers, ctx):
        top1 = int(row.argmax())
        yield {
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
        if images and isinstance(model, BroughtModel):
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
    if not classes and not isinstance(model, BroughtModel):
        return None
    outputs = outputs or getattr(model, "width", 0) or None
    try:
        found = columns(ctx.classes, classes, outputs, needed=occurring)
    except RecipeError as error:
        raise RecipeError(f"model {cut(alias)!r}: {error}") from None
    return {one.id: int(output) for one, output in zip(ctx.classes, found, strict=True) if output >= 0}


def in_order_of(model: Any, ctx: Context) -> str:
    """Say that a model's outputs are taken for the edition's classes in the order of their ids; `""` if they aren't."""
    if not isinstance(model, BroughtModel) or model.classes:
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
    """The variant that the sample's last edit started from; empty if it started from the original."""
    value = sample.ops[-1]["requested"].get("reference") if sample.ops else None
    return value if isinstance(value, str) else ""

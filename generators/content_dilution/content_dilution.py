"""Pictures with captions, and the same with sentences added to the caption that are on topic or beside it.

After cross-modal dilutions (Verma et al., EMNLP 2022, arXiv 2211.02646): a classifier of pictures with texts should see
the same in a picture whose text has a sentence more. The paper's language model writes sentences that mislead a
classifier; here they come from keywords and frames, or from a language model, and no classifier is attacked. Addresses
as dilutions are Ribeiro et al.'s (CheckList, ACL 2020).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, get_args

from pydantic import Field, field_validator

from variorum.generators.content_dilution.asking import TOKENS, answered, question, writing
from variorum.generators.content_dilution.kin import kin
from variorum.generators.content_dilution.measures import bleu, keyword_recall, share_new
from variorum.generators.content_dilution.neighbours import Neighbours, caption_of, with_caption
from variorum.generators.content_dilution.predicted_words import seen
from variorum.generators.content_dilution.sentences import address, joined, thing, usable_frames, written
from variorum.generators.content_dilution.words import contains, keywords, latin, new_labels, words
from variorum.kit.corrupt.frames import Unusable, usable
from variorum.schemas.annotations import Annotations
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Generator, Use
from variorum.schemas.edit import Edit
from variorum.schemas.errors import RecipeError
from variorum.schemas.fields import each_once
from variorum.schemas.sample import Failure, Gate, Lender, Sample
from variorum.schemas.uses import Role

if TYPE_CHECKING:
    from variorum.arrays import Pixels

Source = Literal["text_keywords", "image_keywords", "both", "random_url", "nearest_caption"]
SOURCES: tuple[Source, ...] = get_args(Source)
OF_ENGLISH = ("text_keywords", "both", "nearest_caption")
"""Those that read the caption's words, or put an English one beside it."""
RECALLED = 0.5
"""Share of the keywords that must be in the text."""
AS_IT_WAS: Mapping[str, Json] = {"source": "original"}
ORIGINAL = "original.txt"
"""The member with the caption as it was, which all samples have."""


class Diluted(NamedTuple):
    """A text to add: its keywords, what else is recorded of it, and the picture whose words it has."""

    added: str
    keywords: tuple[str, ...]
    told: Mapping[str, Json]
    made_of: tuple[Lender, ...] = ()


class ContentDilution(Generator):
    """The picture as it is, and once for each source of text with a longer caption; no pixel changes.

    Attributes:
        sources: where the added text comes from: `text_keywords` (words of the caption), `image_keywords` (what a
            classifier sees), `both`, `random_url` (an address under example.org), `nearest_caption` (of the most
            similar other picture whose caption says no more about the class than this one's and names no other).
        keywords: at most this many in the added text.
        sentences: to write around them.
        max_words: of the added text.
        position: where it goes.
        classifier: alias of the classifier that names what is in the picture.
        encoder: alias of the encoder that finds similar pictures.
        neighbours: pictures of the source among which the most similar one is looked for.
        least_similarity: cosine of the embeddings from which another picture counts as similar.
        writer: alias of a vision-language model that writes the sentences around keywords; null for frames.
    """

    revision: ClassVar[int] = 3
    keeps_objects: ClassVar[bool] = True

    sources: tuple[Source, ...] = Field(default=SOURCES, min_length=1)
    keywords: int = Field(default=4, ge=1, le=12)
    sentences: int = Field(default=1, ge=1, le=3)
    max_words: int = Field(default=25, ge=12, le=200)
    position: Literal["append", "prepend"] = "append"
    classifier: str = "classifier_gate"
    encoder: str = "encoder_gate"
    neighbours: int = Field(default=1000, ge=2, le=100_000)
    least_similarity: float = Field(default=0.45, ge=-1, le=1)
    writer: str | None = None

    _once = field_validator("sources")(each_once("each source must be there once"))

    def uses(self) -> list[Use]:
        """Return the classifier, the encoder and the writer, where a source needs them; they decide on the texts."""
        needed: tuple[tuple[str | None, Role | None, set[str]], ...] = (
            (self.classifier, "classifier", {"image_keywords", "both"}),
            (self.encoder, "encoder", {"nearest_caption"}),
            (self.writer, None, {"text_keywords", "image_keywords", "both"}),
        )
        return [
            Use(alias, role, decides=True)
            for alias, role, sources in needed
            if alias is not None and sources & set(self.sources)
        ]

    def check(self, ctx: Context) -> None:
        """Raise RecipeError for a source without captions."""
        if ctx.source is not None and not ctx.source.captioned(ctx):
            raise RecipeError(
                f"content_dilution: the source {ctx.source.component_name()} has no captions; take one "
                "that has, such as sample_scenes with captions: true"
            )

    def generate(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Sample | Failure]:
        """Each sample's original and its diluted versions, or a Failure for each."""
        work = _Work(self, ctx)
        for sample in samples:
            yield from work.edited(sample)


class _Work:
    """One generator at work on one unit."""

    def __init__(self, settings: ContentDilution, ctx: Context) -> None:
        self._settings = settings
        self._ctx = ctx
        self._neighbours = Neighbours(ctx, settings.encoder, settings.neighbours, settings.least_similarity)

    @cached_property
    def _names(self) -> dict[str, str]:
        """Name of each class by id."""
        source = self._ctx.source
        return {info.id: info.name for info in source.classes(self._ctx)} if source is not None else {}

    @cached_property
    def _labels(self) -> tuple[str, ...]:
        return tuple(self._names.values())

    def _kin(self, sample: Sample, text: str) -> tuple[str, ...]:
        """Names that give the picture's classes away; of one without a class, kinds of what its caption names."""
        if sample.labels:
            return kin(tuple((label, self._names.get(label, label)) for label in sample.labels))
        return kin(tuple((name, f"{name}, {name.split()[-1]}") for name in keywords(text, len(text))))

    def edited(self, sample: Sample) -> Iterator[Sample | Failure]:
        settings, text = self._settings, caption_of(sample)
        wanted: list[tuple[str, dict[str, Json]]] = [(source, self._asked(source)) for source in settings.sources]
        of = Edit(settings, sample, self._ctx)
        try:
            image = usable(sample)
            if not text:
                raise Unusable("no_text", "the picture has no caption")
        except Unusable as error:
            for variant, asked in (("original", AS_IT_WAS), *wanted):
                yield of.skipped(error.reason, str(error), variant=variant, requested=asked)
            return
        yield replace(sample, extras={**sample.extras, ORIGINAL: text.encode()})
        for variant, asked in wanted:
            yield self._diluted(sample, image, text, variant, asked)

    def _asked(self, source: str) -> dict[str, Json]:
        """Return what decides the text of a source."""
        settings = self._settings
        asked: dict[str, Json] = {"source": source, "position": settings.position}
        if source != "random_url":
            asked["max_words"] = settings.max_words
        if source not in ("random_url", "nearest_caption"):
            asked |= {"keywords": settings.keywords, "sentences": settings.sentences, "writer": settings.writer}
        return asked

    def _diluted(
        self, sample: Sample, image: Pixels, text: str, variant: str, asked: dict[str, Json]
    ) -> Sample | Failure:
        of = Edit(self._settings, sample, self._ctx)
        if variant in OF_ENGLISH and not latin(text):
            detail = "most letters of the caption aren't Latin; keywords and sentences are English"
            return of.skipped("non_latin", detail, variant=variant, requested=asked)
        try:
            found = self._text(of, image, text, variant)
        except Unusable as error:
            status: Literal["failed", "ineligible"] = "failed" if error.reason == "no_answer" else "ineligible"
            return of.skipped(error.reason, str(error), variant=variant, requested=asked, status=status)
        whole = joined(text, found.added, append=self._settings.position == "append")
        recall = keyword_recall(found.added, found.keywords)
        labels = new_labels(found.added, text, self._labels)
        hints = new_labels(found.added, text, self._kin(sample, text))
        gates = {
            "verbatim": Gate(value=float(text in whole), limit=">= 1", passed=text in whole),
            "label_words": Gate(value=float(len(labels)), limit="<= 0", passed=not labels),
            "class_hints": Gate(value=float(len(hints)), limit="<= 0", passed=not hints),
        }
        if recall is not None:
            gates["keyword_recall"] = Gate(value=round(recall, 6), limit=f">= {RECALLED:g}", passed=recall >= RECALLED)
        return of.made(
            image,
            variant=variant,
            requested=asked,
            achieved={
                "words_added": len(found.added.split()),
                "keywords": list(found.keywords),
                "keyword_recall": None if recall is None else round(recall, 6),
                "share_new": round(share_new(found.added, text), 6),
                "self_bleu": round(bleu(found.added, text), 6),
                "new_labels": list(labels),
                "class_hints": list(hints),
                "contradiction": "unscored",
                **found.told,
            },
            gates=gates,
            extras=_members(sample, whole, text),
            purpose=variant,
            annotations=_annotated(sample, whole),
            digital_source_type=sample.digital_source_type,
            made_of=found.made_of,
        )

    def _text(self, of: Edit, image: Pixels, text: str, variant: str) -> Diluted:
        """The text to add. Raises Unusable if there is none."""
        settings = self._settings
        if variant == "random_url":
            return Diluted(address(of.rng(variant)), (), {})
        if variant == "nearest_caption":
            of.model(settings.encoder)
            most, related = settings.max_words, self._kin(of.sample, text)

            def fits(caption: str) -> bool:
                said = _cut(caption, most)
                return latin(said) and not new_labels(said, text, self._labels) and not new_labels(said, text, related)

            near = self._neighbours.nearest(of.sample, image, text, fits)
            if near is None:
                detail = "no picture is similar enough and has a caption that names no class which this one's doesn't"
                raise Unusable("no_neighbour", detail)
            told: dict[str, Json] = {"similarity": round(near.similarity, 4), "passed_over": near.passed_over}
            return Diluted(_cut(near.caption, most), (), told, near.made_of)
        chosen = self._keywords(of, image, text, variant)
        if not chosen:
            what = "the caption tells of nothing" if variant == "text_keywords" else "the classifier is sure of nothing"
            raise Unusable("no_keywords", f"{what}, or only of what names the class")
        if settings.writer is not None:
            writer = writing(settings.writer, of.model(settings.writer))
            asked = question(text, chosen, settings.sentences, settings.max_words)
            (answer,) = writer([image], [asked], most_tokens=TOKENS * settings.max_words)
            added = answered(answer, settings.max_words)
            if not words(added):
                raise Unusable("no_answer", "the writer gave no words")
        else:
            things = [thing(text, name) for name in chosen]
            choice = usable_frames(self._labels, self._kin(of.sample, text))
            added, _ = written(things, settings.sentences, settings.max_words, choice, of.rng(variant))
        return Diluted(added, tuple(chosen), {})

    def _keywords(self, of: Edit, image: Pixels, text: str, variant: str) -> list[str]:
        """Those of the caption and of the picture that don't name its classes, nor kinds of what the caption names."""
        most, allowed, related = self._settings.keywords, "" if of.sample.labels else text, self._kin(of.sample, text)
        mine = [] if variant == "image_keywords" else keywords(text, len(text))
        mine = [name for name in mine if not new_labels(name, allowed, related)][:most]
        if variant == "text_keywords":
            return mine
        alias = self._settings.classifier
        found = seen(alias, of.model(alias), image)
        room = self._settings.max_words - min(len(frame.split()) for frame in usable_frames(self._labels))
        found = [name for name in found if words(name) and len(name.split()) <= room]
        found = [name for name in found if not new_labels(name, text, self._labels)]
        found = [name for name in found if not new_labels(name, allowed, related)]
        if variant == "image_keywords":
            return found[:most]
        known = words(text)
        fresh = [name for name in found if not contains(known, words(name))]
        from_text = mine[: max(most - len(fresh), most - most // 2)]
        return (from_text + fresh)[:most]


def _cut(text: str, most: int) -> str:
    """The first words of a text."""
    return " ".join(text.split()[:most])


def _members(sample: Sample, whole: str, text: str) -> dict[str, bytes | Pixels]:
    found: dict[str, bytes | Pixels] = {**sample.extras, ORIGINAL: text.encode()}
    return {**found, "txt": whole.encode()} if "txt" in sample.extras else found


def _annotated(sample: Sample, whole: str) -> Annotations:
    if sample.annotations.caption():
        return with_caption(sample.annotations, whole)
    return sample.annotations

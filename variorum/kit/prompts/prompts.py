"""Prompts from class names, glosses and captions by templates, and checks that a set of templates can be used.

Of CLIP's eighty templates (`variorum/models/clip_templates.csv`), all of which ImageNet-G uses, 34 ask for drawings,
toys and the like, so a training set made with them contains what ImageNet-R and ImageNet-Sketch are meant to test, and
ten ask for a bad picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from string import Formatter
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator

from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import Sample

Named = Literal[
    "photo", "name", "name_gloss", "name_hypernym", "places", "neutral", "clip80", "clip80_verbatim", "caption"
]
"""`photo` is one template, `a photo of a …`; `neutral` is CLIP's 36 that ask for an ordinary photo; `clip80` is all of
CLIP's with corrected articles (`an origami apple`), `clip80_verbatim` as published; `caption` is the sample's own text.
`name`, `name_gloss`, `name_hypernym` and `places` stand in `PLAIN`."""
Group = Literal["neutral", "degradation", "domain_shift", "own"]

FIELDS = ("name", "gloss", "hypernym", "place", "caption")
PHOTO = "a photo of a {name}"
PLAIN = {
    "photo": PHOTO,
    "name": "{name}",
    "name_gloss": "{name}, {gloss}",
    "name_hypernym": "{name}, {hypernym}",
    "places": "{name} inside {place}",
}
"""Sets with one template; all but the first are after Sariyildiz et al., Fake It Till You Make It, CVPR 2023."""
UNLABELLED = "unlabelled", "it has no label to say which class to make"

ARTICLE = re.compile(r"(\ba|(?:^|(?<=[.!?] ))A) (?=([\w-]+))")
"""An article and the word after it; a capital A within a sentence is a letter, as in *vitamin A*."""
VOWEL = re.compile(
    r"(?!eu|ewe|one\b|once|u[bcfhjkqrst][aeiou]|uni(?!n|m))[aeiou]|hour|honest|hono|heir|8|1[18](?!\d)", re.IGNORECASE
)
"""Words that take *an* because of their sound: an umbrella, an hourglass; but a unicycle, a European, a ukulele."""
SPELT = re.compile(r"(?:[A-Z]{1,3}|[A-Z](?![AEIOU])[A-Z](?![AEIOU])[A-Z]+|[a-z](?=-))(?![a-zA-Z])")
"""Words that are spelt out when read: X-ray, F-16, SLR, HDMI, x-ray; NASA is read as a word."""


@dataclass(frozen=True, slots=True)
class Template:
    """A template.

    Attributes:
        id: its name in records.
        group: what kind of picture it asks for.
        text: with fields in braces.
        articles: whether *a* becomes *an* where the next word needs it.
    """

    id: str
    group: Group
    text: str
    articles: bool = True

    @property
    def fields(self) -> frozenset[str]:
        """Names of the fields in the text, out of `FIELDS`."""
        return frozenset(name for _, name, _, _ in Formatter().parse(self.text) if name is not None)

    def prompt(self, words: Mapping[str, str]) -> str:
        """The text with its fields filled in and white space reduced to single blanks."""
        text = " ".join(self.text.format_map(dict(words)).split())
        return articled(text) if self.articles else text


@dataclass(frozen=True, slots=True)
class Words:
    """A class's name, gloss (what it is, in a few words) and hypernym (what kind of thing it is), `""` if unknown."""

    name: str
    gloss: str = ""
    hypernym: str = ""

    @property
    def by_field(self) -> dict[str, str]:
        """By the names of template fields."""
        return {"name": self.name, "gloss": self.gloss, "hypernym": self.hypernym}


class Wording(NamedTuple):
    """The templates of a recipe, and the words for each of the source's classes by id."""

    templates: tuple[Template, ...]
    words: Mapping[str, Words]


def articled(text: str) -> str:
    """The text with *an* in place of *a* where the next word starts with a vowel sound."""
    return ARTICLE.sub(lambda found: found[1] + ("n " if takes_an(found[2]) else " "), text)


def takes_an(word: str) -> bool:
    """Return whether a word takes *an*."""
    if SPELT.match(word):
        return word[0].upper() in "AEFHILMNORSX"
    return VOWEL.match(word) is not None


def check_templates(choice: Named | tuple[str, ...]) -> Named | tuple[str, ...]:
    """The choice. Raises ValueError for an empty list or text, an unknown field, or a text without a class's field."""
    if isinstance(choice, str):
        return choice
    if not choice:
        raise ValueError("there must be at least one template")
    for text in choice:
        try:
            found = Template("", "own", text).fields
        except ValueError as error:
            raise ValueError(f"{text!r} is no template: {error}") from None
        unknown = sorted(found - set(FIELDS))
        if unknown or not found - {"place"}:
            what = ", ".join(unknown) or "no field that depends on the picture"
            known = ", ".join(f"{{{name}}}" for name in FIELDS)
            raise ValueError(f"{text!r} has {what}; a template has one or more of {known}")
    return choice


Templates = Annotated[Named | tuple[str, ...], AfterValidator(check_templates)]
"""A recipe's choice: a named set, or its own texts."""


def template_set(choice: Named | tuple[str, ...]) -> tuple[Template, ...]:
    """The templates that a recipe's choice stands for."""
    if not isinstance(choice, str):
        return tuple(Template(f"own{number}", "own", text) for number, text in enumerate(choice))
    if choice in PLAIN:
        return (Template(choice, "neutral", PLAIN[choice]),)
    if choice == "caption":
        return (Template("caption", "own", "{caption}", articles=False),)
    known = [Template(item.id, item.group, item.text, choice != "clip80_verbatim") for item in clip_templates()]
    return tuple(item for item in known if choice != "neutral" or item.group == "neutral")


@lru_cache(maxsize=1)
def clip_templates() -> tuple[Template, ...]:
    """CLIP's eighty templates, in their published order."""
    from variorum.models.imagenet_classes import clip_templates as published

    return tuple(Template(row["id"], row["group"], row["template"]) for row in published())  # type: ignore[arg-type]


@lru_cache(maxsize=1)
def places() -> tuple[str, ...]:
    """Sixty ordinary scenes for `{place}`; each picture gets one by its seed."""
    return tuple(Path(__file__).with_name("places.txt").read_text(encoding="utf-8").split("\n")[:-1])


def class_words(component: str, names: Mapping[str, str], ctx: Context) -> dict[str, Words]:
    """The words for each class: its name from `names` or else the source, and for ImageNet's gloss and hypernym.

    Raises:
        RecipeError: `names` has a class that the source doesn't have, or a class has no name.
    """
    from variorum.models.imagenet_classes import index_of, is_wnid, table

    infos = ctx.source.classes(ctx) if ctx.source else ()
    if unknown := set(names) - {info.id for info in infos}:
        raise RecipeError(f"{component}: names: the source has no class {min(unknown)!r}")
    words = {}
    for info in infos:
        name = names.get(info.id, info.name).strip()
        if not name:
            raise RecipeError(f"{component}: class {info.id!r} has no name; give it one in names")
        known = table()[index_of(info.id) or 0] if is_wnid(info.id) else None
        words[info.id] = Words(name, known.gloss, known.hypernym) if known else Words(name)
    return words


def wording_for(component: str, choice: Named | tuple[str, ...], names: Mapping[str, str], ctx: Context) -> Wording:
    """The templates that a recipe's choice stands for and the words for the source's classes, checked together.

    Raises:
        RecipeError: as `class_words` and `check_prompts`.
    """
    templates, words = template_set(choice), class_words(component, names, ctx)
    check_prompts(component, templates, words)
    return Wording(templates, words)


def prompt_for(
    component: str, sample: Sample, number: int, wording: Wording, ctx: Context
) -> tuple[Template, str, tuple[str, str] | None]:
    """Template and prompt of a sample's picture `number`, by its seed.

    Returns:
        The template, the prompt, and the problem, in a word and in a sentence, that rules a prompt out.

    Raises:
        RecipeError: the label isn't one of the source's classes.
    """
    templates, words = wording
    draw = ctx.seed_for(component, sample.id, f"template/{number}") if len(templates) > 1 else 0
    template, found = templates[draw % len(templates)], dict[str, str]()
    if template.fields & {"name", "gloss", "hypernym"}:
        if not sample.labels:
            return template, "", UNLABELLED
        label = sample.labels[0]
        if label not in words:
            raise RecipeError(f"{component}: the source doesn't name class {label!r}, so there is no prompt for it")
        found = words[label].by_field
    if "place" in template.fields:
        found["place"] = f"a {places()[ctx.seed_for(component, sample.id, f'place/{number}') % len(places())]}"
    if "caption" in template.fields:
        text = sample.extras.get("txt")
        kept = text.decode("utf-8", "replace") if isinstance(text, bytes) else sample.annotations.caption()
        found["caption"] = kept.strip()
        if not found["caption"]:
            return template, "", ("empty_prompt", "it has no caption (txt)")
    return template, template.prompt(found), None


def check_prompts(component: str, templates: Sequence[Template], words: Mapping[str, Words]) -> None:
    """Refuse templates that give two classes the same prompt, or that a class can't fill.

    Raises:
        RecipeError: naming the two classes and their prompt, or the class and the missing field.
    """
    for wanted in {template.fields: template for template in templates}.values():
        if "caption" in wanted.fields or not wanted.fields:
            continue
        seen: dict[str, str] = {}
        for identity, item in words.items():
            found = {**item.by_field, "place": "a place"}
            if missing := [field for field in FIELDS if field in wanted.fields and not found[field]]:
                raise RecipeError(
                    f"{component}: class {identity!r} has no {missing[0]}, which {wanted.text!r} asks for"
                )
            prompt = wanted.prompt(found)
            other = seen.setdefault(prompt.casefold(), identity)
            if other != identity:
                raise RecipeError(
                    f"{component}: classes {other!r} and {identity!r} would have the same prompt, {prompt!r}; give "
                    "them different names, or use a template with {gloss}"
                )


def leak_warning(component: str, templates: Iterable[Template]) -> str:
    """A warning about templates that don't ask for photographs; `""` when all do."""
    chosen = list(templates)
    shifted = sum(template.group == "domain_shift" for template in chosen)
    if not shifted:
        return ""
    return (
        f"{component}: {shifted} of {len(chosen)} templates ask for sculptures, sketches, toys and the like, which "
        "ImageNet-R and ImageNet-Sketch test; don't train on these pictures and test there, or use `templates: neutral`"
    )

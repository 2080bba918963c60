"""Prompts out of class names, glosses and captions, by templates; and what makes a set of them unusable.

The eighty templates in `clip_templates.csv` are CLIP's for ImageNet (openai/CLIP, MIT; Radford et al., ICML 2021),
which ImageNet-G drew from without looking: 34 of them ask for drawings, toys and the like, so a training set made with
them has seen what ImageNet-R and ImageNet-Sketch are meant to test, and ten ask for a bad picture.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from string import Formatter
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator

from schemas.component import Context
from schemas.errors import RecipeError
from schemas.sample import Sample

Named = Literal[
    "photo", "name", "name_gloss", "name_hypernym", "places", "neutral", "clip80", "clip80_verbatim", "caption"
]
"""`photo` is one template, `a photo of a …`; `neutral` CLIP's 36 that ask for an ordinary photo; `clip80` all, with
articles put right (`an origami apple`) and `clip80_verbatim` as published; `caption` is the sample's own text. `name`,
`name_gloss`, `name_hypernym` and `places` are the bare ones of `PLAIN`."""
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
"""Sets of one template, all but the first after Sariyildiz et al., Fake It Till You Make It, CVPR 2023."""
UNLABELLED = "unlabelled", "it has no label to say which class to make"

ARTICLE = re.compile(r"(\ba|(?:^|(?<=[.!?] ))A) (?=([\w-]+))")
"""An article and the word after it; a capital A amid a sentence is a letter, as in *vitamin A*."""
VOWEL = re.compile(
    r"(?!eu|ewe|one\b|once|u[bcfhjkqrst][aeiou]|uni(?!n|m))[aeiou]|hour|honest|hono|heir|8|1[18](?!\d)", re.IGNORECASE
)
"""Words that take *an*, by how they sound: an umbrella, an hourglass; a unicycle, a European, a ukulele, a ewe."""
SPELT = re.compile(r"(?:[A-Z]{1,3}|[A-Z](?![AEIOU])[A-Z](?![AEIOU])[A-Z]+|[a-z](?=-))(?![a-zA-Z])")
"""Words that are read letter by letter: X-ray, F-16, SLR, HDMI, x-ray; but NASA is read as a word."""


@dataclass(frozen=True, slots=True)
class Template:
    """One way to ask: its name for the record, what it asks for besides the class, the text, whether articles bend."""

    id: str
    group: Group
    text: str
    articles: bool = True

    @property
    def fields(self) -> frozenset[str]:
        """The words that it wants, of `FIELDS`."""
        return frozenset(name for _, name, _, _ in Formatter().parse(self.text) if name is not None)

    def prompt(self, words: Mapping[str, str]) -> str:
        """The text with its words in place; white space is one blank."""
        text = " ".join(self.text.format_map(dict(words)).split())
        return articled(text) if self.articles else text


@dataclass(frozen=True, slots=True)
class Words:
    """What a class is called, what it is in a few words, and what kind of thing; an empty text is none."""

    name: str
    gloss: str = ""
    hypernym: str = ""

    @property
    def by_field(self) -> dict[str, str]:
        """As a template's words."""
        return {"name": self.name, "gloss": self.gloss, "hypernym": self.hypernym}


class Wording(NamedTuple):
    """The templates of a recipe, and what the source's classes are called."""

    templates: tuple[Template, ...]
    words: Mapping[str, Words]


def articled(text: str) -> str:
    """The text with *an* for *a* where the next word starts with the sound of a vowel."""
    return ARTICLE.sub(lambda found: found[1] + ("n " if takes_an(found[2]) else " "), text)


def takes_an(word: str) -> bool:
    """Whether *an* goes before a word."""
    if SPELT.match(word):
        return word[0].upper() in "AEFHILMNORSX"
    return VOWEL.match(word) is not None


def check_templates(choice: Named | tuple[str, ...]) -> Named | tuple[str, ...]:
    """Raises ValueError for an empty list or text, an unknown field, or a text that is the same for every class."""
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
            what = ", ".join(unknown) or "nothing of the picture's own"
            known = ", ".join(f"{{{name}}}" for name in FIELDS)
            raise ValueError(f"{text!r} has {what}; a template has one or more of {known}")
    return choice


Templates = Annotated[Named | tuple[str, ...], AfterValidator(check_templates)]
"""A recipe's choice: a named set, or texts of one's own."""


def template_set(choice: Named | tuple[str, ...]) -> tuple[Template, ...]:
    """The templates behind a recipe's choice."""
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
    """CLIP's eighty, in their own order."""
    with Path(__file__).with_name("clip_templates.csv").open(encoding="utf-8", newline="") as file:
        return tuple(Template(row["id"], row["group"], row["template"]) for row in csv.DictReader(file))  # type: ignore[arg-type]


@lru_cache(maxsize=1)
def places() -> tuple[str, ...]:
    """Where `{place}` puts things: sixty ordinary scenes, of which a picture gets one by its seed."""
    return tuple(Path(__file__).with_name("places.txt").read_text(encoding="utf-8").split("\n")[:-1])


def class_words(component: str, names: Mapping[str, str], ctx: Context) -> dict[str, Words]:
    """What each class is called: by `names`, else by the source. ImageNet's have glosses and hypernyms.

    Raises:
        RecipeError: when `names` has a class that the source hasn't, or a class has no name at all.
    """
    from generators.sources.imagenet import index_of, is_wnid, table

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


def wording(component: str, choice: Named | tuple[str, ...], names: Mapping[str, str], ctx: Context) -> Wording:
    """The templates behind a recipe's choice and the source's classes, once they are sure to go together.

    Raises:
        RecipeError: as `class_words` and `check_prompts`.
    """
    templates, words = template_set(choice), class_words(component, names, ctx)
    check_prompts(component, templates, words)
    return Wording(templates, words)


def described(
    component: str, sample: Sample, number: int, wording: Wording, ctx: Context
) -> tuple[Template, str, tuple[str, str]]:
    """The template that a sample's picture `number` gets by its seed, the prompt, and a reason why there is none.

    Raises:
        RecipeError: for a label that isn't among the classes.
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
        found["caption"] = text.decode("utf-8", "replace").strip() if isinstance(text, bytes) else ""
        if not found["caption"]:
            return template, "", ("empty_prompt", "it has no caption (txt)")
    return template, template.prompt(found), ("", "")


def check_prompts(component: str, templates: Sequence[Template], words: Mapping[str, Words]) -> None:
    """Refuse what would give two classes one prompt, or a class none.

    Raises:
        RecipeError: naming two classes and their common prompt, or a class without a word that a template wants.
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
                    f"{component}: classes {other!r} and {identity!r} would have one prompt, {prompt!r}, and different "
                    "labels; give them names that differ, or a template with {gloss}"
                )


def leak_warning(component: str, templates: Iterable[Template]) -> str:
    """What to know of templates that ask for something else than a photo; empty when none does."""
    chosen = list(templates)
    shifted = sum(template.group == "domain_shift" for template in chosen)
    if not shifted:
        return ""
    return (
        f"{component}: {shifted} of {len(chosen)} templates ask for sculptures, sketches, toys and the like: a model "
        "trained on these pictures has seen what ImageNet-R and ImageNet-Sketch test; `templates: neutral` has none"
    )

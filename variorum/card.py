"""The data card: every number in it comes from the manifest, the table or an evaluation's file, none is typed."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from schemas.errors import RecipeError
from schemas.manifest import Manifest
from schemas.recipe import Recipe
from variorum.contact_sheet import contact_sheet, variants
from variorum.features import front_matter
from variorum.funnel import Group, funnel, plot, why, worst
from variorum.store import Store
from variorum.tables import summary_rows

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def write_card(recipe: Recipe, manifest: Manifest, store: Store) -> str:
    """Render the card and the contact sheet and put both, with the recipe, beside the manifest; returns the card."""
    store.write_beside(manifest, "contact_sheet.png", contact_sheet(manifest, store))
    store.write_beside(manifest, "recipe.yaml", yaml.safe_dump(made_by(recipe, manifest), sort_keys=False).encode())
    if manifest.ledger:
        store.write_beside(manifest, "funnel.png", plot(funnel(manifest, store)))
    text = render_card(recipe, manifest, store)
    store.write_beside(manifest, "README.md", text.encode())
    return text


def render_card(recipe: Recipe, manifest: Manifest, store: Store) -> str:
    """The card's Markdown with the Hub's YAML header.

    Raises:
        RecipeError: no template of the recipe's name in data_cards/.
    """
    names = [name for name in _templates() if not name.startswith("_")]
    if recipe.card.template not in names:
        raise RecipeError(f"card.template: no {recipe.card.template!r} in data_cards/; there are: {', '.join(names)}")
    return _render(
        recipe.card.template,
        header=yaml.safe_dump(card_header(recipe, manifest), sort_keys=False, allow_unicode=True, width=1000),
        recipe=recipe,
        manifest=manifest,
        digest=manifest.digest(),
        rows=summary_rows(manifest),
        accepted=sum(shard.samples for shard in manifest.shards.get("test", [])),
        quarantined=sum(shard.samples for shard in manifest.shards.get("quarantine", [])),
        size=sum(shard.size for shards in manifest.shards.values() for shard in shards),
        evaluations=render_evaluations(recipe, manifest, store),
        curation=render_curation(manifest, store),
        made_by=yaml.safe_dump(made_by(recipe, manifest), sort_keys=False, width=100, default_flow_style=None).strip(),
    )


def made_by(recipe: Recipe, manifest: Manifest) -> dict[str, Any]:
    """What the edition was made with: the recipe without where data lies, and the steps of the ledger it follows."""
    return {**recipe.identity(), **({"curate": manifest.ledger.curate} if manifest.ledger else {})}


def render_curation(manifest: Manifest, store: Store) -> str:
    """What curation did to a release as Markdown; empty for an edition that it didn't touch."""
    if manifest.ledger is None:
        return ""
    base, _, number = manifest.version.rpartition("-r")
    found = funnel(manifest, store)
    stages, figures, known = dict(found.stages), manifest.ledger.figures, _templates()
    return _render(
        "_curation",
        manifest=manifest,
        base=base,
        number=number,
        judged=stages["passed the checks"],
        kept=stages["kept by curation"],
        funnel=found,
        tables={
            kind: (*worst(groups), sum(groups.values(), Group()))
            for kind, groups in found.groups.items()
            if len(groups) > 1
        },
        detectors=render_detectors(manifest),
        steps=[
            _render(f"_{step}", figures=figures[step], manifest=manifest) for step in figures if f"_{step}" in known
        ],
        figures=list(flat_figures({step: found for step, found in figures.items() if f"_{step}" not in known})),
    )


def render_detectors(manifest: Manifest) -> str:
    """How much each detector of a release flags and how far they agree; empty where there are none."""
    found = manifest.ledger.detectors if manifest.ledger else {}
    if not found:
        return ""
    pairs = {tuple(pair["of"]): pair for pair in found["agreement"]}
    return _render("_detectors", **found, pairs=pairs, names=dict(manifest.classes))


def flat_figures(figures: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """(step, figure, value) of what steps say of themselves; lists and long tables stay in the ledger.

    A step with a template `_<step>.md.j2` in data_cards/ has a section of its own instead.
    """
    for step, values in figures.items():
        for name, value in values.items():
            if isinstance(value, Mapping):
                short = len(value) <= 6 and not any(isinstance(item, Mapping | list | tuple) for item in value.values())
                if short and value:
                    yield step, name.replace("_", " "), ", ".join(f"{key} {_text(item)}" for key, item in value.items())
            elif not isinstance(value, list | tuple):
                yield step, name.replace("_", " "), _text(value)


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "–", True: "yes", False: "no"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def render_evaluations(recipe: Recipe, manifest: Manifest, store: Store) -> str:
    """The evaluations' figures as Markdown, each by the template `_<evaluation>.md.j2` in data_cards/."""
    known = _templates()
    parts = [
        _render(f"_{name}", figures=kept["figures"], models=kept["models"], order=variants(manifest, store))
        for name, kept in evaluations(recipe, manifest, store).items()
        if f"_{name}" in known
    ]
    return "\n".join(parts)


def _templates() -> list[str]:
    folder = importlib.resources.files("data_cards")
    return sorted(item.name.removesuffix(".md.j2") for item in folder.iterdir() if item.name.endswith(".md.j2"))


def _render(template: str, **values: Any) -> str:
    import jinja2

    folder = importlib.resources.files("data_cards")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text()),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - Markdown; what comes from data goes through the `cell` filter
    )
    environment.filters["cell"] = table_cell
    environment.filters["pin"] = short_pin
    environment.filters["why"] = why
    environment.filters["two_digits"] = lambda number: "–" if number is None else f"{number:.2f}"
    environment.filters["percent"] = percent
    return environment.get_template(f"{template}.md.j2").render(**values)


def card_header(recipe: Recipe, manifest: Manifest) -> dict[str, Any]:
    """The YAML header: licence, names, size and the types of the columns."""
    accepted = sum(shard.samples for shard in manifest.shards.get("test", []))
    return {
        "license": "other",
        "license_name": "as-listed-per-picture",
        "pretty_name": recipe.card.title or manifest.dataset,
        "task_categories": ["image-classification"],
        "size_categories": [next((name for limit, name in SIZES if accepted < limit), "n>1M")],
        "tags": ["webdataset", "robustness", "variorum"],
        **front_matter(manifest),
    }


def evaluations(recipe: Recipe, manifest: Manifest, store: Store) -> dict[str, Any]:
    """By name, the `figures` of the recipe's evaluations of this edition, and the pins of the `models` measured."""
    found = {}
    for evaluation in recipe.evaluate:
        name = evaluation.component_name()
        if data := store.read_beside(manifest, f"evaluation-{name}.json"):
            kept = json.loads(data)
            if kept.get("edition") == manifest.digest():  # a -dev version may have moved since
                found[name] = kept
    return found


def short_pin(pin: str) -> str:
    """`name@sha256:0123456789ab` of a pin; the whole of it stands in the manifest."""
    name, _, weights = pin.partition("+")[0].partition("@")
    kind, colon, number = weights.rpartition(":")
    return f"{name}@{kind}{colon}{number[:12]}" if weights else name


def percent(share: float | None, digits: int = 1) -> str:
    """A share for a table, – where there is none."""
    return "–" if share is None else f"{100 * share:.{digits}f}"


def table_cell(value: object) -> str:
    """Text from data, safe inside a Markdown table: no markup, no line breaks."""
    text = " ".join(str(value).split())
    for sign, escaped in (
        ("&", "&amp;"),
        ("<", "&lt;"),
        (">", "&gt;"),
        ("|", "&#124;"),
        ("`", "&#96;"),
        ("[", "&#91;"),
    ):
        text = text.replace(sign, escaped)
    return text

"""The data card. All its numbers come from the manifest, the table and the evaluations' files.

Whatever comes from data, other people's ledgers and figures included, stands in it without markup. Title, summary and
citation are the author's own Markdown.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from variorum.edition.editions import release_number, write_beside
from variorum.edition.store import Store
from variorum.reports.card_plots import evaluation_plots, sheet_text, shown, write_plots
from variorum.reports.card_record import card_key, put_card
from variorum.reports.class_plot import FILE as CLASSES
from variorum.reports.class_plot import class_counts, class_plot, class_text
from variorum.reports.contact_sheet import contact_sheet
from variorum.reports.contents import Contents, contents, formats, split_table, summary_rows, tasks
from variorum.reports.croissant import write_croissant
from variorum.reports.figures import Shown, flat_figures, markdown, table_cell
from variorum.reports.funnel import Group, funnel, plot, worst
from variorum.reports.given import Sealed, given_files, given_pictures
from variorum.reports.glance import glance
from variorum.reports.hub_types import front_matter, record
from variorum.reports.ledger_figures import findings, step_figures
from variorum.reports.licences import terms_of
from variorum.reports.limits import limits
from variorum.reports.rows import edition_rows, variants
from variorum.reports.standing import render_leaderboard
from variorum.reports.templates import card_template, check_template, own, showable, templates, templates_of
from variorum.reports.templates import render as _render
from variorum.reports.versions import since
from variorum.reports.warned import TAG, gate
from variorum.reports.words import words_of_reason
from variorum.schemas.errors import CorruptShard
from variorum.schemas.manifest import QUARANTINE, Manifest
from variorum.schemas.recipe import Recipe
from variorum.stages.evaluate import read_figures

WARNINGS = "warnings"
"""An evaluation's figure that is a list of sentences, which stand first on the card."""
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def write_card(recipe: Recipe, manifest: Manifest, store: Store) -> str:
    """Write the card, which it returns, and all that belongs to it beside the manifest.

    These are contact sheet, recipe, plots, a release's funnel, what components give, the index of the pictures and
    `croissant.json`.
    """
    key, files = card_key(recipe, manifest, store), dict[str, str]()

    def write(name: str, data: bytes) -> None:
        files[name] = hashlib.sha256(data).hexdigest()
        write_beside(manifest, name, data, store)

    rows = edition_rows(manifest, store)
    found, edition = evaluations(recipe, manifest, store), Sealed(manifest, rows, store)
    write("contact_sheet.png", contact_sheet(manifest, store, rows))
    given = given_pictures(edition, recipe.evaluate) | given_files(recipe.evaluate, found, edition)
    for name, data in given.items():
        write(name, data)
    write("recipe.yaml", yaml.safe_dump(made_by(recipe, manifest), sort_keys=False).encode())
    write_plots(recipe.evaluate, found, manifest, store, write)
    if (classes := class_plot(class_counts(manifest, rows))) is not None:
        write(CLASSES, classes)
    if manifest.ledger:
        write("funnel.png", plot(funnel(manifest, rows)))
    said = [line for _, line in findings(manifest.ledger)] if manifest.ledger else []
    write_croissant(recipe.card, manifest, rows, said, write)
    text = render_card(recipe, manifest, store, rows)
    write("README.md", text.encode())
    put_card(key, files, store)
    return text


def render_card(recipe: Recipe, manifest: Manifest, store: Store, rows: Any = None) -> str:
    """The card's Markdown with the Hub's YAML header.

    Raises:
        RecipeError: the template is missing.
    """
    check_template(recipe)
    rows = edition_rows(manifest, store) if rows is None else rows
    made, text = _made_text(made_by(recipe, manifest)), recipe.card
    return _render(
        card_template(recipe),
        header=own(header_text(card_header(recipe, manifest, contents(rows)))),
        title=own(text.title or manifest.dataset),
        summary=own(text.summary),
        citation=own(text.citation),
        sheet=own(f"![{table_cell(sheet_text(manifest))}](contact_sheet.png)"),
        **_facts(manifest, rows),
        warnings=warnings(evaluations(recipe, manifest, store)),
        generate=recipe.generate,
        formats=formats(manifest),
        fields=list(record(manifest)),
        since=since(manifest, store),
        evaluations=own(
            render_evaluations(recipe, manifest, store)
            + render_leaderboard(manifest, store)
            + _render("parts/not_measured", asked=[one.component_name() for one in recipe.evaluate])
        ),
        curation=own(render_curation(manifest, rows, store, templates_of(recipe))),
        made_by=own(made),
        fence="`" * max(3, *(len(run) + 1 for run in re.findall("`+", made + text.citation) or [""])),
    )


def _facts(manifest: Manifest, rows: Any) -> dict[str, Any]:
    """Collect the facts that the manifest and the rows alone give."""
    counts = class_counts(manifest, rows)
    return {
        "manifest": manifest,
        "digest": manifest.digest(),
        "rows": summary_rows(manifest),
        "accepted": manifest.pictures(),
        "quarantined": sum(shard.samples for shard in manifest.shards.get(QUARANTINE, [])),
        "size": sum(shard.size for shards in manifest.shards.values() for shard in shards),
        "found": contents(rows),
        "splits": split_table(manifest),
        "terms": terms_of(manifest),
        "limits": limits(manifest),
        "glance": glance(manifest, rows, counts),
        "reasons": _reasons(manifest),
        "by_class": own(f"![{table_cell(text)}]({CLASSES})") if (text := class_text(counts)) else "",
    }


def _reasons(manifest: Manifest) -> dict[str, str]:
    """By reason for which pictures aren't in the edition, a sentence that says what it means, where there is one."""
    codes = {key.partition(":")[::2] for counts in manifest.counts.values() for key in counts if ":" in key}
    return {reason: said for status, reason in sorted(codes) if (said := words_of_reason(status, reason))}


def render_figures(manifest: Manifest, store: Store, rows: Any, evaluated: Sequence[str]) -> str:
    """Render the figures of a card that depend on no recipe, whatever its template.

    Args:
        manifest: the edition.
        store: its store.
        rows: its `edition_rows`.
        evaluated: names of evaluations besides those that have a template; those that haven't been run are left out.

    Raises:
        CorruptShard: figures of a ledger or an evaluation can't be shown.
    """
    names = sorted({*evaluated, *(name[1:] for name in templates() if name.startswith("_"))})
    found = {name: kept for name in names if (kept := read_figures(name, manifest, store))}
    curation = own(render_curation(manifest, rows, store, templates()))
    made = own(_made_text({**manifest.recipe, **_curated(manifest)}))
    text = _render("parts/figures", **_facts(manifest, rows), curation=curation, made_by=made)
    return "\n".join([text, *(text for text, _ in _shown_evaluations(found, {}, manifest, templates()))])


def header_text(header: dict[str, Any]) -> str:
    """The card's YAML header, whose lines can't be taken for its end. Names of classes share lines."""

    class Dumper(yaml.SafeDumper):
        def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> Any:
            numbered = len(mapping) > 0 and all(str(key).isdecimal() for key in mapping)
            return super().represent_mapping(tag, mapping, flow_style=numbered or flow_style)

    options: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": 1000, "default_flow_style": False}
    return str(yaml.dump(header, Dumper=Dumper, **options))


def made_by(recipe: Recipe, manifest: Manifest) -> dict[str, Any]:
    """The recipe without locations of data and, for a release, the steps of its ledger."""
    return {**recipe.identity(), **_curated(manifest)}


def _curated(manifest: Manifest) -> dict[str, Any]:
    return {"curate": manifest.ledger.curate} if manifest.ledger else {}


def _made_text(made: dict[str, Any]) -> str:
    return yaml.safe_dump(made, sort_keys=False, width=100, default_flow_style=None).strip()


def render_curation(manifest: Manifest, rows: Any, store: Store, known: Mapping[str, str | Path]) -> str:
    """The effect of curation on a release, as Markdown; `""` for other editions. `known` has the templates of steps."""
    if manifest.ledger is None:
        return ""
    number = release_number(manifest.version)
    base = manifest.version.removesuffix(f"-r{number}")
    found = funnel(manifest, rows)
    stages, figures = dict(found.stages), manifest.ledger.figures
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
        detectors=own(render_detectors(manifest)),
        steps=[
            own(_render(known[f"_{step}"], figures=figures[step], manifest=manifest))
            for step in figures
            if f"_{step}" in known
        ],
        findings=[line for _, line in findings(manifest.ledger)],
        figures=step_figures(manifest.ledger, known),
    )


def warnings(found: Mapping[str, Any]) -> list[str]:
    """What evaluations warn of that a reader should know before anything else."""
    said = [kept["figures"].get(WARNINGS) for kept in found.values()]
    return [str(line) for lines in said if isinstance(lines, list) for line in lines]


def render_detectors(manifest: Manifest) -> str:
    """Render what each detector of a release flags and how far they agree, as Markdown; `""` without detectors."""
    found = manifest.ledger.detectors if manifest.ledger else {}
    if not found:
        return ""
    if not {"flagged", "agreement", "classes"} <= found.keys() or not isinstance(found["agreement"], list):
        raise CorruptShard(f"the ledger of {manifest.dataset}@{manifest.version} has no figures of detectors")
    with showable("the detectors' figures"):
        pairs = {tuple(pair["of"]): pair for pair in found["agreement"]}
    parts = {name: found[name] for name in ("flagged", "classes")}
    return _render("_detectors", **parts, pairs=pairs, names=dict(manifest.classes))


def render_evaluations(recipe: Recipe, manifest: Manifest, store: Store) -> str:
    """The evaluations' figures as Markdown, by their templates or as plain tables."""
    return "\n".join(text for text, _ in _evaluation_parts(recipe, manifest, evaluations(recipe, manifest, store)))


def evaluation_tables(recipe: Recipe, manifest: Manifest, found: Mapping[str, Any]) -> list[Shown]:
    """The titled tables of the `evaluations` found, as in the card."""
    parts = _evaluation_parts(recipe, manifest, found)
    return [table for _, tables in parts for table in tables if table.title]


def _evaluation_parts(
    recipe: Recipe, manifest: Manifest, found: Mapping[str, Any]
) -> Iterator[tuple[str, list[Shown]]]:
    drawn = evaluation_plots(recipe.evaluate, found, variants(manifest))
    return _shown_evaluations(found, drawn, manifest, templates_of(recipe))


def _shown_evaluations(
    found: Mapping[str, Any], drawn: Mapping[str, Any], manifest: Manifest, known: Mapping[str, str | Path]
) -> Iterator[tuple[str, list[Shown]]]:
    """Text and tables of each evaluation, by its template or as a plain table."""
    order = variants(manifest)
    for name, kept in found.items():
        tables: list[Shown] = []
        plots = {plot: own(text) for plot, text in shown(name, drawn.get(name, {})).items()}
        if f"_{name}" in known:
            values = {"figures": kept["figures"], "models": kept["models"], "order": order, "plots": plots}
            values["counts"] = summary_rows(manifest)
            yield _render(known[f"_{name}"], tables, **values), tables
        else:
            flat = Shown(name, ("figure", "value"), flat_figures(kept["figures"]))
            parts = [f"### {name}", *plots.values(), markdown(flat.head, flat.rows)]
            yield "\n\n".join(parts) + "\n", [flat]


def card_header(recipe: Recipe, manifest: Manifest, found: Contents) -> dict[str, Any]:
    """The YAML header: licence, names, tasks, size, types of the columns; with a warning, the gate."""
    accepted = manifest.pictures()
    return {
        **terms_of(manifest).header(),
        "pretty_name": recipe.card.title or manifest.dataset,
        **({"task_categories": known} if (known := tasks(manifest, found)) else {}),
        "size_categories": [next((name for limit, name in SIZES if accepted < limit), "n>1M")],
        "tags": ["webdataset", "robustness", "variorum", *([TAG] if manifest.warning else [])],
        **gate(manifest),
        **front_matter(manifest),
    }


def evaluations(recipe: Recipe, manifest: Manifest, store: Store) -> dict[str, Any]:
    """By evaluation, its `figures` on this edition and the pins of its `models`, if it has been run."""
    names = [evaluation.component_name() for evaluation in recipe.evaluate]
    return {name: kept for name in names if (kept := read_figures(name, manifest, store))}

"""The data card. All its numbers come from the manifest, the table and the evaluations' files.

Whatever comes from data, other people's ledgers and figures included, stands in it without markup. Title, summary and
citation are the author's own Markdown.
"""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import yaml

from variorum.edition.editions import release_number, write_beside
from variorum.edition.store import Store
from variorum.edition.tables import summary_rows
from variorum.report.card_plots import evaluation_plots, sheet_text, shown, write_plots
from variorum.report.contact_sheet import contact_sheet
from variorum.report.contents import Contents, contents, formats, split_table, tasks
from variorum.report.croissant import write_croissant
from variorum.report.figures import Row, Shown, fixed, flat_figures, inert, interval, markdown, table_cell
from variorum.report.funnel import Group, funnel, plot, why, worst
from variorum.report.hub_types import front_matter, record
from variorum.report.mark_results import EVALUATION, write_mark_results
from variorum.report.rows import edition_rows, variants
from variorum.report.standing import render_leaderboard
from variorum.report.strips import FILE as STRIPS
from variorum.report.strips import mark_strips, strips_text
from variorum.report.versions import since
from variorum.report.warned import TAG, gate
from variorum.schemas.errors import CorruptShard, RecipeError
from variorum.schemas.lookup import cut
from variorum.schemas.manifest import QUARANTINE, Ledger, Manifest
from variorum.schemas.recipe import Recipe
from variorum.stages.evaluate import read_figures

FINDINGS = "findings"
"""A step's figure that is a list of sentences."""
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def write_card(recipe: Recipe, manifest: Manifest, store: Store) -> str:
    """Write the card, which it returns, and all that belongs to it beside the manifest.

    These are contact sheet, recipe, plots, a release's funnel, the index of the pictures and `croissant.json`.
    """
    rows = edition_rows(manifest, store)
    made = yaml.safe_dump(made_by(recipe, manifest), sort_keys=False).encode()
    write_beside(manifest, "contact_sheet.png", contact_sheet(manifest, store, rows), store)
    if (strips := mark_strips(manifest, store, rows)) is not None:
        write_beside(manifest, STRIPS, strips, store)
    write_beside(manifest, "recipe.yaml", made, store)
    found = evaluations(recipe, manifest, store)
    write_plots(recipe.evaluate, found, manifest, store)
    if marked := found.get(EVALUATION):
        photographs = rows.column("photograph").to_pylist() if "photograph" in rows.column_names else []
        with _shown(f"figures of {EVALUATION}"):
            write_mark_results(manifest, marked["figures"], photographs, store)
    if manifest.ledger:
        write_beside(manifest, "funnel.png", plot(funnel(manifest, rows)), store)
    said = [line for _, line in findings(manifest.ledger)] if manifest.ledger else []
    write_croissant(recipe.card, manifest, store, rows, said)
    text = render_card(recipe, manifest, store, rows)
    write_beside(manifest, "README.md", text.encode(), store)
    return text


def check_template(recipe: Recipe) -> None:
    """Raise RecipeError if the recipe's card template is missing; called before any work."""
    names = [name for name in _templates() if not name.startswith("_")]
    if recipe.card.template not in names:
        raise RecipeError(f"card.template: no {recipe.card.template!r} in data_cards/; there are: {', '.join(names)}")


def render_card(recipe: Recipe, manifest: Manifest, store: Store, rows: Any = None) -> str:
    """The card's Markdown with the Hub's YAML header.

    Args:
        recipe: has the template, the texts and the evaluations.
        manifest: the edition.
        store: its store.
        rows: its `edition_rows`, if read already.

    Raises:
        RecipeError: the template is missing in data_cards/.
    """
    check_template(recipe)
    rows = edition_rows(manifest, store) if rows is None else rows
    found = contents(rows)
    made = yaml.safe_dump(made_by(recipe, manifest), sort_keys=False, width=100, default_flow_style=None).strip()
    text = recipe.card
    return _render(
        recipe.card.template,
        header=_own(header_text(card_header(recipe, manifest, found))),
        title=_own(text.title or manifest.dataset),
        summary=_own(text.summary),
        citation=_own(text.citation),
        sheet=_own(f"![{table_cell(sheet_text(manifest))}](contact_sheet.png)"),
        strips=_own(f"![{table_cell(strips_text(manifest))}]({STRIPS})"),
        manifest=manifest,
        generate=recipe.generate,
        digest=manifest.digest(),
        rows=summary_rows(manifest),
        accepted=manifest.pictures(),
        quarantined=sum(shard.samples for shard in manifest.shards.get(QUARANTINE, [])),
        size=sum(shard.size for shards in manifest.shards.values() for shard in shards),
        found=found,
        splits=split_table(manifest),
        formats=formats(manifest),
        fields=list(record(manifest)),
        since=since(manifest, store),
        evaluations=_own(render_evaluations(recipe, manifest, store) + render_leaderboard(manifest, store)),
        curation=_own(render_curation(manifest, rows)),
        made_by=_own(made),
        fence="`" * max(3, *(len(run) + 1 for run in re.findall("`+", made + text.citation) or [""])),
    )


def header_text(header: dict[str, Any]) -> str:
    """The card's YAML header, whose lines can't be taken for its end."""
    return yaml.safe_dump(header, sort_keys=False, allow_unicode=True, width=1000)


def made_by(recipe: Recipe, manifest: Manifest) -> dict[str, Any]:
    """The recipe without locations of data and, for a release, the steps of its ledger."""
    return {**recipe.identity(), **({"curate": manifest.ledger.curate} if manifest.ledger else {})}


def render_curation(manifest: Manifest, rows: Any) -> str:
    """The effect of curation on a release, as Markdown; `""` for other editions."""
    if manifest.ledger is None:
        return ""
    number = release_number(manifest.version)
    base = manifest.version.removesuffix(f"-r{number}")
    found = funnel(manifest, rows)
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
        detectors=_own(render_detectors(manifest)),
        steps=[
            _own(_render(f"_{step}", figures=figures[step], manifest=manifest))
            for step in figures
            if f"_{step}" in known
        ],
        findings=[line for _, line in findings(manifest.ledger)],
        figures=step_figures(manifest.ledger),
    )


def findings(ledger: Ledger) -> list[tuple[str, str]]:
    """(step, sentence) for each finding of a step about the edition as a whole."""
    found = ((step, figures.get(FINDINGS)) for step, figures in ledger.figures.items())
    return [(step, str(line)) for step, lines in found if isinstance(lines, list) for line in lines]


def step_figures(ledger: Ledger) -> list[Row]:
    """(step, figure, value) of the detectors and deciders that have no template in data_cards/."""
    known = _templates()
    return [
        (step, name.replace("_", " "), value)
        for step, found in ledger.figures.items()
        if f"_{step}" not in known
        for name, value in flat_figures({name: found[name] for name in found if name != FINDINGS}, most=6)
    ]


def render_detectors(manifest: Manifest) -> str:
    """What each detector of a release flags and how far they agree, as Markdown; `""` without detectors."""
    found = manifest.ledger.detectors if manifest.ledger else {}
    if not found:
        return ""
    if not {"flagged", "agreement", "classes"} <= found.keys() or not isinstance(found["agreement"], list):
        raise CorruptShard(f"the ledger of {manifest.dataset}@{manifest.version} has no figures of detectors")
    with _shown("the detectors' figures"):
        pairs = {tuple(pair["of"]): pair for pair in found["agreement"]}
    parts = {name: found[name] for name in ("flagged", "classes")}
    return _render("_detectors", **parts, pairs=pairs, names=dict(manifest.classes))


def render_evaluations(recipe: Recipe, manifest: Manifest, store: Store) -> str:
    """The evaluations' figures as Markdown, by their templates in data_cards/ or as plain tables."""
    return "\n".join(text for text, _ in _evaluation_parts(recipe, manifest, store))


def evaluation_tables(recipe: Recipe, manifest: Manifest, store: Store) -> list[Shown]:
    """The titled tables of each evaluation, as in the card."""
    parts = _evaluation_parts(recipe, manifest, store)
    return [table for _, tables in parts for table in tables if table.title]


def _evaluation_parts(recipe: Recipe, manifest: Manifest, store: Store) -> Iterator[tuple[str, list[Shown]]]:
    known, order = _templates(), variants(manifest)
    found = evaluations(recipe, manifest, store)
    drawn = evaluation_plots(recipe.evaluate, found, order)
    for name, kept in found.items():
        tables: list[Shown] = []
        plots = {plot: _own(text) for plot, text in shown(name, drawn[name]).items()}
        if f"_{name}" in known:
            values = {"figures": kept["figures"], "models": kept["models"], "order": order, "plots": plots}
            values["counts"] = summary_rows(manifest)
            yield _render(f"_{name}", tables, **values), tables
        else:
            flat = Shown(name, ("figure", "value"), flat_figures(kept["figures"]))
            parts = [f"### {name}", *plots.values(), markdown(flat.head, flat.rows)]
            yield "\n\n".join(parts) + "\n", [flat]


def _templates() -> list[str]:
    folder = importlib.resources.files("variorum.data_cards")
    return sorted(item.name.removesuffix(".md.j2") for item in folder.iterdir() if item.name.endswith(".md.j2"))


def _own(text: str) -> str:
    """Markdown of this project or of the recipe's author; templates pass all other text through `inert`."""
    from markupsafe import Markup

    return Markup(text)  # noqa: S704 - Markdown; whatever of it comes from data has been escaped


@contextmanager
def _shown(what: str) -> Iterator[None]:
    """Raise CorruptShard if figures that others wrote aren't such as a template shows."""
    import jinja2

    try:
        yield
    except (jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        why = cut(" ".join(str(error).split()))
        raise CorruptShard(f"{what} can't be shown ({why}); make them again, by the command that made them") from error


def _render(template: str, tables: list[Shown] | None = None, /, **values: Any) -> str:
    """Render a template. Tables that it makes with `table(head, rows, title)` are added to `tables`.

    Raises:
        CorruptShard: it can't show these figures.
    """

    def table(head: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> str:
        shown = Shown(title, tuple(head), [tuple(map(str, row)) for row in rows])
        if tables is not None:
            tables.append(shown)
        return _own(markdown(shown.head, shown.rows))

    with _shown(f"figures of {template.lstrip('_')}"):
        return str(_environment().get_template(f"{template}.md.j2").render(**values, table=table))


@cache
def _environment() -> Any:
    import jinja2

    folder = importlib.resources.files("variorum.data_cards")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text()),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        extensions=["jinja2.ext.do"],
        autoescape=False,  # noqa: S701 - Markdown; see `finalize`
        finalize=inert,
    )
    environment.filters |= {
        "cell": lambda value: _own(table_cell(value)),
        "fixed": fixed,
        "interval": interval,
        "pin": short_pin,
        "why": why,
        "two_digits": lambda number: "–" if number is None else f"{number:.2f}",
        "percent": percent,
    }
    return environment


def card_header(recipe: Recipe, manifest: Manifest, found: Contents) -> dict[str, Any]:
    """The YAML header: licence, names, tasks, size, types of the columns; with a warning, the gate."""
    accepted = manifest.pictures()
    return {
        "license": "other",
        "license_name": "as-listed-per-picture",
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


def short_pin(pin: str) -> str:
    """A pin shortened to `name@sha256:0123456789ab`; the manifest has the full one."""
    name, at, weights = pin.partition("+")[0].rpartition("@")
    kind, colon, number = weights.rpartition(":")
    return f"{name}@{kind}{colon}{number[:12]}" if at else weights


def percent(share: float | None, digits: int = 1) -> str:
    """A share as a percentage for a table; – for None."""
    return "–" if share is None else f"{100 * share:.{digits}f}"

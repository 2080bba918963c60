"""The command that says how robust models are, on one page over many editions: report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from variorum.flows import endings, terminal
from variorum.flows.options import (
    Digest,
    Issuer,
    OutputClasses,
    Photographs,
    Preprocess,
    Profile,
    ProfileName,
    SignedBy,
    StoreUrl,
    Workers,
    examples,
)
from variorum.schemas.errors import UnknownName, cut

if TYPE_CHECKING:
    from variorum.api.report_object import Report

commands = typer.Typer()


def _suite_names(incomplete: str) -> list[str]:
    from variorum.stages.suite_files import suite_names

    return [name for name in suite_names() if name.startswith(incomplete)]


@commands.command(
    epilog=examples(
        "variorum report --source photos --model module:mine.py:load",
        "variorum report --suite robustness --source photos --model module:mine.py:load --model onnx:mine.onnx --plan",
        "variorum report imagenet_e low_light@1.0.0 --model module:mine.py:load --to report.html",
        "variorum report --source photos --model module:new.py:load --model module:old.py:load "
        "--reference module:old.py:load --fail-below background=50 --fail-worse corruptions=3",
        "variorum report --source photos --model module:mine.py:load --defence 'smoothed sigma=.25'",
    )
)
def report(
    editions: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[EDITION...]", help="Editions: dataset, dataset@version, a folder, or OWNER/NAME@VERSION."
        ),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help="A model: an alias, timm:…, torchvision:…, hf:…, onnx:…, module:…. May be repeated, up to 10 times.",
        ),
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option(
            "--suite",
            metavar="NAME|FILE",
            help="Ask the rows of this suite; with --source alone quick.",
            autocompletion=_suite_names,
        ),
    ] = None,
    source: Photographs = None,
    defences: Annotated[
        list[str] | None,
        typer.Option(
            "--defence",
            metavar="WORDS",
            help="Also ask each model behind this defence, such as 'crossmax with=classifier k=2'. May be repeated.",
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option("--reference", metavar="MODEL", help="Compare with this model; by default the first."),
    ] = None,
    classes: OutputClasses = None,
    preprocess: Preprocess = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE.html", help="Also write the page here, with Markdown beside it."),
    ] = None,
    to_json: Annotated[
        str | None, typer.Option("--json", metavar="FILE|-", help="Also write the report as JSON; - prints it.")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only show what would be done, and what it takes.")] = False,
    fail_below: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-below",
            metavar="[MODEL:]ROW=VALUE",
            help=f"Exit with code {endings.GUARD} if a row's whole interval is below this value. May be repeated.",
        ),
    ] = None,
    fail_worse: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-worse",
            metavar="[MODEL:]ROW=POINTS",
            help="The same if a model is surely more than so many points worse than the reference. May be repeated.",
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail, too, where the interval leaves it open.")] = False,
    workers: Workers = 1,
    profile: ProfileName = Profile.embedded,
    store: StoreUrl = "store",
    digest: Digest = "",
    signed_by: SignedBy = "",
    issuer: Issuer = "",
    no_open: Annotated[bool, typer.Option("--no-open", help="Don't open the page in a browser.")] = False,
) -> None:
    """Report how robust models are: every row of a suite, with intervals and paired differences, on one page.

    A suite builds what is missing of your photographs; editions that are named, in the store or on the Hub, are taken
    as they are. Each model sees each picture once. A killed command goes on, and the same report has the same bytes.
    """
    from variorum.api.report_asked import asked
    from variorum.api.report_checks import planned_of, request_of
    from variorum.flows.browser import open_page
    from variorum.reports.profile.guards import failed

    if not models:
        raise typer.BadParameter("is missing; name a model, such as --model module:mine.py:load", param_hint="--model")
    if bool(editions) == (source is not None):
        raise typer.BadParameter(
            "say once which pictures: --source FOLDER, with photographs in folders by class, or editions by name"
        )
    if not plan:
        check_files(to, to_json)
    try:
        given = asked(
            models,
            editions or None,
            suite=suite,
            source=source,
            reference=reference,
            classes=classes,
            preprocess=preprocess,
            defences=defences or (),
            store=store,
            signed_by=signed_by,
            issuer=issuer,
            digest=digest,
            profile=profile.value,
            workers=workers,
            fail_below=fail_below or (),
            fail_worse=fail_worse or (),
            plan=plan,
        )
        found = None if plan else given.before()
        planned = planned_of(given) if plan else None
        request = None if found or planned else request_of(given)
    except UnknownName as error:
        raise typer.BadParameter(str(error)) from None
    if planned or request:
        planned = request.planned() if request else planned
        assert planned
        if plan and to_json == "-":
            terminal.print_json(planned.as_json())
            return
        terminal.print_lines(planned.lines(), "plan", err=not plan)
        if plan:
            return
        assert request
        with terminal.progress() as progress:
            found = request.made(progress)
    assert found
    files = [found.path] if to is None else [str(found.to_html(to)), str(found.to_markdown(to.with_suffix(".md")))]
    if to_json == "-":
        typer.echo(found.data("report.json"), nl=False)
    elif to_json is not None:
        files.append(str(found.to_json(to_json)))
    print_report(found, strict=strict, table=to_json != "-")
    for file in files:
        terminal.say(file, err=to_json == "-")
    if to is None:
        terminal.say("beside it: report.json and report.md", err=to_json == "-")
    if not no_open:
        open_page(files[0])
    if failed(found.guards, strict):
        raise typer.Exit(endings.GUARD)


def check_files(to: Path | None, to_json: str | None) -> None:
    """Check that the files can be written, before any work. Raises typer.BadParameter or StoreError."""
    from variorum.flows.results import check_folder

    if to is not None:
        if to.suffix != ".html":
            raise typer.BadParameter(f"{cut(str(to))} must end in .html", param_hint="--to")
        check_folder(to.parent, "--to")
    if to_json is not None and to_json != "-":
        if not to_json.strip() or Path(to_json).is_dir():
            raise typer.BadParameter("must be a file, or - for the standard output", param_hint="--json")
        check_folder(Path(to_json).parent, "--json")


def print_report(found: Report, *, strict: bool, table: bool) -> None:
    """Print what a report says in short, and how its limits ended.

    Args:
        found: the report.
        strict: whether a limit that the interval leaves open is a failure.
        table: whether to print the rows too, on stdout.
    """
    from variorum.api.report_object import said
    from variorum.reports.figures import Shown

    if table:
        head, *rows = found.lines()
        for sentence in found.content.lead:
            terminal.say(sentence)
        terminal.print_shown(Shown("", tuple(head), [tuple(row) for row in rows]), intervals=True)
        for row in found.content.not_measured:
            terminal.say(f"not measured: {row.title}: {row.why_not}; {row.way_out}")
    for model in found.content.models:
        if model.warning:
            typer.secho(terminal.plain(f"{model.name}: {model.warning}"), fg="yellow", err=True)
    for guard in found.guards:
        bad = "red" if strict or guard.outcome == "failed" else "yellow"
        typer.secho(terminal.plain(said(guard)), fg=None if guard.outcome == "kept" else bad, err=True)

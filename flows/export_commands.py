"""The command that writes an edition in another format: export."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from variorum.exchange.formats import FORMATS
from variorum.flows import terminal
from variorum.flows.options import AsJson, Edition, FormerPlace, StoreUrl, examples, place_to_write

commands = typer.Typer()
COCO = "coco"
Format = StrEnum("Format", {name: name for name in sorted((COCO, *FORMATS))})  # type: ignore[misc]


@commands.command(
    epilog=examples(
        "variorum export street --as image_folder --split train --to street_folders",
        "variorum export coco_o --as coco --count-missing --to coco_o_json",
        "variorum export coco_o@2.0.0 --as fiftyone --variant original --variant weather --to night",
    )
)
def export(
    edition: Edition,
    form: Annotated[Format, typer.Option("--as", help="The format, or the benchmark whose layout is wanted.")],
    former: FormerPlace = None,
    to: Annotated[Path | None, typer.Option("--to", metavar="FOLDER", help="A new folder.")] = None,
    variants: Annotated[list[str] | None, typer.Option("--variant", help="Only this variant. May be repeated.")] = None,
    split: Annotated[str, typer.Option("--split", help="Only this split: train, validation or test.")] = "",
    count_missing: Annotated[
        bool,
        typer.Option(
            "--count-missing",
            help="With --as coco: count objects that the checking detector found only in the photograph; otherwise "
            "they are crowds.",
        ),
    ] = False,
    store: StoreUrl = "store",
    as_json: AsJson = False,
) -> None:
    """Export an edition's accepted pictures, with labels, objects and licences, in another tool's format.

    Each picture keeps its id and hash, so that other tools' results can be matched with the edition. Quarantined,
    withheld and restricted pictures are never exported. docs/guides/other_tools.md says what each format keeps.
    """
    from dataclasses import asdict

    from variorum.edition.opening import open_edition
    from variorum.exchange.coco.export import IGNORED, export_coco
    from variorum.exchange.export import export as write
    from variorum.exchange.selection import Selection
    from variorum.reports.limits import unstored

    if count_missing and form != COCO:
        raise typer.BadParameter(f"is only for --as coco, not for --as {form}", param_hint="--count-missing")
    folder = place_to_write(to, former)
    manifest, where = open_edition(edition, store)
    with terminal.progress() as progress:
        if form == COCO:
            ignore = () if count_missing else IGNORED
            found = export_coco(manifest, where, folder, variants or (), split, progress, ignore)
        else:
            found = write(Selection(manifest, where, tuple(variants or ()), split), folder, form, progress)
    if manifest.warning:
        terminal.say(f"content warning: {manifest.warning}; the pictures in {folder} aren't blurred", err=True)
    if said := unstored(manifest):
        terminal.say(said, err=True)
    if as_json:
        terminal.print_json(
            {"folder": str(folder), "as": form, "digest": manifest.digest(), "exported": [asdict(one) for one in found]}
        )
        return
    for one in found:
        boxes = f", {one.boxes} boxes" if one.boxes or form == COCO else ""
        missed = "".join(f", {number} {reason} left out" for reason, number in one.left_out.items())
        terminal.say(f"{folder / one.folder}: {one.pictures} pictures{boxes}{missed}")

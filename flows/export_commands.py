"""The command that writes an edition in another format: export."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from variorum.flows import terminal
from variorum.flows.options import AsJson, Edition, StoreUrl, examples

commands = typer.Typer()


class Format(StrEnum):
    """The formats that an edition can be exported in."""

    coco = "coco"


@commands.command(
    epilog=examples(
        "variorum export coco_o coco_o_json --as coco --count-missing",
        "variorum export coco_o@1.0.0 night --as coco --variant original --variant weather",
    )
)
def export(
    edition: Edition,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder.")],
    form: Annotated[Format, typer.Option("--as", help="coco: a folder of pictures and boxes for each variant.")],
    variants: Annotated[list[str] | None, typer.Option("--variant", help="Only this variant. May be repeated.")] = None,
    split: Annotated[str, typer.Option("--split", help="Only this split: train, validation or test.")] = "",
    count_missing: Annotated[
        bool,
        typer.Option(
            "--count-missing",
            help="Count objects that the checking detector found only in the photograph; otherwise they are crowds.",
        ),
    ] = False,
    store: StoreUrl = "store",
    as_json: AsJson = False,
) -> None:
    """Write an edition's accepted pictures with their objects for other tools to read.

    With --as coco, each variant gets VARIANT/val2017/ and VARIANT/annotations/instances_val2017.json, the layout of
    COCO-O: MMDetection and Detectron2 read such a folder in the place of COCO's validation set.
    """
    from dataclasses import asdict

    from variorum.edition.opening import open_edition
    from variorum.report.coco.export import IGNORED, export_coco

    manifest, where = open_edition(edition, store)
    with terminal.progress() as progress:
        ignore = () if count_missing else IGNORED
        found = export_coco(manifest, where, folder, variants or (), split, progress, ignore)
    if as_json:
        terminal.print_json(
            {"folder": str(folder), "as": form, "digest": manifest.digest(), "exported": [asdict(one) for one in found]}
        )
        return
    for one in found:
        missed = "".join(f", {number} {reason} left out" for reason, number in one.left_out.items())
        terminal.say(f"{folder / one.folder}: {one.pictures} pictures, {one.boxes} boxes{missed}")

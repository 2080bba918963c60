"""Run `variorum evaluate EDITION --model` and `variorum leaderboard`; `cli` has their options."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from variorum.flows import terminal
from variorum.flows.options import Asked

if TYPE_CHECKING:
    from variorum.api.edition import Edition
    from variorum.api.results import Results
    from variorum.reports.standing import Leaderboard


def evaluate_models(
    asked: Asked,
    models: Sequence[str],
    classes: Path | None,
    preprocess: str | None,
    confidence: float,
    to: Path | None,
) -> None:
    """Evaluate models by name on an edition, save the results, and print them.

    Args:
        asked: the edition, or a recipe whose edition is meant, and the common options.
        models: their names.
        classes: a file with the classes of their outputs.
        preprocess: what becomes of a picture before a network gets it, in words.
        confidence: level of the intervals.
        to: folder for the results; by default they go beside the manifest.
    """
    from variorum.api.evaluate import evaluate
    from variorum.edition.editions import folder_of
    from variorum.reports.result_files import FOLDER

    edition = edition_of(asked)
    if to is not None:
        check_folder(to, "--to")
    with terminal.progress() as progress:
        results = evaluate(
            edition,
            list(models),
            classes=classes,
            preprocess=preprocess,
            confidence=confidence,
            workers=asked.workers,
            progress=progress,
            save=to is None,
            profile=asked.profile.value,
        )
    if to is None:
        folder = f"{folder_of(edition.manifest, edition.store)}/{FOLDER}"
        paths = [f"{folder}/{result.file_name()}" for result in results.files.values()]
    else:
        paths = [str(path) for path in results.save(to)]
    if asked.as_json:
        terminal.print_json(as_json(results, paths))
        return
    print_board(results.leaderboard)
    for path in paths:
        terminal.say(f"results: {path}")
    terminal.say(f"compare all results of this edition: variorum leaderboard {edition.name}")


def as_json(results: Results, paths: Sequence[str]) -> dict[str, object]:
    """Results for scripts: by model, the content of its file without the answers, and its path."""
    return {
        "edition": results.leaderboard.edition.model_dump(),
        "models": {
            name: {**result.model_dump(mode="json", include={"model", "evaluation", "figures"}), "file": path}
            for (name, result), path in zip(results.files.items(), paths, strict=True)
        },
        "figures": results.figures,
        "warnings": results.leaderboard.warnings(),
    }


def edition_of(asked: Asked) -> Edition:
    """The edition that a command names: itself, or the one of a recipe's file or of a recipe with overrides."""
    from variorum.api.edition import Edition
    from variorum.edition.editions import current, resolve
    from variorum.edition.opening import existing, open_edition
    from variorum.edition.store import Store
    from variorum.stages.recipe_files import load_recipe

    if not asked.recipe.endswith((".yaml", ".yml")) and not asked.settings() and not asked.limit:
        manifest, found = open_edition(asked.recipe, asked.store)
        return Edition(manifest, Store(found.url, writable=False, trust=asked.trust))
    recipe = load_recipe(asked.recipe, asked.settings(), asked.limit)
    store = Store(existing(asked.store).url, writable=False, trust=asked.trust)
    return Edition(current(resolve(f"{recipe.dataset}@{recipe.version}", store), store), store)


def check_folder(folder: Path, option: str) -> None:
    """Make a folder for results, before any work. Raises StoreError, which begins with the option, if it can't be."""
    from tempfile import TemporaryFile

    from variorum.schemas.errors import StoreError
    from variorum.schemas.lookup import cut

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StoreError(
            f"{option} {cut(str(folder))}: can't be written ({error.strerror}); choose another folder"
        ) from None


def make_leaderboard(
    name: str, files: Sequence[Path], store: str, to: Path | None, confidence: float, *, as_json: bool
) -> None:
    """Collect results, print the leaderboard and write its page.

    Args:
        name: of the edition.
        files: further results.
        store: folder or URL of the store.
        to: the page; by default it goes beside the manifest.
        confidence: level of the intervals.
        as_json: print JSON.
    """
    from variorum.api.edition import Edition
    from variorum.api.leaderboard import leaderboard, write_leaderboard
    from variorum.edition.opening import open_edition
    from variorum.edition.store import Store
    from variorum.schemas.errors import StoreError

    edition = Edition(*open_edition(name, store))
    found = leaderboard(edition, files, confidence=confidence)
    path = ""
    if to is not None:
        path = str(found.save(to))
    elif found and edition.store.can_write():
        with suppress(StoreError):
            path = write_leaderboard(found, edition.manifest, Store(edition.store.url))
    if as_json:
        terminal.print_json({**found.board.model_dump(mode="json"), "page": path or None})
        return
    print_board(found.board)
    for one in found.board.left_out:
        typer.secho(terminal.plain(f"left out: {one.file}: {one.why}"), fg="yellow", err=True)
    if path:
        terminal.say(f"page: {path}")
    elif found:
        terminal.say("the store can't be written; write the page elsewhere with --to FILE.html")


def print_board(board: Leaderboard) -> None:
    """The models in order, and the notes on them."""
    from variorum.reports.standing import standing

    if not board.entries:
        name = board.edition.name
        terminal.say(f"no results of {name} yet; make one with: variorum evaluate {name} --model NAME")
        return
    terminal.print_shown(standing(board), intervals=True)
    for warning in board.warnings():
        typer.secho(terminal.plain(warning), fg="yellow")
    for note in board.notes():
        terminal.say(note)

"""Try a profile on this machine: `variorum doctor --try`. One record, one page, a line for each check.

Models first, one after the other, then recipes. A line that passed isn't made again as long as its weights, libraries
and machine are the same.
"""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from variorum.api.trial_calls import NoCall
from variorum.api.trial_gpu import ask_driver
from variorum.api.trial_models import ModelTrial, Outcome, Skipped, Work
from variorum.api.trial_recipes import TWELVE, RecipeTrial
from variorum.machine.cache import cache_dir
from variorum.machine.progress import QUIET, Progress
from variorum.models.fetching import amount, announced, free_bytes, without_room
from variorum.models.known_answers import TABLE, library_versions, public_picture
from variorum.pixels import UndecodableImage, decode
from variorum.reports.model_terms import model_terms
from variorum.reports.trial.document import CHECKS, Line, Trial, read_trial, write_trial
from variorum.reports.trial.page import write_page
from variorum.schemas.canonical import digest
from variorum.schemas.errors import ModelUnavailable, SourceError, VariorumError
from variorum.schemas.sample import Sample
from variorum.stages.job import Profile, installed_version, models, open_context
from variorum.stages.needs import needs_of
from variorum.stages.recipe_files import load_recipe, shipped_recipes

if TYPE_CHECKING:
    from variorum.arrays import Pixels

TIMED = ("imagenet_g_text", "imagenet_e")
"""Recipes that are timed, spread over processes and killed, unless others are asked for."""
REVISION = 1
"""Raise it when a check changes, so that lines of older versions are made again."""
Tell = Callable[[Line], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a trial is about.

    Attributes:
        profile: table of models.
        aliases: models to try; empty for those of the recipes, or all of the profile's own.
        recipes: recipes to try; empty for all that use the profile's own models, but none if there are aliases.
        out: folder for the record, the page, sheets and editions.
        source: folder of photographs; None for the sample photographs.
        picture: the user's copy of the public picture.
        fetch: whether to download what is missing.
        known: table of known answers.
    """

    profile: Profile
    out: Path
    aliases: tuple[str, ...] = ()
    recipes: tuple[str, ...] = ()
    source: str | None = None
    picture: Path | None = None
    fetch: bool = False
    known: Path = TABLE


def trial(asked: Asked, command: str = "", tell: Tell = lambda _: None, progress: Progress = QUIET) -> Trial:
    """Make all checks, and write record and page after each. Errors of a check become its line.

    Args:
        asked: what to try.
        command: that makes the record again.
        tell: gets each line when it is known.
        progress: receives the progress of recipes.

    Raises:
        RecipeError: unknown aliases or recipes, or a record that can't be read.
        SourceError: fewer photographs than a batch has, or none.
    """
    table = models(asked.profile)
    recipes = list(asked.recipes or ([] if asked.aliases else recipes_of(asked.profile)))
    aliases = list(asked.aliases or aliases_of(asked.profile, asked.recipes))
    for alias in aliases:
        table.entry(alias)
    shown = photographs(asked.source, asked.profile)
    record = _Record(asked, machine(), command, tell)
    for subject, work in machine_checks(asked.profile, aliases, asked.out):
        record.add("machine", subject, [], work, keep=False)
    picture = cache(lambda: public_picture(table.cache, asked.picture, fetch=asked.fetch))
    for same in by_pin(asked.profile, aliases):
        one = ModelTrial(table, same[0], shown, picture, fetch=asked.fetch, known=asked.known)
        depends = [_pin(asked.profile, same[0])]
        for check, work in one.checks():
            record.add(check, ", ".join(same), depends, work)
        one.unload()
    for name in recipes:
        one_recipe = RecipeTrial(name, asked.profile, asked.out, asked.source, progress)
        timed = asked.recipes or name in TIMED
        checks = [*(one_recipe.timed_checks() if timed else ()), ("photographs", one_recipe.photographs)]
        try:
            depends = one_recipe.identity()
        except VariorumError as error:
            checks, depends = [(check, _raising(error)) for check, _ in checks], []
        for check, work in checks:
            record.add(check, name, depends, work)
        one_recipe.unload()
    shutil.rmtree(asked.out / "parts", ignore_errors=True)
    return record.write()


class _Record:
    """The lines so far. Those that passed before are taken from the folder's record."""

    def __init__(self, asked: Asked, here: str, command: str, tell: Tell) -> None:
        before = read_trial(asked.out)
        self._kept = {line.key: line for line in (before.lines if before else ()) if line.state == "pass" and line.key}
        self._asked, self._here, self._command, self._tell = asked, here, command, tell
        self._lines: list[Line] = []

    def add(self, check: str, subject: str, depends: Sequence[Any], work: Work, *, keep: bool = True) -> None:
        """Make a line, unless it is kept, and write the record."""
        key = digest([REVISION, check, subject, list(depends), self._here, library_versions()]) if keep else ""
        line = self._kept.get(key)
        if line is None:
            began = time.perf_counter()
            state, said, figures = _outcome(work)
            line = Line(
                check=check,
                subject=subject,
                state=state,
                said=said,
                figures=figures,
                seconds=round(time.perf_counter() - began, 2),
                key=key,
            )
        self._lines.append(line)
        self._tell(line)
        self.write()

    def write(self) -> Trial:
        """Write the lines so far, and the page of them."""
        found = self._trial()
        write_trial(found, self._asked.out)
        write_page(found, self._asked.out)
        return found

    def _trial(self) -> Trial:
        order = list(CHECKS)
        lines = sorted(self._lines, key=lambda line: order.index(line.check))
        return Trial(
            profile=self._asked.profile,
            machine=self._here,
            versions={"variorum": installed_version("variorum"), "python": platform.python_version()}
            | library_versions(),
            command=self._command,
            lines=tuple(lines),
        )


def _outcome(work: Work) -> Outcome:
    """How a check ended; whatever it raises is its reason, so that the others are still made."""
    import torch

    try:
        return work()
    except (Skipped, NoCall) as error:
        return "skipped", str(error), {}
    except torch.OutOfMemoryError as error:
        return "fail", f"the GPU ran out of memory: {str(error).splitlines()[0]}", {}
    except VariorumError as error:
        return "fail", str(error), {}
    except Exception as error:  # of a library, or of weights that aren't what their loader expects
        return "fail", f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}", {}


def _raising(error: VariorumError) -> Work:
    def work() -> Outcome:
        raise Skipped(str(error).splitlines()[0])

    return work


def machine() -> str:
    """This machine's GPUs, or its processor: what measured figures are about."""
    import torch

    if not torch.cuda.is_available():
        return f"{platform.machine()} without a GPU"
    return ", ".join(torch.cuda.get_device_name(at) for at in range(torch.cuda.device_count()))


def machine_checks(profile: Profile, aliases: Iterable[str], out: Path) -> Iterable[tuple[str, Work]]:
    """The checks of the machine: libraries, GPU, disk, and what the models' weights ask of their users."""
    table = models(profile)

    def versions() -> Outcome:
        found = library_versions()
        absent = [name for name, version in found.items() if version == "absent"]
        said = ", ".join(f"{name} {version}" for name, version in found.items())
        return ("fail" if absent else "pass"), said, dict(found)

    def gpu() -> Outcome:
        import torch

        if not torch.cuda.is_available():
            raise Skipped("PyTorch finds no GPU")
        driver = next(iter(ask_driver("driver_version")), "unknown")
        cards = []
        for at in range(torch.cuda.device_count()):
            free, whole = torch.cuda.mem_get_info(at)
            cards.append({"name": torch.cuda.get_device_name(at), "free_gib": free / 2**30, "gib": whole / 2**30})
        said = ", ".join(f"{one['name']} with {one['free_gib']:.1f} of {one['gib']:.1f} GiB free" for one in cards)
        return "pass", f"{said}; driver {driver}, CUDA {torch.version.cuda}", {"cards": cards, "driver": driver}

    def disk() -> Outcome:
        found = table.downloads(aliases)
        full, free = without_room(found), free_bytes(cache_dir())
        said = (
            "; ".join(text for _, text in announced(found, about=True))
            or f"nothing to download, {amount(free)} free in {cache_dir()}"
        )
        figures = {"fetch": sum(one.size for one in found), "free": free, "missing": [one.alias for one in found]}
        return "fail" if full else "pass", full or said, figures

    def terms() -> Outcome:
        found = model_terms(table, aliases)
        asked = [f"{what}: {text.partition(':')[0]}" for what, text in found if what != "licence"]
        gated = [alias for alias in aliases if table.entry(alias).gated]
        said = (
            "; ".join([*asked, *([f"gated: {', '.join(gated)}"] if gated else [])])
            or "none is non-commercial, unclear or gated"
        )
        return "pass", said, {"gated": gated, "licences": [text for what, text in found if what == "licence"]}

    yield "libraries", versions
    yield "GPU", gpu
    yield "disk", disk
    yield "terms of the weights", terms


def aliases_of(profile: Profile, recipes: Sequence[str] = ()) -> list[str]:
    """The models that recipes ask for; without recipes, those of the profile's own table that aren't optional."""
    table = models(profile)
    if recipes:
        needs = [needs_of(load_recipe(name), table) for name in recipes]
        named = dict.fromkeys(alias for one in needs for alias in (*one.required, *one.optional))
        return [alias for alias in named if ":" not in alias]
    return [alias for alias in table.aliases() if table.own(alias) and not table.entry(alias).optional]


def recipes_of(profile: Profile) -> list[str]:
    """The recipes that come with the project and ask for a model of the profile's own table."""
    table, found = models(profile), []
    for name in shipped_recipes():
        needs = needs_of(load_recipe(name), table)
        if any(":" not in alias and table.own(alias) for alias in (*needs.required, *needs.optional)):
            found.append(name)
    return found


def by_pin(profile: Profile, aliases: Iterable[str]) -> list[list[str]]:
    """Aliases in groups of one model, with one pin."""
    found: dict[str, list[str]] = {}
    for alias in aliases:
        found.setdefault(_pin(profile, alias), []).append(alias)
    return list(found.values())


def _pin(profile: Profile, alias: str) -> str:
    try:
        return models(profile).pin(alias)
    except ModelUnavailable:
        return f"{alias} without a pin"


def photographs(source: str | None, profile: Profile) -> list[Pixels]:
    """Twelve photographs of a folder, or of the sample photographs.

    Raises:
        SourceError: there are fewer than eight that can be read.
    """
    place = ["source.name=image_folder", f"source.path={source}"] if source else ["source.masks=false"]
    recipe = load_recipe("curate_folder", place, TWELVE)
    ctx = open_context(recipe, profile)
    found = []
    for sample in recipe.source.read(0, min(TWELVE, recipe.source.size(ctx)), ctx):
        try:
            if isinstance(sample, Sample) and isinstance(sample.image, bytes):
                found.append(decode(sample.image))
        except UndecodableImage:
            continue
    if len(found) < 8:
        where = source or "the sample photographs (fetch them with `variorum doctor stamps --fetch`)"
        raise SourceError(f"{where}: {len(found)} photographs can be read; eight are needed, twelve are better")
    return found

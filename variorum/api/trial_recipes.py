"""Tries one recipe: against bare model calls, in two processes, killed and resumed, and on twelve photographs."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from variorum.api.trial_models import Outcome, Skipped, Work
from variorum.api.trial_process import last_line, start
from variorum.machine.memo import DiskMemo
from variorum.machine.progress import QUIET, Progress
from variorum.models.device import best_device
from variorum.models.diffusion.pipelines import TextToImage, cpu_generators
from variorum.pipeline import build, run
from variorum.reports.contact_sheet import contact_sheet
from variorum.reports.trial.document import SHEETS
from variorum.runners.chosen import chosen
from variorum.runners.processes import devices
from variorum.runners.worker import THREADS
from variorum.schemas.errors import ModelUnavailable, VariorumError
from variorum.schemas.recipe import Recipe
from variorum.stages.job import Job, models, open_context
from variorum.stages.needs import needs_of
from variorum.stages.recipe_files import load_recipe

if TYPE_CHECKING:
    from variorum.models import ModelTable
    from variorum.stages.job import Profile

TWELVE = 12
"""Photographs, or requests, of a contact sheet."""
UNITS, UNIT = 4, 4
"""Units of an edition that is made in parts, and source samples of each."""
RATIO = 1.05
"""Most wall time of a recipe, as a multiple of the time of its model calls alone."""
SPEED = 1.9
"""Least speed of two GPUs, as a multiple of one's."""
ROUNDS = 2
"""Of which the faster counts."""
ONE_THREAD = ("threads=1",)
"""So that sums on a CPU don't depend on the number of workers."""
POLL = 0.02
"""Seconds between looks at a store whose process is to be killed."""


class Noted:
    """A model that notes its calls, so that they can be made again without the recipe around them."""

    def __init__(self, model: Any, calls: list[Callable[[], object]]) -> None:
        self._model, self._calls = model, calls

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As the model."""
        self._calls.append(lambda: bare(self._model, args, kwargs))
        return self._model(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._model, name)
        if not callable(found) or name.startswith("__"):
            return found

        def noting(*args: Any, **kwargs: Any) -> Any:
            self._calls.append(lambda: found(*args, **kwargs))
            return found(*args, **kwargs)

        return noting


class NotingTable:
    """A table of models that notes all calls, `schemas.component.Models`."""

    def __init__(self, table: ModelTable) -> None:
        self._table = table
        self.calls: list[Callable[[], object]] = []

    def get(self, alias: str) -> Noted:
        """The model behind an alias, which notes its calls."""
        return Noted(self._table.get(alias), self.calls)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)


def bare(model: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> object:
    """Call a model as somebody would who knows nothing of this project: text to image by diffusers' own pipeline."""
    if not isinstance(model, TextToImage):
        return model(*args, **kwargs)
    prompts, negatives, seeds = args
    size = kwargs["size"] or model.size
    return model.pipeline(
        list(prompts),
        negative_prompt=list(negatives) if any(negatives) else None,
        num_inference_steps=kwargs["steps"],
        guidance_scale=kwargs["guidance"],
        height=size,
        width=size,
        generator=cpu_generators(seeds),
        output_type="np",
    )


class RecipeTrial:
    """The checks of one recipe.

    Args:
        name: of the recipe, or its path.
        profile: which table of models.
        out: folder for its editions and sheets.
        source: folder of photographs, for recipes that would take sample photographs.
        progress: receives the progress.
    """

    def __init__(self, name: str, profile: Profile, out: Path, source: str | None, progress: Progress = QUIET) -> None:
        self.name, self._profile, self._out, self._source, self._progress = name, profile, out, source, progress
        self._digests: dict[int, str] = {}

    def timed_checks(self) -> Iterator[tuple[str, Work]]:
        """Yield the checks that make an edition again and again."""
        yield "bare", self.bare
        yield "processes", self.processes
        yield "gpus", self.gpus
        yield "kill", self.kill

    def recipe(self, limit: int, *, shard: int | None = None) -> Recipe:
        """The recipe on a few photographs."""
        settings = [f"samples_per_shard={shard}"] if shard else []
        recipe = load_recipe(self.name, settings, limit)
        if self._source and recipe.source.component_name() == "samples":
            place = ["source.name=image_folder", f"source.path={self._source}"]
            recipe = load_recipe(self.name, [*settings, *place], limit)
        return recipe

    def identity(self) -> list[Any]:
        """What decides the outcome of the checks: the recipe with its pictures, and the pins of all its models.

        Raises:
            ModelUnavailable: a model that it can't do without isn't ready here.
            SourceError: its pictures can't be had.
        """
        recipe, table = self.recipe(TWELVE), models(self._profile)
        if lines := [why for alias in needs_of(recipe, table).required if (why := table.why_unavailable(alias))]:
            raise ModelUnavailable(lines[0])
        source = recipe.source.pin(open_context(recipe, self._profile))
        return [recipe.model_dump_json(), source, *(table.pin(alias) for alias in self.aliases)]

    @cached_property
    def aliases(self) -> tuple[str, ...]:
        """The models that the recipe can't do without, and the others that are ready."""
        table = models(self._profile)
        needs = needs_of(self.recipe(TWELVE), table)
        return (*needs.required, *(alias for alias in needs.optional if not table.why_unavailable(alias)))

    def unload(self) -> None:
        """Give the memory of the recipe's models back."""
        with suppress(VariorumError):  # a recipe that can't be read has loaded none
            for alias in self.aliases:
                models(self._profile).unload(alias)

    def bare(self) -> Outcome:
        """Time of the recipe's pictures, with reading, checks, encoding and storing, and of its model calls alone."""
        recipe, place = self.recipe(UNITS * UNIT), self._place("bare")
        table = NotingTable(models(self._profile))

        def whole() -> float:
            shutil.rmtree(place, ignore_errors=True)
            table.calls.clear()
            ctx = replace(open_context(recipe, self._profile), models=table, memo=DiskMemo(place / "memo"))
            began = time.perf_counter()
            build(Job(recipe, str(place / "store"), self._profile, ctx=ctx), progress=self._progress)
            return time.perf_counter() - began

        def alone() -> float:
            began = time.perf_counter()
            for call in calls:
                call()
            return time.perf_counter() - began

        whole()  # loads the models
        wholes, alones = [], []
        for _ in range(ROUNDS):
            wholes.append(whole())
            calls = list(table.calls)
            alones.append(alone())
        shutil.rmtree(place, ignore_errors=True)
        if not calls:
            raise Skipped("it calls no model while it makes pictures")
        ratio = min(wholes) / min(alones)
        said = f"{min(wholes):.3g} s in all, {min(alones):.3g} s of model calls: × {ratio:.3f}"
        figures = {"whole": min(wholes), "calls": min(alones), "ratio": ratio, "number": len(calls)}
        if best_device() == "cpu":  # edits, encoding and models share its cores
            return "skipped", f"{said}; it is judged on a GPU", figures
        return "pass" if ratio <= RATIO else "fail", f"{said}; {RATIO:g} is allowed", figures

    def processes(self) -> Outcome:
        """One process and two make the same edition."""
        one, two = self._in_processes(1), self._in_processes(2)
        return ("pass" if one == two else "fail"), f"digests {one[:12]} and {two[:12]}", {"one": one, "two": two}

    def gpus(self) -> Outcome:
        """Two GPUs are nearly twice as fast as one."""
        found = len(devices())
        if found < 2:
            raise Skipped(f"it needs two GPUs; this machine has {found or 'none'}")
        seconds = {}
        for workers in (1, 2):
            with chosen("processes", workers) as runner:
                for place, limit in (("warm", UNIT * workers), ("timed", UNITS * UNIT)):
                    folder = self._place(f"gpus_{workers}_{place}")
                    shutil.rmtree(folder, ignore_errors=True)
                    job = Job(self.recipe(limit, shard=UNIT), str(folder), self._profile)
                    began = time.perf_counter()
                    build(job, runner, self._progress)
                    seconds[workers] = time.perf_counter() - began
                    shutil.rmtree(folder, ignore_errors=True)
        speed = seconds[1] / seconds[2]
        said = f"{seconds[1]:.3g} s on one, {seconds[2]:.3g} s on two: × {speed:.2f}; {SPEED:g} is wanted"
        return "pass" if speed >= SPEED else "fail", said, {"one": seconds[1], "two": seconds[2], "speed": speed}

    def kill(self) -> Outcome:
        """Kill a process group after its first unit, resume, and compare with an edition that wasn't killed."""
        self.unload()  # the other process loads them too
        place = self._place("killed")
        shutil.rmtree(place, ignore_errors=True)
        job = Job(self.recipe(UNITS * UNIT, shard=UNIT), str(place), self._profile)
        units = job.plan.units
        work = {"do": "build", "recipe": job.recipe.dump(), "store": str(place), "profile": self._profile}
        with tempfile.TemporaryFile() as errors:
            process = start(work, errors, dict.fromkeys(THREADS, "1"))
            try:
                while process.poll() is None and not any(job.store.receipt(unit.key) for unit in units):
                    time.sleep(POLL)
                ended = process.poll()
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if ended:
                raise ModelUnavailable(last_line(errors))
        made = sum(job.store.receipt(unit.key) is not None for unit in units)
        if ended == 0 or made == len(units):
            raise Skipped(f"all {len(units)} units were made before the process could be killed")
        with chosen("processes", 1, ONE_THREAD) as runner:
            again = build(job, runner, self._progress).digest()
        whole = self._in_processes(1)
        shutil.rmtree(place, ignore_errors=True)
        said = f"killed after {made} of {len(units)} units; digests {again[:12]} and {whole[:12]}"
        return "pass" if again == whole else "fail", said, {"killed": again, "whole": whole, "units": len(units)}

    def photographs(self) -> Outcome:
        """The whole recipe on twelve photographs, with a contact sheet for a person's eyes."""
        job = Job(self.recipe(TWELVE), str(self._out / "store"), self._profile)
        manifest = run(job, progress=self._progress, force=True)
        sheet = self._out / SHEETS / f"{Path(self.name).stem}.png"
        sheet.parent.mkdir(parents=True, exist_ok=True)
        sheet.write_bytes(contact_sheet(manifest, job.store))
        accepted, failed = manifest.pictures(), sum(one.samples for one in manifest.shards.get("quarantine", ()))
        figures = {"accepted": accepted, "failed": failed, "sheet": f"{SHEETS}/{sheet.name}"}
        said = f"{accepted} pictures are accepted, {failed} failed a check; look at the sheet"
        return "pass" if accepted else "fail", said, figures

    def _in_processes(self, workers: int) -> str:
        """The digest of the edition that so many processes make."""
        if workers in self._digests:
            return self._digests[workers]
        place = self._place(f"processes_{workers}")
        shutil.rmtree(place, ignore_errors=True)
        job = Job(self.recipe(UNITS * UNIT, shard=UNIT), str(place), self._profile)
        with chosen("processes", workers, ONE_THREAD) as runner:
            self._digests[workers] = build(job, runner, self._progress).digest()
        shutil.rmtree(place, ignore_errors=True)
        return self._digests[workers]

    def _place(self, name: str) -> Path:
        return self._out / "parts" / f"{Path(self.name).stem}_{name}"

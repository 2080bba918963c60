"""The options that commands share: recipe, store, profile, overrides, workers."""

from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from variorum.edition.opening import existing
from variorum.flows import terminal
from variorum.schemas.errors import ModelUnavailable

if TYPE_CHECKING:
    from variorum.edition.store import Store
    from variorum.machine.progress import Progress
    from variorum.pipeline import Job
    from variorum.stages.stage import Runner

T = TypeVar("T")
CONFIDENCE = 0.95
"""Level of intervals."""
STARTING = "starting Prefect … (its first start takes up to half a minute; --runner threads needs no server)"
"""Said as soon as there is work, and before Prefect is imported."""


class Profile(StrEnum):
    """The table of models that aliases refer to."""

    embedded = "embedded"
    hub = "hub"


class Runners(StrEnum):
    """The engine that does the work of a stage."""

    prefect = "prefect"
    threads = "threads"
    processes = "processes"
    ray = "ray"
    dask = "dask"
    slurm = "slurm"


def _recipe_names(incomplete: str) -> list[str]:
    from variorum.stages.recipe_files import shipped_recipes

    return [name for name in shipped_recipes() if name.startswith(incomplete)]


def _a_place(url: str | None) -> str | None:
    if url is not None and not url.strip():
        raise typer.BadParameter("is empty; give a folder or a URL, or . for the current folder")
    return url


RecipeName = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE", help="A YAML file, or a recipe by name: imagenet_e.", autocompletion=_recipe_names
    ),
]
RecipeOrEdition = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE|EDITION",
        help="A recipe, as for other commands; with --model an edition: dataset, or dataset@version.",
        autocompletion=_recipe_names,
    ),
]
Edition = Annotated[str, typer.Argument(metavar="EDITION", help="dataset, or dataset@version; the newest by default.")]
StoreUrl = Annotated[
    str,
    typer.Option("--store", envvar="VARIORUM_STORE", callback=_a_place, help="Folder or URL that holds editions."),
]
ProfileName = Annotated[Profile, typer.Option("--profile", help="Which models: packaged ones, or the Hub's.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a field: source.path=photos. May be repeated."),
]
SourceFolder = Annotated[
    str | None,
    typer.Option(
        "--source",
        metavar="FOLDER",
        callback=_a_place,
        help="Read your pictures: short for --set source.name=image_folder --set source.path=FOLDER. Folders inside it "
        "are classes; without any, pictures have no labels.",
    ),
]
Photographs = Annotated[
    str | None,
    typer.Option(
        "--source",
        metavar="FOLDER",
        callback=_a_place,
        help="Build the suite's editions of your photographs. Folders inside it are classes.",
    ),
]
OutputClasses = Annotated[
    Path | None, typer.Option("--classes", metavar="FILE", help="Classes of the models' outputs, one per line.")
]
Preprocess = Annotated[
    str | None,
    typer.Option(
        "--preprocess",
        metavar="STEPS",
        help="What becomes of a picture before a network of module:… gets it: words such as resize=256 crop=224 "
        "mean=imagenet std=imagenet; none for values 0 to 1.",
    ),
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Maximum number of source samples to read.")]
Workers = Annotated[
    int, typer.Option("--workers", min=1, max=1000, help="Number of parts that are worked on at the same time.")
]
RunnerName = Annotated[
    Runners,
    typer.Option("--runner", help="What does the work; the edition is the same, byte for byte."),
]
RunnerSet = Annotated[
    list[str] | None,
    typer.Option(
        "--runner-set", metavar="KEY=VALUE", help="A setting of the runner: partition=gpu for slurm. May be repeated."
    ),
]
Trust = Annotated[bool, typer.Option("--trust", help="Use finished files without hashing them first.")]
SendTo = Annotated[
    list[str] | None,
    typer.Option(
        "--send-pictures-to",
        metavar="HOST",
        help="Allow remote labelers to send pictures to this host. May be repeated.",
    ),
]
MarksFile = Annotated[
    Path | None,
    typer.Option(
        "--marks",
        metavar="FILE",
        help="Marks saved on the page of variorum view: tags and notes become columns, and people are asked about the "
        "pictures marked with Ask people.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Allow verdicts that drop every picture.")]
Confidence = Annotated[
    float, typer.Option("--confidence", min=0.5, max=0.9999, help="Level of the intervals between models.")
]
SignedBy = Annotated[
    str,
    typer.Option(
        "--signed-by",
        metavar="WHO",
        help="Who must have signed it: a file with public SSH keys, a key's fingerprint SHA256:…, or an e-mail address "
        "or URL.",
    ),
]
Digest = Annotated[str, typer.Option("--digest", metavar="HEX", help="The digest that it must have, from its author.")]
Issuer = Annotated[
    str,
    typer.Option("--issuer", metavar="URL", help="Who vouches for that address: https://accounts.google.com"),
]
FormerPlace = Annotated[Path | None, typer.Argument(metavar="TO", hidden=True)]
"""The former form of `--to`, which still works."""
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts instead of tables.")]


@dataclass(frozen=True, slots=True)
class Asked:
    """The recipe and the options that every command on a recipe takes."""

    recipe: RecipeName
    store: StoreUrl = "store"
    profile: ProfileName = Profile.embedded
    source: SourceFolder = None
    overrides: Overrides = None
    limit: Limit = None
    as_json: AsJson = False
    workers: Workers = field(default=1, metadata={"works": True})
    runner: RunnerName = field(default=Runners.prefect, metadata={"works": True})
    runner_set: RunnerSet = field(default=None, metadata={"works": True})
    trust: Trust = field(default=False, metadata={"works": True})
    send_to: SendTo = field(default=None, metadata={"works": True, "sends": True})

    def job(self, store: Store | None = None, marks: Path | None = None) -> Job:
        """The job of this recipe with its overrides, the profile and the store, which is made if it is missing.

        Args:
            store: one that is open already.
            marks: a file of people's marks, which the recipe's curation reads.
        """
        from variorum.stages.job import Job
        from variorum.stages.marked import with_marks
        from variorum.stages.recipe_files import load_recipe

        recipe = load_recipe(self.recipe, self.settings(), self.limit)
        recipe = recipe if marks is None else with_marks(recipe, marks)
        return Job(recipe, store or self.store, self.profile.value, trust=self.trust)

    def settings(self) -> list[str]:
        """The overrides `key=value`, those that `--source` stands for included."""
        return [*folder_settings(self.source), *(self.overrides or ())]

    def job_on_edition(self, marks: Path | None = None) -> Job:
        """The same for a command that works on an edition, so that a mistyped store isn't made."""
        return self.job(existing(self.store, writable=True, trust=self.trust), marks)

    def do(
        self,
        name: str,
        work: Callable[[Job, Runner, Progress], T],
        job: Job,
        kept: Callable[[Job, Progress], T | None],
    ) -> tuple[T, bool]:
        """Do the work, with progress, inside a Prefect flow of this name or by another runner.

        Args:
            name: of the flow.
            work: gives the result.
            job: the job.
            kept: gives the same result if it is finished, and raises the errors that can be known. Only if it gives
                None, a runner starts.

        Returns:
            The result, and whether it was finished.
        """
        from variorum.reports.model_terms import warnings_of_job
        from variorum.stages.consent import agreeing
        from variorum.stages.job import with_small_models

        with agreeing(self.send_to or ()), terminal.progress() as progress:
            try:
                done = with_small_models(job, lambda: kept(job, progress))
            except ModelUnavailable as error:
                if len(str(error).splitlines()) == 1:
                    raise
                how = fetch_command(self.recipe, self.profile, self.settings())
                raise ModelUnavailable(f"{error}\ndownload all that this recipe uses: {how}") from error
            if done is not None:
                return done, True
            for line in warnings_of_job(job):
                terminal.say(line, err=True)
            return self._work(name, work, job, progress), False

    def _work(self, name: str, work: Callable[[Job, Runner, Progress], T], job: Job, progress: Progress) -> T:
        """The result of the work, by the runner that was asked for."""
        if self.runner == Runners.prefect and not self.runner_set:
            terminal.say(STARTING, err=True)
            from variorum.flows.prefect_runner import in_flow  # takes seconds

            return in_flow(name, work, job, progress, workers=self.workers)
        if self.runner == Runners.threads and not self.runner_set:
            from variorum.pipeline import Threads

            return work(job, Threads(self.workers), progress)
        from variorum.runners.chosen import chosen

        with chosen(self.runner.value, self.workers, self.runner_set or ()) as runner:
            return work(job, runner, progress)

    def words(self) -> list[str]:
        """The same recipe and options as words of a command line."""
        words = [self.recipe, *(word for override in self.settings() for word in ("--set", override))]
        words += ["--limit", str(self.limit)] if self.limit else []
        words += ["--store", self.store, "--profile", self.profile.value]
        words += [] if self.runner == Runners.prefect else ["--runner", self.runner.value]
        words += [word for given in self.runner_set or () for word in ("--runner-set", given)]
        return words + (["--trust"] if self.trust else [])


def fetch_command(
    recipe: str, profile: Profile, overrides: Iterable[str] = (), aliases: Iterable[str] = (), *, pin: bool = False
) -> str:
    """The command that downloads the models that a recipe uses, and these aliases."""
    words = ["variorum", "doctor", *aliases, "--for", recipe, *(f"--set={one}" for one in overrides)]
    words += [] if profile is Profile.embedded else ["--profile", profile.value]
    return shlex.join([*words, *(["--pin"] if pin else []), "--fetch"])


def folder_settings(folder: str | None) -> list[str]:
    """The overrides that `--source FOLDER` stands for."""
    return [] if folder is None else ["source.name=image_folder", f"source.path={json.dumps(folder)}"]


def on_recipe(
    *, works: bool, sends: bool = False, first: Any = RecipeName
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of all commands on a recipe. Its first parameter gets them as an `Asked`.

    Args:
        works: whether it takes `--workers` and `--runner`.
        sends: whether it takes `--send-pictures-to`.
        first: the argument that names the recipe.
    """

    def add(function: Callable[..., None]) -> Callable[..., None]:
        kinds = {"works": works, "sends": sends}
        taken = [one for one in Asked.__dataclass_fields__.values() if all(kinds[name] for name in one.metadata)]
        hints = {**inspect.get_annotations(Asked, eval_str=True), "recipe": first}
        shared = [
            inspect.Parameter(
                one.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if one.name == "recipe" else one.default,
                annotation=hints[one.name],
            )
            for one in taken
        ]
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        own = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]

        def command(**given: Any) -> None:
            asked = Asked(**{one.name: given.pop(one.name) for one in taken})
            function(asked, **given)

        command.__name__, command.__doc__ = function.__name__, function.__doc__
        command.__annotations__ = {one.name: one.annotation for one in (*shared, *own)}
        command.__signature__ = inspect.Signature([*shared, *own])  # type: ignore[attr-defined]
        return command

    return add


def place_to_write(to: Path | None, former: Path | None) -> Path:
    """Return where a command shall write. Raises typer.BadParameter if that isn't given, or given twice."""
    if (to is None) == (former is None):
        raise typer.BadParameter("say once where to write: --to PATH")
    return to or former or Path()


def examples(*lines: str) -> str:
    """The end of a command's help."""
    return "\n\n".join(["[bold]Examples[/bold]", *lines])

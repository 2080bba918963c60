"""A recipe with people in it, in two runs: the first asks, the second uses their votes.

    recipe without votes ─ build, curate ═ ledger 1 ─ the panel's questions
    their votes, in a file ─ the same recipe with them ═ ledger 2 ─ release, evaluations, card

Both runs share all that was measured. `review_flow` waits in between.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from variorum.edition.store import Store
from variorum.machine.progress import QUIET, Progress
from variorum.people.panel.panel import Panel, check_name, open_panel, publish
from variorum.people.panel.settings import Settings
from variorum.pipeline import Job, build, check, curate
from variorum.schemas.errors import RecipeError, cut
from variorum.schemas.manifest import Manifest
from variorum.schemas.secrets import holds_secret, remember, shown
from variorum.stages.job import Profile
from variorum.stages.recipe_files import load_recipe
from variorum.stages.stage import Runner, Threads

DATABASE = "VARIORUM_DATABASE"
"""Environment variable with the database's URL, which may hold a password there."""


@dataclass(frozen=True, slots=True)
class Asking:
    """A recipe, and the panel that asks about its edition.

    Attributes:
        recipe: a YAML file, or the name of a recipe; a step must have `votes`, such as `consensus`.
        store: folder or URL of the store.
        profile: which table of models.
        overrides: changes to the recipe, `key=value` each.
        settings: of the panel.
        panel: its name.
        gold: file with known answers for the panel's controls; None for none.
        database: URL without password, or path of a SQLite file; None for `$VARIORUM_DATABASE`, or else a file in the
            panel's folder.
        trust: see `Store`.
    """

    recipe: str
    store: str = "store"
    profile: Profile = "embedded"
    overrides: tuple[str, ...] = ()
    settings: Settings = field(default_factory=Settings)
    panel: str = "main"
    gold: Path | None = None
    database: str | None = None
    trust: bool = False

    def check(self) -> None:
        """Check what can be known before any work.

        Raises:
            RecipeError: a recipe without the step or with votes of its own, a panel's name, a password in the URL.
            VariorumError: whatever else can't work in the recipe.
        """
        check_name(self.panel)
        if self.database and holds_secret(self.database):
            raise RecipeError(
                f"database {shown(self.database)}: Prefect stores and shows a flow's parameters, so the URL may hold "
                f"no password; put the URL into {DATABASE} where the flow runs"
            )
        check(self.job())

    def job(self, votes: Path | None = None) -> Job:
        """The job of the recipe with these votes, or with none. Raises RecipeError."""
        given = load_recipe(self.recipe, self.overrides)
        names = [step.component_name() for step in given.curate]
        reading = [step.component_name() for step in given.curate if "votes" in type(step).model_fields]
        if not reading:
            raise RecipeError(
                f"recipe {cut(self.recipe)} has no step with `votes` in curate, such as consensus, which says what "
                f"people's votes come to; add one, with rules of policy that read its columns. "
                f"There are: {', '.join(names) or 'none'}"
            )
        recipe = load_recipe(
            self.recipe, [*self.overrides, *(f"curate.{name}.votes={_yaml(votes)}" for name in reading)]
        )
        return Job(recipe, Store(self.store, trust=self.trust), self.profile)

    def ask(self, job: Job, runner: Runner | None = None, progress: Progress = QUIET) -> Manifest:
        """Build and curate, and publish the panel about this ledger; the edition that people are asked about.

        Raises:
            VariorumError: those of `pipeline.build`, `pipeline.curate` and `people.panel.panel.publish`.
        """
        runner = runner or Threads()
        manifest = build(job, runner, progress, then=(*job.recipe.curate, *job.recipe.evaluate))
        number, _ = curate(job, manifest, runner, progress)
        publish(manifest, job.store, self.settings, name=self.panel, gold=self.gold, number=number, progress=progress)
        return manifest

    def open(self, manifest: Manifest, progress: Progress = QUIET) -> Panel:
        """The panel with its database. Raises the errors of `people.panel.panel.open_panel`."""
        store = Store(self.store, trust=self.trust)
        database = self.database or os.environ.get(DATABASE) or None
        remember(database)
        return open_panel(manifest, store, name=self.panel, database=database, progress=progress)


def _yaml(path: Path | None) -> str:
    """A path as the value of an override, whatever characters it has."""
    return "null" if path is None else "'" + str(path).replace("'", "''") + "'"

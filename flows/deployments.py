"""The deployments of shipped datasets and of served recipes: what runs when, where, and with which parameters.

`python -m variorum.flows.deployments` writes `prefect.yaml`. Every dataset can have three deployments:

    <dataset>-build     nightly: the edition, so that damage and drift show within a day
    <dataset>-release   weekly: the edition, its curation and release, evaluations, the card
    <dataset>-publish   monthly: the newest release on the Hub; switched off by default
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import yaml

from variorum.schemas.errors import RecipeError, cut
from variorum.schemas.recipe import Recipe
from variorum.schemas.secrets import holds_secret
from variorum.stages.recipe_files import load_recipe, shipped_recipes

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment

NOTHING: Mapping[str, Any] = MappingProxyType({})
GPU = ("coco_o_diffusion", "imagenet_g_text")
"""Recipes that need models of the Hub on a GPU: their runs go to the pool `gpu`, with the profile `hub`."""
SLOW = ("imagenet_e_guided", "watermark", "watermark_adaptive")
"""Recipes that are slow on a CPU: they have no nightly build."""
BY_HAND = ("major_errors",)
"""Recipes whose source people have to review first: their deployments have no schedule."""
FLOWS = "variorum.flows.scheduled_flows"
TIMEZONE = "UTC"
APART = 2
"""Minutes between the starts of two datasets."""
SOON = 15
"""Seconds until the first run of a deployment with `every`, so that the server knows it by then."""
HEADER = """\
# Written by `python -m variorum.flows.deployments`; docs/operate/schedule.md explains it.
#   prefect work-pool create cpu --type process; prefect work-pool create gpu --type process
#   prefect --no-prompt deploy --all
#   prefect worker start --pool cpu
# One machine needs none of this: variorum serve
name: variorum
pull:
  - prefect.deployments.steps.set_working_directory:
      directory: "{{ $PWD }}"
definitions:
  once: &once {limit: 1, collision_strategy: CANCEL_NEW}   # a run that starts while another is active is cancelled
deployments:
"""


@dataclass(frozen=True, slots=True)
class Deployment:
    """One flow with parameters, and when it runs.

    Attributes:
        name: of the deployment, `<dataset>-<step>`.
        flow: name of a flow in `scheduled_flows`.
        parameters: of the flow.
        cron: when it runs, in UTC; empty if only people start it.
        every: seconds between two runs, in place of `cron`; the first run starts at once.
        pool: work pool for many machines.
        tags: for Prefect's pages.
        description: one line, for Prefect's pages.
        active: whether the schedule is switched on.
    """

    name: str
    flow: str
    parameters: dict[str, Any]
    cron: str
    every: int | None
    pool: str
    tags: tuple[str, ...]
    description: str
    active: bool = True

    def said(self) -> str:
        """When it runs, for people."""
        if self.every:
            return f"every {self.every} seconds"
        return f"cron {self.cron} {TIMEZONE}" if self.cron else "no schedule"


def of_recipe(
    name: str,
    recipe: Recipe,
    place: int = 0,
    options: Mapping[str, Any] = NOTHING,
    *,
    cron: str | None = None,
    every: int | None = None,
) -> list[Deployment]:
    """The deployments that build and release a recipe.

    Args:
        name: the recipe's, or its file.
        recipe: its content.
        place: in the list of recipes, as their runs start one after another.
        options: further parameters of the flow, such as `store`.
        cron: when to run, in place of the default times; then one deployment does everything.
        every: seconds between two runs; likewise.
    """
    minute, gpu = APART * place % 60, name in GPU
    pool = "gpu" if gpu else "cpu"
    given = {"recipe": name, **options, **({"profile": "hub"} if gpu else {})}
    what = "curation, release, evaluations and card" if recipe.curate else "evaluations and card"
    scheduled = cron or every
    release = Deployment(
        f"{recipe.dataset}-release",
        "scheduled",
        {**given, "until": "everything"},
        cron or ("" if name in BY_HAND or scheduled else f"{minute} 3 * * 1"),
        every,
        pool,
        (recipe.dataset, pool),
        f"The edition of {recipe.dataset}, its {what}.",
    )
    if scheduled or name in (*GPU, *SLOW, *BY_HAND):
        return [release]
    build = replace(
        release,
        name=f"{recipe.dataset}-build",
        parameters={**given, "until": "build"},
        cron=f"{minute} 1 * * *",
        description=f"The edition of {recipe.dataset}.",
    )
    return [build, release]


def shipped() -> list[Deployment]:
    """The deployments of all datasets that come with Variorum."""
    every = enumerate(shipped_recipes())
    return [one for place, name in every for one in _of_shipped(name, place)]


def _of_shipped(name: str, place: int) -> list[Deployment]:
    """The deployments of one shipped dataset; the one that publishes its newest release is switched off."""
    recipe = load_recipe(name)
    found = of_recipe(name, recipe, place, {"store": "store"})
    publish = replace(
        found[-1],
        name=f"{recipe.dataset}-publish",
        flow="published",
        parameters={"edition": recipe.dataset, "store": "store"},
        cron=f"{APART * place % 60} 5 1 * *",
        pool="cpu",
        tags=(recipe.dataset, "cpu"),
        description=f"The newest release of {recipe.dataset} on the Hub.",
        active=False,
    )
    return [*found, publish]


def shipped_names() -> list[str]:
    """Names of the shipped recipes that any machine can run on a schedule."""
    return [name for name in shipped_recipes() if name not in (*GPU, *BY_HAND)]


def served(one: Deployment) -> RunnerDeployment:
    """A deployment as Prefect serves it on one machine."""
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.schedules import Cron, Interval
    from prefect.types.entrypoint import EntrypointType

    from variorum.flows import scheduled_flows

    schedule = None
    if one.every:
        first = datetime.now(UTC) + timedelta(seconds=SOON)
        schedule = Interval(timedelta(seconds=one.every), anchor_date=first, active=one.active)
    elif one.cron:
        schedule = Cron(one.cron, timezone=TIMEZONE, active=one.active)
    found: RunnerDeployment = getattr(scheduled_flows, one.flow).to_deployment(
        one.name,
        schedule=schedule,
        parameters=one.parameters,
        description=one.description,
        tags=list(one.tags),
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    return found


def prefect_yaml() -> str:
    """The content of `prefect.yaml`."""
    return HEADER + "".join(map(_entry, shipped()))


def _entry(one: Deployment) -> str:
    """A deployment as YAML."""
    lines = [
        f"name: {one.name}",
        f"description: {one.description}",
        f"entrypoint: {FLOWS}.{one.flow}",
        f"parameters: {yaml.safe_dump(one.parameters, default_flow_style=True, sort_keys=False, width=1000).strip()}",
    ]
    if one.cron:
        off = "" if one.active else ", active: false"
        lines.append(f'schedules: [{{cron: "{one.cron}", timezone: {TIMEZONE}{off}}}]')
    lines += [
        "concurrency_limit: *once",
        f"work_pool: {{name: {one.pool}}}",
        f"tags: [{', '.join(one.tags)}]",
    ]
    return f"  - {lines[0]}\n" + "".join(f"    {line}\n" for line in lines[1:])


def refuse_secrets(*given: str) -> None:
    """Refuse parameters with secrets in them, because Prefect stores and shows parameters. Raises RecipeError."""
    for text in given:
        if holds_secret(text):
            raise RecipeError(
                f"{cut(text)}: Prefect stores and shows a flow's parameters, so they may "
                "hold no secret; put credentials into the environment where the flow runs"
            )


if __name__ == "__main__":
    Path("prefect.yaml").write_text(prefect_yaml())

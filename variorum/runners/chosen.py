"""Finds the runner with a certain name, and checks its settings."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from pydantic import ValidationError

from variorum.runners.lanes import OnWorkers
from variorum.schemas.errors import RecipeError
from variorum.schemas.extras import needs, there
from variorum.schemas.lookup import explain

OPTION = "--runner-set"
PACKAGES = {"processes": "", "ray": "ray", "dask": "distributed", "slurm": "submitit"}
"""By runner, the package that it needs. The extra of this project has the runner's name."""
MODULES = {"processes": "processes", "ray": "ray_actors", "dask": "dask_workers", "slurm": "slurm_jobs"}
"""By runner, its module here, which has a model `Settings` and a function `engine(settings, workers)`."""


def chosen(name: str, workers: int, given: Sequence[str] = ()) -> OnWorkers:
    """The runner with a certain name. Use it in a `with`, which ends its workers; they start with the first part.

    Args:
        name: `processes`, `ray`, `dask` or `slurm`.
        workers: maximum number of parts at the same time.
        given: settings, each as KEY=VALUE.

    Raises:
        RecipeError: no such runner or setting, a value of the wrong type, or a package that isn't installed.
    """
    if name not in MODULES:
        if given:
            raise RecipeError(f"{OPTION} {given[0]}: runner {name} has no settings; {', '.join(MODULES)} have some")
        raise RecipeError(f"no runner {name!r} of workers; there are: {', '.join(MODULES)}")
    package = PACKAGES[name]
    if package and not there(package):
        raise RecipeError(needs(f"runner {name}", package))
    module = importlib.import_module(f"variorum.runners.{MODULES[name]}")
    values: dict[str, str] = {}
    for item in given:
        key, equals, values[key] = item.partition("=")
        if not equals:
            raise RecipeError(f"{OPTION} {item}: give a setting as KEY=VALUE; {name} has: {_named(module.Settings)}")
    try:
        settings = module.Settings.model_validate(values)
    except ValidationError as error:
        raise RecipeError(explain(error, f"{OPTION} for {name}: ", module.Settings)) from None
    return OnWorkers(module.engine(settings, workers), workers)


def _named(cls: type) -> str:
    return ", ".join(cls.model_fields)  # type: ignore[attr-defined]

"""Packages that few users need: which extra of this project installs each, and what it is for."""

from __future__ import annotations

from importlib.util import find_spec
from typing import NamedTuple


class Extra(NamedTuple):
    """An extra of this project.

    Attributes:
        name: as pip takes it: `variorum[name]`.
        purpose: what it is for, in a few words.
    """

    name: str
    purpose: str


EXTRAS = {
    "accelerate": Extra("gpu", "models larger than the GPU's memory"),
    "aiohttp": Extra("http", "tars and tables at https://"),
    "c2pa": Extra("credentials", "content credentials"),
    "distributed": Extra("dask", "runner dask"),
    "duckdb": Extra("duckdb", "curate.sql"),
    "psycopg": Extra("postgres", "votes in PostgreSQL"),
    "pyautoattack": Extra("autoattack", "the attack autoattack"),
    "ray": Extra("ray", "runner ray"),
    "s3fs": Extra("s3", "stores and pictures at s3://"),
    "sigstore": Extra("sign", "signing as a person"),
    "submitit": Extra("slurm", "runner slurm"),
}
"""By the name under which the package is imported."""


def there(package: str) -> bool:
    """Whether a package can be imported here."""
    return find_spec(package) is not None


def needs(what: str, package: str) -> str:
    """A line for an error: what needs which package, and the command that installs it."""
    extra = EXTRAS.get(package)
    command = f"'variorum[{extra.name}]'" if extra else package
    return f"{what} needs the package {package}: pip install {command}"


def not_installed() -> list[Extra]:
    """The extras whose package isn't here, by name."""
    return sorted(extra for package, extra in EXTRAS.items() if not there(package))

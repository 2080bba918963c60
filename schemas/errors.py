"""Every error that the project raises on purpose, and what each one means.

    VariorumError                 one clear line for the user: the thing, the value, the way out
    ├── RecipeError               a recipe, an override or a component's field is wrong
    ├── SourceError               the data behind a source is missing or unusable
    ├── ModelUnavailable          an alias has no usable weights on this machine, or it has too little memory
    ├── TooManyFailures           a unit failed past the recipe's failure rate
    └── StoreError                the store can't be written, read or trusted
        ├── VersionDrift          a sealed version was asked to hold something else
        └── CorruptShard          bytes on disk don't match the hash that names them

Anything else that escapes is a bug and keeps its traceback.
"""

from __future__ import annotations


class VariorumError(Exception):
    """Base of the errors that are meant for a person; the message is complete as it stands."""


class RecipeError(VariorumError):
    """A recipe, an override or a component's field is wrong."""


class SourceError(VariorumError):
    """The data behind a source is missing or unusable."""


class ModelUnavailable(VariorumError):
    """An alias has no usable weights on this machine, they aren't the pinned ones, or there isn't the memory."""


class TooManyFailures(VariorumError):
    """More samples of a unit failed than the recipe's `max_failure_rate` allows."""


class StoreError(VariorumError):
    """The store can't be written, read or trusted."""


class VersionDrift(StoreError):
    """A sealed version exists already and holds something else."""


class CorruptShard(StoreError):
    """Bytes in the store don't match the hash that names them."""

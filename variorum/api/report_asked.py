"""What a report was asked for, and whether it is there already.

A report of somebody's photographs is found by what was asked: the suite, the photographs' files, the models, and the
files of this project. Then the suite's editions aren't planned, and no table is read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

from variorum.api.arguments import whole_number
from variorum.api.edition import store_of
from variorum.api.report_models import UnderTest, under_test
from variorum.api.report_object import Report, folder, read_report
from variorum.edition.store import Store
from variorum.hub.signatures import Signer
from variorum.machine.cache import cache_dir
from variorum.machine.memo import DiskMemo
from variorum.reports.profile.guards import read_guards
from variorum.schemas.canonical import Json, digest
from variorum.schemas.component import Context, Source
from variorum.schemas.errors import RecipeError, StoreError, UnknownName
from variorum.schemas.fields import Sha256
from variorum.schemas.lookup import build_component, cut
from variorum.schemas.suite import Part, Suite
from variorum.stages.job import Profile, installed_version
from variorum.stages.suite_files import code_of, load_suite, rows_of

DEFAULT = "quick"
"""The suite of photographs for which none is named."""
CODE = (".py", ".yaml", ".csv", ".toml", ".css", ".js", ".j2")


class Answered(Part):
    """Content of `reports/asked/<question>.json`: the key of the report that answers it."""

    key: Sha256


@dataclass(frozen=True, eq=False)
class Asked:
    """What a report was asked for.

    Attributes:
        under: the models.
        suite: that was named, or that of the photographs; None for the rows that editions have.
        editions: that were named; None for those of the photographs.
        source: the photographs.
        reference: name of the model in the report.
        below, worse: limits, as they were given.
        store: as it was given.
        profile: of the models.
        workers: parts at a time.
        signer: who must have signed the editions.
        digest: the one that the edition must have.
        again: options of the command that makes it again, beside the models, the photographs and the limits.
        unrun: Python that the suite names, which a plan doesn't run.
    """

    under: UnderTest
    suite: Suite | None
    editions: Any
    source: Any
    reference: str
    below: tuple[str, ...]
    worse: tuple[str, ...]
    store: Any
    profile: str
    workers: int
    signer: Signer | None = None
    digest: str = ""
    again: tuple[str, ...] = ()
    unrun: tuple[str, ...] = ()

    @cached_property
    def question(self) -> str:
        """Digest of all that decides the report of photographs; `""` where it can't be told so early."""
        if self.suite is None or self.source is None or not self.under.kept:
            return ""
        if not (photographs := self._photographs(self.suite)):
            return ""
        table = self.under.table
        return digest(
            {
                "asked": [installed_version("variorum"), _files(Path(__file__).parents[1], CODE)],
                "suite": self.suite.digest(),
                "photographs": photographs,
                "models": [list(self.under.identity(name)) for name in self.under.names],
                "aliases": {alias: table.entry(alias).identity() for alias in table.aliases()},
                "settings": [self.profile, self.reference, list(self.below), list(self.worse)],
            }
        )

    def _photographs(self, suite: Suite) -> list[Json]:
        """Identity of the photographs: a folder's files, or a source's fields and data. Empty for anything else."""
        if isinstance(self.source, str | os.PathLike) and os.path.isdir(self.source):
            path = Path(self.source).absolute()
            return [str(path), _files(path)]
        if not isinstance(self.source, Mapping):
            return []
        source = build_component("source", self.source, "source")
        assert isinstance(source, Source)
        ctx = Context(suite.seed, self.under.table, DiskMemo(cache_dir() / "memo"), source)
        return [source.fingerprint(), source.pin(ctx), digest(source.config())]

    def before(self) -> Report | None:
        """The report, if the same was asked before and it is in the store."""
        if not self.question:
            return None
        place = store_of(self.store)
        try:
            store = Store(place, writable=False) if isinstance(place, str) else place
            found = store.read_record(_where(self.question), Answered)
        except StoreError:
            return None
        return read_report(found.key, store) if found else None

    def answered(self, report: Report) -> Report:
        """Note that the report answers this, and return it."""
        if self.question:
            report.store.put_record(_where(self.question), Answered(key=report.key))
        return report


def _where(question: str) -> str:
    """The file that names the report which answers a question."""
    return f"{folder('asked')}/{question}.json"


def asked(
    models: Any,
    editions: Any = None,
    *,
    suite: Any = None,
    source: Any = None,
    reference: str | None = None,
    classes: Any = None,
    preprocess: Any = None,
    store: Any = "store",
    signed_by: str | os.PathLike[str] = "",
    issuer: str = "",
    digest: str = "",
    profile: str = "embedded",
    workers: int = 1,
    defences: Sequence[str] = (),
    fail_below: Sequence[str] = (),
    fail_worse: Sequence[str] = (),
    plan: bool = False,
) -> Asked:
    """Check the arguments of `variorum.report`; no edition is opened, and no model with a name is loaded.

    With `plan`, no Python runs that the suite or the models name by a file.
    """
    workers = whole_number("workers", workers, 1, 1000, RecipeError)
    if profile not in get_args(Profile):
        raise RecipeError(f"profile: there is no {cut(repr(profile))}; there are: {', '.join(get_args(Profile))}")
    if editions is None and source is None:
        raise RecipeError(
            "report: no pictures are given; name editions, or a suite and a source of photographs, such as "
            'suite="quick", source="photos"'
        )
    if editions is not None and source is not None:
        raise RecipeError("report: give editions or a source of photographs, not both")
    if source is not None and (signed_by or digest):
        raise RecipeError("report: signed_by and digest are of editions, and photographs are given; leave them out")
    name = DEFAULT if suite is None and source is not None else suite
    chosen = None if name is None else load_suite(str(name), run=not plan)
    if chosen and source is not None:
        read_guards(fail_below, fail_worse, [row.id for row in rows_of(chosen)], None)
    under = under_test(models, classes, preprocess, profile, defences, plan=plan)
    return Asked(
        under=under,
        suite=chosen,
        editions=editions,
        source=source,
        reference=_reference(reference, under),
        below=tuple(fail_below),
        worse=tuple(fail_worse),
        store=store,
        profile=profile,
        workers=workers,
        signer=Signer.named(os.path.expanduser(signed_by), issuer),
        digest=digest,
        again=tuple(_again(name, classes, preprocess, profile)),
        unrun=tuple(code_of(chosen)) if plan and chosen else (),
    )


def _again(suite: Any, classes: Any, preprocess: Any, profile: str) -> Iterator[str]:
    """The options of a command with the same suite, classes, preprocessing and profile; of a file, its name."""
    if suite is not None:
        yield from ("--suite", os.path.basename(str(suite)))
    if classes is not None:
        yield from ("--classes", os.path.basename(classes) if isinstance(classes, str | os.PathLike) else "CLASSES")
    if preprocess is not None:
        yield from ("--preprocess", preprocess if isinstance(preprocess, str) else "PREPROCESSING")
    if profile != get_args(Profile)[0]:
        yield from ("--profile", profile)


def _reference(reference: str | None, under: UnderTest) -> str:
    """The name in the report of the model that others are compared with."""
    if reference is None:
        return under.called[under.names[0]]
    for name, called in under.called.items():
        if reference in (name, called):
            return called
    raise UnknownName(f"reference: {cut(repr(reference))} is none of the models: {', '.join(under.called.values())}")


def _files(path: Path, endings: tuple[str, ...] = ()) -> str:
    """Digest of the names, sizes and times of the files in a folder, with these endings if any are given."""
    found: list[Json] = []
    for place, _, names in os.walk(path, followlinks=True):
        for name in names:
            if not endings or name.endswith(endings):
                status = os.stat(os.path.join(place, name))
                found.append([os.path.relpath(place, path), name, status.st_size, status.st_mtime_ns])
    return digest(sorted(found, key=str))

"""Lists: the components that recipes can name, the differences of two editions, the problems of one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, overload

from variorum.api import html
from variorum.api.edition import Named, opened
from variorum.api.progress import shown
from variorum.edition.store import Store
from variorum.reports.diff import Change, change_counts
from variorum.reports.diff import diff as find_changes
from variorum.schemas.catalogue import Entry, catalogue
from variorum.schemas.errors import RecipeError, StoreError
from variorum.schemas.lookup import OWN, broken_plugins, cut, kinds

if TYPE_CHECKING:
    from variorum.machine.progress import Progress

WIDTH = 118
"""Characters of a line of text."""


class Components(Sequence[Entry]):
    """Components in order, by position or by name: `components()["attribute_edit"]`.

    Attributes:
        broken: plugins that can't be used, each with the reason.
    """

    def __init__(self, entries: Iterable[Entry], broken: Iterable[tuple[str, str]] = ()) -> None:
        self._entries, self.broken = tuple(entries), dict(broken)

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, key: int | str) -> Entry: ...
    @overload
    def __getitem__(self, key: slice) -> Components: ...
    def __getitem__(self, key: int | str | slice) -> Entry | Components:
        if isinstance(key, slice):
            return Components(self._entries[key], self.broken.items())
        return self._named(key) if isinstance(key, str) else self._entries[key]

    def __contains__(self, key: object) -> bool:
        return key in self._entries or any(one.name == key for one in self._entries)

    def _named(self, name: str) -> Entry:
        found = [one for one in self._entries if one.name == name]
        if len(found) == 1:
            return found[0]
        if found:
            parts = ", ".join(f"components({one.part!r})" for one in found)
            raise RecipeError(f"{len(found)} components are named {cut(name)!r}; choose one of {parts}")
        names = [one.name for one in self._entries]
        near = get_close_matches(name, names, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names) or 'none'}"
        raise RecipeError(f"no component {cut(name)!r}; {hint}")

    def __repr__(self) -> str:
        lines, width = [], max((len(one.name) for one in self._entries), default=0)
        for part in kinds():
            mine = [one for one in self._entries if one.part == part]
            lines += [f"{part}:"] if mine else []
            lines += [_short(f"  {one.name:<{width}}  {one.about}{_origin(one)}") for one in mine]
        return "\n".join([*lines, *(_short(f"can't be used: {name}: {why}") for name, why in self.broken.items())])

    def _repr_html_(self) -> str:
        head = ("name", "part", "kind", "about", "fields", "from")
        rows = [
            (one.name, one.part, one.kind, one.about, ", ".join(field.name for field in one.fields), one.origin)
            for one in self._entries
        ]
        broken = "".join(html.line(f"can't be used: {name}: {why}") for name, why in self.broken.items())
        return html.table(head, rows) + broken


class Changes(Sequence[Change]):
    """The pictures that differ between two editions, in order of kind, reason and id.

    Attributes:
        first: name of the earlier edition.
        second: name of the later edition.
    """

    def __init__(self, changes: Iterable[Change], first: str, second: str) -> None:
        self._changes, self.first, self.second = tuple(changes), first, second

    def __len__(self) -> int:
        return len(self._changes)

    @overload
    def __getitem__(self, key: int) -> Change: ...
    @overload
    def __getitem__(self, key: slice) -> Changes: ...
    def __getitem__(self, key: int | slice) -> Change | Changes:
        if isinstance(key, slice):
            return Changes(self._changes[key], self.first, self.second)
        return self._changes[key]

    @property
    def counts(self) -> list[tuple[str, str, int]]:
        """Kind of change, why, and number of pictures: by kind, then most frequent first."""
        return change_counts(list(self._changes))

    def table(self) -> Any:
        """The changes as a `pyarrow.Table`: `kind`, `id`, `variant`, `origin`, `why`, `before`, `after`.

        `before` and `after` are lists of labels, or of a split and configuration if `kind` is `moved`.
        """
        import pyarrow as pa

        names = list(Change.__dataclass_fields__)
        kinds = [pa.list_(pa.string()) if name in ("before", "after") else pa.string() for name in names]
        columns = {name: [getattr(one, name) for one in self._changes] for name in names}
        return pa.Table.from_pydict(columns, schema=pa.schema(list(zip(names, kinds, strict=True))))

    def __repr__(self) -> str:
        head = f"<{self.first} to {self.second}: {len(self) or 'no'} {'change' if len(self) == 1 else 'changes'}"
        by_kind: dict[str, int] = {}
        for kind, _, number in self.counts:
            by_kind[kind] = by_kind.get(kind, 0) + number
        said = ", ".join(f"{kind} {number}" for kind, number in by_kind.items())
        return f"{head}{f': {said}' if said else ''}>"

    def _repr_html_(self) -> str:
        title = f"{self.first} to {self.second}"
        if not self._changes:
            return html.line(f"{title}: the same pictures with the same labels and annotations, in the same splits")
        return html.table(("change", "why", "pictures"), self.counts, title)


def components(part: str | None = None) -> Components:
    """The components that recipes can name, plugins included, with the fields of each.

    Args:
        part: only those of one part of a recipe: `source`, `generate`, `curate` or `evaluate`.

    Raises:
        RecipeError: a recipe has no such part.

    >>> import variorum as va
    >>> one = va.components()["attribute_edit"]
    >>> one.part, one.kind
    ('generate', 'generator')
    >>> [(field.name, field.type, field.default) for field in one.fields][:1]
    [('frame', 'int', '256')]
    """
    if part is not None and (not isinstance(part, str) or part not in kinds()):
        near = get_close_matches(str(part), kinds(), 1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(kinds())}"
        raise RecipeError(f"recipes have no part {cut(repr(part))}; {hint}")
    return Components(catalogue((part,) if part else ()), () if part else broken_plugins())


def diff(first: Named, second: Named, store: str | os.PathLike[str] | Store = "store") -> Changes:
    """The differences between two editions: pictures added, dropped, changed, relabelled, moved or annotated.

    Args:
        first: the earlier edition: opened, or its name or folder. Opened editions may lie in different stores.
        second: the later edition.
        store: folder or URL of the store in which names are looked up.

    Raises:
        StoreError: no such store or edition.
        CorruptShard: a table is damaged.

    >>> import variorum as va
    >>> va.diff("shapes@1.0.0", "shapes@1.1.0")
    <shapes@1.0.0 to shapes@1.1.0: 3 changes: dropped 3>
    """
    one, two = opened(first, store), opened(second, store)
    return Changes(find_changes(one.manifest, two.manifest, one.store, two.store), one.name, two.name)


def verify(
    edition: Named,
    store: str | os.PathLike[str] | Store = "store",
    *,
    digest: str = "",
    load: bool = False,
    progress: bool | Progress = True,
) -> list[str]:
    """Recompute every hash of an edition, check that its files agree, and the signature that it was pulled with.

    Args:
        edition: opened, or its name or folder.
        store: folder or URL of the store in which a name is looked up.
        digest: the one that it must have, as its author published it, 64 hexadecimal digits; `""` to check none.
        load: also load it with `datasets`, as its users will.
        progress: show a bar of the bytes that are read.

    Returns:
        The problems, one line each; an empty list if everything matches.

    Raises:
        StoreError: no such store or edition.

    >>> import variorum as va
    >>> va.verify("shapes@1.0.0", progress=False)
    []
    """
    from variorum.hub import signatures
    from variorum.reports.hub_types import read_back
    from variorum.reports.verified import verify_edition

    if not isinstance(digest, str):
        raise StoreError(f"digest: give it as text, 64 hexadecimal digits, not {type(digest).__name__}")
    one = opened(edition, store)
    with shown(progress, "B") as bars:
        problems = verify_edition(one.manifest, one.store, bars, digest)
    problems += signatures.verified(one.manifest, one.store)[1]
    if load and not problems:
        try:
            read_back(one.url, one.manifest)
        except StoreError as error:
            problems.append(str(error))
    return problems


def _origin(entry: Entry) -> str:
    return "" if entry.origin == OWN else f"  ({entry.origin})"


def _short(text: str) -> str:
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"

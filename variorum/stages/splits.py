"""Assign pictures to splits and configurations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from variorum.edition.store import Store
from variorum.edition.tables import read_table, read_texts
from variorum.edition.verdicts import OUT
from variorum.schemas.canonical import Json, derive_seed
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut
from variorum.schemas.manifest import Ledger, Manifest
from variorum.schemas.sample import SPLITS, Failure, Sample, Split
from variorum.schemas.verdict import Verdict

ORDER: tuple[Split, ...] = ("test", "validation")
"""Splits in the order in which they take their shares; `train` gets the rest."""
DEFAULT: Split = "test"
"""Split of a picture whose source and recipe say nothing."""
NONE = "none"
"""Configuration of the pictures without the field."""
TAKEN = ("all", "quarantine", "default")
"""Names of configurations with a meaning of their own."""
MOST_CONFIGS = 2000
"""Configurations of an edition: the card describes each, and loaders read all of it first."""
RECORD = ("variant", "licence", "origin", "digital_source_type", "credentials", "parent", "photograph")
"""Fields of the record that can make configurations."""


def drawn_split(shares: Mapping[Split, float], photograph: str) -> Split:
    """The split of a photograph and of all that is made of it.

    It depends on nothing else, so a photograph is on the same side in every edition with the same shares, and a larger
    share of one split takes nothing from those before it in `ORDER`.
    """
    place, end = _turn(photograph) / 2**63, 0.0
    for split in ORDER:
        end += shares.get(split, 0.0)
        if place < end:
            return split
    rest = shares.get("train", 1 - end)
    return "train" if rest > 1e-9 else next(split for split in reversed(ORDER) if shares.get(split))


def in_splits(items: Iterable[Sample | Failure], shares: Mapping[Split, float]) -> Iterator[Sample | Failure]:
    """A source's samples, each with its split and its own id as `source`.

    Raises:
        RecipeError: the source gives a split that loaders don't know.
    """
    for item in items:
        if not item.photograph and shares:  # a picture that can't even be read
            yield item
        elif item.split and item.split not in SPLITS:
            raise RecipeError(
                f"{item.origin or item.id} is in the split {item.split!r}; a source gives one of "
                f"{', '.join(SPLITS)}, or nothing"
            )
        else:
            split = split_of(item.photograph, item.split, shares)
            if isinstance(item, Sample):
                yield replace(item, split=split, source=item.id)
            else:
                yield replace(item, split=split)


def check_side(sample: Sample) -> None:
    """Raise RecipeError unless a picture has a photograph and a split, as all that is made by `of.made` has."""
    if not sample.photograph or sample.split not in SPLITS:
        maker = sample.ops[-1]["name"] if sample.ops else sample.origin or sample.id
        raise RecipeError(
            f"{maker}: gives a picture the split {sample.split!r} and the photograph {sample.photograph!r}; a picture "
            "keeps those of the picture that it is made of"
        )


def split_of(photograph: str, given: str, shares: Mapping[Split, float]) -> str:
    """The split of a picture: drawn by its photograph if the recipe has shares, else as given by the source."""
    return drawn_split(shares, photograph) if shares else given or DEFAULT


def config_of_sample(field: str | None, sample: Sample) -> tuple[str, Json]:
    """The configuration of a sample, and the value of the recipe's `configs` field; `""` and None without such a field.

    The field is one of the record, else of what was requested of a generator, the last one first, else of the metadata.

    Raises:
        RecipeError: the value can't be a configuration's name.
    """
    if field is None:
        return "", None
    value: Json = None
    if field in RECORD:
        value = getattr(sample, field)
    else:
        asked = [op["requested"] for op in reversed(sample.ops) if field in op["requested"]]
        value = asked[0][field] if asked else sample.metadata.get(field)
    return config_name(field, value), value


def config_name(field: str, value: Json) -> str:
    """A value as a configuration's name; characters that a folder's name shouldn't have become `_`, -1 `minus_1`.

    Raises:
        RecipeError: it is a list or a mapping, or one of the names with a meaning of their own.
    """
    if value is None or value == "":
        return NONE
    if not isinstance(value, str | int | float):
        raise RecipeError(f"configs: {field} is {type(value).__name__} in a picture; it must be a text or a number")
    text = str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
    signed = re.sub(r"^-(?=[0-9.]|inf$)", "minus_", text)
    name = re.sub(r"[^A-Za-z0-9_.+-]+", "_", signed).lstrip("_.+-")[:64]
    if not name or name in TAKEN:
        raise RecipeError(f"configs: {field} has the value {text!r}, which can't be the name of a configuration")
    return name


def check_value(field: str | None, name: str, value: Json, values: dict[str, Json]) -> None:
    """Note the value behind a configuration's name. Raises RecipeError if another value has the same name."""
    before = values.setdefault(name, value)
    if name != NONE and before != value and str(before) != str(value):
        raise RecipeError(
            f"configs: {field} has the values {cut(repr(before))} and {cut(repr(value))}, which both become the "
            f"configuration {name!r}; name them so that they differ in letters and digits"
        )


def moved_splits(manifest: Manifest, ledger: Ledger, verdicts: Mapping[str, Verdict], store: Store) -> dict[str, Split]:
    """New split by photograph, for photographs that are copies of one on another side and stay in the release.

    Only copies that a detector proved count (`ProvesCopies`), also those of a picture that the release leaves out.
    They get the split of the one whose turn comes first when splits are drawn. Nothing moves unless the recipe has
    `splits`.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not manifest.recipe.get("splits") or not ledger.copies:
        return {}
    parts = []
    for column in ledger.copies:
        scored = ledger.scored[column.partition(".")[0]]
        parts.append(read_texts(store, scored, column).rename_columns(["id", "keeper"]))
    copies = pa.concat_tables(parts)
    copies = copies.filter(pc.not_equal(copies["keeper"], ""))
    rows = read_table(store, manifest.rows, ["id", "photograph", "status", "split"])
    rows = rows.filter(pc.equal(rows["status"], "accepted"))
    ids = rows["id"].combine_chunks()
    pairs = [rows["photograph"].take(pc.index_in(copies[name], value_set=ids)).to_pylist() for name in ("id", "keeper")]
    above: dict[str, str] = {}

    def top(photograph: str) -> str:
        while photograph in above:
            photograph = above[photograph]
        return photograph

    for photograph, other in zip(*pairs, strict=True):
        first, second = sorted((top(photograph), top(other)), key=_turn)
        if first != second:
            above[second] = first
    alike = pa.array({*above, *above.values()}, pa.string())
    dropped = pa.array([name for name, verdict in verdicts.items() if verdict.action in OUT], pa.string())
    staying = pc.and_(pc.is_in(rows["photograph"], value_set=alike), pc.invert(pc.is_in(ids, value_set=dropped)))
    stay = rows.filter(staying).select(["photograph", "split"]).to_pydict()
    split: dict[str, Split] = dict(zip(stay["photograph"], stay["split"], strict=True))
    new: dict[str, Split] = {}
    for photograph in sorted(split, key=_turn):
        new.setdefault(top(photograph), split[photograph])
    return {photograph: new[top(photograph)] for photograph in split if new[top(photograph)] != split[photograph]}


def check_configs(field: str | None, manifest: Manifest) -> None:
    """Raise RecipeError if no picture has the field of an edition's configurations, or if it has too many values."""
    found = manifest.configs()
    if len(found) > MOST_CONFIGS:
        raise RecipeError(f"configs: {field} has {len(found)} values; choose a field with {MOST_CONFIGS} at most")
    if field is not None and set(found) == {NONE}:
        raise RecipeError(
            f"configs: no picture has the field {field!r}; there are: {', '.join(RECORD)}, what a generator was asked "
            f"for, and the source's metadata"
        )


def _turn(photograph: str) -> int:
    """The photograph's place, in [0, 2^63), when splits are drawn."""
    return derive_seed("split", photograph)

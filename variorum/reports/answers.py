"""What models answered to each picture of an edition: kept beside the manifest, and read for the edition's page.

An evaluation's file names the tables with its classifiers' answers. A result file says of each picture whether the
answer was right; `answers-<model>.json` names the table with the classes that a model answered, where it was run here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from variorum.arrays import Bools, Ints, Singles
from variorum.edition.editions import beside, read_beside, write_beside
from variorum.edition.records import BadRecord, parse, to_json
from variorum.edition.store import Store
from variorum.edition.tables import keep_file, read_part
from variorum.models.brought import is_brought
from variorum.models.filters import weights_of
from variorum.reports.result_files import parse_result, results_beside
from variorum.reports.results import Name, Part, Result, digest_of
from variorum.schemas.component import ClassInfo
from variorum.schemas.errors import CorruptShard, SourceError
from variorum.schemas.fields import Sha256
from variorum.schemas.manifest import Manifest, ShardInfo
from variorum.stages.evaluate import TABLES, read_figures

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

COLUMNS = {
    "id": "string",
    "classifier": "string",
    "label": "int64",
    "labels": "int64",
    "top1": "int64",
    "correct": "bool",
    "p_label": "double",
    "outputs": "int64",
}
"""Columns of a table of answers that are read, with their types; see `AccuracyDrop.measure`."""
MOST_TABLES = 100_000
Tables = Annotated[tuple[ShardInfo, ...], Field(max_length=MOST_TABLES)]


class KeptAnswers(Part):
    """Content of `answers-<model>.json`: where the answers of one model lie."""

    edition: Sha256
    model: Name
    tables: Tables


@dataclass(frozen=True, eq=False)
class ModelAnswers:
    """A model's answers to some pictures, `[N]` each.

    Attributes:
        name: of the model.
        scored: whether the picture has a label that the model knows.
        right: whether the answer is a label of the picture; False where it isn't scored.
        says: the class's id; its name, or `output 281`, where the edition has no such class; `""` where there is no
            answer. None if it is only known which answers are right.
        p_label: probability that the model gives the labels, in [0, 1], NaN where there is none; None as `says`.
    """

    name: str
    scored: Bools
    right: Bools
    says: Sequence[str] | None = None
    p_label: Singles | None = None


@dataclass(frozen=True, eq=False)
class Labels:
    """What tells which class an output of a model stands for.

    Attributes:
        single: the only label of each picture, `""` where it has none or several.
        classes: ids and names of the edition's classes, in index order.
        known: classes that some models have in this order.
    """

    single: Sequence[str]
    classes: Sequence[tuple[str, str]]
    known: Sequence[ClassInfo]

    def of_outputs(self, label: Ints, outputs: int) -> dict[int, str]:
        """By output, the id of the class that it stands for, or a name, as far as the pictures' labels show it.

        Args:
            label: the output that is each picture's label, -1 where that isn't certain.
            outputs: number of the model's outputs.
        """
        pairs = [(place, one) for place, one in zip(label.tolist(), self.single, strict=True) if place >= 0 and one]
        index, names = {one: place for place, (one, _) in enumerate(self.classes)}, dict(self.classes)
        if len(self.classes) == outputs and all(index.get(one) == place for place, one in pairs):
            return {place: one for one, place in index.items()}  # the model has the edition's classes in their order
        if len(self.known) == outputs and all(
            self.known[place].id == one or self.known[place].name.casefold() == names.get(one, one).casefold()
            for place, one in pairs
        ):
            return {place: one.name for place, one in enumerate(self.known)} | dict(pairs)
        return dict(pairs)


def keep_answers(result: Result, table: pa.Table, manifest: Manifest, store: Store) -> None:
    """Keep a model's answers beside its result, so that the edition's page can show them.

    Args:
        result: of the model.
        table: with the columns of `AccuracyDrop.measure`, a row for each picture.
        manifest: the edition.
        store: gets the table and the file that names it.
    """
    import pyarrow.parquet as pq

    some = table.select(list(COLUMNS))
    info = keep_file(store, len(some), lambda file: pq.write_table(some, file, compression="zstd"))
    kept = KeptAnswers(edition=manifest.digest(), model=result.model.name, tables=(info,))
    write_beside(manifest, _name(result), to_json(kept) + b"\n", store)


def model_answers(
    manifest: Manifest, rows: Any, ids: Sequence[str], store: Store, known: Sequence[ClassInfo] = ()
) -> list[ModelAnswers]:
    """The answers of all models to these pictures: those of the recipe's evaluations first, then those with results.

    A file that is damaged, or of another edition, is only logged. A model that is in several files is there once.

    Args:
        manifest: the edition.
        rows: its `edition_rows` with `id`, `status` and `labels`.
        ids: of the pictures; one that isn't accepted has no answer.
        store: its store.
        known: classes that models have in this order, such as ImageNet's: they name outputs that are no class of the
            edition.
    """
    import pyarrow as pa

    wanted = pa.array(ids, pa.string())
    labels = Labels(_single_labels(rows, ids), manifest.classes, known)
    found = list(_of_evaluations(manifest, wanted, labels, store))
    for one in _of_results(manifest, rows, wanted, labels, store):
        same = any(_alike(one, other) for other in found)
        found += [] if same else [one]
    return found


def _alike(one: ModelAnswers, other: ModelAnswers) -> bool:
    same = one.name == other.name
    return same and bool((one.scored == other.scored).all() and (one.right == other.right).all())


def _of_evaluations(manifest: Manifest, wanted: Any, labels: Labels, store: Store) -> Iterator[ModelAnswers]:
    """The answers to be found by the files of the recipe's evaluations."""
    import pyarrow.compute as pc

    seen = list[ModelAnswers]()
    for name in evaluated(manifest, store):
        kept = read_figures(name, manifest, store) or {}
        try:
            tables = TypeAdapter(Tables).validate_python(kept.get(TABLES, ()), strict=False)
        except ValidationError:
            continue
        table = _read(f"evaluation-{name}.json", tables, wanted, store)
        for model in table["classifier"].unique().to_pylist() if table else ():
            mine = table.filter(pc.equal(table["classifier"], model))
            if pc.count_distinct(mine["id"]).as_py() != len(mine):
                continue  # an evaluation of several views of each picture
            one = _arranged(_label(model, kept["models"].get(model)), mine, wanted, labels)
            if not any(_alike(one, other) for other in seen):
                seen.append(one)
                yield one


def _label(name: str, pin: Any) -> str:
    """A model's name as results have it: without the folder of a file."""
    return (isinstance(pin, str) and is_brought(name) and weights_of(pin).rpartition("@")[0]) or name


def _of_results(manifest: Manifest, rows: Any, wanted: Any, labels: Labels, store: Store) -> Iterator[ModelAnswers]:
    """The answers of the models that have a result beside the manifest."""
    import pyarrow.compute as pc

    files = results_beside(manifest, store)
    accepted = rows.filter(pc.equal(rows["status"], "accepted"))["id"].combine_chunks() if files else None
    for path, content in files.items():
        try:
            if isinstance(content, SourceError):
                raise content
            result = parse_result(path, content)
            scored, right = _bits(result, manifest, accepted, path)
        except SourceError as error:
            log.warning("answers aren't shown: %s", error)
            continue
        place = np.asarray(pc.index_in(wanted, value_set=accepted).fill_null(-1))
        mine = ModelAnswers(result.model.name, *(np.append(bits, False)[place] for bits in (scored, right)))
        kept = _kept(result, manifest, store)
        table = _read(_name(result), kept.tables, wanted, store) if kept else None
        more = _arranged(mine.name, table, wanted, labels) if table else mine
        yield more if _alike(more, mine) else mine


def _bits(result: Result, manifest: Manifest, accepted: Any, path: str) -> tuple[Bools, Bools]:
    """Whether each accepted picture was scored, and answered right. Raises SourceError if they are of others."""
    scored, right = result.answers.arrays()
    fits = result.edition.digest == manifest.digest() and len(scored) == len(accepted)
    if not fits or digest_of(accepted.filter(scored).to_pylist()) != result.answers.ids:
        raise SourceError(f"{path}: it is of another edition")
    return scored, right


def _kept(result: Result, manifest: Manifest, store: Store) -> KeptAnswers | None:
    data = read_beside(manifest, _name(result), store)
    try:
        found = parse(data, KeptAnswers) if data else None
    except BadRecord as error:
        log.warning("%s: %s", _name(result), error)
        return None
    return found if found and found.edition == manifest.digest() and found.model == result.model.name else None


def _name(result: Result) -> str:
    return f"answers-{result.file_name()}"


def _read(what: str, tables: Sequence[ShardInfo], wanted: Any, store: Store) -> Any:
    """The rows of tables that are about these pictures; None if they aren't tables of answers, or are damaged."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = []
    for info in tables:
        try:
            table = read_part(store, info, lambda schema: [name for name in COLUMNS if name in schema.names])
        except CorruptShard as error:
            log.warning("answers of %s aren't shown: %s", what, error)
            return None
        try:
            table = table.cast(pa.schema([(name, pa.type_for_alias(kind)) for name, kind in COLUMNS.items()]))
        except (pa.ArrowInvalid, ValueError):  # other columns, or of other types
            return None
        found.append(table.filter(pc.is_in(table["id"], value_set=wanted)))
    return pa.concat_tables(found).combine_chunks() if found else None


def _arranged(name: str, table: Any, wanted: Any, labels: Labels) -> ModelAnswers:
    """A model's answers in the order of the wanted pictures."""
    import pyarrow.compute as pc

    rows = table.take(pc.index_in(wanted, value_set=table["id"].combine_chunks())).combine_chunks()
    label, top1 = (np.asarray(rows[one].fill_null(-1), np.int64) for one in ("label", "top1"))
    single = np.asarray(rows["labels"].fill_null(0)) == 1
    names = labels.of_outputs(np.where(single, label, -1), max(rows["outputs"].fill_null(0).to_pylist()))
    said = {output: names.get(output, f"output {output}") for output in set(top1.tolist()) if output >= 0}
    return ModelAnswers(
        name,
        label >= 0,
        (label >= 0) & np.asarray(rows["correct"].fill_null(False)),
        [said.get(output, "") for output in top1.tolist()],
        np.asarray(rows["p_label"].fill_null(np.nan), np.float32),
    )


def _single_labels(rows: Any, ids: Sequence[str]) -> list[str]:
    """The label of each of these pictures; `""` for one that has none or several."""
    import pyarrow as pa
    import pyarrow.compute as pc

    place = pc.index_in(pa.array(ids, pa.string()), value_set=rows["id"].combine_chunks())
    lists = rows["labels"].take(place).to_pylist()
    return [found[0] if found and len(found) == 1 else "" for found in lists]


def evaluated(manifest: Manifest, store: Store) -> list[str]:
    """Names of the evaluations with figures beside the manifest."""
    found = store.listed(beside(manifest, "evaluation-*.json"))
    names = (path.rpartition("/evaluation-")[2].removesuffix(".json") for path in found)
    return sorted(name for name in names if name.isidentifier())

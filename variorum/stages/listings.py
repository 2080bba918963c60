"""Listings: tables over a whole edition that its last generator draws up when it is sealed, such as episodes.

They are drawn from the accepted pictures alone, so a release, which may lack some, has its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from variorum.edition.store import Store
from variorum.edition.tables import read_part
from variorum.schemas.component import Context, Generator
from variorum.schemas.errors import RecipeError
from variorum.schemas.fields import Listing
from variorum.schemas.lookup import cut
from variorum.schemas.manifest import MOST_LISTINGS, Manifest, ShardInfo
from variorum.schemas.more import DrawsListings
from variorum.schemas.table import Table
from variorum.stages.score import picture_table

if TYPE_CHECKING:
    import pyarrow as pa

NAME: TypeAdapter[str] = TypeAdapter(Listing)
NAME_RULE = "lowercase letters, digits and underscores, a letter first, 64 at most"


def with_listings(manifest: Manifest, maker: Generator | None, ctx: Context, store: Store) -> Manifest:
    """The manifest with the listings that a generator draws up over its accepted pictures.

    Args:
        manifest: of an edition or release that is about to be sealed.
        maker: the recipe's last generator; None for a recipe without one.
        ctx: for the generator.
        store: keeps the tables.

    Raises:
        RecipeError: the generator gave something that is no table, or too many of them.
    """
    if maker is None or not isinstance(maker, DrawsListings):
        return manifest
    found: Any = maker.listings(Table(picture_table(manifest, store)), ctx)
    if not isinstance(found, Mapping):
        raise RecipeError(f"{maker.component_name()}: listings gave {type(found).__name__}, not tables by name")
    if len(found) > MOST_LISTINGS:
        raise RecipeError(
            f"{maker.component_name()}: {len(found)} listings, and an edition has at most {MOST_LISTINGS}"
        )
    tables = {name: _table(name, columns, maker) for name, columns in found.items()}
    kept = {name: _kept(tables[name], store) for name in sorted(tables)}
    return manifest.model_copy(update={"listings": kept})


def read_listings(manifest: Manifest, store: Store) -> dict[str, dict[str, Any]]:
    """An edition's listings by name, each with its columns as arrays. Raises CorruptShard for a damaged one."""
    tables = {
        name: Table(read_part(store, info, lambda schema: schema.names)) for name, info in manifest.listings.items()
    }
    return {name: {column: table[column] for column in table.arrow.column_names} for name, table in tables.items()}


def _table(name: str, columns: Mapping[str, Any], maker: Generator) -> pa.Table:
    import pyarrow as pa

    said = f"{maker.component_name()}: listing {cut(repr(name))}"
    if not isinstance(columns, Mapping) or not columns or not all(isinstance(one, str) and one for one in columns):
        raise RecipeError(f"{said} is no table: give its columns by name")
    try:
        NAME.validate_python(name)
        table = pa.table({column: _column(column, values) for column, values in columns.items()})
    except ValidationError:
        raise RecipeError(f"{said} has no valid name: {NAME_RULE}") from None
    except (pa.ArrowException, OverflowError, ValueError, TypeError) as error:
        raise RecipeError(f"{said} is no table: {cut(str(error).splitlines()[0])}") from None
    plain = (pa.types.is_integer, pa.types.is_floating, pa.types.is_string, pa.types.is_boolean)
    for field in table.schema:
        if not any(is_plain(field.type) for is_plain in plain):
            raise RecipeError(
                f"{said}: column {cut(repr(field.name))} holds {field.type}, not numbers, texts or booleans"
            )
        if field.name == "id" and (not pa.types.is_string(field.type) or table["id"].null_count):
            raise RecipeError(f"{said}: its column 'id' must hold the id of an accepted picture in each row")
    return table


def _column(name: str, values: Any) -> pa.Array:
    """The values as Arrow holds them. A column without rows has the type of its array; ids and objects are texts."""
    import pyarrow as pa

    array = np.asarray(values)
    if array.size:
        return pa.array(array.tolist())
    return pa.array(np.zeros(1, str if name == "id" or array.dtype == object else array.dtype).tolist())[:0]


def _kept(table: pa.Table, store: Store) -> ShardInfo:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return store.keep_bytes(bytes(sink.getvalue()), ".parquet", samples=len(table))

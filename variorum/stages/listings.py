"""Listings: tables over a whole edition that its last generator draws up when it is sealed, such as episodes.

They are drawn from the accepted pictures alone, so a release, which may lack some, has its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from variorum.edition.store import Store
from variorum.edition.tables import read_part
from variorum.schemas.component import Context, Generator
from variorum.schemas.errors import RecipeError
from variorum.schemas.fields import Listing
from variorum.schemas.lookup import cut
from variorum.schemas.manifest import Manifest, ShardInfo
from variorum.schemas.table import Table
from variorum.stages.score import picture_table

NAME: TypeAdapter[str] = TypeAdapter(Listing)


def with_listings(manifest: Manifest, maker: Generator | None, ctx: Context, store: Store) -> Manifest:
    """The manifest with the listings that a generator draws up over its accepted pictures.

    Args:
        manifest: of an edition or release that is about to be sealed.
        maker: the recipe's last generator; None for a recipe without one.
        ctx: for the generator.
        store: keeps the tables.

    Raises:
        RecipeError: the generator gave something that is no table.
    """
    if maker is None or type(maker).listings is Generator.listings:
        return manifest
    found = maker.listings(Table(picture_table(manifest, store)), ctx)
    kept = {name: _kept(name, columns, maker, store) for name, columns in sorted(found.items())}
    return manifest.model_copy(update={"listings": kept})


def read_listings(manifest: Manifest, store: Store) -> dict[str, dict[str, Any]]:
    """An edition's listings by name, each with its columns as arrays. Raises CorruptShard for a damaged one."""
    tables = {
        name: Table(read_part(store, info, lambda schema: schema.names)) for name, info in manifest.listings.items()
    }
    return {name: {column: table[column] for column in table.arrow.column_names} for name, table in tables.items()}


def _kept(name: str, columns: Mapping[str, Any], maker: Generator, store: Store) -> ShardInfo:
    import pyarrow as pa
    import pyarrow.parquet as pq

    said = f"{maker.component_name()}: listing {cut(repr(name))}"
    try:
        NAME.validate_python(name)
        table = pa.table({column: pa.array(np.asarray(values).tolist()) for column, values in columns.items()})
    except (ValidationError, pa.ArrowException, ValueError, TypeError, AttributeError) as error:
        raise RecipeError(f"{said} is no table: {cut(str(error).splitlines()[0])}") from None
    plain = (pa.types.is_integer, pa.types.is_floating, pa.types.is_string, pa.types.is_boolean)
    for field in table.schema:
        if not any(is_plain(field.type) for is_plain in plain):
            raise RecipeError(
                f"{said}: column {cut(repr(field.name))} holds {field.type}, not numbers, texts or booleans"
            )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return store.keep_bytes(bytes(sink.getvalue()), ".parquet", samples=len(table))
